//! What a person sees while it runs: a line that moves, and above it what has happened.

use std::sync::Arc;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use tokio::task::JoinHandle;

use crate::ledger::{SharedLedger, locked};
use crate::watch::Watchers;

/// How often the line moves.
const INTERVAL: Duration = Duration::from_millis(100);

/// The terminal.
pub(crate) struct Screen {
    start: Instant,
    line: ProgressBar,
    moving: JoinHandle<()>,
    /// Standard output is for the summary alone.
    is_quiet: bool,
}

impl Screen {
    pub(crate) fn new(start: Instant, ledger: SharedLedger, watchers: Arc<Watchers>, is_quiet: bool) -> Self {
        let line = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
            line.set_style(style);
        }
        let moving = tokio::spawn(advance(line.clone(), start, ledger, watchers));
        Self { start, line, moving, is_quiet }
    }

    /// Says what has happened now.
    pub(crate) fn tell(&self, what: &str) {
        self.say(&format!("{:8.2} s  {what}", self.start.elapsed().as_secs_f64()));
    }

    /// Prints a text as it stands.
    pub(crate) fn say(&self, text: &str) {
        self.line.suspend(|| if self.is_quiet { eprintln!("{text}") } else { println!("{text}") });
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.moving.abort();
        self.line.finish_and_clear();
    }
}

async fn advance(line: ProgressBar, start: Instant, ledger: SharedLedger, watchers: Arc<Watchers>) {
    loop {
        let now = Instant::now();
        let message = {
            let ledger = locked(&ledger);
            let answers = ledger.answers(start, now);
            format!(
                "{:.0} s: {} acknowledged, {} of them shown; answers: {} not recorded, {} unknown; waiting: {}, the oldest for {:.1} s",
                start.elapsed().as_secs_f64(),
                answers.acknowledged,
                watchers.voters().min(answers.acknowledged as u64),
                answers.not_recorded,
                answers.unknown,
                ledger.open(),
                ledger.longest_open(now).as_secs_f64(),
            )
        };
        line.set_message(message);
        line.tick();
        tokio::time::sleep(INTERVAL).await;
    }
}
