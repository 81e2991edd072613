//! The claim of a server with a log in memory on a schema, of which there may be one.
//!
//! It is a lock that a session of its own holds, so it ends with the server, however that ends. Nothing that is counted rests on it: the
//! checkpoint alone does. It is there because two such servers would fence each other for ever, and somebody should know at the start.

use std::time::Duration;

use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::postgres_lane::discard;
use super::postgres_options::PostgresOptions;
use super::postgres_server::{PostgresConnection, PostgresOpenError, connect};
use super::postgres_statements as statements;
use crate::shutdown::Shutdown;

/// How often the session is looked after: a database that was started again has forgotten the lock.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// Holds until it is given back or dropped. It survives the end of its session as well as a database does: another server may come first.
#[derive(Debug)]
pub(crate) struct PostgresClaim {
    returned: Shutdown,
    keeper: Mutex<Option<JoinHandle<()>>>,
}

impl PostgresClaim {
    pub(crate) async fn stake(options: &PostgresOptions) -> Result<Self, PostgresOpenError> {
        let session = take(options).await?;
        let (options, returned) = (options.clone(), Shutdown::new());
        let until = returned.clone();
        let keeper = tokio::spawn(async move {
            let mut session = Some(session);
            tokio::select! {
                () = until.requested() => {}
                () = keep(&options, &mut session) => {}
            }
            if let Some(session) = session {
                discard(session).await;
            }
        });
        Ok(Self { returned, keeper: Mutex::new(Some(keeper)) })
    }

    /// Lets another server have it at once. Doing it again does nothing.
    pub(crate) async fn give_back(&self) {
        self.returned.request();
        if let Some(keeper) = self.keeper.lock().await.take() {
            // It does not panic, and nobody aborts it.
            let _ended = keeper.await;
        }
    }
}

impl Drop for PostgresClaim {
    fn drop(&mut self) {
        self.returned.request();
    }
}

/// A session that holds the lock.
async fn take(options: &PostgresOptions) -> Result<PostgresConnection, PostgresOpenError> {
    let mut session = connect(options, &options.for_clients()?).await?;
    let asked = sqlx::query_scalar(statements::CLAIM).bind(options.schema.clone()).fetch_one(&mut session);
    let taken = timeout(options.statement_timeout, asked).await.map_err(|_| PostgresOpenError::late(options))?;
    if taken.map_err(|error| PostgresOpenError::of(options, error))? {
        return Ok(session);
    }
    discard(session).await;
    Err(PostgresOpenError::InUse { url: options.shown(), schema: options.schema.clone() })
}

/// Takes the lock anew whenever its session has ended. Never ends.
async fn keep(options: &PostgresOptions, session: &mut Option<PostgresConnection>) {
    let mut is_said = false;
    loop {
        sleep(LOOK_INTERVAL).await;
        if let Some(held) = session {
            let answer = timeout(options.statement_timeout, sqlx::query(statements::NOTHING).execute(&mut *held)).await;
            if matches!(answer, Ok(Ok(_))) {
                continue;
            }
        }
        *session = None;
        match take(options).await {
            Ok(taken) => {
                *session = Some(taken);
                is_said = false;
            }
            Err(error @ PostgresOpenError::InUse { .. }) if !std::mem::replace(&mut is_said, true) => {
                tracing::error!("{error}; it came when the database was away, and each fences the other until one is stopped");
            }
            // While the database is away, others say so.
            Err(_) => {}
        }
    }
}
