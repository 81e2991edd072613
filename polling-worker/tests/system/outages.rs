//! A database and brokers that go away under load and come back.

use std::sync::Arc;

use futures_util::future::join_all;
use polling_core::open::Urls;
use uuid::Uuid;

use crate::audit::{audit, totals};
use crate::crowd::{Answer, Crowd, create_poll};
use crate::gate::Gate;
use crate::load::Load;
use crate::place::Place;
use crate::program::{Server, Worker, is_degraded, is_ready, is_unready, server, worker};
use crate::wait::eventually;
use crate::watcher::Watcher;

crate::tests![TESTS: without_the_database_votes_are_taken_and_known_polls_are_shown];
crate::tests![BEHIND_GATES: without_brokers_votes_are_refused_and_known_polls_are_shown];

async fn without_the_database_votes_are_taken_and_known_polls_are_shown(place: &Place) {
    let gate = Gate::to(&place.database_host()).await;
    let urls = place.urls_through(place.brokers(), &place.database_at(gate.address()));
    // News goes through the database, too, and is away with it.
    let urls = Urls { bus: format!("{}?schema={}", place.database_at(gate.address()), place.schema()), ..urls };
    let servers = join_all((0..2).map(|_| Server::serving(server(&urls)))).await;
    let workers = join_all((0..2).map(|_| Worker::counting(worker(&urls)))).await;
    let poll = create_poll(&servers[0].api, 3, false).await;
    let path = format!("/polls/{poll}");
    let crowd = Arc::new(Crowd::default());
    let load = Load::start(Arc::clone(&crowd), servers.iter().map(|server| server.api.clone()).collect(), poll);
    let watcher = Watcher::open(&servers[1].api, &format!("{path}/live")).await;
    watcher.sees("votes", |frame| totals(frame).0 > 0).await;
    // What a server has not heard by then, it cannot know.
    let knows_votes = async || (totals(&servers[0].api.get(&path).await.1["results"]).0 > 0).then_some(());
    eventually("the other server knows of votes", knows_votes).await;

    gate.cut().await;
    for server in &servers {
        is_degraded("a server misses the database", &server.admin, "store").await;
        eventually("a server says that it shows what it knew", async || {
            let (status, says) = server.api.header(&path, "cache-status").await;
            assert_eq!(status, 200);
            says.filter(|says| says.contains("ttl=-"))
        })
        .await;
        // Whoever comes now is shown what is known, too.
        let late = Watcher::open(&server.api, &format!("{path}/live")).await;
        late.sees("votes", |frame| totals(frame).0 > 0).await;
        let unknown = Uuid::now_v7();
        let (status, problem) = server.api.get(&format!("/polls/{unknown}")).await;
        assert_eq!((status, problem["type"].as_str()), (503, Some("/problems/unavailable")));
    }
    for worker in &workers {
        is_unready("a worker misses the database", &worker.admin, "store").await;
    }
    load.goes_on(100).await;

    gate.open();
    join_all(servers.iter().map(|server| is_ready("a server is ready again", &server.admin))).await;
    join_all(workers.iter().map(|worker| is_ready("a worker is ready again", &worker.admin))).await;
    load.goes_on(50).await;
    assert_eq!(load.stop().await, [], "every vote was taken the first time");
    audit(place, &crowd, &[&servers[0].api, &servers[1].api]).await;
    let (_, answer) = servers[1].api.get(&path).await;
    watcher.sees("the final tally", |frame| totals(frame) == totals(&answer["results"])).await;
}

async fn without_brokers_votes_are_refused_and_known_polls_are_shown(place: &Place) {
    let gates = place.gates_to_brokers().await;
    let bootstrap: Vec<String> = gates.iter().map(|gate| gate.address().to_string()).collect();
    let urls = place.urls_through(&bootstrap.join(","), place.database());
    let server = Server::serving(server(&urls)).await;
    let worker = Worker::counting(worker(&urls)).await;
    let poll = create_poll(&server.api, 3, false).await;
    let crowd = Arc::new(Crowd::default());
    let load = Load::start(Arc::clone(&crowd), vec![server.api.clone()], poll);
    let watcher = Watcher::open(&server.api, &format!("/polls/{poll}/live")).await;
    watcher.sees("votes", |frame| totals(frame).0 > 0).await;

    for gate in &gates {
        gate.cut().await;
    }
    load.is_refused(1).await;
    is_degraded("a server misses the brokers", &server.admin, "log").await;
    is_unready("a worker misses the brokers", &worker.admin, "log").await;
    let (status, _) = server.api.get(&format!("/polls/{poll}")).await;
    assert_eq!(status, 200);
    let (status, _) = server.api.get("/leaderboard").await;
    assert_eq!(status, 200);

    gates.iter().for_each(Gate::open);
    is_ready("a server is ready again", &server.admin).await;
    is_ready("a worker is ready again", &worker.admin).await;
    load.goes_on(50).await;
    for refused in load.stop().await {
        let Answer::Refused(name, recorded) = refused else { continue };
        let says = (&*name, recorded.as_deref());
        assert!(matches!(says, ("outcome-unknown", Some("unknown")) | ("not-recorded", Some("no"))), "{says:?}");
    }
    audit(place, &crowd, &[&server.api]).await;
    let (_, answer) = server.api.get(&format!("/polls/{poll}")).await;
    watcher.sees("the final tally", |frame| totals(frame) == totals(&answer["results"])).await;
}
