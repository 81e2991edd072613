//! How often one address and one voter may ask.

use std::hash::{BuildHasher, Hash, RandomState};
use std::net::IpAddr;
use std::num::NonZeroU32;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use polling_core::model::VoterKey;

use super::problem::Problem;
use crate::transport::client_address::share_holder;

/// Buckets that all addresses, or all voters, fall into: so the memory for them is bounded (about ten megabytes), whoever comes. Two
/// share one by chance, and nobody can choose to, because the places change with every start.
const BUCKETS: u64 = 1 << 18;
/// Requests that may come at once, or within a time, at most: far beyond what one server answers.
const COUNT_MAX: u32 = 1_000_000;

/// So many in a time, and so many at once after a pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate(Quota);

impl Rate {
    /// Reads `COUNT/UNIT` or `COUNT/UNIT:BURST`, where the unit is s, m or h; without a burst, as many may come at once as in a unit.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let count = |text: &str| text.parse::<NonZeroU32>().ok().filter(|count| count.get() <= COUNT_MAX);
        let (rate, burst) = text.split_once(':').map_or((text, None), |(rate, burst)| (rate, Some(burst)));
        let (per_unit, unit) = rate.split_once('/')?;
        let per_unit = count(per_unit)?;
        let quota = match unit {
            "s" => Quota::per_second(per_unit),
            "m" => Quota::per_minute(per_unit),
            "h" => Quota::per_hour(per_unit),
            _ => return None,
        };
        Some(Self(quota.allow_burst(burst.map_or(Some(per_unit), count)?)))
    }
}

/// The rates that are asked for; `None`: no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rates {
    /// Requests of one address, whatever they ask for. Of an address of IPv6 the network of 64 bits counts, because whoever has one
    /// address of it has all.
    pub address: Option<Rate>,
    /// Votes and retractions of one voter in one poll.
    pub voter: Option<Rate>,
}

/// Counts what comes from each key, and says when it is too much.
pub(crate) struct RateLimit {
    label: &'static str,
    limiter: DefaultKeyedRateLimiter<u64>,
    places: RandomState,
    clock: DefaultClock,
}

impl RateLimit {
    /// For addresses; `None` when there is no limit.
    pub(crate) fn of_addresses(rates: Rates) -> Option<Self> {
        rates.address.map(|rate| Self::new("address", rate))
    }

    /// For voters; `None` when there is no limit.
    pub(crate) fn of_voters(rates: Rates) -> Option<Self> {
        rates.voter.map(|rate| Self::new("voter", rate))
    }

    fn new(label: &'static str, Rate(quota): Rate) -> Self {
        let clock = DefaultClock::default();
        Self { label, limiter: RateLimiter::keyed(quota), places: RandomState::new(), clock }
    }

    /// Counts a request of this address.
    pub(crate) fn admit_address(&self, address: IpAddr) -> Result<(), Problem> {
        self.admit(share_holder(address))
    }

    /// Counts a vote of this voter.
    pub(crate) fn admit_voter(&self, voter: VoterKey) -> Result<(), Problem> {
        self.admit(voter.0)
    }

    fn admit(&self, key: impl Hash) -> Result<(), Problem> {
        self.limiter.check_key(&(self.places.hash_one(key) % BUCKETS)).map_err(|refused| {
            metrics::counter!("polling_rate_limited_total", "by" => self.label).increment(1);
            Problem::rate_limited(refused.wait_time_from(self.clock.now()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_count_a_unit_and_perhaps_a_burst() {
        for sound in ["1/s", "30/m", "1000000/h", "100/s:1", "2/m:50"] {
            assert!(Rate::parse(sound).is_some(), "{sound}");
        }
        for wrong in ["", "1", "0/s", "1/d", "-1/s", "1/s:0", "1/s:", "1000001/s", "1/s:1:1", " 1/s"] {
            assert_eq!(Rate::parse(wrong), None, "{wrong}");
        }
        assert_eq!(Rate::parse("5/m"), Rate::parse("5/m:5"));
    }

    #[test]
    fn the_burst_is_admitted_and_then_nothing_for_a_time() {
        let limit = RateLimit::new("address", Rate::parse("1/h:3").expect("sound"));
        let [first, second]: [IpAddr; 2] = ["192.0.2.1", "192.0.2.2"].map(|address| address.parse().expect("an address"));
        for _ in 0..3 {
            assert!(limit.admit_address(first).is_ok());
        }
        assert!(limit.admit_address(first).is_err());
        assert!(limit.admit_address(second).is_ok(), "another address has its own share");
    }
}
