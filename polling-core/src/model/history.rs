//! How the totals of a poll grew: steps side by side in time, and the totals at the end of each.

use std::time::Duration;

use super::poll::OptionId;
use super::tally::{Tally, Totals};
use super::vote::Choices;
use crate::clock::Timestamp;

/// Steps that a history may have: more than a chart has columns, and few enough to be answered at once.
pub const STEPS_MAX: usize = 1000;

/// Steps of one width, side by side in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Steps {
    start: Timestamp,
    width_micros: i64,
    count: usize,
}

impl Steps {
    /// So many steps, 1 to [`STEPS_MAX`], the first of which begins at `start`. `None` for a width of less than a microsecond, and
    /// when the last does not begin before the end of time.
    #[must_use]
    pub fn new(start: Timestamp, width: Duration, count: usize) -> Option<Self> {
        let width_micros = i64::try_from(width.as_micros()).ok().filter(|&micros| micros > 0)?;
        let before_the_last = i64::try_from(count.checked_sub(1)?).ok()?.checked_mul(width_micros)?;
        Timestamp::from_micros(start.as_micros().checked_add(before_the_last)?)?;
        (count <= STEPS_MAX).then_some(Self { start, width_micros, count })
    }

    /// When the first step begins.
    #[must_use]
    pub const fn start(&self) -> Timestamp {
        self.start
    }

    /// How long a step is, in microseconds.
    #[must_use]
    pub const fn width_micros(&self) -> i64 {
        self.width_micros
    }

    /// How many steps there are.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.count
    }

    /// The step in which this time falls. What is before all of them falls into the first, and what is after them into the last: the
    /// clocks of servers differ a little, and no vote may be missing.
    #[must_use]
    pub fn find(&self, at: Timestamp) -> usize {
        let steps = (at.as_micros() - self.start.as_micros()) / self.width_micros;
        usize::try_from(steps).unwrap_or(0).min(self.count - 1)
    }

    /// When each of the steps ends, the first instant that is not in it; at most the end of time.
    pub fn ends(&self) -> impl Iterator<Item = Timestamp> + use<> {
        let (start, width) = (self.start, Duration::from_micros(self.width_micros.unsigned_abs()));
        (1..=u32::try_from(self.count).unwrap_or(u32::MAX)).map(move |number| start.saturating_add(width.saturating_mul(number)))
    }
}

/// How the totals of a poll grew up to its tally.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    /// The tally, of the same moment.
    pub tally: Tally,
    /// The totals at the end of each step, of the votes as they count now. Never fewer than in the step before, and the last are
    /// those of the tally.
    pub points: Vec<Totals>,
}

/// Adds up a history: put in what was accepted in each step, in any order, and take out the running totals.
#[derive(Debug)]
pub struct HistorySum {
    steps: Steps,
    added: Vec<Totals>,
}

impl HistorySum {
    /// Nothing put in yet, for a poll of so many options.
    #[must_use]
    pub fn new(steps: Steps, options: usize) -> Self {
        Self { steps, added: vec![Totals::zero(options); steps.count] }
    }

    /// Puts in a vote that counts.
    ///
    /// # Panics
    ///
    /// When a choice is beyond the options: a history that would be wrong is worse than none.
    pub fn add(&mut self, accepted_at: Timestamp, choices: Choices) {
        self.added[self.steps.find(accepted_at)].replace(None, Some(choices));
    }

    /// Puts in the voters of a step; answers `None` when there is no such step.
    #[must_use]
    pub fn add_voters(&mut self, step: usize, voters: u64) -> Option<()> {
        let total = &mut self.added.get_mut(step)?.voters;
        *total = total.checked_add(voters)?;
        Some(())
    }

    /// Puts in the votes of an option in a step; answers `None` when there is no such step or option.
    #[must_use]
    pub fn add_votes(&mut self, step: usize, option: OptionId, votes: u64) -> Option<()> {
        let total = self.added.get_mut(step)?.votes.get_mut(option.index())?;
        *total = total.checked_add(votes)?;
        Some(())
    }

    /// The running totals; `None` when they do not come to the tally.
    #[must_use]
    pub fn finish(self, tally: Tally) -> Option<History> {
        let mut points = self.added;
        for index in 1..points.len() {
            let (before, rest) = points.split_at_mut(index);
            rest[0].add(&before[index - 1])?;
        }
        (points.last() == Some(&tally.totals)).then_some(History { tally, points })
    }
}

impl Totals {
    /// Adds those of other voters; `None` when there are more than can be counted.
    fn add(&mut self, others: &Self) -> Option<()> {
        self.voters = self.voters.checked_add(others.voters)?;
        for (votes, more) in self.votes.iter_mut().zip(&others.votes) {
            *votes = votes.checked_add(*more)?;
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{PollId, Version};

    fn at(micros: i64) -> Timestamp {
        Timestamp::from_micros(micros).expect("in range")
    }

    fn steps(start: i64, width: u64, count: usize) -> Option<Steps> {
        Steps::new(at(start), Duration::from_micros(width), count)
    }

    #[test]
    fn steps_have_bounds() {
        assert!(steps(0, 1, 1).is_some() && steps(0, 1, STEPS_MAX).is_some());
        assert!(steps(0, 0, 1).is_none() && steps(0, 1, 0).is_none() && steps(0, 1, STEPS_MAX + 1).is_none());
        assert!(Steps::new(Timestamp::MAX, Duration::from_secs(1), 1).is_some());
        assert!(Steps::new(Timestamp::MAX, Duration::from_secs(1), 2).is_none());
        assert!(Steps::new(Timestamp::MIN, Duration::MAX, 1).is_none());
        let last = Steps::new(Timestamp::MAX, Duration::from_secs(1), 1).expect("sound");
        assert_eq!(last.ends().collect::<Vec<_>>(), [Timestamp::MAX]);
    }

    #[test]
    fn every_time_falls_into_a_step() {
        let steps = steps(100, 10, 3).expect("sound");
        assert_eq!(steps.ends().collect::<Vec<_>>(), [at(110), at(120), at(130)]);
        for (time, step) in [(0, 0), (99, 0), (100, 0), (109, 0), (110, 1), (129, 2), (130, 2), (1_000_000, 2)] {
            assert_eq!(steps.find(at(time)), step, "{time}");
        }
    }

    #[test]
    fn a_history_ends_with_the_tally_or_is_none() {
        let poll = PollId::new(at(0));
        let tally = |voters, votes| Tally { poll, version: Version::default(), totals: Totals { voters, votes } };
        let sum = || {
            let mut sum = HistorySum::new(steps(0, 10, 3).expect("sound"), 2);
            let second = OptionId::new(2).expect("an option");
            sum.add(at(5), Choices::new([second]).expect("a set"));
            sum.add_voters(2, 2).expect("a step");
            sum.add_votes(2, second, 2).expect("a step");
            assert!(sum.add_voters(3, 1).is_none());
            assert!(sum.add_votes(0, OptionId::new(3).expect("an option"), 1).is_none());
            sum
        };
        let history = sum().finish(tally(3, vec![0, 3])).expect("it comes to the tally");
        assert_eq!(history.points.iter().map(|point| point.voters).collect::<Vec<_>>(), [1, 1, 3]);
        assert!(sum().finish(tally(3, vec![1, 2])).is_none());
    }
}
