//! A file to which whole lines are added, each durable before the next thing happens.

use std::io;
use std::path::Path;

use polling_core::store::StoreError;
use tokio::fs::File;
use tokio::io::AsyncWriteExt;

/// An open journal. At the end of the file, always: a line that is durable, or nothing.
#[derive(Debug)]
pub(crate) struct Journal {
    file: File,
    /// Bytes that are durable.
    length: u64,
    /// A line may be in the file or not, and taking it out failed: nothing can be said any more until the file is read anew.
    unsure: bool,
}

impl Journal {
    /// Opens or makes the file, keeps other processes out, and answers the whole lines in it.
    pub(crate) fn open(path: &Path) -> io::Result<(Self, Vec<String>)> {
        let mut file = std::fs::OpenOptions::new().read(true).append(true).create(true).open(path)?;
        file.try_lock()?;
        let mut bytes = Vec::new();
        io::Read::read_to_end(&mut file, &mut bytes)?;
        // What comes after the last line end was being written when the process died, and was never acknowledged.
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        bytes.truncate(whole);
        file.set_len(whole as u64)?;
        file.sync_all()?;
        // A new file is durable only when its folder is.
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::File::open(folder)?.sync_all()?;
        }
        let text = String::from_utf8(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        let lines = text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect();
        Ok((Self { file: File::from_std(file), length: whole as u64, unsure: false }, lines))
    }

    /// Adds a line; `Ok` means that it is durable. An empty one says nothing, and proves that the file can be written.
    pub(crate) async fn append(&mut self, line: &str) -> Result<(), StoreError> {
        if self.unsure {
            return Err(StoreError::Unknown("the journal must be opened again".into()));
        }
        let line = format!("{line}\n");
        let Err(error) = self.write(line.as_bytes()).await else {
            self.length += line.len() as u64;
            return Ok(());
        };
        // Part of the line may be there. Only when it is certainly gone may the caller be told that nothing was changed.
        self.unsure = true;
        if self.file.set_len(self.length).await.is_err() || self.file.sync_all().await.is_err() {
            return Err(StoreError::Unknown(error.into()));
        }
        self.unsure = false;
        Err(StoreError::Unavailable(error.into()))
    }

    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes).await?;
        self.file.flush().await?;
        self.file.sync_data().await
    }
}
