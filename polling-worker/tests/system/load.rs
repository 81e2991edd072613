//! Votes that keep coming while something happens.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::client::Client;
use crate::crowd::{Answer, Ballot, Crowd};
use crate::wait::soon;

/// Between two requests, and votes of one: some hundred votes a second, which programs that are built for debugging can count.
const PACE: Duration = Duration::from_millis(100);
const REQUEST_VOTES: usize = 10;

/// A stream of votes, each of a new voter. What is not acknowledged is sent again, through the next server, until it is.
pub(crate) struct Load {
    acknowledged: watch::Receiver<usize>,
    refused: watch::Receiver<Vec<Answer>>,
    stop: watch::Sender<bool>,
    sending: JoinHandle<()>,
}

impl Load {
    pub(crate) fn start(crowd: Arc<Crowd>, servers: Vec<Client>, poll: Uuid) -> Self {
        let (acknowledged, refused, stop) = (watch::Sender::new(0), watch::Sender::new(Vec::new()), watch::Sender::new(false));
        let told = (acknowledged.subscribe(), refused.subscribe());
        let stopped = stop.subscribe();
        let sending = tokio::spawn(async move {
            let mut pace = tokio::time::interval(PACE);
            let mut servers = servers.iter().cycle();
            while !*stopped.borrow() {
                pace.tick().await;
                let mut waiting: Vec<Ballot> = (0..REQUEST_VOTES)
                    .map(|number| Ballot::new(poll, Uuid::new_v4().to_string(), [1, 2, 1, 3][number % 4]))
                    .collect();
                while let (false, Some(server)) = (waiting.is_empty(), servers.next()) {
                    let answers = crowd.cast(server, &waiting).await;
                    refused
                        .send_modify(|all| all.extend(answers.iter().filter(|answer| **answer != Answer::Acknowledged).cloned()));
                    let mut answers = answers.into_iter();
                    waiting.retain(|_| answers.next() != Some(Answer::Acknowledged));
                }
                acknowledged.send_modify(|all| *all += REQUEST_VOTES);
            }
        });
        Self { acknowledged: told.0, refused: told.1, stop, sending }
    }

    /// Waits until so many more votes are acknowledged.
    pub(crate) async fn goes_on(&self, votes: usize) {
        let mut acknowledged = self.acknowledged.clone();
        let enough = *acknowledged.borrow() + votes;
        soon("votes are acknowledged", acknowledged.wait_for(|all| *all >= enough)).await.expect("the load goes on");
    }

    /// Waits until so many votes were refused.
    pub(crate) async fn is_refused(&self, votes: usize) {
        let mut refused = self.refused.clone();
        soon("votes are refused", refused.wait_for(|all| all.len() >= votes)).await.expect("the load goes on");
    }

    /// Stops after the last vote was acknowledged; answers what was not acknowledged at once.
    pub(crate) async fn stop(self) -> Vec<Answer> {
        self.stop.send_replace(true);
        soon("the last votes are acknowledged", self.sending).await.expect("the load ends");
        self.refused.borrow().clone()
    }
}
