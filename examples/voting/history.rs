//! What happened in a run, in order: what was sent and answered, what watchers were shown, what was broken. One JSON object a line.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Failure, failure};

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Milliseconds since the run began.
    pub at_ms: u64,
    /// What it was.
    #[serde(flatten)]
    pub what: What,
}

/// What can happen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum What {
    /// The run began. The same seed and schedule make the same run, as far as the machine allows.
    Began {
        /// Of everything that is random.
        seed: u64,
        /// Votes a second.
        rate: u32,
        /// What is going to be broken.
        schedule: Vec<Planned>,
    },
    /// A poll was made.
    Poll {
        /// Its id.
        poll: Uuid,
        /// How many options it has.
        options: u8,
        /// Whether a voter may vote anew.
        allow_change: bool,
    },
    /// A vote was sent.
    Sent {
        /// Names this attempt; another one for the same vote has another name.
        attempt: u64,
        /// To which server.
        server: usize,
        /// The vote.
        #[serde(flatten)]
        ballot: Ballot,
    },
    /// An attempt was answered, or given up. An attempt that is never answered may have had its effect or not.
    Answered {
        /// Which one.
        attempt: u64,
        /// What the voter knows now.
        #[serde(flatten)]
        answer: Answer,
    },
    /// Somebody began to watch, and goes on to the end of the run.
    Watching {
        /// Who.
        watcher: usize,
        /// Which polls.
        polls: Vec<Uuid>,
    },
    /// A watcher was shown the results of a poll.
    Shown {
        /// Who.
        watcher: usize,
        /// Of which poll.
        poll: Uuid,
        /// Of which life of the store.
        epoch: u64,
        /// Grows with every change.
        version: u64,
        /// What was shown.
        #[serde(flatten)]
        totals: Counted,
    },
    /// The store was looked at while votes came in: its tally of a poll beside what its rows add up to, of one moment.
    Audited {
        /// Which poll.
        poll: Uuid,
        /// The tally that is kept.
        kept: Counted,
        /// The sum of the rows.
        rows: Counted,
    },
    /// Something was broken, or mended.
    Fault {
        /// What kind of fault.
        fault: String,
        /// What was done.
        done: String,
    },
    /// A record that is no vote was written to the log, on purpose.
    Foreign {
        /// To which partition.
        partition: u32,
        /// Where it stands there.
        offset: i64,
    },
    /// A program said something that none may say.
    Said {
        /// Which program.
        program: String,
        /// The line of its log.
        line: String,
    },
    /// A program ended by itself.
    Ended {
        /// Which program.
        program: String,
        /// How.
        status: String,
    },
    /// The last fault is mended: from now on all must come right by itself.
    Quiet,
    /// Whether it did.
    Recovered {
        /// What had to come right.
        what: String,
        /// How long it took since the last fault was mended; `None` when it took too long.
        after_ms: Option<u64>,
    },
}

/// A fault that is going to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Planned {
    /// What kind.
    pub fault: String,
    /// When it begins, in milliseconds since the run began.
    pub at_ms: u64,
    /// How long it lasts, in milliseconds.
    pub for_ms: u64,
}

/// A vote as it is sent.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Ballot {
    /// The poll.
    pub poll: Uuid,
    /// Who the voter says to be.
    pub voter: String,
    /// The name that the voter gave to this vote.
    pub vote_id: Uuid,
    /// The options; none of them takes an earlier vote back.
    pub choices: Vec<u8>,
}

/// What a voter knows after an attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum Answer {
    /// The vote is durable.
    Acknowledged {
        /// What its outcome can be asked with.
        receipt: String,
    },
    /// It is certainly not recorded by this attempt: 503 that says so, or another refusal.
    NotRecorded {
        /// In words.
        why: String,
    },
    /// It may be recorded or not.
    Unknown {
        /// In words.
        why: String,
    },
}

/// Voters, and the votes of each option.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    /// Voters with a counted vote.
    pub voters: u64,
    /// By option; the first is that of option 1.
    pub votes: Vec<u64>,
}

impl Counted {
    /// Nothing, in a poll with so many options.
    #[must_use]
    pub fn none(options: u8) -> Self {
        Self { voters: 0, votes: vec![0; usize::from(options)] }
    }

    /// Adds a vote for these options.
    pub fn add(&mut self, choices: &[u8]) {
        self.voters += u64::from(!choices.is_empty());
        for &choice in choices {
            if let Some(votes) = usize::from(choice).checked_sub(1).and_then(|place| self.votes.get_mut(place)) {
                *votes += 1;
            }
        }
    }
}

/// A record of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Where it stands.
    pub partition: u32,
    /// Where it stands there.
    pub offset: i64,
    /// The vote; `None` when it cannot be read.
    pub vote: Option<RecordedVote>,
}

/// A vote as it stands in the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedVote {
    /// The poll.
    pub poll: Uuid,
    /// The pseudonym of the voter.
    pub voter: Uuid,
    /// The name of the vote.
    pub vote_id: Uuid,
    /// When a server accepted it, in microseconds since 1970-01-01 UTC.
    pub accepted_at: i64,
    /// The options; none of them is a retraction.
    pub choices: Vec<u8>,
}

/// The row of a voter in the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// The poll.
    pub poll: Uuid,
    /// The pseudonym of the voter.
    pub voter: Uuid,
    /// The vote that stands.
    pub vote_id: Uuid,
    /// Where in the log it stands.
    pub partition: u32,
    /// Where it stands there.
    pub offset: i64,
    /// The options; none of them is a retraction.
    pub choices: Vec<u8>,
}

/// How far a partition is applied, and how its records ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// The offset after the last record that was applied.
    pub next_offset: i64,
    /// Records that counted when they were applied.
    pub counted: i64,
    /// Of those: how many a later record superseded.
    pub superseded: i64,
    /// Second votes of voters who may not change.
    pub duplicate: i64,
    /// Votes after the close.
    pub late: i64,
    /// Votes that break a rule.
    pub invalid: i64,
    /// Votes that had been applied before, under the same name.
    pub repeated: i64,
}

/// Everything that is left in the end.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Final {
    /// The whole log, read from its beginning, in order.
    pub log: Vec<Record>,
    /// How far the brokers say that each partition is written.
    pub ends: BTreeMap<u32, i64>,
    /// The rows of the store.
    pub rows: Vec<Row>,
    /// Its tallies.
    pub tallies: BTreeMap<Uuid, Counted>,
    /// Its progress.
    pub progress: BTreeMap<u32, Progress>,
    /// What each server shows.
    pub shown: Vec<BTreeMap<Uuid, Counted>>,
    /// What the receipts say, each with the vote that it is for.
    pub receipts: Vec<(Uuid, String)>,
}

/// A history that is being written.
pub struct Recorder {
    began: Instant,
    written: Mutex<(Vec<Event>, BufWriter<File>)>,
}

impl Recorder {
    /// Begins a history in a new file.
    ///
    /// # Errors
    ///
    /// The file cannot be made.
    pub fn create(path: &Path) -> Result<Self, Failure> {
        let file = File::create(path).map_err(|error| failure(format!("{} cannot be written: {error}", path.display())))?;
        Ok(Self { began: Instant::now(), written: Mutex::new((Vec::new(), BufWriter::new(file))) })
    }

    /// Milliseconds since the beginning.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Notes what has just happened.
    ///
    /// # Panics
    ///
    /// The disk is full: a history with a hole would prove nothing.
    pub fn note(&self, what: What) {
        let mut written = self.locked();
        // Stamped under the lock, so that the order of the lines is that of the times.
        let event = Event { at_ms: self.now_ms(), what };
        write_line(&mut written.1, &event).expect("the history is written");
        written.0.push(event);
    }

    /// Looks at what has happened so far. Nothing is noted meanwhile.
    pub fn look<T>(&self, at: impl FnOnce(&[Event]) -> T) -> T {
        at(&self.locked().0)
    }

    /// Ends the history with what is left in the end.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn finish(&self, state: &Final) -> Result<Vec<Event>, Failure> {
        let mut written = self.locked();
        let line = LastLine { last: state.clone() };
        let done = write_line(&mut written.1, &line).and_then(|()| written.1.flush());
        done.map_err(|error| failure(format!("the history cannot be written: {error}")))?;
        Ok(written.0.clone())
    }

    fn locked(&self) -> MutexGuard<'_, (Vec<Event>, BufWriter<File>)> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Serialize, Deserialize)]
struct LastLine {
    #[serde(rename = "final")]
    last: Final,
}

fn write_line(to: &mut impl Write, line: &impl Serialize) -> std::io::Result<()> {
    serde_json::to_writer(&mut *to, line)?;
    to.write_all(b"\n")
}

/// Reads a history, and what was left in the end.
///
/// # Errors
///
/// The file cannot be read, or has no end: its run was broken off.
pub fn read(path: &Path) -> Result<(Vec<Event>, Final), Failure> {
    let wrong = |what: String| failure(format!("{} cannot be read: {what}", path.display()));
    let file = File::open(path).map_err(|error| wrong(error.to_string()))?;
    let mut events = Vec::new();
    for line in BufReader::new(file).lines() {
        let line = line.map_err(|error| wrong(error.to_string()))?;
        if line.starts_with("{\"final\"") {
            let last: LastLine = serde_json::from_str(&line).map_err(|error| wrong(error.to_string()))?;
            return Ok((events, last.last));
        }
        events.push(serde_json::from_str(&line).map_err(|error| wrong(format!("{error} in {line}")))?);
    }
    Err(wrong("it has no end".to_owned()))
}
