//! An update bus over LISTEN and NOTIFY of PostgreSQL: for a database that is there anyway, and for rates that fit it.
//!
//! A notification holds a lock of the whole database while its transaction commits. So updates are never a part of the transaction
//! that counts: they wait in a bounded queue, and whatever has gathered there while the last ones were sent goes out together.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream::{self, BoxStream, StreamExt};
use sqlx::postgres::{PgListener, PgPoolOptions};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Notify, broadcast};
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use super::postgres_payload::{pack, pack_audience, unpack, unpack_audience};
use super::{BusError, Notice, Update, UpdateBus};
use crate::retry::Pauses;
use crate::store::postgres::{PostgresOpenError, PostgresOptions};
use crate::store::postgres_server::{PostgresConnection, connect};

/// Updates that may wait to be sent: some seconds of a busy worker. Beyond that the oldest are lost, and subscribers told so.
const QUEUED_UPDATES_MAX: usize = 65_536;
/// Updates that are sent in one transaction, at most: a megabyte or two, so that nobody waits long for the lock.
const SENT_TOGETHER_MAX: usize = 4096;
/// Notices that a slow subscriber may be behind before it loses some.
const NOTICES_KEPT: usize = 1024;
/// After so long without news the listening session is asked whether it is still there: the driver itself would wait for ever.
const SILENCE_MAX: Duration = Duration::from_secs(10);
/// How long an answer or a commit may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

const NOTIFY: &str = "SELECT pg_notify(channel, payload) FROM unnest($1::text[], $2::text[]) AS sent (channel, payload)";
const ARE_YOU_THERE: &str = "SELECT 1";

/// Carries updates between processes that share a schema of a PostgreSQL database.
///
/// It needs a Tokio runtime and keeps two connections. One that breaks is opened again for as long as the bus lives; what was
/// published meanwhile is lost, and shows as [`Notice::Lagged`].
#[derive(Debug)]
pub struct PostgresBus {
    queue: Arc<Queue>,
    notices: broadcast::Sender<Notice>,
    _sending: AbortOnDropHandle<()>,
    _listening: AbortOnDropHandle<()>,
}

impl PostgresBus {
    /// Opens the bus; when this answers, nothing that is published from then on is missed.
    ///
    /// # Errors
    ///
    /// See [`PostgresOpenError`].
    pub async fn open(options: &PostgresOptions) -> Result<Self, PostgresOpenError> {
        let [channel, audience_channel] = ["updates", "audience"].map(|news| format!("{}_{news}", options.schema));
        let session = Session { options: options.clone(), channel, audience_channel };
        let listener = session.listen().await?;
        let (queue, notices) = (Arc::new(Queue::default()), broadcast::Sender::new(NOTICES_KEPT));
        let sending = tokio::spawn(send(session.clone(), Arc::clone(&queue)));
        let listening = tokio::spawn(listen(session, listener, notices.clone()));
        Ok(Self { queue, notices, _sending: AbortOnDropHandle::new(sending), _listening: AbortOnDropHandle::new(listening) })
    }
}

#[async_trait]
impl UpdateBus for PostgresBus {
    async fn publish(&self, updates: Vec<Update>) -> Result<(), BusError> {
        self.queue.push(updates);
        Ok(())
    }

    async fn subscribe(&self) -> Result<BoxStream<'static, Notice>, BusError> {
        let notices = stream::unfold(self.notices.subscribe(), |mut receiver| async {
            let notice = match receiver.recv().await {
                Ok(notice) => notice,
                Err(RecvError::Lagged(_)) => Notice::Lagged,
                Err(RecvError::Closed) => return None,
            };
            Some((notice, receiver))
        });
        Ok(notices.boxed())
    }
}

/// What waits to be sent.
#[derive(Debug, Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    filled: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    updates: VecDeque<Update>,
    /// Something before them was lost.
    is_after_a_loss: bool,
}

impl Queue {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // Nothing between two changes can panic.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, updates: Vec<Update>) {
        {
            let mut waiting = self.waiting();
            waiting.updates.extend(updates);
            let excess = waiting.updates.len().saturating_sub(QUEUED_UPDATES_MAX);
            if excess > 0 {
                waiting.updates.drain(..excess);
                waiting.is_after_a_loss = true;
            }
        }
        self.filled.notify_one();
    }

    /// Takes what has gathered, as payloads; none when there is nothing.
    fn take(&self) -> Payloads {
        let mut waiting = self.waiting();
        let together = waiting.updates.len().min(SENT_TOGETHER_MAX);
        let is_after_a_loss = std::mem::take(&mut waiting.is_after_a_loss);
        let mut audiences = Vec::new();
        let updates = waiting.updates.drain(..together).filter(|update| {
            let Update::Audience(audience) = update else { return true };
            audiences.extend(pack_audience(audience));
            false
        });
        Payloads { updates: pack(updates, is_after_a_loss), audiences }
    }

    fn note_loss(&self) {
        self.waiting().is_after_a_loss = true;
    }
}

/// What is sent together.
#[derive(Debug)]
struct Payloads {
    updates: Vec<String>,
    audiences: Vec<String>,
}

/// Where to meet the others.
#[derive(Debug, Clone)]
struct Session {
    options: PostgresOptions,
    channel: String,
    audience_channel: String,
}

impl Session {
    async fn listen(&self) -> Result<PgListener, PostgresOpenError> {
        // A pool of one connection for each listener: a former one may still be busy with its broken connection.
        let pool = PgPoolOptions::new().max_connections(1).idle_timeout(None).max_lifetime(None);
        // Opened first on its own, because a pool does not say why it cannot connect.
        connect(&self.options, &self.options.for_listening()?).await?;
        let pool = pool.acquire_timeout(self.options.connect_timeout).connect_lazy_with(self.options.for_listening()?);
        let failed = |error| PostgresOpenError::of(&self.options, error);
        let mut listener = PgListener::connect_with(&pool).await.map_err(failed)?;
        listener.ignore_pool_close_event(true);
        listener.eager_reconnect(false);
        listener.listen_all([&*self.channel, &*self.audience_channel]).await.map_err(failed)?;
        Ok(listener)
    }

    async fn notify(&self, connection: &mut PostgresConnection, payloads: Payloads) -> Result<(), crate::store::Source> {
        let Payloads { updates, audiences } = payloads;
        let mut channels = vec![self.channel.clone(); updates.len()];
        channels.resize(updates.len() + audiences.len(), self.audience_channel.clone());
        let notify = sqlx::query(NOTIFY).bind(channels).bind([updates, audiences].concat());
        timeout(ANSWER_TIMEOUT, notify.execute(connection)).await??;
        Ok(())
    }
}

/// Sends what is published, for as long as the bus lives.
async fn send(session: Session, queue: Arc<Queue>) {
    let mut pauses = Pauses::default();
    let mut kept: Option<PostgresConnection> = None;
    loop {
        let payloads = queue.take();
        if payloads.updates.is_empty() && payloads.audiences.is_empty() {
            queue.filled.notified().await;
            continue;
        }
        let sent = match kept.take() {
            Some(connection) => send_on(&session, connection, payloads).await,
            None => match session.options.for_notifying() {
                Ok(options) => match connect(&session.options, &options).await {
                    Ok(connection) => send_on(&session, connection, payloads).await,
                    Err(error) => Err(error.into()),
                },
                Err(error) => Err(error.into()),
            },
        };
        match sent {
            Ok(connection) => {
                kept = Some(connection);
                pauses.reset();
            }
            Err(error) => {
                queue.note_loss();
                metrics::counter!("polling_publications_failed_total").increment(1);
                tracing::warn!(error = &*error as &dyn std::error::Error, "updates were not sent");
                tokio::time::sleep(pauses.next_pause()).await;
            }
        }
    }
}

/// Sends, and gives back a connection that may be used again.
async fn send_on(
    session: &Session,
    mut connection: PostgresConnection,
    payloads: Payloads,
) -> Result<PostgresConnection, crate::store::Source> {
    session.notify(&mut connection, payloads).await?;
    Ok(connection)
}

/// Passes on what others and this process publish, for as long as the bus lives.
async fn listen(session: Session, mut listener: PgListener, notices: broadcast::Sender<Notice>) {
    let mut pauses = Pauses::default();
    loop {
        pass_on(&session, &mut listener, &notices).await;
        drop(listener);
        tracing::warn!("the session that listens for updates was lost");
        listener = loop {
            match session.listen().await {
                Ok(listener) => break listener,
                Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "cannot listen for updates"),
            }
            tokio::time::sleep(pauses.next_pause()).await;
        };
        pauses.reset();
        // After listening again, so that whoever reads the store now misses nothing.
        let _nobody_listens = notices.send(Notice::Lagged);
    }
}

/// Passes on until the session is lost.
async fn pass_on(session: &Session, listener: &mut PgListener, notices: &broadcast::Sender<Notice>) {
    loop {
        match timeout(SILENCE_MAX, listener.try_recv()).await {
            Ok(Ok(Some(notification))) if notification.channel() == session.audience_channel => {
                if let Some(audience) = unpack_audience(notification.payload()) {
                    let _nobody_listens = notices.send(Notice::Updates([Update::Audience(audience)].into()));
                }
            }
            Ok(Ok(Some(notification))) => {
                for notice in unpack(notification.payload()) {
                    let _nobody_listens = notices.send(notice);
                }
            }
            Ok(Ok(None) | Err(_)) => return,
            Err(_silence) => {
                let answer = timeout(ANSWER_TIMEOUT, sqlx::query(ARE_YOU_THERE).execute(&mut *listener)).await;
                if !matches!(answer, Ok(Ok(_))) {
                    return;
                }
            }
        }
    }
}
