//! The final check: every acknowledged vote is counted, and none twice.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use polling_core::retry::Pauses;
use serde::Serialize;
use tokio::task::JoinSet;
use uuid::Uuid;
use voting::Failure;
use voting::client::{Connection, Target};
use voting::{polls, receipts};

use crate::ledger::Sent;

/// Connections on which receipts are looked up.
const LOOKING_UP: usize = 32;

/// What the servers show in the end.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Check {
    /// Acknowledged votes that are missing: from the tally of a server, or by their receipt, whichever says more.
    pub(crate) lost: u64,
    /// Votes in the tally of a server beyond those that were sent.
    pub(crate) twice: u64,
    /// How many receipts say what.
    pub(crate) receipts: BTreeMap<String, u64>,
    /// Servers that show exactly what was acknowledged.
    pub(crate) servers_as_sent: usize,
}

/// The votes of each option of each poll.
pub(crate) type Tally = Vec<Vec<u64>>;

/// What must be shown at least, counting acknowledged votes, and at most, counting also those that never became known.
pub(crate) fn bounds(sent: &[Sent], polls: usize, options: u8) -> (Tally, Tally) {
    let mut least = vec![vec![0; usize::from(options)]; polls];
    let mut most = least.clone();
    for vote in sent {
        let option = usize::from(vote.option);
        least[vote.poll][option] += u64::from(vote.acknowledged.is_some());
        most[vote.poll][option] += 1;
    }
    (least, most)
}

/// How many votes are missing, and how many too many.
fn compare(shown: &Tally, least: &Tally, most: &Tally) -> (u64, u64) {
    let sum = |of: fn(u64, u64, u64) -> u64| -> u64 {
        let polls = shown.iter().zip(least).zip(most);
        polls.flat_map(|((shown, least), most)| shown.iter().zip(least).zip(most)).map(|((&s, &l), &m)| of(s, l, m)).sum()
    };
    (sum(|shown, least, _| least.saturating_sub(shown)), sum(|shown, _, most| shown.saturating_sub(most)))
}

/// Reads all polls at all servers until they show what was sent, and looks up every receipt until it has an outcome; each for
/// `settle` at most.
pub(crate) async fn check(
    targets: &[Target],
    polls: &[Uuid],
    sent: &[Sent],
    options: u8,
    settle: Duration,
) -> Result<Check, Failure> {
    let (least, most) = bounds(sent, polls.len(), options);
    let give_up = Instant::now() + settle;
    let mut check = Check::default();
    for target in targets {
        let (lost, twice) = at_server(target, polls, (&least, &most), give_up).await?;
        check.lost = check.lost.max(lost);
        check.twice = check.twice.max(twice);
        check.servers_as_sent += usize::from((lost, twice) == (0, 0));
    }
    let kept = sent.iter().filter_map(|vote| vote.acknowledged.as_ref()).map(|(_, receipt)| receipt.clone());
    check.receipts = outcomes(targets, kept.collect(), settle).await?;
    let not_counted: u64 = check.receipts.iter().filter(|(status, _)| *status != "counted").map(|(_, number)| number).sum();
    check.lost = check.lost.max(not_counted);
    Ok(check)
}

async fn at_server(
    target: &Target,
    polls: &[Uuid],
    (least, most): (&Tally, &Tally),
    give_up: Instant,
) -> Result<(u64, u64), Failure> {
    let mut connection = Connection::new(target.clone());
    let mut pauses = Pauses::default();
    loop {
        let read = tally(&mut connection, polls).await;
        let wrong = read.as_ref().map(|shown| compare(shown, least, most));
        if matches!(wrong, Ok((0, 0))) || Instant::now() > give_up {
            return read.map(|shown| compare(&shown, least, most));
        }
        tokio::time::sleep(pauses.next_pause()).await;
    }
}

async fn tally(connection: &mut Connection, polls: &[Uuid]) -> Result<Tally, Failure> {
    let mut tally = Tally::new();
    for poll in polls {
        tally.push(polls::read(connection, *poll).await?.totals().votes);
    }
    Ok(tally)
}

/// Looks up every receipt, at one server after the other.
async fn outcomes(targets: &[Target], receipts: Vec<String>, settle: Duration) -> Result<BTreeMap<String, u64>, Failure> {
    let mut tasks = JoinSet::new();
    let share = receipts.len().div_ceil(LOOKING_UP).max(1);
    for (receipts, target) in receipts.chunks(share).zip(targets.iter().cycle()) {
        let (receipts, connection) = (receipts.to_vec(), Connection::new(target.clone()));
        tasks.spawn(look_up_all(connection, receipts, settle));
    }
    let mut outcomes = BTreeMap::new();
    while let Some(found) = tasks.join_next().await {
        for status in found.map_err(|error| voting::failure(format!("looking up receipts ended: {error}")))?? {
            *outcomes.entry(status).or_default() += 1;
        }
    }
    Ok(outcomes)
}

async fn look_up_all(mut connection: Connection, receipts: Vec<String>, settle: Duration) -> Result<Vec<String>, Failure> {
    let mut outcomes = Vec::with_capacity(receipts.len());
    for receipt in receipts {
        let give_up = Instant::now() + settle;
        let mut pauses = Pauses::default();
        outcomes.push(loop {
            let status = receipts::look_up(&mut connection, &receipt).await;
            let is_final = status.as_ref().is_ok_and(|status| status != "pending");
            if is_final || Instant::now() > give_up {
                break status?;
            }
            tokio::time::sleep(pauses.next_pause()).await;
        });
    }
    Ok(outcomes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(option: u8, is_acknowledged: bool) -> Sent {
        let acknowledged = is_acknowledged.then(|| (Instant::now(), String::new()));
        Sent { due: Instant::now(), poll: 0, option, vote_id: Uuid::nil(), acknowledged }
    }

    #[test]
    fn a_missing_vote_is_lost_and_one_too_many_was_counted_twice() {
        let (least, most) = bounds(&[sent(0, true), sent(0, true), sent(1, true)], 1, 2);
        assert_eq!(compare(&vec![vec![2, 1]], &least, &most), (0, 0));
        assert_eq!(compare(&vec![vec![1, 2]], &least, &most), (1, 1));
    }

    #[test]
    fn a_vote_that_never_became_known_may_be_counted_or_not() {
        let (least, most) = bounds(&[sent(0, true), sent(0, false)], 1, 2);
        assert_eq!(compare(&vec![vec![1, 0]], &least, &most), (0, 0));
        assert_eq!(compare(&vec![vec![2, 0]], &least, &most), (0, 0));
        assert_eq!(compare(&vec![vec![3, 0]], &least, &most), (0, 1));
    }
}
