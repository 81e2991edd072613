//! Reads everything that is left in the end: the log, the store, what servers show and what receipts say.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::StreamExt;
use hyper::Method;
use polling_core::checkpoint::{Entry, Offset, Position};
use polling_core::model::OptionId;
use polling_core::open::{Backends, open};
use polling_core::source::SourceEvent;
use serde::Deserialize;
use uuid::Uuid;
use voting::client::{Connection, Target};
use voting::history::{Counted, Final, Record, RecordedVote};
use voting::{Failure, failure, polls, receipts};

use crate::clients::Acknowledged;
use crate::kafka;
use crate::postgres::Session;
use crate::world::World;

/// How long reading the log may take in which nothing comes.
const NEXT_BATCH_WITHIN: Duration = Duration::from_secs(60);
/// Receipts that are looked up at once.
const LOOK_UPS: usize = 16;
/// Attempts to look one up.
const LOOK_UP_ATTEMPTS: usize = 5;

/// Everything but what servers show and what receipts say.
pub(crate) async fn read(world: &World) -> Result<Final, Failure> {
    let mut state = Final { ends: kafka::ends(&world.cluster.brokers, &world.topic()).await?, ..Final::default() };
    let backends = open(&world.auditor()).await.map_err(|error| failure(format!("the auditor is not let in: {error}")))?;
    let log = read_log(&backends, &state.ends).await;
    backends.shut_down().await;
    state.log = log?;
    Session::open(&world.cluster.database, &world.schema()).await?.everything(&mut state).await?;
    Ok(state)
}

async fn read_log(backends: &Backends, ends: &BTreeMap<u32, i64>) -> Result<Vec<Record>, Failure> {
    let wrong = |error: polling_core::source::SourceError| failure(format!("the log cannot be read: {error}"));
    let mut records: BTreeMap<Position, Record> = BTreeMap::new();
    let all: u64 = ends.values().map(|end| end.unsigned_abs()).sum();
    while (records.len() as u64) < all {
        let next = tokio::time::timeout(NEXT_BATCH_WITHIN, backends.source.next()).await;
        match next.map_err(|_| failure(format!("only {} of {all} records of the log come", records.len())))?.map_err(wrong)? {
            SourceEvent::Assigned(partitions) => {
                for partition in partitions {
                    backends.source.start(partition, Offset::ZERO, None).await.map_err(wrong)?;
                }
            }
            SourceEvent::Batch(batch) => {
                records.extend(batch.positioned().map(|(position, entry)| (position, record(position, entry))));
                backends.source.acknowledge(&batch, None).await;
            }
            SourceEvent::Revoked(_) => {}
            SourceEvent::Stopped { partition, alarm } => {
                return Err(failure(format!("partition {partition} of the log cannot be read: {alarm}")));
            }
            SourceEvent::Closed => return Err(failure("the log was closed".to_owned())),
        }
    }
    Ok(records.into_values().collect())
}

fn record(position: Position, entry: &Entry) -> Record {
    let vote = match entry {
        Entry::Vote(vote) => Some(RecordedVote {
            poll: vote.poll.as_uuid(),
            voter: Uuid::from_bytes(vote.voter.0),
            vote_id: vote.id.0,
            accepted_at: vote.accepted_at.as_micros(),
            choices: vote.kind.choices().iter().flat_map(|choices| choices.iter()).map(OptionId::get).collect(),
        }),
        Entry::DeadLetter(_) => None,
    };
    Record { partition: position.partition.0, offset: position.offset.get(), vote }
}

/// What a server shows of each poll.
pub(crate) async fn shown(server: &Target, ids: impl Iterator<Item = Uuid>) -> Result<BTreeMap<Uuid, Counted>, Failure> {
    let mut connection = Connection::new(server.clone());
    let mut shown = BTreeMap::new();
    for id in ids {
        let totals = polls::read(&mut connection, id).await?.totals();
        shown.insert(id, Counted { voters: totals.voters, votes: totals.votes });
    }
    Ok(shown)
}

/// The votes of each option on a server's leaderboard.
pub(crate) async fn leaders(server: &Target) -> Result<BTreeMap<(Uuid, u8), u64>, Failure> {
    #[derive(Deserialize)]
    struct Leaderboard {
        entries: Vec<Leader>,
    }
    #[derive(Deserialize)]
    struct Leader {
        poll_id: Uuid,
        option_id: u8,
        votes: u64,
    }
    let uri = server.path("/leaderboard?limit=100")?;
    let answer = Connection::new(server.clone()).send(Method::GET, uri, None).await;
    let answer = answer.map_err(|broken| polls::no_answer("GET /leaderboard", &broken))?;
    let board: Leaderboard =
        serde_json::from_slice(&answer.body).map_err(|error| failure(format!("the leaderboard cannot be read: {error}")))?;
    Ok(board.entries.into_iter().map(|leader| ((leader.poll_id, leader.option_id), leader.votes)).collect())
}

/// What a leaderboard shows of these tallies.
pub(crate) fn leaders_of(tallies: &BTreeMap<Uuid, Counted>) -> BTreeMap<(Uuid, u8), u64> {
    let options =
        tallies.iter().flat_map(|(&poll, counted)| (1..).zip(&counted.votes).map(move |(id, &votes)| ((poll, id), votes)));
    options.filter(|&(_, votes)| votes > 0).collect()
}

/// What every receipt says, at one server after the other. One that cannot be looked up says why.
pub(crate) async fn outcomes(servers: &[Target], acknowledged: &[Acknowledged]) -> Vec<(Uuid, String)> {
    let look_up = async |(told, server): (&Acknowledged, &Target)| {
        let mut connection = Connection::new(server.clone());
        let mut said = String::new();
        for _ in 0..LOOK_UP_ATTEMPTS {
            match receipts::look_up(&mut connection, &told.receipt).await {
                Ok(status) => {
                    said = status;
                    break;
                }
                Err(Failure(why)) => said = why,
            }
        }
        (told.ballot.vote_id, said)
    };
    let looks = acknowledged.iter().zip(servers.iter().cycle()).map(look_up);
    futures_util::stream::iter(looks).buffered(LOOK_UPS).collect().await
}
