//! Polls: what is asked, what can be chosen, and when.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use uuid::{ContextV7, Uuid};

use crate::clock::Timestamp;

/// Characters of a question after trimming, at most: a headline, not an essay.
pub const QUESTION_CHARS_MAX: usize = 500;
/// Characters of an option's text after trimming, at most.
pub const OPTION_TEXT_CHARS_MAX: usize = 200;
/// Options of a poll, at least: a poll with one is no question.
pub const OPTIONS_MIN: usize = 2;
/// Options of a poll, at most: the choices of a vote fit in one machine word of 128 bits.
pub const OPTIONS_MAX: usize = 100;

/// The identifier of a poll: a UUID of version 7, so that polls sort by the millisecond of their creation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PollId(Uuid);

/// Counts polls made in the same millisecond, so that they too sort in the order of their creation.
static SAME_MILLISECOND: Mutex<ContextV7> = Mutex::new(ContextV7::new());

impl PollId {
    /// A new identifier for a poll created at `now`.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        let micros = now.as_micros().unsigned_abs();
        let nanos = u32::try_from(micros % 1_000_000 * 1000).unwrap_or(0);
        let context = SAME_MILLISECOND.lock().unwrap_or_else(PoisonError::into_inner);
        Self(Uuid::new_v7(uuid::Timestamp::from_unix(&*context, micros / 1_000_000, nanos)))
    }

    /// Takes a UUID that is said to name a poll; `None` when it is not of version 7, or names a time that no poll can have.
    #[must_use]
    pub fn from_uuid(uuid: Uuid) -> Option<Self> {
        if uuid.get_version_num() != 7 || uuid.get_variant() != uuid::Variant::RFC4122 {
            return None;
        }
        let millis = i64::try_from(uuid.as_u128() >> 80).ok()?;
        Timestamp::from_micros(millis.checked_mul(1000)?)?;
        Some(Self(uuid))
    }

    /// Reads the usual text form, in letters of either case, as RFC 9562 has it of every UUID; answers write the lower one. `None` for
    /// anything that is not the identifier of a poll.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        // The other forms that the parser knows, without hyphens, in braces and as a URN, are for other places than links.
        if text.len() != 36 {
            return None;
        }
        Self::from_uuid(Uuid::try_parse(text).ok()?)
    }

    /// The UUID.
    #[must_use]
    pub const fn as_uuid(self) -> Uuid {
        self.0
    }

    /// When the poll was created, to the millisecond: the identifier says it.
    #[must_use]
    pub fn created_at(self) -> Timestamp {
        i64::try_from(self.0.as_u128() >> 80)
            .ok()
            .and_then(|millis| Timestamp::from_micros(millis.checked_mul(1000)?))
            .unwrap_or(Timestamp::MIN)
    }
}

impl fmt::Display for PollId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// The number of an option within its poll: 1 for the first, at most [`OPTIONS_MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OptionId(u8);

impl OptionId {
    /// Takes a number; `None` outside 1..=[`OPTIONS_MAX`].
    #[must_use]
    pub fn new(number: u64) -> Option<Self> {
        let small = u8::try_from(number).ok()?;
        (1..=OPTIONS_MAX).contains(&usize::from(small)).then_some(Self(small))
    }

    /// The option at this place, counted from 0, in the poll's list.
    #[must_use]
    pub fn from_index(index: usize) -> Option<Self> {
        Self::new(index as u64 + 1)
    }

    /// Its place in the poll's list, counted from 0.
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0) - 1
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }
}

/// Who may see the results, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ResultsVisibility {
    /// Everybody, at any time.
    #[default]
    Always,
    /// A viewer who has a counted vote.
    AfterVote,
    /// Everybody, once the poll is closed.
    AfterClose,
}

impl ResultsVisibility {
    /// The word for it in the API and in stores.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::AfterVote => "after_vote",
            Self::AfterClose => "after_close",
        }
    }

    /// Reads the word for it.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Always, Self::AfterVote, Self::AfterClose].into_iter().find(|known| known.as_str() == word)
    }
}

/// Whether a poll takes votes at a point in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PollState {
    /// Not yet.
    Scheduled,
    /// Now.
    Open,
    /// No more.
    Closed,
}

impl PollState {
    /// The word for it in the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Open => "open",
            Self::Closed => "closed",
        }
    }

    /// Reads the word for it.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Scheduled, Self::Open, Self::Closed].into_iter().find(|known| known.as_str() == word)
    }
}

/// What a store keeps of the token of a poll's owner: its SHA-256 digest, useless for making requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnerKey(pub [u8; 32]);

/// A rule that a draft breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Where, as a JSON pointer (RFC 6901) into the draft: `/options/1`.
    pub pointer: String,
    /// What is wrong, completing "the value …".
    pub detail: String,
}

impl Violation {
    /// A rule broken at `pointer`.
    #[must_use]
    pub fn new(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), detail: detail.into() }
    }
}

/// A poll as somebody asks for it, not yet checked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PollDraft {
    /// What is asked; white space around it is cut off. 1 to [`QUESTION_CHARS_MAX`] characters.
    pub question: String,
    /// What can be chosen: [`OPTIONS_MIN`] to [`OPTIONS_MAX`] distinct texts of 1 to [`OPTION_TEXT_CHARS_MAX`] characters.
    pub options: Vec<String>,
    /// How many options one vote may name: 1 to the number of options. Absent: 1.
    pub max_choices: Option<u64>,
    /// Whether a voter may change or retract the vote.
    pub allow_change: bool,
    /// Who sees the results.
    pub results: ResultsVisibility,
    /// From when on votes are taken. Absent: at once.
    pub opens_at: Option<Timestamp>,
    /// Until when votes are taken: in the future, and after `opens_at`. Absent: until the owner closes the poll.
    pub closes_at: Option<Timestamp>,
}

impl PollDraft {
    /// Checks everything and makes the poll, created at `now`.
    ///
    /// # Errors
    ///
    /// All the rules that the draft breaks, not just the first.
    pub fn into_poll(self, owner: OwnerKey, now: Timestamp) -> Result<Poll, Vec<Violation>> {
        let mut broken = Vec::new();
        let question = self.question.trim().to_owned();
        if let Some(detail) = text_violation(&question, QUESTION_CHARS_MAX) {
            broken.push(Violation::new("/question", detail));
        }
        let options = checked_options(self.options, &mut broken);
        let max_choices = self.max_choices.unwrap_or(1);
        if max_choices < 1 || max_choices > options.len().max(1) as u64 {
            broken.push(Violation::new("/max_choices", "must be between 1 and the number of options"));
        }
        if let Some(closes_at) = self.closes_at {
            if closes_at <= now {
                broken.push(Violation::new("/closes_at", "must be in the future"));
            } else if self.opens_at.is_some_and(|opens_at| closes_at <= opens_at) {
                broken.push(Violation::new("/closes_at", "must be after opens_at"));
            }
        }
        if !broken.is_empty() {
            return Err(broken);
        }
        let parts = PollParts {
            id: PollId::new(now),
            question,
            options,
            max_choices: u8::try_from(max_choices).unwrap_or(1),
            allow_change: self.allow_change,
            results: self.results,
            opens_at: self.opens_at,
            closes_at: self.closes_at,
            owner,
        };
        Ok(Poll { parts, passed: None })
    }
}

fn checked_options(options: Vec<String>, broken: &mut Vec<Violation>) -> Vec<String> {
    let options: Vec<String> = options.into_iter().map(|text| text.trim().to_owned()).collect();
    if !(OPTIONS_MIN..=OPTIONS_MAX).contains(&options.len()) {
        broken.push(Violation::new("/options", format!("must have {OPTIONS_MIN} to {OPTIONS_MAX} items")));
    }
    // Looking beyond the bound would let a hostile list cost more than its bytes.
    let mut seen = std::collections::HashSet::new();
    for (index, text) in options.iter().enumerate().take(OPTIONS_MAX) {
        if let Some(detail) = text_violation(text, OPTION_TEXT_CHARS_MAX) {
            broken.push(Violation::new(format!("/options/{index}"), detail));
        } else if !seen.insert(text) {
            broken.push(Violation::new(format!("/options/{index}"), "must differ from the other options"));
        }
    }
    options
}

fn text_violation(text: &str, chars_max: usize) -> Option<String> {
    if text.contains('\0') {
        // PostgreSQL cannot keep it, and a poll must be able to move between stores.
        return Some("must not contain the character U+0000".to_owned());
    }
    (!(1..=chars_max).contains(&text.chars().count())).then(|| format!("must have 1 to {chars_max} characters after trimming"))
}

/// The parts of a poll, as a store keeps them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PollParts {
    /// Its identifier, which also says when it was created.
    pub id: PollId,
    /// What is asked.
    pub question: String,
    /// What can be chosen; [`OptionId`] 1 is the first.
    pub options: Vec<String>,
    /// How many options one vote may name, at most.
    pub max_choices: u8,
    /// Whether a voter may change or retract the vote.
    pub allow_change: bool,
    /// Who sees the results.
    pub results: ResultsVisibility,
    /// From when on votes are taken; `None`: from the creation.
    pub opens_at: Option<Timestamp>,
    /// From when on no votes are taken; `None`: not closed and no close planned.
    pub closes_at: Option<Timestamp>,
    /// The digest of the owner's token.
    pub owner: OwnerKey,
}

/// A poll that keeps all the rules of [`PollDraft`]. Read its parts through [`Deref`](std::ops::Deref).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Poll {
    parts: PollParts,
    /// The last change of state that has come by the word of the store; `None`: none, as far as it says.
    passed: Option<Timestamp>,
}

impl std::ops::Deref for Poll {
    type Target = PollParts;

    fn deref(&self) -> &PollParts {
        &self.parts
    }
}

impl Poll {
    /// Puts a poll together from what a store kept; `None` when the parts do not fit each other, which a sound store cannot show.
    ///
    /// `closes_at` may be before `opens_at`: the owner may close a poll before it opens.
    #[must_use]
    pub fn from_parts(parts: PollParts) -> Option<Self> {
        let sound = text_violation(&parts.question, QUESTION_CHARS_MAX).is_none()
            && (OPTIONS_MIN..=OPTIONS_MAX).contains(&parts.options.len())
            && parts.options.iter().all(|text| text_violation(text, OPTION_TEXT_CHARS_MAX).is_none())
            && (1..=parts.options.len()).contains(&usize::from(parts.max_choices));
        sound.then_some(Self { parts, passed: None })
    }

    /// Whether a vote accepted at `time` is in time. The same function tells the state now and the fate of a vote.
    #[must_use]
    pub fn state(&self, time: Timestamp) -> PollState {
        if self.closes_at.is_some_and(|closes_at| closes_at <= time) {
            PollState::Closed
        } else if self.opens_at.is_some_and(|opens_at| opens_at > time) {
            PollState::Scheduled
        } else {
            PollState::Open
        }
    }

    /// The next time after `now` at which the state changes by itself.
    #[must_use]
    pub fn next_transition(&self, now: Timestamp) -> Option<Timestamp> {
        match self.state(now) {
            PollState::Closed => None,
            PollState::Open => self.closes_at,
            PollState::Scheduled => self.closes_at.into_iter().chain(self.opens_at).min(),
        }
    }

    /// The first time at which the state changes by itself, which may have passed.
    ///
    /// A new poll waits for this one: its identifier does not say from when on, because identifiers go on in order when the
    /// clock is set back, and are then ahead of it.
    #[must_use]
    pub fn first_transition(&self) -> Option<Timestamp> {
        self.next_transition(Timestamp::MIN)
    }

    /// The poll closed by its owner, with its close at `at`, unless it closes before that anyway. The close has come, even where `at`
    /// is still ahead of a clock, because votes were counted that were accepted before `at` by a clock that was set back since, or that
    /// is ahead of the others.
    #[must_use]
    pub fn closed(mut self, at: Timestamp) -> Self {
        self.parts.closes_at = Some(self.parts.closes_at.map_or(at, |planned| planned.min(at)));
        self.awaiting(None)
    }

    /// Whether the close has come by the word of the store, whatever a clock says.
    #[must_use]
    pub fn has_closed(&self) -> bool {
        self.closes_at.is_some_and(|closes_at| self.passed.is_some_and(|passed| closes_at <= passed))
    }

    /// The poll as it is at a version for which `next` is the next change of state that has none yet: all before it have come, and
    /// are shown as such wherever that version is, even by a clock for which they are still to come.
    #[must_use]
    pub fn awaiting(mut self, next: Option<Timestamp>) -> Self {
        // An opening that a close forestalled never comes.
        let opens_at = self.opens_at.filter(|&opens_at| self.closes_at.is_none_or(|closes_at| opens_at < closes_at));
        let changes = opens_at.into_iter().chain(self.closes_at);
        self.passed = changes.filter(|&change| next.is_none_or(|next| change < next)).max();
        self
    }

    /// The state that is shown when the clock says `now`. Clocks differ between servers, and what has a version is not taken back;
    /// whether a recorded vote is in time is for [`state`](Self::state) alone.
    #[must_use]
    pub fn state_shown(&self, now: Timestamp) -> PollState {
        self.state(self.passed.map_or(now, |passed| passed.max(now)))
    }

    /// The state that was shown at the earlier time `then`, as far as can be told when the clock says `now`: by their times alone, for
    /// changes that have come up to now, and as it is shown now, for one that has come although its time is still ahead of the clock.
    #[must_use]
    pub fn state_listed(&self, then: Timestamp, now: Timestamp) -> PollState {
        self.state(self.passed.filter(|&passed| passed > now).map_or(then, |passed| passed.max(then)))
    }

    /// The state by which a server takes a vote when its clock says `now`, and so gives it this acceptance time.
    ///
    /// A poll that has closed takes none, even where the acceptance time would be in time: whoever votes may have seen the final
    /// results. One that is shown as open before its opening by this clock takes none either: it would be recorded, and be invalid.
    #[must_use]
    pub fn state_for_voting(&self, now: Timestamp) -> PollState {
        if self.has_closed() { PollState::Closed } else { self.state(now) }
    }

    /// Whether everybody may see the results when the clock says `now`.
    #[must_use]
    pub fn results_are_public(&self, now: Timestamp) -> bool {
        match self.results {
            ResultsVisibility::Always => true,
            ResultsVisibility::AfterVote => false,
            ResultsVisibility::AfterClose => self.state_shown(now) == PollState::Closed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = match Timestamp::from_micros(1_800_000_000_000_000) {
        Some(now) => now,
        None => Timestamp::MIN,
    };

    fn draft() -> PollDraft {
        PollDraft { question: " Tea or coffee? ".into(), options: vec!["Tea".into(), "Coffee".into()], ..PollDraft::default() }
    }

    fn pointers(draft: PollDraft) -> Vec<String> {
        let broken = draft.into_poll(OwnerKey([0; 32]), NOW).expect_err("the draft breaks a rule");
        broken.into_iter().map(|violation| violation.pointer).collect()
    }

    #[test]
    fn a_sound_draft_becomes_a_poll_with_trimmed_texts() {
        let poll = draft().into_poll(OwnerKey([7; 32]), NOW).expect("sound");
        assert_eq!((poll.question.as_str(), poll.max_choices), ("Tea or coffee?", 1));
        assert_eq!(poll.id.created_at(), NOW.floor_to_millis());
        assert_eq!(poll.state(NOW), PollState::Open);
    }

    #[test]
    fn every_broken_rule_is_named_at_once() {
        let wrong = PollDraft {
            question: "  ".into(),
            options: vec!["a".into(), " a ".into(), "x".repeat(201)],
            max_choices: Some(4),
            closes_at: Some(NOW),
            ..PollDraft::default()
        };
        assert_eq!(pointers(wrong), ["/question", "/options/1", "/options/2", "/max_choices", "/closes_at"]);
    }

    #[test]
    fn bounds_are_inclusive() {
        let mut widest = draft();
        widest.question = "é".repeat(QUESTION_CHARS_MAX);
        widest.options = (0..OPTIONS_MAX).map(|number| format!("{number:0>200}")).collect();
        widest.max_choices = Some(OPTIONS_MAX as u64);
        assert!(widest.clone().into_poll(OwnerKey([0; 32]), NOW).is_ok());
        widest.options.push("one more".into());
        assert_eq!(pointers(widest), ["/options"]);
    }

    #[test]
    fn a_close_before_the_opening_is_refused() {
        let wrong = PollDraft {
            opens_at: Some(NOW.saturating_add(std::time::Duration::from_secs(9))),
            closes_at: Some(NOW.saturating_add(std::time::Duration::from_secs(9))),
            ..draft()
        };
        assert_eq!(pointers(wrong), ["/closes_at"]);
    }

    #[test]
    fn identifiers_of_one_millisecond_sort_in_the_order_of_their_making() {
        let made: Vec<PollId> = (0..1000).map(|_| PollId::new(NOW)).collect();
        assert!(made.is_sorted());
        assert_eq!(PollId::from_uuid(Uuid::new_v4()), None);
    }

    #[test]
    fn an_identifier_has_hyphens_and_letters_of_either_case() {
        let id = PollId::new(NOW);
        let (text, uuid) = (id.to_string(), id.as_uuid());
        assert_eq!([&text, &text.to_uppercase()].map(|text| PollId::parse(text)), [Some(id); 2]);
        let braced = format!("{{{text}}}");
        for other in [uuid.simple().to_string(), uuid.urn().to_string(), braced, format!(" {text}"), format!("{text} ")] {
            assert_eq!(PollId::parse(&other), None, "{other}");
        }
    }

    #[test]
    fn a_poll_closed_before_it_opens_never_takes_votes() {
        let opens_at = NOW.saturating_add(std::time::Duration::from_secs(60));
        let poll =
            PollDraft { opens_at: Some(opens_at), ..draft() }.into_poll(OwnerKey([0; 32]), NOW).expect("sound").closed(NOW);
        assert_eq!(poll.state(NOW), PollState::Closed);
        assert_eq!(poll.state(opens_at), PollState::Closed);
        assert_eq!(poll.next_transition(NOW), None);
        assert_eq!(poll.awaiting(None).state_shown(Timestamp::MIN), PollState::Closed);
    }

    #[test]
    fn what_has_come_by_the_word_of_the_store_is_shown_by_a_clock_that_is_behind() {
        let after = |seconds| NOW.saturating_add(std::time::Duration::from_secs(seconds));
        let planned = PollDraft { opens_at: Some(after(10)), closes_at: Some(after(20)), ..draft() };
        let poll = planned.into_poll(OwnerKey([0; 32]), NOW).expect("sound");
        let shown = |next, now| poll.clone().awaiting(next).state_shown(now);
        assert_eq!(shown(poll.first_transition(), after(9)), PollState::Scheduled);
        assert_eq!(shown(poll.first_transition(), after(10)), PollState::Open, "the clock goes on by itself");
        assert_eq!(shown(Some(after(20)), after(9)), PollState::Open);
        assert_eq!(shown(None, after(9)), PollState::Closed);
        assert_eq!(poll.awaiting(None).state(after(19)), PollState::Open, "a vote that is in time stays in time");
    }
}
