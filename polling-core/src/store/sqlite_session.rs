//! The writing connection of the `SQLite` store, with the polls that it knows by heart.

use std::collections::{HashMap, HashSet};

use super::rows::KeptPoll;
use super::sqlite::{Connection, column, find, kept_poll, query};
use super::sqlite_rows::{self, TouchedPoll, VoteRow};
use super::sqlite_statements as statements;
use super::voters::Voters;
use super::{PollSnapshot, StoreError};
use crate::checkpoint::Batch;
use crate::model::{PollId, VoterKey};

/// Bytes of polls that are kept in memory between transactions, about: some ten thousand ordinary ones, or a hundred of the largest.
/// While a batch is applied, those that it names are kept as well, as many as it has votes at most.
const KNOWN_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Bytes that a poll takes beside its texts, about: itself, its place in the map, and what each of a few options takes.
const POLL_BYTES: usize = 1024;

/// A connection that writes, and what is known of the file as its last transaction left it.
///
/// Nobody else writes into the file, so nothing known becomes wrong behind its back. Whoever changes a poll in a transaction says
/// so here before the transaction ends; when a transaction fails, the whole session is given up.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) connection: Connection,
    known: HashMap<PollId, KeptPoll>,
    known_bytes: usize,
    /// The numbers of polls for which past votes are kept.
    with_past: HashSet<i64>,
    /// The numbers of polls that had no vote when they were first met: all their voters are among `voters`.
    met_empty: HashSet<i64>,
    voters: Voters,
}

impl Session {
    /// A session that knows nothing yet.
    pub(super) fn new(connection: Connection) -> Self {
        let (known, with_past, met_empty) = (HashMap::new(), HashSet::new(), HashSet::new());
        Self { connection, known, known_bytes: 0, with_past, met_empty, voters: Voters::default() }
    }

    /// Reads the polls that the batch names, as far as they are not known.
    pub(super) async fn know_polls(&mut self, batch: &Batch, epoch: u64) -> Result<(), StoreError> {
        let mut unknown = sqlite_rows::polls_of(batch);
        unknown.retain(|id| !self.known.contains_key(id));
        if unknown.is_empty() {
            return Ok(());
        }
        let packed = sqlite_rows::packed_ids(&unknown).finish();
        for row in find(&mut self.connection, query(statements::FIND_POLLS).bind(packed)).await? {
            let kept = kept_poll(&row, epoch)?;
            self.known_bytes += bytes_of(&kept);
            if column(&row, "has_past")? {
                self.with_past.insert(kept.number);
            }
            if column(&row, "is_empty")? {
                self.met_empty.insert(kept.number);
            }
            self.known.insert(kept.snapshot.poll.id, kept);
        }
        Ok(())
    }

    /// The polls that are known; among them, after [`know_polls`](Self::know_polls), those of its batch that exist.
    pub(super) fn known(&self) -> &HashMap<PollId, KeptPoll> {
        &self.known
    }

    /// What a batch changed in a poll.
    pub(super) fn note(&mut self, touched: &TouchedPoll) {
        if let Some(kept) = self.known.get_mut(&touched.tally.poll) {
            kept.snapshot.tally.clone_from(&touched.tally);
            kept.last_accepted_at = Some(touched.last_accepted_at);
        }
    }

    /// The numbers of polls for which past votes are kept, among those that are known and those that were forgotten.
    pub(super) const fn with_past(&self) -> &HashSet<i64> {
        &self.with_past
    }

    /// That past votes are kept for these polls from now on.
    pub(super) fn note_past(&mut self, numbers: impl IntoIterator<Item = i64>) {
        self.with_past.extend(numbers);
    }

    /// Whether a vote or retraction may be kept for this voter in the poll with this number. Never wrong when it says no, and mostly right
    /// when it says yes; of a poll that had votes before this session met it, it always says yes.
    pub(super) fn may_have_voted(&self, number: i64, voter: VoterKey) -> bool {
        !self.met_empty.contains(&number) || self.voters.may_contain(number, voter)
    }

    /// That these votes are kept from now on.
    pub(super) fn note_votes(&mut self, votes: &[VoteRow]) {
        for vote in votes {
            self.voters.insert(vote.poll, vote.voter);
        }
    }

    /// For a poll that changes in any other way.
    pub(super) fn forget(&mut self, poll: PollId) {
        if let Some(kept) = self.known.remove(&poll) {
            self.known_bytes -= bytes_of(&kept);
        }
    }

    /// At the end of a batch: forgets all polls when they, or their voters, have become too many.
    pub(super) fn forget_too_many(&mut self) {
        if self.voters.are_too_many() {
            self.voters = Voters::default();
        } else if self.known_bytes <= KNOWN_BYTES_MAX {
            return;
        }
        // Not only emptied: what a single batch may need is not kept for all the others.
        self.known = HashMap::new();
        self.known_bytes = 0;
        self.with_past = HashSet::new();
        self.met_empty = HashSet::new();
    }
}

/// Of what never changes in a poll, so that what is added is what is taken away.
fn bytes_of(KeptPoll { snapshot: PollSnapshot { poll, .. }, .. }: &KeptPoll) -> usize {
    POLL_BYTES + poll.question.len() + poll.options.iter().map(String::len).sum::<usize>()
}
