//! A page of polls as it is written: poll by poll, until it is as long as it was asked for, or as large as it may be.

use polling_core::clock::Timestamp;
use polling_core::store::PollSnapshot;

use super::answer::append_json;
use super::problem::Problem;
use super::types::PollBody;

/// Bytes of the polls of one page, at most, except that a page has at least one poll. A hundred polls of twenty options fit; a hundred of
/// the largest would be 8 MB, which every client that asks for them and does not read would have kept here.
const PAGE_BYTES_MAX: usize = 256 * 1024;

/// A page that is being written.
pub(crate) struct PageWriter {
    bytes: Vec<u8>,
    polls: usize,
    polls_max: usize,
    now: Timestamp,
}

impl PageWriter {
    /// A page of at most `polls_max` polls as they are `now`.
    pub(crate) fn new(polls_max: usize, now: Timestamp) -> Self {
        Self { bytes: br#"{"polls":["#.to_vec(), polls: 0, polls_max, now }
    }

    /// How many polls it may still take.
    pub(crate) const fn room(&self) -> usize {
        self.polls_max - self.polls
    }

    /// Adds a poll, with the results that everybody may see. Answers `false`, and adds nothing, when the page is full without it.
    pub(crate) fn add(&mut self, snapshot: &PollSnapshot) -> Result<bool, Problem> {
        if self.room() == 0 {
            return Ok(false);
        }
        let before = self.bytes.len();
        if self.polls > 0 {
            self.bytes.push(b',');
        }
        append_json(&mut self.bytes, &PollBody::new(snapshot, self.now, snapshot.poll.results_are_public(self.now)))?;
        if self.polls > 0 && self.bytes.len() > PAGE_BYTES_MAX {
            self.bytes.truncate(before);
            return Ok(false);
        }
        self.polls += 1;
        Ok(true)
    }

    /// The whole page; without a cursor, it is the last.
    pub(crate) fn finish(mut self, next_cursor: Option<&str>) -> Result<Vec<u8>, Problem> {
        self.bytes.push(b']');
        if let Some(cursor) = next_cursor {
            self.bytes.extend_from_slice(br#","next_cursor":"#);
            append_json(&mut self.bytes, &cursor)?;
        }
        self.bytes.push(b'}');
        // Growing by doubling may have taken twice as much, which would be kept until a slow client has the page.
        self.bytes.shrink_to_fit();
        Ok(self.bytes)
    }
}
