//! Breaks a promise on purpose, which the checks must find.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::StreamExt;
use polling_core::bus::{Notice, Update};
use polling_core::model::{PollId, Tally, Totals};
use polling_core::open::{Urls, open};
use tokio::time::timeout;
use voting::history::What;
use voting::{Failure, failure};

use crate::arguments::Sabotage;
use crate::kafka;
use crate::postgres::Session;
use crate::run::{LOOK, RIGHT_WITHIN};
use crate::world::World;

/// Records that a checkpoint is moved past, or back.
const MOVED: i64 = 5;
/// How long a single broker acknowledges votes, beside the time in which it learns that it is alone.
const ALONE: Duration = Duration::from_secs(10);
/// How long an election takes among brokers that were away.
const ELECTION: Duration = Duration::from_secs(10);
/// How long changes are told as if they were states.
const CHANGES_ARE_TOLD: Duration = Duration::from_secs(4);

pub(crate) async fn run(world: &World, sabotage: Sabotage) -> Result<(), Failure> {
    world.recorder.note(What::Fault { fault: "sabotage".to_owned(), done: format!("{sabotage:?}") });
    match sabotage {
        Sabotage::Skip => move_checkpoint(world, MOVED).await,
        Sabotage::Rewind => move_checkpoint(world, -MOVED).await,
        Sabotage::Double => Session::open(&world.cluster.database, &world.schema()).await?.double().await,
        Sabotage::Forget => forget(world).await,
        Sabotage::Deltas => tell_changes(world).await,
    }
}

/// Waits until something is so, which it must be in the end.
async fn until(what: &str, mut is_so: impl AsyncFnMut() -> Result<bool, Failure>) -> Result<(), Failure> {
    let waiting = async {
        while !is_so().await? {
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    };
    timeout(RIGHT_WITHIN, waiting).await.map_err(|_| failure(what.to_owned()))?
}

/// Moves the checkpoint of a partition by so many records.
async fn move_checkpoint(world: &World, by: i64) -> Result<(), Failure> {
    let mut session = Session::open(&world.cluster.database, &world.schema()).await?;
    // There is nothing to pass over before the workers have begun, and nothing to go back to.
    until("no votes are counted", async || {
        Ok(session.progress().await?.values().next().is_some_and(|has| has.next_offset + by >= 0))
    })
    .await?;
    // Whoever holds the checkpoint is the only one who counts: meanwhile votes come that nobody has counted. In this mode nobody else holds
    // a row of the table, for which this session would wait while they wait for it.
    session.run("BEGIN; LOCK TABLE checkpoints IN EXCLUSIVE MODE").await?;
    let from = session.progress().await?;
    let first = from.first_key_value().map(|(partition, has)| (*partition, has.next_offset));
    let (partition, next) = first.ok_or_else(|| failure("the checkpoints are gone".to_owned()))?;
    until("no votes come", async || {
        let ends = kafka::ends(&world.cluster.brokers, &world.topic()).await?;
        Ok(ends.get(&partition).is_some_and(|end| *end >= next + by))
    })
    .await?;
    session.move_checkpoint(partition, by).await?;
    session.run("COMMIT").await
}

/// One broker is left, acknowledges alone, and dies; those lead then that have missed it.
async fn forget(world: &World) -> Result<(), Failure> {
    let World { cluster, .. } = world;
    kafka::weaken(&cluster.brokers, &world.topic()).await?;
    let leader = cluster.leader(&world.topic()).await?;
    let others: Vec<String> = cluster.broker_names().into_iter().filter(|name| *name != leader).collect();
    let others: Vec<&str> = others.iter().map(String::as_str).collect();
    cluster.run("kill", &others).await?;
    // Until it is the only one that is in sync, nothing is acknowledged.
    tokio::time::sleep(ELECTION + ALONE).await;
    cluster.run("kill", &[&leader]).await?;
    for node in others {
        cluster.run("start", &[node]).await?;
    }
    tokio::time::sleep(ELECTION).await;
    cluster.run("start", &[&leader]).await.map(drop)
}

/// Publishes, after each tally, the difference to the one before as if it were the next.
async fn tell_changes(world: &World) -> Result<(), Failure> {
    let urls = Urls { bus: world.bus(), ..world.auditor() };
    let backends = open(&urls).await.map_err(|error| failure(format!("the bus cannot be opened: {error}")))?;
    let telling = async {
        let wrong = |error: polling_core::bus::BusError| failure(format!("the bus cannot be used: {error}"));
        let mut before: HashMap<PollId, Tally> = HashMap::new();
        let mut notices = backends.bus.subscribe().await.map_err(wrong)?;
        while let Some(notice) = notices.next().await {
            let Notice::Updates(updates) = notice else { continue };
            for update in updates.iter() {
                let Update::Tally(tally) = update else { continue };
                let old = before.entry(tally.poll).or_insert_with(|| tally.clone());
                // One's own differences come back, too, and are smaller.
                if tally.totals.voters > old.totals.voters {
                    let difference = difference(old, tally);
                    old.clone_from(tally);
                    backends.bus.publish(vec![Update::Tally(difference)]).await.map_err(wrong)?;
                }
            }
        }
        Err(failure("the bus ended".to_owned()))
    };
    let told = timeout(CHANGES_ARE_TOLD, telling).await.unwrap_or(Ok(()));
    backends.shut_down().await;
    told
}

fn difference(old: &Tally, new: &Tally) -> Tally {
    let votes = new.totals.votes.iter().zip(&old.totals.votes).map(|(new, old)| new.saturating_sub(*old)).collect();
    let mut next = Tally { totals: Totals { voters: new.totals.voters - old.totals.voters, votes }, ..new.clone() };
    next.version.number += 1;
    next
}
