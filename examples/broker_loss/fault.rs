//! Who kills: a command, or a person who is asked to.

use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::sync::mpsc;
use voting::{Failure, failure};

use crate::arguments::Arguments;
use crate::screen::Screen;

/// How long a command may take: a container that is started and waited for takes most of a minute.
const COMMAND_MAX: Duration = Duration::from_secs(180);
/// Lines typed ahead; more are let go.
const LINES_MAX: usize = 16;

/// What is done to the system.
pub(crate) struct Fault {
    what: String,
    kill: Option<String>,
    revive: Option<String>,
    /// A message for each line that is typed; without a terminal it ends at once.
    typed: mpsc::Receiver<()>,
}

impl Fault {
    pub(crate) fn new(arguments: &Arguments) -> Self {
        let (sender, typed) = mpsc::channel(LINES_MAX);
        if arguments.kill.is_none() {
            // A thread of its own, because reading a terminal cannot be given up.
            std::thread::spawn(move || {
                for line in std::io::stdin().lines() {
                    if line.is_err() || sender.blocking_send(()).is_err() {
                        return;
                    }
                }
            });
        }
        let Arguments { what, kill, revive, .. } = arguments.clone();
        Self { what, kill, revive, typed }
    }

    pub(crate) fn what(&self) -> &str {
        &self.what
    }

    /// Whether a person kills, so that the moment is not known.
    pub(crate) const fn is_by_hand(&self) -> bool {
        self.kill.is_none()
    }

    pub(crate) const fn can_revive(&self) -> bool {
        self.revive.is_some()
    }

    /// Kills it; or asks a person to, and waits until that is said, or `noticed` ends.
    pub(crate) async fn kill(&mut self, round: u16, screen: &Screen, noticed: impl Future<Output = ()>) -> Result<(), Failure> {
        if let Some(command) = &self.kill {
            return execute(command, round).await;
        }
        while self.typed.try_recv().is_ok() {}
        screen
            .say(&format!("Kill {} now, in another terminal. Press Enter here when nothing happens within a minute.", self.what));
        let told = async {
            if self.typed.recv().await.is_none() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = told => {}
            () = noticed => {}
        }
        Ok(())
    }

    /// Brings it back, if a command was given for that.
    pub(crate) async fn revive(&self, round: u16) -> Result<(), Failure> {
        match &self.revive {
            Some(command) => execute(command, round).await,
            None => Ok(()),
        }
    }
}

/// Runs a command in a shell. What it writes to its standard output is not shown, what it complains about is.
async fn execute(command: &str, round: u16) -> Result<(), Failure> {
    let mut shell = Command::new("sh");
    shell.args(["-c", command]).env("ROUND", round.to_string()).stdin(Stdio::null()).stdout(Stdio::null());
    let ended = tokio::time::timeout(COMMAND_MAX, shell.status()).await;
    let ended = ended.map_err(|_| failure(format!("the command {command:?} did not end in {} s", COMMAND_MAX.as_secs())))?;
    let status = ended.map_err(|error| failure(format!("the command {command:?} cannot be run: {error}")))?;
    if status.success() { Ok(()) } else { Err(failure(format!("the command {command:?} ended with {status}"))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_command_knows_its_round_and_its_failure_is_told() {
        execute("test \"$ROUND\" = 3", 3).await.expect("it is the third");
        let failed = execute("exit 7", 1).await.expect_err("it fails");
        assert!(failed.0.contains('7'), "{}", failed.0);
    }
}
