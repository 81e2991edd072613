//! Programs that are started before what they need, or with what cannot be.

use polling_core::open::Urls;

use crate::audit::audit;
use crate::crowd::{Answer, Ballot, Crowd, create_poll};
use crate::gate::Gate;
use crate::kafka;
use crate::place::Place;
use crate::postgres::Session;
use crate::program::{Program, Server, Worker, server, worker};

crate::tests![TESTS: programs_wait_for_what_is_not_there_yet, what_does_not_mend_itself_ends_a_program,];

async fn programs_wait_for_what_is_not_there_yet(place: &Place) {
    let database = Gate::shut(&place.database_host()).await;
    // The other brokers are found by what the first one says.
    let broker = Gate::shut(place.brokers().split(',').next().expect("a broker")).await;
    let urls = place.urls_through(&broker.address().to_string(), &place.database_at(database.address()));
    let (server, worker) = (server(&urls), Worker::waiting(worker(&urls)).await);
    for program in [&server, &worker.program] {
        program.line("waiting for what is not there yet").await;
        program.line("failed to open the store").await;
        program.line(&database.address().to_string()).await;
    }
    assert_eq!(worker.admin.text("/readyz").await, (503, "the worker waits for its backends".to_owned()));
    assert_eq!(worker.admin.text("/livez").await.0, 200);

    database.open();
    for program in [&server, &worker.program] {
        program.line(&format!("failed to ask the brokers at {}", broker.address())).await;
    }
    broker.open();
    let server = Server::serving(server).await;
    let worker = Worker::counting(worker.program).await;
    let poll = create_poll(&server.api, 2, false).await;
    let crowd = Crowd::default();
    assert_eq!(crowd.cast_one(&server.api, &Ballot::new(poll, "ann", 2)).await, Answer::Acknowledged);
    audit(place, &crowd, &[&server.api]).await;
    drop(worker);
}

/// What a program ends with, and what it says.
async fn ends(mut program: Program, code: i32, says: &[&str]) {
    assert_eq!(program.exit_code().await, Some(code));
    for text in says {
        program.line(text).await;
    }
}

async fn what_does_not_mend_itself_ends_a_program(place: &Place) {
    let urls = place.urls();
    let start: [fn(&Urls) -> Program; 2] = [server, worker];
    let host = place.database_host();
    for start in start {
        let store = format!("postgres://nobody:hush@{host}/postgres");
        ends(start(&Urls { store, ..urls.clone() }), 64, &["failed to open the store", "\"nobody\""]).await;
        let (server, _) = place.database().rsplit_once('/').expect("a URL with a database");
        let store = format!("{server}/no_such_database");
        ends(start(&Urls { store, ..urls.clone() }), 64, &["failed to open the store", "\"no_such_database\" does not exist"])
            .await;
    }

    let weak = Urls { log: urls.log.replace("&accept-weak-topic=true", ""), ..urls.clone() };
    kafka::create_weak(place.brokers(), &place.topic()).await;
    for start in start {
        ends(start(&weak), 64, &["failed to open the log", "min.insync.replicas is 1 and must be at least 2"]).await;
    }

    let mut administrator = Session::open(place.database()).await;
    let newer = format!(
        "INSERT INTO {}.schema_versions (version, description, success, checksum, execution_time) VALUES (9999, 'newer', true, '', 0)",
        place.schema()
    );
    administrator.run(&newer).await;
    for start in start {
        ends(start(&urls), 65, &["failed to open the store", "has version 9999"]).await;
    }
}
