//! Holds what the programs say against the definition of counting, applied to what is in the log.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use futures_util::StreamExt;
use polling_core::checkpoint::{Checkpoint, Entry, Offset, Partition, Position};
use polling_core::model::{OptionId, PollId, Vote, count};
use polling_core::open::Backends;
use polling_core::source::SourceEvent;
use serde_json::Value;
use uuid::Uuid;

use crate::client::Client;
use crate::crowd::{Acknowledged, Crowd};
use crate::kafka;
use crate::place::Place;
use crate::wait::{eventually, soon};

/// Receipts that are looked up at once.
const LOOK_UPS: usize = 32;

/// Waits until all that is in the log is counted. Nobody may write meanwhile.
async fn counted(place: &Place, backends: &Backends) -> BTreeMap<Partition, Offset> {
    let (brokers, topic) = (place.brokers().to_owned(), place.topic());
    let ends = tokio::task::spawn_blocking(move || kafka::ends(&brokers, &topic)).await.expect("asked");
    let mut expected = Checkpoint::default();
    ends.iter().filter(|(_, end)| **end > Offset::ZERO).for_each(|(&partition, &end)| expected.set(partition, end));
    eventually("everything in the log is counted", async || {
        let checkpoint = backends.tallies.checkpoint().await.expect("the store is read");
        checkpoint.iter().eq(expected.iter()).then_some(())
    })
    .await;
    ends
}

/// Waits until all that is in the log is counted.
pub(crate) async fn everything_is_counted(place: &Place) {
    let backends = place.open().await;
    counted(place, &backends).await;
    backends.shut_down().await;
}

/// Checks that what was acknowledged is in the log and nothing else, that it was counted by the rule, and that every server and
/// every receipt says so. Answers the votes in the log.
pub(crate) async fn audit(place: &Place, crowd: &Crowd, servers: &[&Client]) -> Vec<Vote> {
    let backends = place.open().await;
    let ends = counted(place, &backends).await;
    let votes = read(&backends, &ends).await;
    let sent = crowd.sent();
    for vote in &votes {
        let ballot = sent.get(&vote.id.0).expect("only what was sent is in the log");
        let choices: Vec<u8> = vote.kind.choices().iter().flat_map(|choices| choices.iter()).map(OptionId::get).collect();
        assert_eq!((ballot.poll, &ballot.choices), (vote.poll.as_uuid(), &choices));
    }

    let ids: BTreeSet<PollId> = sent.values().filter_map(|ballot| PollId::from_uuid(ballot.poll)).collect();
    let mut polls = BTreeMap::new();
    for &id in &ids {
        let snapshot = backends.polls.read(id).await.expect("the store is read").expect("the poll is there");
        polls.insert(id, snapshot.poll);
    }
    let (totals, resolutions) = count(&polls, &votes);
    let ids: Vec<PollId> = ids.into_iter().collect();
    let tallies = backends.tallies.tallies(&ids).await.expect("the store is read");
    let kept: BTreeMap<PollId, _> = tallies.into_iter().map(|tally| (tally.poll, tally.totals)).collect();
    assert_eq!(kept, totals, "the tallies are those of the log");
    for server in servers {
        for (id, totals) in &totals {
            shows(server, id.as_uuid(), totals.voters, &totals.votes).await;
        }
    }

    let outcomes: HashMap<Uuid, &str> =
        votes.iter().zip(&resolutions).map(|(vote, resolution)| (vote.id.0, resolution.outcome.as_str())).collect();
    let acknowledged = crowd.acknowledged();
    let lost: Vec<&Acknowledged> = acknowledged.iter().filter(|told| !outcomes.contains_key(&told.vote)).collect();
    assert!(lost.is_empty(), "{} of {} acknowledged votes are not in the log: {lost:?}", lost.len(), acknowledged.len());
    receipts(servers, &acknowledged, &outcomes).await;
    backends.shut_down().await;
    votes
}

/// The whole log.
async fn read(backends: &Backends, ends: &BTreeMap<Partition, Offset>) -> Vec<Vote> {
    let mut records: BTreeMap<Position, Vote> = BTreeMap::new();
    let all: u64 = ends.values().filter_map(|end| end.since(Offset::ZERO)).sum();
    while (records.len() as u64) < all {
        match soon("the log is read", backends.source.next()).await.expect("the log is read") {
            SourceEvent::Assigned(partitions) => {
                for partition in partitions {
                    backends.source.start(partition, Offset::ZERO, None).await.expect("started");
                }
            }
            SourceEvent::Batch(batch) => {
                for (position, entry) in batch.positioned() {
                    let Entry::Vote(vote) = entry else { panic!("{position:?} cannot be read") };
                    records.insert(position, *vote);
                }
                backends.source.acknowledge(&batch, None).await;
            }
            SourceEvent::Revoked(_) => {}
            event => panic!("unexpected: {event:?}"),
        }
    }
    records.into_values().collect()
}

/// Waits until a server shows these totals.
async fn shows(server: &Client, poll: Uuid, voters: u64, votes: &[u64]) {
    eventually("a server shows the totals", async || {
        let (status, poll) = server.get(&format!("/polls/{poll}")).await;
        (status == 200 && totals(&poll["results"]) == (voters, votes.to_vec())).then_some(())
    })
    .await;
}

/// The voters and the votes of each option, in an answer or in a frame.
pub(crate) fn totals(results: &Value) -> (u64, Vec<u64>) {
    let options = results["options"].as_array().map(Vec::as_slice).unwrap_or_default();
    let votes = options.iter().filter_map(|option| option["votes"].as_u64());
    (results["voters"].as_u64().unwrap_or(u64::MAX), votes.collect())
}

async fn receipts(servers: &[&Client], acknowledged: &[Acknowledged], outcomes: &HashMap<Uuid, &str>) {
    let look_up = async |(told, server): (&Acknowledged, &&Client)| {
        let (status, receipt) = server.get(&format!("/receipts/{}", told.receipt)).await;
        let expected = outcomes.get(&told.vote).copied();
        assert_eq!((status, receipt["status"].as_str()), (200, expected), "{told:?}: {receipt}");
        assert_eq!(receipt["poll_id"].as_str(), Some(&*told.poll.to_string()));
    };
    // Of thousands that were simply counted, a part will do.
    let is_looked_up = |(number, told): &(usize, &Acknowledged)| number % 4 == 0 || outcomes.get(&told.vote) != Some(&"counted");
    let looked_up = acknowledged.iter().enumerate().filter(is_looked_up).map(|(_, told)| told);
    let looks = looked_up.zip(servers.iter().cycle());
    futures_util::stream::iter(looks).for_each_concurrent(LOOK_UPS, look_up).await;
}
