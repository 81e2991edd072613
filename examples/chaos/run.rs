//! One run: people vote, things break, and then it is quiet and everything must come right.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use uuid::Uuid;
use voting::check::{Verdict, check, check_stopped, every_watcher_sees_the_end};
use voting::client::{Connection, Target};
use voting::history::{Event, Final, Planned, Recorder, What};
use voting::polls::{self, NewPoll};
use voting::{Failure, failure};

use crate::arguments::{Sabotage, Stop};
use crate::clients::{Clients, Polls};
use crate::cluster::Cluster;
use crate::inject::{DATABASE, ZOOKEEPER, inject};
use crate::postgres::Session;
use crate::schedule::{Fault, Part};
use crate::world::{Programs, Special, World};
use crate::{kafka, last, sabotage, stop, watchers};

/// Options of each poll.
const OPTIONS: u8 = 4;
/// How long each thing may take to come right once nothing is broken any more, on a machine with other things to do.
pub(crate) const RIGHT_WITHIN: Duration = Duration::from_secs(60);
/// Between two looks.
pub(crate) const LOOK: Duration = Duration::from_millis(100);
/// Votes that must be acknowledged before it counts as going on.
pub(crate) const GOES_ON_VOTES: usize = 20;
/// How often the store is looked into, and how long a look may take before the session is given up.
const AUDIT_INTERVAL: Duration = Duration::from_millis(400);
const AUDIT_WITHIN: Duration = Duration::from_secs(4);
/// How long people vote before and after something is broken on purpose.
const AROUND_SABOTAGE: Duration = Duration::from_secs(4);
/// Watchers of all polls at each server, usually, and where nothing but their sockets is dropped.
const FAITHFUL: usize = 2;
const CROWD: usize = 100;

/// What a run is to do.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) rate: u32,
    /// At each server, of all polls; absent: as many as the fault wants.
    pub(crate) watchers: Option<usize>,
    pub(crate) schedule: Vec<Planned>,
    pub(crate) sabotage: Option<Sabotage>,
    pub(crate) stop: Option<Stop>,
}

/// Where it is done.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) cluster: &'a Cluster,
    pub(crate) programs: Programs<'a>,
    /// Turns true when the run must end before its time.
    pub(crate) interrupted: &'a watch::Receiver<bool>,
}

impl Plan {
    fn has(&self, fault: Fault) -> bool {
        self.schedule.iter().any(|planned| Fault::parse(&planned.fault) == Some(fault))
    }
}

/// Does a run; answers what was recorded and what the checks say. The history and the logs of the programs are kept in `folder`.
pub(crate) async fn run(plan: &Plan, place: Place<'_>, folder: &Path) -> Result<(Vec<Event>, Verdict), Failure> {
    let Place { cluster, programs, interrupted } = place;
    let recorder = Arc::new(Recorder::create(&folder.join("history.jsonl"))?);
    let special = Special {
        bus_has_the_ways: [Fault::BusDown, Fault::BusDownWorkerKill, Fault::BusCut].into_iter().any(|fault| plan.has(fault)),
        clock_can_be_set: plan.has(Fault::ClockJump),
    };
    let world = World::start(cluster.clone(), programs, folder, (plan.seed, special), Arc::clone(&recorder)).await;
    let world = match world {
        Ok(world) => world,
        Err(Failure(why)) => return Err(failure(format!("{why}; the logs are in {}", folder.display()))),
    };
    let playing = async {
        match plan.stop {
            Some(stop) => stop::play(&world, plan, stop).await,
            None => play(&world, plan).await,
        }
    };
    let mut interrupted = interrupted.clone();
    let done = tokio::select! {
        done = playing => done,
        _ = interrupted.wait_for(|is_interrupted| *is_interrupted) => Err(failure("it was interrupted".to_owned())),
    };
    if done.is_err() {
        mend(cluster).await;
    }
    let judged = done.and_then(|state| {
        let events = recorder.finish(&state)?;
        let verdict = if plan.stop.is_some() { check_stopped(&events, &state) } else { check(&events, &state) };
        Ok((events, verdict))
    });
    remove(world).await?;
    judged
}

async fn play(world: &World, plan: &Plan) -> Result<Final, Failure> {
    let recorder = &world.recorder;
    let servers = world.targets().await?;
    let polls = make_polls(recorder, &servers).await?;
    let offset_ms = recorder.now_ms();
    recorder.note(What::Began { seed: plan.seed, rate: plan.rate, schedule: plan.schedule.clone() });
    let usual = if plan.schedule.len() == 1 && plan.has(Fault::SocketsDropped) { CROWD } else { FAITHFUL };
    let faithful = plan.watchers.unwrap_or(usual);
    let (watching, _) = watchers::watch(recorder, (&world.watched()?, faithful), &[polls.fixed, polls.open], plan.seed);
    let auditing = tokio::spawn(audit(Arc::clone(recorder), world.cluster.database.clone(), world.schema()));
    let clients = Arc::new(Clients::new(&servers, polls, plan.rate, plan.seed, Arc::clone(recorder)));
    let voting = tokio::spawn(Arc::clone(&clients).run());

    let shift = |planned: &Planned| Planned { at_ms: planned.at_ms + offset_ms, ..planned.clone() };
    break_things(world, plan.schedule.iter().map(shift), plan.seed).await?;
    if let Some(sabotage) = plan.sabotage {
        tokio::time::sleep(AROUND_SABOTAGE).await;
        sabotage::run(world, sabotage).await?;
        tokio::time::sleep(AROUND_SABOTAGE).await;
    }

    recorder.note(What::Quiet);
    let quiet = Quiet { recorder, began: Instant::now() };
    let enough = clients.acknowledged_count() + GOES_ON_VOTES;
    quiet.comes_right("voting", async || clients.acknowledged_count() >= enough).await;
    let known = clients.finish(RIGHT_WITHIN).await;
    quiet.note("what voters know", known);
    voting.await.map_err(|error| failure(format!("voting ended: {error}")))?;
    // A broker that was frozen takes itself for a leader until it has heard of the others, and tells of an older log.
    // Where brokers do not come in sync, what an older leader tells would be found wrong, and never right.
    if let Err(Failure(why)) = world.cluster.run("wait", &[]).await {
        recorder.note(What::Fault { fault: "not mended".to_owned(), done: why });
    }
    quiet.comes_right("counting", async || is_counted(world).await.unwrap_or(false)).await;
    let mut state = last::read(world).await?;
    let tallies = state.tallies.clone();
    let is_seen = async || recorder.look(|events| every_watcher_sees_the_end(events, &tallies).is_empty());
    quiet.comes_right("what watchers see", is_seen).await;
    for server in &servers {
        let read = async || last::shown(server, tallies.keys().copied()).await;
        quiet.comes_right("what a server shows", async || read().await.is_ok_and(|shown| shown == tallies)).await;
        state.shown.push(read().await?);
        let leaders = last::leaders_of(&tallies);
        let is_led = async || last::leaders(server).await.is_ok_and(|shown| shown == leaders);
        quiet.comes_right("what a leaderboard shows", is_led).await;
    }
    state.receipts = last::outcomes(&servers, &clients.acknowledged()).await;
    auditing.abort();
    drop(watching);
    Ok(state)
}

/// Does what is planned: one thing after the other in each part of the system, and all parts at once.
async fn break_things(world: &World, planned: impl Iterator<Item = Planned>, seed: u64) -> Result<(), Failure> {
    let mut parts: BTreeMap<Option<Part>, Vec<Planned>> = BTreeMap::new();
    for planned in planned {
        parts.entry(Fault::parse(&planned.fault).map(Fault::part)).or_default().push(planned);
    }
    let one_part = async |planned: &Vec<Planned>| {
        for planned in planned {
            inject(world, planned, seed).await?;
        }
        Ok(())
    };
    join_all(parts.values().map(one_part)).await.into_iter().collect()
}

/// Since nothing is broken any more.
pub(crate) struct Quiet<'a> {
    pub(crate) recorder: &'a Recorder,
    pub(crate) began: Instant,
}

impl Quiet<'_> {
    /// Waits until something is right, and notes how long it took.
    pub(crate) async fn comes_right(&self, what: &str, is_right: impl AsyncFn() -> bool) {
        let waiting = async {
            while !is_right().await {
                tokio::time::sleep(LOOK).await;
            }
        };
        let is_right = timeout(RIGHT_WITHIN, waiting).await.is_ok();
        self.note(what, is_right);
    }

    pub(crate) fn note(&self, what: &str, is_right: bool) {
        let after_ms = is_right.then(|| u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX));
        self.recorder.note(What::Recovered { what: what.to_owned(), after_ms });
    }
}

pub(crate) async fn make_polls(recorder: &Recorder, servers: &[Target]) -> Result<Polls, Failure> {
    let mut ids = [Uuid::nil(); 2];
    for (id, allow_change) in ids.iter_mut().zip([false, true]) {
        let poll = NewPoll { allow_change, ..NewPoll::numbered("Will it hold?".to_owned(), OPTIONS) };
        *id = polls::create(&mut Connection::new(servers[0].clone()), &poll).await?.id;
        for server in servers {
            polls::read(&mut Connection::new(server.clone()), *id).await?;
        }
        recorder.note(What::Poll { poll: *id, options: OPTIONS, allow_change });
    }
    Ok(Polls { fixed: ids[0], open: ids[1], options: OPTIONS })
}

/// Compares tallies and rows again and again. A database that is broken is asked again later.
async fn audit(recorder: Arc<Recorder>, database: String, schema: String) {
    let mut session = None;
    loop {
        tokio::time::sleep(AUDIT_INTERVAL).await;
        let mut open = match session.take() {
            Some(open) => open,
            None => match timeout(AUDIT_WITHIN, Session::open(&database, &schema)).await {
                Ok(Ok(open)) => open,
                _ => continue,
            },
        };
        if let Ok(Ok(found)) = timeout(AUDIT_WITHIN, open.audit()).await {
            for (poll, (kept, rows)) in found {
                recorder.note(What::Audited { poll, kept, rows });
            }
            session = Some(open);
        }
    }
}

/// Whether everything in the log is applied, and the log goes as far as what is applied.
async fn is_counted(world: &World) -> Result<bool, Failure> {
    let looking = async { Session::open(&world.cluster.database, &world.schema()).await?.progress().await };
    let progress = timeout(AUDIT_WITHIN, looking).await.map_err(|_| failure("the database does not answer".to_owned()))??;
    let ends = kafka::ends(&world.cluster.brokers, &world.topic()).await?;
    let has_records = |(_, next): &(u32, i64)| *next > 0;
    let applied = progress.into_iter().map(|(partition, has)| (partition, has.next_offset)).filter(has_records);
    Ok(ends.into_iter().filter(has_records).eq(applied))
}

/// Brings back whatever a run that was broken off has left dead or frozen.
async fn mend(cluster: &Cluster) {
    let brokers = cluster.broker_names();
    let nodes = brokers.iter().map(String::as_str).chain(ZOOKEEPER).chain([DATABASE]);
    // Most of them are well, and not every cluster can do all of this, which the command may call an error.
    for broker in &brokers {
        for (verb, what) in [("heal", "zookeeper"), ("heal", "brokers"), ("free", "")] {
            let _well = cluster.run(verb, &[broker, what]).await;
        }
    }
    // All at once: a node of ZooKeeper is well only when most of the others are.
    let mended = nodes.map(async |node| {
        for verb in ["thaw", "start"] {
            let _well = cluster.run(verb, &[node]).await;
        }
    });
    join_all(mended).await;
}

/// Ends the programs and removes what the run has made.
async fn remove(world: World) -> Result<(), Failure> {
    let cluster = world.cluster.clone();
    let (topics, schema) = ([world.topic(), world.bus_topic()], world.schema());
    drop(world);
    cluster.run("wait", &[]).await?;
    kafka::remove(&cluster.brokers, &[&topics[0], &topics[1]]).await?;
    Session::open(&cluster.database, "public").await?.remove(&schema).await
}
