//! `polling-worker recount`.

use std::io::{self, Write};

use polling_core::audit::{AuditStore, Recount};
use polling_core::bus::Update;
use polling_core::model::{PollId, Tally, Totals};
use polling_core::open_audit::{Announcer, open_audit_store};
use polling_core::operate::exit::{Exit, chain};
use polling_core::shutdown::Shutdown;

use super::{OperatorError, RecountOrder, table};
use crate::config::Config;

/// Polls that are asked for at once.
const PAGE_POLLS: usize = 500;

/// Recounts, prints what was and what is, and answers how to end the process.
pub(crate) async fn recount(config: &Config, order: &RecountOrder, shutdown: Shutdown) -> Exit {
    let mut work = Work { order, announcer: None, polls: 0, wrong: 0, mended: 0, left: 0 };
    let done = tokio::select! {
        done = work.run(config) => done,
        () = shutdown.requested() => {
            tracing::warn!("stopped before the end; polls that were printed are as they were printed");
            return Exit::Interrupted;
        }
    };
    match done.and_then(|()| Ok(work.print_sum()?)) {
        Ok(()) if work.left == 0 => Exit::Success,
        Ok(()) => Exit::Unhealthy,
        Err(error) => {
            tracing::error!("{}", chain(&error));
            error.exit()
        }
    }
}

/// A run over polls.
struct Work<'a> {
    order: &'a RecountOrder,
    /// Tells servers what has changed; `None` as long as nothing may change.
    announcer: Option<Announcer>,
    polls: u64,
    /// Polls whose totals were wrong.
    wrong: u64,
    mended: u64,
    /// Polls with which something is not right in the end.
    left: u64,
}

impl Work<'_> {
    async fn run(&mut self, config: &Config) -> Result<(), OperatorError> {
        let store = open_audit_store(&config.urls).await?;
        if self.order.yes {
            self.announcer = Some(Announcer::open(&config.urls).await?);
        }
        for &poll in &self.order.polls {
            self.poll(&*store, poll).await?;
        }
        if self.order.polls.is_empty() {
            let mut after = None;
            loop {
                let page = store.polls(after, PAGE_POLLS).await?;
                for &poll in &page {
                    self.poll(&*store, poll).await?;
                }
                let Some(&last) = page.last() else { break };
                after = Some(last);
            }
        }
        if let Some(announcer) = &self.announcer {
            announcer.flush().await;
        }
        Ok(())
    }

    async fn poll(&mut self, store: &dyn AuditStore, poll: PollId) -> Result<(), OperatorError> {
        let found = if self.order.yes {
            store.mend(poll).await?.map(|mended| (mended.before, mended.tally))
        } else {
            store.recount(poll).await?.map(|recount| (recount, None))
        };
        let Some((before, tally)) = found else {
            self.left += 1;
            writeln!(io::stdout().lock(), "poll {poll} does not exist")?;
            return Ok(());
        };
        self.polls += 1;
        if before.differences().is_empty() {
            return Ok(());
        }
        self.wrong += 1;
        print(&before, tally.as_ref())?;
        let Some(tally) = tally else {
            self.left += 1;
            return Ok(());
        };
        self.mended += 1;
        self.announce(tally).await;
        let after = store.recount(poll).await?;
        if after.is_none_or(|after| !after.differences().is_empty()) {
            self.left += 1;
            writeln!(
                io::stdout().lock(),
                "it is still not right: its rows name options that it does not have, or somebody changes it by hand"
            )?;
        }
        Ok(())
    }

    /// Servers that do not hear of it find out by themselves.
    async fn announce(&self, tally: Tally) {
        let Some(announcer) = &self.announcer else { return };
        if let Err(error) = announcer.bus().publish(vec![Update::Tally(tally)]).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "servers were not told, and find out by themselves");
        }
    }

    fn print_sum(&self) -> io::Result<()> {
        let Self { polls, wrong, mended, .. } = self;
        let mut out = io::stdout().lock();
        if self.order.yes {
            writeln!(out, "{polls} polls recounted, {wrong} of them wrong, {mended} mended")?;
        } else {
            writeln!(out, "{polls} polls recounted, {wrong} of them wrong; nothing was changed")?;
            if *wrong > 0 {
                writeln!(out, "--yes makes these totals what the votes add up to")?;
            }
        }
        out.flush()
    }
}

/// What was kept, what the rows add up to, and what is kept now, which may have more votes by then.
fn print(before: &Recount, tally: Option<&Tally>) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "poll {}", before.poll)?;
    let (kept, found, now) = (quantities(&before.kept), quantities(&before.found), tally.map(|tally| quantities(&tally.totals)));
    let of = |totals: &[u64], index: usize| totals.get(index).map_or_else(|| "-".to_owned(), ToString::to_string);
    let rows = (0..kept.len().max(found.len())).map(|index| {
        let name = if index == 0 { "voters".to_owned() } else { format!("option {index}") };
        [name, of(&kept, index), of(&found, index), now.as_ref().map_or_else(|| "-".to_owned(), |now| of(now, index))]
    });
    table::print(&mut out, 1, ["  what", "before", "votes", "after"], &rows.map(indented).collect::<Vec<_>>())
}

fn indented([name, before, votes, after]: [String; 4]) -> [String; 4] {
    [format!("  {name}"), before, votes, after]
}

fn quantities(totals: &Totals) -> Vec<u64> {
    std::iter::once(totals.voters).chain(totals.votes.iter().copied()).collect()
}
