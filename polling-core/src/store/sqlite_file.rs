//! The file behind the `SQLite` store: whose it is, and what it is, found out without changing a byte of it.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use thiserror::Error;

/// What the header of a file of ours says it is: `POLL`. The first migration writes it.
pub(super) const APPLICATION_ID: i64 = 0x504f_4c4c;

/// Why a store was not opened. In every case the file is as it was before.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SqliteOpenError {
    /// Another store has the file open, in this process or in another. Two that count would only fence each other.
    #[error("the store {} is in use", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// The file is something else, or the beginning of a database that was cut off. It is never overwritten.
    #[error("{} is not an SQLite database", path.display())]
    NotADatabase {
        /// The file.
        path: PathBuf,
    },
    /// The file is a database that contradicts itself. Bring back a backup.
    #[error("the store {} is damaged: {detail}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The first contradiction.
        detail: String,
    },
    /// The file is a database of some other application.
    #[error("the database {} belongs to another application (its id is {found})", path.display())]
    WrongApplication {
        /// The file.
        path: PathBuf,
        /// The application id in its header; 0 when it names none, but has tables that are not ours.
        found: i64,
    },
    /// A newer program wrote the file; this one would not understand it.
    #[error("the store {} has version {found}, and this program knows versions up to {known}", path.display())]
    NewerVersion {
        /// The file.
        path: PathBuf,
        /// The version of the file.
        found: i64,
        /// The newest version that this program knows.
        known: i64,
    },
    /// The file or its folder cannot be reached: absent folder, permissions, full disk, input or output errors.
    #[error("failed to open the store {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: super::Source,
    },
}

impl SqliteOpenError {
    pub(super) fn io(path: &Path, source: impl Into<super::Source>) -> Self {
        Self::Io { path: path.to_owned(), source: source.into() }
    }
}

/// The path by which everybody names the same file, so that its lock is the same too.
pub(super) fn resolve(path: &Path) -> Result<PathBuf, SqliteOpenError> {
    match fs::canonicalize(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let name = path.file_name().ok_or_else(|| SqliteOpenError::io(path, error))?;
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            Ok(fs::canonicalize(folder).map_err(|error| SqliteOpenError::io(path, error))?.join(name))
        }
        resolved => resolved.map_err(|error| SqliteOpenError::io(path, error)),
    }
}

/// Takes the lock beside the file. It holds until the answer is dropped, and falls with the process however that ends.
///
/// The lock file stays: removing it would let two stores lock two files of the same name.
pub(super) fn lock(path: &Path) -> Result<File, SqliteOpenError> {
    let lock_path = with_suffix(path, ".lock");
    let file = File::options().create(true).truncate(false).read(true).write(true).open(lock_path);
    let file = file.map_err(|error| SqliteOpenError::io(path, error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(SqliteOpenError::InUse { path: path.to_owned() }),
        Err(TryLockError::Error(error)) => Err(SqliteOpenError::io(path, error)),
    }
}

/// What is there before `SQLite` looks at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// Nothing, or an empty file: a new store.
    Nothing,
    /// A file that begins like a database.
    Database {
        /// Its length.
        bytes: u64,
        /// Whether transactions stand in the log beside it that are not in the file yet.
        has_log: bool,
    },
}

/// Bytes of the header of a database.
const HEADER_BYTES: usize = 100;

/// Looks at the header, and refuses what must not be opened. `known` is the newest version that this program knows.
///
/// The lock must be held: where another part of this process had the file open, closing it here would drop that part's locks.
pub(super) fn inspect(path: &Path, known: i64) -> Result<Found, SqliteOpenError> {
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
        // Opening a pipe would wait for somebody to write into it.
        Ok(found) if !found.is_file() && !found.is_dir() => return Err(SqliteOpenError::NotADatabase { path: path.to_owned() }),
        _ => {}
    }
    let mut file = File::open(path).map_err(|error| SqliteOpenError::io(path, error))?;
    let bytes = file.metadata().map_err(|error| SqliteOpenError::io(path, error))?.len();
    if bytes == 0 {
        return Ok(Found::Nothing);
    }
    let mut header = [0; HEADER_BYTES];
    match file.read_exact(&mut header) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            return Err(SqliteOpenError::NotADatabase { path: path.to_owned() });
        }
        read => read.map_err(|error| SqliteOpenError::io(path, error))?,
    }
    if !header.starts_with(b"SQLite format 3\0") {
        return Err(SqliteOpenError::NotADatabase { path: path.to_owned() });
    }
    refuse(path, number_at(&header, 68), number_at(&header, 60), known)?;
    let has_log = fs::metadata(with_suffix(path, "-wal")).is_ok_and(|log| log.len() > 0);
    // A crash while the log is written back leaves a short file, and the log makes up for it; without one the end is lost.
    if !has_log && declared_bytes(&header).is_some_and(|declared| declared > bytes) {
        return Err(SqliteOpenError::Damaged { path: path.to_owned(), detail: "its end is missing".to_owned() });
    }
    Ok(Found::Database { bytes, has_log })
}

/// Refuses a database that names another application, or a version that is not known yet.
pub(super) fn refuse(path: &Path, application_id: i64, version: i64, known: i64) -> Result<(), SqliteOpenError> {
    if application_id != 0 && application_id != APPLICATION_ID {
        return Err(SqliteOpenError::WrongApplication { path: path.to_owned(), found: application_id });
    }
    // In a file that names no application, the version is somebody else's; its tables will tell.
    if application_id == APPLICATION_ID && version > known {
        return Err(SqliteOpenError::NewerVersion { path: path.to_owned(), found: version, known });
    }
    Ok(())
}

/// The length that the header says the file has; `None` when a program wrote it that does not keep that up to date.
fn declared_bytes(header: &[u8; HEADER_BYTES]) -> Option<u64> {
    let page_bytes = match u64::from(u16::from_be_bytes([header[16], header[17]])) {
        1 => 65_536,
        bytes => bytes,
    };
    let pages = u64::try_from(number_at(header, 28)).ok()?;
    (number_at(header, 24) == number_at(header, 92)).then(|| page_bytes * pages)
}

/// A number of the header: 32 bits with a sign, the most significant byte first.
fn number_at(header: &[u8; HEADER_BYTES], place: usize) -> i64 {
    let mut bytes = [0; 4];
    bytes.copy_from_slice(&header[place..place + 4]);
    i32::from_be_bytes(bytes).into()
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
