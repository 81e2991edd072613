//! Updates as the text of notifications: items with a space between them, each a letter and numbers with colons between them.
//!
//! `t` poll, epoch, version, voters, votes of each option with commas between them; `c` poll that changed; `p` partition, offset of the
//! next record; `!` something was lost here. What a newer program adds is read as a loss, so that readers look into the store.
//!
//! Audiences have notifications of their own, on a channel of their own, to which older programs do not listen: server, milliseconds,
//! polls and watchers, with colons between them.

use std::fmt::Write as _;
use std::time::Duration;

use uuid::Uuid;

use super::{AUDIENCE_POLLS_MAX, Audience, Notice, Update};
use crate::checkpoint::{Offset, Partition};
use crate::model::{PollId, Tally, Totals, Version};

/// Bytes of a payload, at most: the server takes less than 8000. The longest item has 2,200.
/// <https://www.postgresql.org/docs/current/sql-notify.html>
const PAYLOAD_BYTES_MAX: usize = 7900;
const LOSS: &str = "!";

/// Puts updates into as few payloads as they fit in, in their order; a loss comes before all of them.
pub(super) fn pack(updates: impl IntoIterator<Item = Update>, is_after_a_loss: bool) -> Vec<String> {
    let (mut payloads, mut payload) = (Vec::new(), String::new());
    if is_after_a_loss {
        payload.push_str(LOSS);
    }
    let mut item = String::new();
    for update in updates {
        item.clear();
        // Writing into a string cannot fail.
        let _infallible = write_item(&mut item, &update);
        if !payload.is_empty() && payload.len() + 1 + item.len() > PAYLOAD_BYTES_MAX {
            payloads.push(std::mem::take(&mut payload));
        }
        if !payload.is_empty() {
            payload.push(' ');
        }
        payload.push_str(&item);
    }
    if !payload.is_empty() {
        payloads.push(payload);
    }
    payloads
}

fn write_item(item: &mut String, update: &Update) -> std::fmt::Result {
    match update {
        Update::Tally(Tally { poll, version, totals }) => {
            let poll = poll.as_uuid();
            write!(item, "t{}:{}:{}:{}", poll.simple(), version.epoch, version.number, totals.voters)?;
            for (index, votes) in totals.votes.iter().enumerate() {
                write!(item, "{}{votes}", if index == 0 { ':' } else { ',' })?;
            }
            Ok(())
        }
        Update::Changed(poll) => write!(item, "c{}", poll.as_uuid().simple()),
        Update::Progress { partition, next } => write!(item, "p{partition}:{next}"),
        Update::Audience(_) => Ok(()),
    }
}

/// An audience, in as many payloads as it takes.
pub(super) fn pack_audience(audience: &Audience) -> Vec<String> {
    let pack = |watchers: &[(PollId, u32)]| {
        let mut payload = format!("{}:{}", audience.server.simple(), audience.valid_for.as_millis());
        for (poll, count) in watchers {
            let _infallible = write!(payload, ":{}:{count}", poll.as_uuid().simple());
        }
        payload
    };
    audience.watchers.chunks(AUDIENCE_POLLS_MAX).map(pack).collect()
}

/// `None` for what cannot be read, which is no loss.
pub(super) fn unpack_audience(payload: &str) -> Option<Audience> {
    let mut fields = payload.split(':');
    let server = Uuid::try_parse(fields.next()?).ok()?;
    let valid_for = Duration::from_millis(fields.next()?.parse().ok()?);
    let mut watchers = Vec::new();
    while let Some(poll) = fields.next() {
        watchers.push((read_poll(poll)?, fields.next()?.parse().ok()?));
    }
    Some(Audience { server, valid_for, watchers })
}

/// What a payload says, as subscribers get it. Never two losses without an update between them.
pub(super) fn unpack(payload: &str) -> Vec<Notice> {
    let (mut notices, mut updates) = (Vec::new(), Vec::new());
    for item in payload.split(' ') {
        if let Some(update) = read_item(item) {
            updates.push(update);
            continue;
        }
        if !updates.is_empty() {
            notices.push(Notice::Updates(std::mem::take(&mut updates).into()));
        }
        if notices.last() != Some(&Notice::Lagged) {
            notices.push(Notice::Lagged);
        }
    }
    if !updates.is_empty() {
        notices.push(Notice::Updates(updates.into()));
    }
    notices
}

fn read_item(item: &str) -> Option<Update> {
    let mut kind = item.chars();
    let kind = kind.next()?;
    let mut fields = item[kind.len_utf8()..].split(':');
    let update = match kind {
        't' => {
            let poll = read_poll(fields.next()?)?;
            let version = Version { epoch: fields.next()?.parse().ok()?, number: fields.next()?.parse().ok()? };
            let voters = fields.next()?.parse().ok()?;
            let votes = fields.next()?.split(',').map(|votes| votes.parse().ok()).collect::<Option<_>>()?;
            Update::Tally(Tally { poll, version, totals: Totals { voters, votes } })
        }
        'c' => Update::Changed(read_poll(fields.next()?)?),
        'p' => Update::Progress {
            partition: Partition(fields.next()?.parse().ok()?),
            next: Offset::new(fields.next()?.parse().ok()?)?,
        },
        _ => return None,
    };
    fields.next().is_none().then_some(update)
}

fn read_poll(text: &str) -> Option<PollId> {
    PollId::from_uuid(Uuid::try_parse(text).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;

    fn poll() -> PollId {
        PollId::new(Timestamp::from_micros(1_800_000_000_000_000).expect("in range"))
    }

    fn tally(options: u64) -> Update {
        let version = Version { epoch: u64::MAX, number: u64::MAX };
        let totals = Totals { voters: u64::MAX, votes: (0..options).map(|option| u64::MAX - option).collect() };
        Update::Tally(Tally { poll: poll(), version, totals })
    }

    #[test]
    fn the_largest_tallies_fit_and_come_back_in_order() {
        let progress = Update::Progress { partition: Partition(u32::MAX), next: Offset::new(i64::MAX).expect("an offset") };
        let sent: Vec<Update> = (0..50).flat_map(|_| [tally(100), Update::Changed(poll()), progress.clone()]).collect();
        let payloads = pack(sent.clone(), false);
        assert!(payloads.len() > 10 && payloads.iter().all(|payload| payload.len() <= PAYLOAD_BYTES_MAX));
        let mut received = Vec::new();
        for notice in payloads.iter().flat_map(|payload| unpack(payload)) {
            let Notice::Updates(updates) = notice else { panic!("nothing was lost") };
            received.extend(updates.iter().cloned());
        }
        assert_eq!(received, sent);
    }

    #[test]
    fn the_largest_audience_fits_and_comes_back() {
        let watchers = vec![(poll(), u32::MAX); AUDIENCE_POLLS_MAX];
        let valid_for = Duration::from_millis(u32::MAX.into());
        let audience = Audience { server: Uuid::from_u128(u128::MAX), valid_for, watchers };
        let payloads = pack_audience(&audience);
        assert!(payloads.len() == 1 && payloads[0].len() <= PAYLOAD_BYTES_MAX, "{}", payloads[0].len());
        assert_eq!(unpack_audience(&payloads[0]), Some(audience.clone()));
        let twice = Audience { watchers: [audience.watchers.clone(), audience.watchers].concat(), ..audience };
        assert_eq!(pack_audience(&twice).len(), 2);
        for strange in ["", "x", "x:1", "00000000000000000000000000000007:1:x", "00000000000000000000000000000007:1:x:1"] {
            assert_eq!(unpack_audience(strange), None, "{strange}");
        }
    }

    #[test]
    fn a_loss_comes_first_and_alone() {
        let update = Update::Changed(poll());
        let payloads = pack([update.clone()], true);
        assert_eq!(unpack(&payloads[0]), [Notice::Lagged, Notice::Updates([update].into())]);
        assert_eq!(pack([], true), [LOSS]);
        assert_eq!(pack([], false), [""; 0]);
    }

    #[test]
    fn what_cannot_be_read_is_a_loss() {
        for strange in ["x1", "t", "p1", "p1:2:3", "c123", "p-1:0", "p0:-1", "é", ""] {
            assert_eq!(unpack(strange), [Notice::Lagged], "{strange}");
            assert_eq!(unpack(&format!("{strange} !")), [Notice::Lagged], "{strange}");
        }
    }
}
