//! What opening says when it cannot be, and what the tables allow.

use std::path::PathBuf;

use polling_core::conformance::fixture::{batch, cast, poll};
use polling_core::open::{Migrated, OpenError, Urls, migrate, open as open_backends};
use polling_core::store::postgres::{PostgresOpenError, PostgresOptions, PostgresStore, migrate as migrate_schema};
use polling_core::store::{PollStore, StoreError, TallyStore};

use crate::postgres_schema::{Place, Session, open};

crate::tests![
    what_is_wrong_is_told_from_what_is_away,
    a_newer_schema_is_refused_untouched,
    programs_that_start_at_once_make_the_tables_once,
    a_program_that_starts_during_a_long_migration_waits_for_it,
    who_only_uses_the_tables_need_not_own_them,
    a_lossy_server_is_refused,
    urls_open_a_store_and_a_bus,
    a_schema_has_one_server_with_a_log_in_memory,
    a_store_that_was_shut_down_refuses,
];

async fn refusal(options: &PostgresOptions) -> PostgresOpenError {
    PostgresStore::open(options).await.expect_err("it is refused")
}

/// Options with another address, for the same schema.
fn elsewhere(options: &PostgresOptions, url: &str) -> PostgresOptions {
    let mut other = PostgresOptions::new(url).expect("a URL");
    other.schema.clone_from(&options.schema);
    other
}

async fn what_is_wrong_is_told_from_what_is_away(place: Place) {
    let options = place.options();
    let (server, _) = place.url().rsplit_once('/').expect("a URL with a database");
    let error = refusal(&elsewhere(&options, &format!("{server}/no_such_database"))).await;
    assert!(matches!(error, PostgresOpenError::Refused { .. }) && !error.is_retryable(), "{error}");
    assert!(error.to_string().contains("\"no_such_database\" does not exist"), "{error}");
    let host = server.rsplit_once('@').expect("a user").1;
    let error = refusal(&elsewhere(&options, &format!("postgres://no_such_user:hush@{host}/postgres"))).await;
    assert!(matches!(error, PostgresOpenError::Refused { .. }) && !error.to_string().contains("hush"), "{error}");
    let nobody = std::net::TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr()).expect("a port");
    let error = refusal(&elsewhere(&options, &format!("postgres://me:hush@{nobody}/polls"))).await;
    assert!(matches!(error, PostgresOpenError::Unreachable { .. }) && error.is_retryable(), "{error}");
    // One that accepts and never answers.
    let silent = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let mut waiting = elsewhere(&options, &format!("postgres://me:hush@{}/polls", silent.local_addr().expect("an address")));
    waiting.connect_timeout = std::time::Duration::from_millis(100);
    let error = refusal(&waiting).await;
    assert!(matches!(error, PostgresOpenError::Unreachable { .. }), "{error}");
}

async fn a_newer_schema_is_refused_untouched(place: Place) {
    let (_, options) = place.store().await;
    let mut owner = Session::open(place.url(), &options.schema).await;
    let newer = "INSERT INTO schema_versions (version, description, success, checksum, execution_time) VALUES (9999, 'newer', true, '', 0)";
    owner.run(newer).await;
    let error = refusal(&options).await;
    assert!(matches!(error, PostgresOpenError::NewerSchema { found: 9999, .. }), "{error}");
    assert_eq!(owner.ask::<i64>("SELECT count(*) FROM schema_versions").await, [7]);
}

async fn programs_that_start_at_once_make_the_tables_once(place: Place) {
    let options = place.options();
    let opened = futures_util::future::join_all((0..8).map(|_| PostgresStore::open(&options))).await;
    for store in opened {
        store.expect("it is opened");
    }
}

async fn a_program_that_starts_during_a_long_migration_waits_for_it(place: Place) {
    let options = place.options();
    let mut other = Session::open(place.url(), "public").await;
    let lock = |function: &str| format!("SELECT {function}(hashtextextended('migrate {}', 0))", options.schema);
    other.run(&lock("pg_advisory_lock")).await;
    let mut migrating = std::pin::pin!(migrate_schema(&options));
    // Longer than a change of the schema waits for a lock.
    let waited = tokio::time::timeout(std::time::Duration::from_secs(3), &mut migrating).await;
    assert!(waited.is_err(), "{waited:?}");
    other.run(&lock("pg_advisory_unlock")).await;
    let migrated = migrating.await.expect("its turn comes");
    assert_eq!((migrated.from, migrated.to), (0, 6));
}

async fn who_only_uses_the_tables_need_not_own_them(place: Place) {
    let (_, options) = place.store().await;
    let schema = &options.schema;
    let mut owner = Session::open(place.url(), schema).await;
    let user = format!("user_{schema}");
    for statement in [
        format!("CREATE ROLE {user} LOGIN PASSWORD 'hush'"),
        format!("GRANT USAGE ON SCHEMA {schema} TO {user}"),
        format!("GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA {schema} TO {user}"),
    ] {
        owner.run(&statement).await;
    }
    let (_, server) = place.url().split_once('@').expect("a user");
    let mut ordinary = elsewhere(&options, &format!("postgres://{user}:hush@{server}"));
    ordinary.accept_lossy_server = true;
    let answer = async {
        let store = PostgresStore::open(&ordinary).await?;
        let poll = poll(2, |draft| draft.allow_change = true);
        store.create(&poll).await.expect("it creates");
        let votes = [cast(&poll, 1, 1, &[1]), cast(&poll, 1, 2, &[2])];
        store.apply(&batch(0, &votes)).await.expect("it counts");
        store.shut_down().await;
        Ok::<_, PostgresOpenError>(())
    }
    .await;
    for statement in [format!("DROP OWNED BY {user}"), format!("DROP ROLE {user}")] {
        owner.run(&statement).await;
    }
    answer.expect("an ordinary user opens it");
}

async fn a_lossy_server_is_refused(place: Place) {
    let (_, mut options) = place.store().await;
    options.accept_lossy_server = false;
    let mut asker = Session::open(place.url(), "public").await;
    let is_lossy = asker.ask::<bool>("SELECT 'off' IN (current_setting('fsync'), current_setting('full_page_writes'), current_setting('synchronous_commit'))",
    )
    .await[0];
    let answer = PostgresStore::open(&options).await;
    assert_eq!(matches!(answer, Err(PostgresOpenError::LossyServer { .. })), is_lossy, "{answer:?}");
    // Whatever the server is, one user's setting can be turned off and on.
    let (_, server) = place.url().split_once('@').expect("a user");
    let mut owner = Session::open(place.url(), "public").await;
    let user = format!("lossy_{}", options.schema);
    for statement in
        [format!("CREATE ROLE {user} LOGIN SUPERUSER PASSWORD 'hush'"), format!("ALTER ROLE {user} SET synchronous_commit = off")]
    {
        owner.run(&statement).await;
    }
    let lossy = elsewhere(&options, &format!("postgres://{user}:hush@{server}"));
    let answer = PostgresStore::open(&lossy).await;
    owner.run(&format!("DROP ROLE {user}")).await;
    let error = answer.expect_err("it is refused");
    assert!(matches!(error, PostgresOpenError::LossyServer { .. }), "{error}");
}

async fn urls_open_a_store_and_a_bus(place: Place) {
    let options = place.options();
    let urls = Urls {
        log: "memory:".to_owned(),
        store: format!("{}?schema={}&accept-lossy-server=true", place.url(), options.schema),
        bus: format!("{}?schema={}", place.url(), options.schema),
        data_dir: PathBuf::new(),
    };
    assert_eq!(migrate(&urls).await.expect("migrated"), Migrated::Versions(0, 6));
    assert_eq!(migrate(&urls).await.expect("migrated"), Migrated::Versions(6, 6));
    let backends = open_backends(&urls).await.expect("opened");
    assert_eq!(backends.tallies.checkpoint().await.expect("read").iter().count(), 0);
    backends.shut_down().await;
    let mixed = open_backends(&Urls { bus: "memory:".to_owned(), ..urls.clone() }).await.expect("opened");
    assert!(mixed.memory_log.is_some());
    mixed.shut_down().await;
    let away = Urls { store: "postgres://me:hush@127.0.0.1:1/polls".to_owned(), ..urls };
    let error = open_backends(&away).await.map(drop).expect_err("nobody is there");
    assert!(matches!(error, OpenError::Postgres { role: "store", .. }) && error.is_retryable() && !error.is_configuration());
}

async fn a_schema_has_one_server_with_a_log_in_memory(place: Place) {
    let schema = place.options().schema;
    let urls = |schema: &str| Urls {
        log: "memory:".to_owned(),
        store: format!("{}?schema={schema}&accept-lossy-server=true", place.url()),
        bus: "memory:".to_owned(),
        data_dir: PathBuf::new(),
    };
    let (one, ours) = (urls(&schema), format!("application_name = '{schema}'"));
    let first = open_backends(&one).await.expect("opened");
    let refused = async || {
        let error = open_backends(&one).await.map(drop).expect_err("there is another");
        assert!(!error.is_retryable() && !error.is_configuration(), "{error}");
        #[cfg(feature = "operate")]
        assert_eq!(error.exit(), polling_core::operate::exit::Exit::Unavailable);
        let cause = std::error::Error::source(&error).expect("a cause").to_string();
        assert!(cause.starts_with(&format!("another server with a log in memory uses the schema \"{schema}\"")), "{cause}");
    };
    refused().await;
    // The database forgets its sessions, and is reminded.
    let mut administrator = Session::open(place.url(), "public").await;
    administrator.run(&format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {ours}")).await;
    let held: &str = format!(
        "SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE locktype = 'advisory' AND granted AND {ours}"
    )
    .leak();
    let held_again = async {
        while administrator.ask::<i64>(held).await != [1] {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), held_again).await.expect("it is taken again");
    refused().await;
    first.shut_down().await;
    open_backends(&one).await.expect("its place is free").shut_down().await;
    // One that ends without a word holds nothing either.
    drop(open_backends(&one).await.expect("opened"));
    let freed = async {
        while open_backends(&one).await.is_err() {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), freed).await.expect("it is free");
}

async fn a_store_that_was_shut_down_refuses(place: Place) {
    let (store, options) = place.store().await;
    store.shut_down().await;
    store.shut_down().await;
    assert!(matches!(store.checkpoint().await, Err(StoreError::Unavailable(_))));
    open(&options).await.checkpoint().await.expect("another is not concerned");
}
