//! Does to the log what must stop a partition: then it stops with an alarm, nothing is passed over, and the other partitions go on.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};
use voting::client::{Connection, Target};
use voting::history::{Final, What};
use voting::{Failure, failure};

use crate::arguments::Stop;
use crate::clients::Clients;
use crate::kafka;
use crate::postgres::Session;
use crate::run::{GOES_ON_VOTES, LOOK, Plan, Quiet, RIGHT_WITHIN, make_polls};
use crate::watchers;
use crate::world::World;

/// How long the alarm may take, since the workers run and can read what is wrong.
const ALARM_WITHIN: Duration = Duration::from_secs(10);
/// How long people vote before.
const BEFORE: Duration = Duration::from_secs(4);
/// Records that nobody has counted when they are deleted, at least.
const DELETED: i64 = 5;
/// The only field that every version has: the number of the version, here 2.
const NEWER: [u8; 2] = [8, 2];
/// What has to come after what is wrong; in a history it says that a partition had to stop.
pub(crate) const ALARM: &str = "the alarm";
/// How long an answer of a worker about itself may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Does a run; answers what is left in the end, apart from the log, which can no longer be read from its beginning.
pub(crate) async fn play(world: &World, plan: &Plan, stop: Stop) -> Result<Final, Failure> {
    let recorder = &world.recorder;
    let servers = world.targets().await?;
    let polls = make_polls(recorder, &servers).await?;
    recorder.note(What::Began { seed: plan.seed, rate: plan.rate, schedule: Vec::new() });
    let (watching, _) = watchers::watch(recorder, (&world.watched()?, 1), &[polls.fixed, polls.open], plan.seed);
    let clients = Arc::new(Clients::new(&servers, polls, plan.rate, plan.seed, Arc::clone(recorder)));
    let voting = tokio::spawn(Arc::clone(&clients).run());
    tokio::time::sleep(BEFORE).await;

    let partition = first_partition(world).await?;
    recorder.note(What::Fault { fault: stop.name(), done: format!("partition {partition} must stop") });
    let place = match stop {
        Stop::RecordsDeleted => delete(world, partition).await?,
        Stop::NewerVersion => kafka::write(&world.cluster.brokers, &world.topic(), partition, &NEWER).await?,
    };
    let broken = Quiet { recorder, began: Instant::now() };
    let alarm = timeout(ALARM_WITHIN, raised(world, partition)).await;
    broken.note(ALARM, matches!(alarm, Ok(Ok(()))));
    recorder.note(What::Quiet);
    let enough = clients.acknowledged_count() + GOES_ON_VOTES;
    broken.comes_right("voting", async || clients.acknowledged_count() >= enough).await;
    let known = clients.finish(RIGHT_WITHIN).await;
    broken.note("what voters know", known);
    voting.await.map_err(|error| failure(format!("voting ended: {error}")))?;
    let counted = async || others_are_counted(world, partition).await.unwrap_or(false);
    broken.comes_right("the other partitions", counted).await;
    let mut session = Session::open(&world.cluster.database, &world.schema()).await?;
    let has = session.progress().await?.get(&partition).map(|has| has.next_offset);
    broken.note("the checkpoint before what is wrong", has == Some(place));
    let mut state = Final::default();
    session.everything(&mut state).await?;
    drop(watching);
    Ok(state)
}

/// A partition of which something is counted.
async fn first_partition(world: &World) -> Result<u32, Failure> {
    let mut session = Session::open(&world.cluster.database, &world.schema()).await?;
    let begun = async {
        loop {
            let progress = session.progress().await?;
            if let Some((partition, _)) = progress.into_iter().find(|(_, has)| has.next_offset > 0) {
                return Ok(partition);
            }
            tokio::time::sleep(LOOK).await;
        }
    };
    timeout(RIGHT_WITHIN, begun).await.map_err(|_| failure("no votes are counted".to_owned()))?
}

/// Deletes what comes while no worker runs, and starts them again; answers how far the partition was counted.
async fn delete(world: &World, partition: u32) -> Result<i64, Failure> {
    for worker in &world.workers {
        worker.lock().await.kill().await?;
    }
    let mut session = Session::open(&world.cluster.database, &world.schema()).await?;
    let counted = session.progress().await?.get(&partition).map(|has| has.next_offset);
    let counted = counted.ok_or_else(|| failure("the checkpoints are gone".to_owned()))?;
    let (brokers, topic) = (&world.cluster.brokers, world.topic());
    let come = async {
        loop {
            let end = kafka::ends(brokers, &topic).await?.remove(&partition).unwrap_or_default();
            if end >= counted + DELETED {
                return Ok(end);
            }
            tokio::time::sleep(LOOK).await;
        }
    };
    let end = timeout(RIGHT_WITHIN, come).await.map_err(|_| failure("no votes come".to_owned()))??;
    kafka::delete_records(brokers, &topic, partition, end).await?;
    for worker in &world.workers {
        worker.lock().await.start_again().await?;
    }
    Ok(counted)
}

/// Waits until a worker tells whoever asks how it is that the partition stopped.
async fn raised(world: &World, partition: u32) -> Result<(), Failure> {
    loop {
        for worker in &world.workers {
            let address = worker.lock().await.admin().await?;
            let mut connection = Connection::new(Target::parse(&format!("http://{address}"), ANSWER_WITHIN)?);
            let uri = connection.target().path("/readyz?verbose")?;
            let answer = connection.send(hyper::Method::GET, uri, None).await;
            let is_raised = answer.is_ok_and(|answer| {
                answer.status == hyper::StatusCode::SERVICE_UNAVAILABLE
                    && String::from_utf8_lossy(&answer.body).contains(&format!("partition {partition}: "))
            });
            if is_raised {
                return Ok(());
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn others_are_counted(world: &World, partition: u32) -> Result<bool, Failure> {
    let progress = Session::open(&world.cluster.database, &world.schema()).await?.progress().await?;
    let ends = kafka::ends(&world.cluster.brokers, &world.topic()).await?;
    let is_counted = |number: &u32, end: i64| progress.get(number).map_or(0, |has| has.next_offset) == end;
    Ok(ends.iter().all(|(number, end)| *number == partition || is_counted(number, *end)))
}
