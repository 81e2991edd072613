//! What the API answers with. Field names are fixed: programs outside rely on them.

use poem_openapi::Object;
use polling_core::clock::Timestamp;
#[cfg(test)]
use polling_core::model::{OPTION_TEXT_CHARS_MAX, OPTIONS_MAX, QUESTION_CHARS_MAX};
use polling_core::store::{Leader, PollSnapshot};
use serde::Serialize;
use uuid::Uuid;

/// A poll with its results.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Object)]
#[oai(rename = "Poll", read_only_all)]
pub struct PollBody {
    /// The identifier, a UUID of version 7.
    pub id: Uuid,
    /// What is asked.
    pub question: String,
    /// `scheduled`, `open` or `closed`.
    pub state: &'static str,
    /// How many options one vote may name.
    pub max_choices: u8,
    /// Whether a voter may change or retract the vote.
    pub allow_change: bool,
    /// `always`, `after_vote` or `after_close`.
    pub results_visibility: &'static str,
    /// When it was created, RFC 3339 in UTC.
    pub created_at: String,
    /// From when on votes are taken; null: from the creation.
    pub opens_at: Option<String>,
    /// From when on no votes are taken; null: no close is planned.
    pub closes_at: Option<String>,
    /// The results.
    pub results: ResultsBody,
}

/// The results of a poll at a version.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Object)]
#[oai(rename = "Results", read_only_all)]
pub struct ResultsBody {
    /// Changes only when the history of the store may have gone back.
    pub epoch: u64,
    /// Grows with every change of the poll's tally or definition.
    pub version: u64,
    /// Voters with a counted vote.
    pub voters: u64,
    /// The options in the poll's order.
    pub options: Vec<OptionBody>,
}

/// An option; without `votes` and `share` where the results are hidden from this viewer.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Object)]
#[oai(rename = "PollOption", read_only_all)]
pub struct OptionBody {
    /// The number of the option, from 1.
    pub id: u8,
    /// What can be chosen.
    pub text: String,
    /// Counted votes that choose it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[oai(skip_serializing_if_is_none)]
    pub votes: Option<u64>,
    /// `votes` / `voters`, 0 when there are no voters. With several choices the shares may add up to more than 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[oai(skip_serializing_if_is_none)]
    pub share: Option<f64>,
}

impl PollBody {
    /// The poll as it is at `now`, with its results when they are `visible` to the viewer.
    #[must_use]
    pub fn new(snapshot: &PollSnapshot, now: Timestamp, visible: bool) -> Self {
        let PollSnapshot { poll, tally } = snapshot;
        let voters = tally.totals.voters;
        #[expect(clippy::cast_precision_loss, reason = "a share needs no more than 53 bits")]
        let share = |votes: u64| if voters == 0 { 0.0 } else { votes as f64 / voters as f64 };
        let options = poll.options.iter().zip(&tally.totals.votes).zip(1_u8..).map(|((text, &votes), id)| OptionBody {
            id,
            text: text.clone(),
            votes: visible.then_some(votes),
            share: visible.then(|| share(votes)),
        });
        Self {
            id: poll.id.as_uuid(),
            question: poll.question.clone(),
            state: poll.state_shown(now).as_str(),
            max_choices: poll.max_choices,
            allow_change: poll.allow_change,
            results_visibility: poll.results.as_str(),
            created_at: poll.id.created_at().to_string(),
            opens_at: poll.opens_at.map(|time| time.to_string()),
            closes_at: poll.closes_at.map(|time| time.to_string()),
            results: ResultsBody {
                epoch: tally.version.epoch,
                version: tally.version.number,
                voters,
                options: options.collect(),
            },
        }
    }
}

/// The options with the most votes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Object)]
#[oai(rename = "Leaderboard", read_only_all)]
pub struct LeaderboardBody {
    /// Grows with every change of what can be seen here. Not comparable between servers.
    pub version: u64,
    /// Best first.
    pub entries: Vec<LeaderboardEntry>,
}

/// A place on the leaderboard.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Object)]
#[oai(read_only_all)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct LeaderboardEntry {
    /// 1, 2, 3…
    #[cfg_attr(test, schemars(range(min = 1)))]
    pub rank: u32,
    /// The poll.
    pub poll_id: Uuid,
    /// What it asks.
    #[cfg_attr(test, schemars(length(min = 1, max = QUESTION_CHARS_MAX)))]
    pub question: String,
    /// The number of the option in the poll.
    #[cfg_attr(test, schemars(range(min = 1, max = OPTIONS_MAX)))]
    pub option_id: u8,
    /// What can be chosen.
    #[cfg_attr(test, schemars(length(min = 1, max = OPTION_TEXT_CHARS_MAX)))]
    pub text: String,
    /// Its votes, at least one.
    #[cfg_attr(test, schemars(range(min = 1)))]
    pub votes: u64,
}

impl LeaderboardEntry {
    /// The entry at `rank` (from 1) for `leader`, an option of the poll in `snapshot`; `None` when the poll has no such option.
    #[must_use]
    pub fn new(rank: u32, leader: &Leader, snapshot: &PollSnapshot) -> Option<Self> {
        Some(Self {
            rank,
            poll_id: leader.poll.as_uuid(),
            question: snapshot.poll.question.clone(),
            option_id: leader.option.get(),
            text: snapshot.poll.options.get(leader.option.index())?.clone(),
            votes: leader.votes,
        })
    }
}
