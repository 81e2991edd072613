//! Into which steps the history of a poll is cut.

use std::borrow::Cow;
use std::time::Duration;

use poem_openapi::registry::MetaSchema;
use polling_core::clock::Timestamp;
use polling_core::model::{Poll, STEPS_MAX, Steps};

use super::parameter::{Parameter, whole_number};

/// Points that are answered when the client does not say how long a step is, at most: as many as a chart shows.
const POINTS_DEFAULT_MAX: usize = 200;
/// The longest step, in seconds: a year.
const STEP_SECONDS_MAX: u32 = 31_536_000;
/// Steps that are easy to read on an axis, in seconds.
const ROUND_STEPS: [u32; 22] = [
    1,
    2,
    5,
    10,
    15,
    30,
    60,
    120,
    300,
    600,
    900,
    1800,
    3600,
    7200,
    10_800,
    21_600,
    43_200,
    86_400,
    172_800,
    604_800,
    2_419_200,
    STEP_SECONDS_MAX,
];

/// The length of a step in seconds: 1 to a year.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StepSeconds(pub(crate) u32);

impl Parameter for StepSeconds {
    fn parse(text: &str) -> Result<Self, Cow<'static, str>> {
        let number = whole_number(text).filter(|number| (1..=STEP_SECONDS_MAX).contains(number));
        number.map(Self).ok_or_else(|| Cow::Owned(format!("must be a whole number of seconds from 1 to {STEP_SECONDS_MAX}")))
    }

    fn schema() -> MetaSchema {
        MetaSchema { minimum: Some(1.0), maximum: Some(f64::from(STEP_SECONDS_MAX)), ..MetaSchema::new("integer") }
    }
}

/// Steps of this length over the time in which the poll has taken votes, from its opening to `now` or to its close; they begin at
/// multiples of their length since 1970, so that a poll is cut in the same way whenever it is read. The error completes "step …".
pub(crate) fn steps_of(poll: &Poll, step: StepSeconds, now: Timestamp) -> Result<Steps, Cow<'static, str>> {
    let (from, until) = span(poll, now);
    let width = Duration::from_secs(step.0.into());
    let width_micros = i64::try_from(width.as_micros()).unwrap_or(i64::MAX);
    let start = from.as_micros() - from.as_micros() % width_micros;
    let count = usize::try_from((until.as_micros() - start) / width_micros + 1).unwrap_or(usize::MAX);
    let steps = Timestamp::from_micros(start).and_then(|start| Steps::new(start, width, count));
    steps.ok_or_else(|| Cow::Owned(format!("makes {count} points, and at most {STEPS_MAX} are answered: choose a longer step")))
}

/// The shortest round step that makes few enough points.
pub(crate) fn default_step(poll: &Poll, now: Timestamp) -> StepSeconds {
    let fits = |&step: &u32| steps_of(poll, StepSeconds(step), now).is_ok_and(|steps| steps.count() <= POINTS_DEFAULT_MAX);
    StepSeconds(ROUND_STEPS.into_iter().find(fits).unwrap_or(STEP_SECONDS_MAX))
}

/// The first and the last moment at which the poll has taken votes; a poll that is not open yet has taken them since its creation.
fn span(poll: &Poll, now: Timestamp) -> (Timestamp, Timestamp) {
    let created_at = poll.id.created_at();
    let from = poll.opens_at.filter(|&opens_at| opens_at <= now).map_or(created_at, |opens_at| opens_at.max(created_at));
    let last = poll.closes_at.and_then(|closes_at| Timestamp::from_micros(closes_at.as_micros() - 1));
    (from, last.map_or(now, |last| last.min(now)).max(from))
}

#[cfg(test)]
mod tests {
    use polling_core::model::{OwnerKey, PollDraft, PollId, PollParts};
    use uuid::Uuid;

    use super::*;

    const DAY: u64 = 86_400;

    fn noon() -> Timestamp {
        Timestamp::parse("2026-11-24T12:00:00Z").expect("a time")
    }

    fn after(seconds: u64) -> Timestamp {
        noon().saturating_add(Duration::from_secs(seconds))
    }

    fn poll(opens_at: Option<Timestamp>, closes_at: Option<Timestamp>) -> Poll {
        let options = vec!["Yes".into(), "No".into()];
        let draft = PollDraft { question: "Tea?".into(), options, opens_at, closes_at, ..PollDraft::default() };
        let poll = draft.into_poll(OwnerKey([0; 32]), after(7)).expect("sound");
        // Made by itself, an identifier would have the time of the newest that this process has made.
        let millis = u128::try_from(after(7).as_micros() / 1000).expect("after 1970");
        let id = PollId::from_uuid(Uuid::from_u128(millis << 80 | 0x7000_8000_0000_0000_0001)).expect("of version 7");
        Poll::from_parts(PollParts { id, ..PollParts::clone(&poll) }).expect("sound")
    }

    fn cut(poll: &Poll, step: u32, now: u64) -> Option<(Timestamp, usize)> {
        steps_of(poll, StepSeconds(step), after(now)).ok().map(|steps| (steps.start(), steps.count()))
    }

    #[test]
    fn steps_begin_with_the_poll_and_end_with_the_present() {
        let open = poll(None, None);
        assert_eq!(cut(&open, 1, 7), Some((after(7), 1)));
        assert_eq!(cut(&open, 10, 9), Some((noon(), 1)));
        assert_eq!(cut(&open, 10, 10), Some((noon(), 2)));
        assert_eq!(cut(&open, 1, 1006), Some((after(7), 1000)));
        assert_eq!(cut(&open, 1, 1007), None);
        assert_eq!(cut(&open, 10, 0), Some((noon(), 1)), "a clock that is behind");
    }

    #[test]
    fn no_step_is_before_the_opening_or_after_the_close() {
        let planned = poll(Some(after(100)), Some(after(200)));
        assert_eq!(cut(&planned, 10, 50), Some((noon(), 6)));
        assert_eq!(cut(&planned, 10, 150), Some((after(100), 6)));
        assert_eq!(cut(&planned, 10, 9999), Some((after(100), 10)), "what is accepted at the close is late");
        let opened_before_it_was_there = poll(Some(noon()), None);
        assert_eq!(cut(&opened_before_it_was_there, 1, 8), Some((after(7), 2)));
    }

    #[test]
    fn the_default_step_is_round_and_makes_few_points() {
        let open = poll(None, None);
        let cases = [(7, 1), (206, 1), (207, 2), (3600, 30), (DAY, 600), (30 * DAY, 21_600), (365 * DAY, 172_800)];
        for (now, step) in cases.into_iter().chain([(100 * 365 * DAY, 31_536_000)]) {
            assert_eq!(default_step(&open, after(now)).0, step, "after {now} s");
            assert!(cut(&open, step, now).expect("it fits").1 <= 200);
        }
    }
}
