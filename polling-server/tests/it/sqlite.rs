//! Looks into the data file of a server with plain SQL, as an auditor would.

use std::path::Path;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, Row};

/// For each option of each poll that has votes: what its tally says, and how many vote rows choose it.
const TALLIES_AND_ROWS: &str = "
    SELECT tallies.votes AS tally,
           (SELECT count(*) FROM votes
             WHERE votes.poll = tallies.poll AND instr(votes.choices, CAST(char(tallies.option) AS BLOB)) > 0) AS counted
      FROM tallies";
const VOTERS_AND_ROWS: &str = "
    SELECT polls.voters AS tally,
           (SELECT count(*) FROM votes WHERE votes.poll = polls.number AND votes.choices IS NOT NULL) AS counted
      FROM polls";
const RECORDS_AND_OUTCOMES: &str = "
    SELECT next_offset AS tally, counted + duplicate + late + invalid + repeated AS counted FROM checkpoints";

/// Checks that the tallies are the votes, and that every record of the log has an outcome.
pub(crate) async fn audit(path: &Path) {
    let options = SqliteConnectOptions::new().filename(path).read_only(true);
    let mut connection = options.connect().await.expect("it opens");
    for (statement, what) in [
        (TALLIES_AND_ROWS, "a tally is the number of rows that choose the option"),
        (VOTERS_AND_ROWS, "the voters are the rows that name choices"),
        (RECORDS_AND_OUTCOMES, "the outcomes are the records read"),
    ] {
        let rows = sqlx::query(statement).fetch_all(&mut connection).await.expect("it is read");
        assert!(!rows.is_empty(), "{what}: there is something to check");
        for row in rows {
            let (tally, counted): (i64, i64) = (row.get("tally"), row.get("counted"));
            assert_eq!(tally, counted, "{what}");
        }
    }
    connection.close().await.expect("it closes");
}
