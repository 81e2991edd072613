//! A session beside the programs, as an administrator has one.

use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, PgConnection};

pub(crate) struct Session(PgConnection);

impl Session {
    pub(crate) async fn open(url: &str) -> Self {
        let options: PgConnectOptions = url.parse().expect("the URL of the server");
        Self(options.connect().await.expect("an administrator connects"))
    }

    /// Runs a statement.
    pub(crate) async fn run(&mut self, statement: &str) {
        let done = sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut self.0).await;
        done.unwrap_or_else(|error| panic!("{statement}: {error}"));
    }
}
