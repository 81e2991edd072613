//! Points in time, and where they come from.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A point in time in whole microseconds since 1970-01-01 00:00 UTC, at most the last one of the year 9999.
///
/// Prints as RFC 3339 in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The first point in time that can be named.
    pub const MIN: Self = Self(0);
    /// The last point in time that can be named: RFC 3339 has four digits for the year.
    pub const MAX: Self = Self(253_402_300_799_999_999);

    /// Takes microseconds since the epoch; `None` outside [`MIN`](Self::MIN)..=[`MAX`](Self::MAX).
    #[must_use]
    pub const fn from_micros(micros: i64) -> Option<Self> {
        if micros < Self::MIN.0 || micros > Self::MAX.0 { None } else { Some(Self(micros)) }
    }

    /// Reads RFC 3339, in any offset; what is finer than a microsecond is cut off. `None` for anything else, and for times out of range.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let parsed = OffsetDateTime::parse(text, &Rfc3339).ok()?;
        let micros = parsed.unix_timestamp_nanos().div_euclid(1000);
        Self::from_micros(i64::try_from(micros).ok()?)
    }

    /// Microseconds since the epoch.
    #[must_use]
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// This time cut to whole milliseconds, the resolution of a poll's creation.
    #[must_use]
    pub const fn floor_to_millis(self) -> Self {
        Self(self.0 - self.0 % 1000)
    }

    /// The time `duration` later, at most [`MAX`](Self::MAX).
    #[must_use]
    pub fn saturating_add(self, duration: Duration) -> Self {
        let micros = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        Self(self.0.saturating_add(micros).min(Self::MAX.0))
    }

    /// How long after `earlier` this is; zero when it is not after it.
    #[must_use]
    pub fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0 - earlier.0).unwrap_or(0))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1000)
            .ok()
            .and_then(|moment| moment.format(&Rfc3339).ok())
            .ok_or(fmt::Error)?;
        formatter.write_str(&text)
    }
}

/// Tells the time. One per process, given to everything that needs it, so that a test can hold the hands.
pub trait Clock: Send + Sync {
    /// The present time.
    fn now(&self) -> Timestamp;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::MIN.saturating_add(since_epoch)
    }
}

/// A clock that moves only when told to, in either direction.
#[cfg(any(test, feature = "test-util"))]
#[derive(Debug)]
pub struct ManualClock(std::sync::atomic::AtomicI64);

#[cfg(any(test, feature = "test-util"))]
impl ManualClock {
    /// Starts at `now`.
    #[must_use]
    pub const fn new(now: Timestamp) -> Self {
        Self(std::sync::atomic::AtomicI64::new(now.as_micros()))
    }

    /// Moves on by `duration`.
    pub fn advance(&self, duration: Duration) {
        let later = self.now().saturating_add(duration);
        self.0.store(later.as_micros(), std::sync::atomic::Ordering::SeqCst);
    }

    /// Goes back by `duration`, at most to [`Timestamp::MIN`], as a clock does that somebody sets right.
    pub fn set_back(&self, duration: Duration) {
        let since_epoch = self.now().saturating_since(Timestamp::MIN).saturating_sub(duration);
        self.0.store(Timestamp::MIN.saturating_add(since_epoch).as_micros(), std::sync::atomic::Ordering::SeqCst);
    }
}

#[cfg(any(test, feature = "test-util"))]
impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(std::sync::atomic::Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_prints_as_it_was_read() {
        for text in ["2026-11-24T05:35:28Z", "2026-11-24T05:35:28.000001Z", "9999-12-31T23:59:59.999999Z"] {
            assert_eq!(Timestamp::parse(text).map(|time| time.to_string()).as_deref(), Some(text));
        }
    }

    #[test]
    fn an_offset_is_turned_into_utc() {
        let time = Timestamp::parse("2026-11-24T07:35:28+02:00");
        assert_eq!(time, Timestamp::parse("2026-11-24T05:35:28Z"));
    }

    #[test]
    fn a_time_out_of_range_cannot_be_made() {
        assert_eq!(Timestamp::from_micros(-1), None);
        assert_eq!(Timestamp::from_micros(Timestamp::MAX.as_micros() + 1), None);
        assert_eq!(Timestamp::parse("1969-12-31T23:59:59Z"), None);
        assert_eq!(Timestamp::MAX.saturating_add(Duration::from_secs(1)), Timestamp::MAX);
    }
}
