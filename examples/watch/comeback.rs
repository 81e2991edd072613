//! When to open the socket again.

use std::time::Duration;

/// A socket that was open for so long was well, and the pauses after it begin anew.
const WELL_AFTER: Duration = Duration::from_secs(60);
/// The pause after the first socket that was not, at most. It doubles with each.
const FIRST: Duration = Duration::from_millis(500);
/// The longest pause.
const LONGEST: Duration = Duration::from_secs(30);

/// Counts sockets that did not last.
#[derive(Debug, Default)]
pub(crate) struct Comeback {
    failures: u32,
}

impl Comeback {
    /// The pause after a socket that was open for so long, and was closed with this reason: as long as a server says that stops, and
    /// otherwise by chance, because all clients of a server lose it at once.
    pub(crate) fn pause(&mut self, open_for: Duration, reason: Option<&str>) -> Duration {
        if open_for > WELL_AFTER {
            self.failures = 0;
        }
        let longest = FIRST.saturating_mul(2_u32.saturating_pow(self.failures)).min(LONGEST);
        self.failures += 1;
        reason.and_then(said).unwrap_or_else(|| rand::random_range(Duration::ZERO..=longest))
    }
}

/// What a server that stops says: `retry: 1234`, in milliseconds.
fn said(reason: &str) -> Option<Duration> {
    let (_, millis) = reason.split_once("retry: ")?;
    let digits = millis.split(|character: char| !character.is_ascii_digit()).next()?;
    Some(Duration::from_millis(digits.parse().ok()?).min(LONGEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_stops_says_when_to_come_back() {
        let pause = |reason| Comeback::default().pause(Duration::ZERO, Some(reason));
        assert_eq!(pause("the server is stopping; retry: 1234"), Duration::from_millis(1234));
        assert_eq!(pause("retry: 999999999"), LONGEST);
        assert!(pause("retry: soon") <= FIRST);
    }

    #[test]
    fn pauses_grow_until_a_socket_lasts() {
        // By chance, so the longest of many is looked at.
        let longest = |failures, open_for| (0..1000).map(|_| Comeback { failures }.pause(open_for, None)).max().expect("some");
        let briefly = Duration::from_secs(59);
        assert!(longest(0, briefly) > FIRST / 2 && longest(0, briefly) <= FIRST);
        assert!(longest(3, briefly) > 4 * FIRST && longest(3, briefly) <= 8 * FIRST);
        assert!(longest(u32::MAX - 1, briefly) > LONGEST / 2 && longest(u32::MAX - 1, briefly) <= LONGEST);
        assert!(longest(9, Duration::from_secs(61)) <= FIRST);
        let mut comeback = Comeback::default();
        comeback.pause(briefly, Some("retry: 1"));
        comeback.pause(briefly, None);
        assert_eq!(comeback.failures, 2);
    }
}
