//! `polling-worker audit`.

use std::io::{self, Write};

use polling_core::audit::{Difference, LogAuditError, LogDemand, Report, Subject, audit_log, audit_rows};
use polling_core::open_audit::{open_audit_store, open_retained_log};
use polling_core::operate::exit::{Exit, chain};
use polling_core::shutdown::Shutdown;
use serde_json::{Value, json};

use super::{AuditOrder, OperatorError, table};
use crate::config::Config;

/// Audits, prints what it found, and answers how to end the process.
pub(crate) async fn audit(config: &Config, order: &AuditOrder, shutdown: Shutdown) -> Exit {
    tracing::info!("auditing; nothing is changed");
    let mut report = Report::default();
    let looked = tokio::select! {
        looked = look(config, order, &mut report) => looked,
        () = shutdown.requested() => {
            tracing::warn!("stopped before the end; nothing was changed");
            return Exit::Interrupted;
        }
    };
    let mut out = io::stdout().lock();
    let printed = looked.and_then(|()| {
        if order.json {
            writeln!(out, "{:#}", as_json(&report))?;
        } else {
            print(&report, &mut out)?;
        }
        Ok(out.flush()?)
    });
    match printed {
        Ok(()) if report.is_sound() => Exit::Success,
        Ok(()) => Exit::Unhealthy,
        Err(error) => {
            tracing::error!("{}", chain(&error));
            error.exit()
        }
    }
}

async fn look(config: &Config, order: &AuditOrder, report: &mut Report) -> Result<(), OperatorError> {
    let log = if order.without_log { None } else { open_retained_log(&config.urls)? };
    let store = open_audit_store(&config.urls).await?;
    audit_rows(&*store, &order.polls, report).await?;
    let Some(log) = log else {
        report.unchecked.push("the log was not read".to_owned());
        return Ok(());
    };
    let demand = if order.from_log { LogDemand::AsFarAsRetained } else { LogDemand::WhenWhole };
    match audit_log(&*store, &*log, demand, &order.polls, report).await {
        Ok(()) => Ok(()),
        // Nobody has asked for it.
        Err(LogAuditError::Log(error)) if !order.from_log => {
            report.unchecked.push(format!("the log was not read: {}", chain(&error)));
            Ok(())
        }
        Err(LogAuditError::Log(error)) => Err(error.into()),
        Err(LogAuditError::Store(error)) => Err(error.into()),
    }
}

fn print(report: &Report, out: &mut impl Write) -> io::Result<()> {
    if !report.differences.is_empty() {
        let row = |difference: &Difference| {
            let Difference { subject, quantity, kept, found, evidence } = difference;
            [subject.to_string(), quantity.to_string(), evidence.as_str().to_owned(), kept.to_string(), found.to_string()]
        };
        let rows: Vec<_> = report.differences.iter().map(row).collect();
        table::print(out, 3, ["of", "what", "held against", "kept", "found"], &rows)?;
        let left_out = report.differences_total - report.differences.len() as u64;
        if left_out > 0 {
            writeln!(out, "and {left_out} more")?;
        }
        writeln!(out)?;
    }
    for poll in &report.missing {
        writeln!(out, "poll {poll} does not exist")?;
    }
    for sentence in &report.unchecked {
        writeln!(out, "not checked: {sentence}")?;
    }
    let Report { polls, votes, partitions, records, differences_total, .. } = report;
    writeln!(out, "{polls} polls with {votes} votes; {records} records of {partitions} partitions by the checkpoints")?;
    if let Some(log) = &report.log {
        writeln!(out, "{} of these records read from the log once more, for the totals of {} polls", log.records, log.polls)?;
    }
    writeln!(out, "{differences_total} differences")
}

fn as_json(report: &Report) -> Value {
    let log = report.log.as_ref().map(|log| {
        let retained: serde_json::Map<String, Value> =
            log.retained_from.iter().map(|(partition, first)| (partition.to_string(), first.get().into())).collect();
        json!({"records": log.records, "polls": log.polls, "retained_from": retained})
    });
    json!({
        "sound": report.is_sound(),
        "polls": report.polls,
        "votes": report.votes,
        "partitions": report.partitions,
        "records": report.records,
        "log": log,
        "differences": report.differences.iter().map(difference_as_json).collect::<Vec<_>>(),
        "differences_total": report.differences_total,
        "missing": report.missing.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "unchecked": report.unchecked,
    })
}

fn difference_as_json(difference: &Difference) -> Value {
    let (poll, partition) = match difference.subject {
        Subject::Poll(poll) => (Some(poll.to_string()), None),
        Subject::Partition(partition) => (None, Some(partition.0)),
        Subject::AllPartitions => (None, None),
    };
    json!({
        "poll": poll,
        "partition": partition,
        "quantity": difference.quantity.to_string(),
        "held_against": difference.evidence.as_str(),
        "kept": difference.kept,
        "found": difference.found,
    })
}

#[cfg(test)]
mod tests {
    use polling_core::audit::{Evidence, LogReport, Quantity};
    use polling_core::checkpoint::{Offset, Partition};

    use super::*;

    fn report() -> Report {
        let subject = Subject::Partition(Partition(3));
        let difference = Difference { subject, quantity: Quantity::Outcome("late"), kept: 12, found: 9, evidence: Evidence::Log };
        Report {
            polls: 2,
            votes: 70,
            partitions: 1,
            records: 100,
            log: Some(LogReport { retained_from: [(Partition(3), Offset::ZERO)].into(), records: 100, polls: 2 }),
            differences: vec![difference],
            differences_total: 3,
            missing: Vec::new(),
            unchecked: vec!["something".to_owned()],
        }
    }

    #[test]
    fn it_is_printed_for_people() {
        let mut out = Vec::new();
        print(&report(), &mut out).expect("printed");
        let expected = "of           what  held against  kept  found\n\
                        partition 3  late  log             12      9\n\
                        and 2 more\n\
                        \n\
                        not checked: something\n\
                        2 polls with 70 votes; 100 records of 1 partitions by the checkpoints\n\
                        100 of these records read from the log once more, for the totals of 2 polls\n\
                        3 differences\n";
        assert_eq!(String::from_utf8(out).expect("text"), expected);
    }

    #[test]
    fn it_is_printed_for_programs() {
        let printed = as_json(&report());
        assert_eq!((&printed["sound"], &printed["differences_total"]), (&json!(false), &json!(3)));
        assert_eq!(printed["log"]["retained_from"], json!({"3": 0}));
        let difference = json!({"poll": null, "partition": 3, "quantity": "late", "held_against": "log", "kept": 12, "found": 9});
        assert_eq!(printed["differences"], json!([difference]));
    }
}
