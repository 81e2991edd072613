//! Cursors: where the next page of a list begins. Opaque to clients, and worth nothing with other filters.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use polling_core::clock::Timestamp;
use polling_core::model::{PollId, PollState};
use uuid::Uuid;

use super::parameter::Sort;
use crate::fingerprint::fingerprint;

/// First byte of every cursor of this layout.
const LAYOUT: u8 = 1;
/// Layout, fingerprint of the query, time of the first page, place.
const CURSOR_BYTES: usize = 1 + 8 + 8 + 16 + 4;

/// What a list is asked for, besides the page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ListQuery {
    /// In which order.
    pub(crate) sort: Sort,
    /// Only polls in this state.
    pub(crate) state: Option<PollState>,
    /// Only polls with this text in the question.
    pub(crate) text: Option<String>,
}

impl ListQuery {
    /// A number that differs for different queries.
    fn fingerprint(&self) -> u64 {
        let state = self.state.map_or("any", PollState::as_str);
        let text = self.text.as_deref().unwrap_or_default();
        let words = format!("{:?} {state} {text}", self.sort);
        fingerprint(words.as_bytes())
    }
}

/// Where the next page begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cursor {
    /// When the first page was read. States are those of this time on every page, so that no poll moves out of the list or into it.
    pub(crate) listed_at: Timestamp,
    /// After what it begins.
    pub(crate) place: Place,
}

/// After what the next page begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// After this poll, in the order of creation.
    After(PollId),
    /// At this place of a ranking that the server keeps.
    Rank {
        /// Names the ranking.
        ranking: Uuid,
        /// How many of its polls were shown.
        shown: u32,
    },
}

impl Cursor {
    /// The cursor as a client gets it.
    pub(crate) fn seal(&self, query: &ListQuery) -> String {
        let (uuid, number) = match self.place {
            Place::After(poll) => (poll.as_uuid(), 0),
            Place::Rank { ranking, shown } => (ranking, shown),
        };
        let mut bytes = [0; CURSOR_BYTES];
        bytes[0] = LAYOUT;
        bytes[1..9].copy_from_slice(&query.fingerprint().to_be_bytes());
        bytes[9..17].copy_from_slice(&self.listed_at.as_micros().to_be_bytes());
        bytes[17..33].copy_from_slice(uuid.as_bytes());
        bytes[33..].copy_from_slice(&number.to_be_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads a cursor that was made for the same query; `None` for anything else.
    pub(crate) fn open(text: &str, query: &ListQuery) -> Option<Self> {
        let bytes: [u8; CURSOR_BYTES] = URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()?;
        let fingerprint = u64::from_be_bytes(bytes[1..9].try_into().ok()?);
        if bytes[0] != LAYOUT || fingerprint != query.fingerprint() {
            return None;
        }
        let uuid = Uuid::from_bytes(bytes[17..33].try_into().ok()?);
        let place = match query.sort {
            Sort::Newest | Sort::Oldest => Place::After(PollId::from_uuid(uuid)?),
            Sort::Votes => Place::Rank { ranking: uuid, shown: u32::from_be_bytes(bytes[33..].try_into().ok()?) },
        };
        let listed_at = Timestamp::from_micros(i64::from_be_bytes(bytes[9..17].try_into().ok()?))?;
        Some(Self { listed_at, place })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(sort: Sort, text: Option<&str>) -> ListQuery {
        ListQuery { sort, state: Some(PollState::Open), text: text.map(str::to_owned) }
    }

    #[test]
    fn a_cursor_opens_only_for_its_own_query() {
        let cursor = Cursor { listed_at: Timestamp::MIN, place: Place::After(PollId::new(Timestamp::MIN)) };
        let text = cursor.seal(&query(Sort::Newest, Some("tea")));
        assert_eq!(Cursor::open(&text, &query(Sort::Newest, Some("tea"))), Some(cursor));
        assert_eq!(Cursor::open(&text, &query(Sort::Oldest, Some("tea"))), None);
        assert_eq!(Cursor::open(&text, &query(Sort::Newest, None)), None);
        assert_eq!(Cursor::open(&text[1..], &query(Sort::Newest, Some("tea"))), None);
        assert_eq!(Cursor::open("", &query(Sort::Newest, Some("tea"))), None);
    }

    #[test]
    fn a_place_in_a_ranking_survives_the_journey() {
        let place = Place::Rank { ranking: Uuid::from_u128(7), shown: 300 };
        let cursor = Cursor { listed_at: Timestamp::MIN, place };
        let text = cursor.seal(&query(Sort::Votes, None));
        assert_eq!(Cursor::open(&text, &query(Sort::Votes, None)), Some(cursor));
    }
}
