//! A whole client of the live protocol: bars that move in a terminal, for several polls and the leaderboard on one socket.
//!
//! It adds nothing up and asks for nothing again: every frame is the whole state of something, so the newest is shown, and a
//! connection that breaks is made again.

mod comeback;
mod draw;
mod follow;
mod frame;
mod state;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use hyper::{Method, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;
use voting::client::{Connection, Target};
use voting::polls::{no_answer, unexpected};
use voting::{Failure, failure};

use crate::draw::Screen;
use crate::follow::follow;
use crate::state::{State, WatchedPoll};

/// Polls that the server lets one socket watch.
const POLLS_MAX: usize = 100;
/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(10);

const EXAMPLES: &str = "\
Examples:
  watch                                  the newest open polls of a server on this machine
  watch --poll ID --poll ID              these polls
  watch --leaderboard --newest 0         the leaderboard alone

End it with Ctrl-C.";

/// Watches polls in the terminal.
#[derive(Debug, Parser)]
#[command(name = "watch", after_help = EXAMPLES)]
struct Arguments {
    /// The server.
    #[arg(long, default_value = "http://127.0.0.1:8080")]
    url: String,
    /// A poll to watch; may be given up to a hundred times.
    #[arg(long = "poll", value_name = "ID")]
    polls: Vec<Uuid>,
    /// Without --poll: how many of the newest open polls to watch.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(0..=100))]
    newest: u8,
    /// Watch the leaderboard as well.
    #[arg(long)]
    leaderboard: bool,
    /// The receipt of a counted vote, to see results that are shown after the vote.
    #[arg(long)]
    receipt: Option<String>,
}

#[derive(Deserialize)]
struct Page {
    polls: Vec<WatchedPoll>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match watch(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure(why)) => {
            eprintln!("watch: {why}");
            ExitCode::FAILURE
        }
    }
}

async fn watch(arguments: Arguments) -> Result<(), Failure> {
    if arguments.polls.len() > POLLS_MAX {
        return Err(failure(format!("at most {POLLS_MAX} polls can be watched")));
    }
    let target = Target::parse(&arguments.url, TIMEOUT)?;
    let mut connection = Connection::new(target.clone());
    let polls = polls(&mut connection, &arguments).await?;
    if polls.is_empty() && !arguments.leaderboard {
        return Err(failure("there is no open poll to watch: make one, or ask for --leaderboard".to_owned()));
    }
    let receipt = arguments.receipt.map(|receipt| format!("&receipt={receipt}")).unwrap_or_default();
    let url = target.socket_url(&format!("/live?viewers=1{receipt}"));
    follow(&url, State::new(polls, arguments.leaderboard), Screen::new()).await;
    Ok(())
}

/// The texts of the polls to watch, which frames do not repeat.
async fn polls(connection: &mut Connection, arguments: &Arguments) -> Result<Vec<WatchedPoll>, Failure> {
    let mut polls = Vec::with_capacity(arguments.polls.len());
    for id in &arguments.polls {
        polls.push(get(connection, &format!("/polls/{id}")).await?);
    }
    if arguments.polls.is_empty() && arguments.newest > 0 {
        let page: Page = get(connection, &format!("/polls?state=open&limit={}", arguments.newest)).await?;
        polls = page.polls;
    }
    Ok(polls)
}

async fn get<T: DeserializeOwned>(connection: &mut Connection, path: &str) -> Result<T, Failure> {
    let what = format!("GET {path}");
    let uri = connection.target().path(path)?;
    let answer = connection.send(Method::GET, uri, None).await.map_err(|broken| no_answer(&what, &broken))?;
    if answer.status != StatusCode::OK {
        return Err(unexpected(&what, &answer));
    }
    serde_json::from_slice(&answer.body).map_err(|error| failure(format!("the answer to {what} cannot be read: {error}")))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
    }
}
