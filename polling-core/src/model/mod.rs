//! Polls, votes and tallies as values that cannot be wrong; pure, with no input or output.

pub mod codec;
mod history;
mod outcome;
mod poll;
mod receipt;
mod rule;
mod tally;
mod vote;

pub use history::{History, HistorySum, STEPS_MAX, Steps};
pub use outcome::{Outcome, OutcomeCounts};
pub use poll::{OPTION_TEXT_CHARS_MAX, OPTIONS_MAX, OPTIONS_MIN, QUESTION_CHARS_MAX};
pub use poll::{OptionId, OwnerKey, Poll, PollDraft, PollId, PollParts, PollState, ResultsVisibility, Violation};
pub use receipt::Receipt;
pub use rule::{Ballot, Decision, PastVote, Resolution, StandingVote, decide, derive_outcome};
pub use tally::{Tally, Totals, Version, count};
pub use vote::{Choices, Vote, VoteId, VoteKind, VoterIdentity, VoterKey};
