//! The life of one socket.

use std::collections::{HashMap, HashSet};
use std::pin::Pin;
use std::time::Duration;

use futures_util::{FutureExt, SinkExt, StreamExt};
use polling_core::model::{PollId, Version};
use polling_core::shutdown::Shutdown;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tokio_stream::StreamMap;
use tokio_stream::wrappers::WatchStream;
use tokio_tungstenite::tungstenite::error::CapacityError;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error as SocketError, Message, Utf8Bytes};

use super::events::RETRY_MILLIS;
use super::frame::{BoardFrame, PollFrame, PollNews, Rendered, error_frame};
use super::handshake::Socket;
use super::hub::Watched;
use super::message::Request;
use super::shown::{Shown, ShownBoard};
use super::viewer::{Viewer, WatchedPoll};
use super::wishes::{Answer, Granted, Wish, Wishes};
use crate::api::problem::Problem;
use crate::api::problem_kind::ProblemKind;

/// How long a reader may leave a frame untaken. The frames that it misses meanwhile are gone, so there is nothing to gain by waiting.
pub const WRITE_DEADLINE: Duration = Duration::from_secs(5);
/// How long a closing handshake may take.
const CLOSE_DEADLINE: Duration = Duration::from_secs(1);
/// How often a silent client is asked whether it is still there: more often than middleboxes forget a connection.
const PING_INTERVAL: Duration = Duration::from_secs(25);
/// How long a client may be silent, pongs included.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// Polls that one socket may watch.
pub const POLLS_MAX: usize = 100;
/// Polls that one socket may ask for in its life: what was shown of each is remembered, so that nothing is shown again that is not newer.
const SHOWN_MAX: usize = 10 * POLLS_MAX;
/// Bad messages in a row after which the socket is closed.
const BAD_MESSAGES_MAX: usize = 10;
/// Sockets and streams are closed within this time on shutdown, one here and one there, so that they do not all come back at once.
pub const STAGGER: Duration = Duration::from_secs(2);

/// What a socket shows. `P` is a place that it holds as long as it is open.
pub struct Session<P> {
    socket: Socket,
    _place: P,
    /// What the client asked for; `None`: it may not say what to watch. Boxed, because most sockets watch one poll.
    wishes: Option<Box<Wishes>>,
    polls: StreamMap<PollId, WatchStream<PollNews>>,
    leaderboard: StreamMap<(), WatchStream<Option<BoardFrame>>>,
    /// For each poll, what was sent last: nothing that is not newer is sent.
    shown: HashMap<PollId, Shown>,
    leaderboard_shown: ShownBoard,
    /// Those of the watched polls whose hidden results the viewer may see.
    insider_of: HashSet<PollId>,
    /// Messages that were heard, which numbers them.
    messages: u64,
    /// Those that got a complaint since the last one that got none, and since anything that was asked for could be shown. They get it in
    /// any order, because some wait for the store.
    bad_messages: HashSet<u64>,
    /// Whether everything was sent that was put there to be sent.
    is_flushed: bool,
    heard: Instant,
}

/// Why a session ends.
enum End {
    /// The client is gone, or does not answer.
    Gone,
    /// We close, and say why: in at most 123 bytes, as the protocol has it.
    Close(CloseCode, Utf8Bytes),
}

type Step = Result<(), End>;

impl<P: Send> Session<P> {
    /// A session that shows nothing yet. A `viewer` may say what to watch, and without one no messages are taken. Boxed, because it is
    /// handed on from one future to the next, and each would have room for it.
    #[must_use]
    pub fn new(socket: Socket, viewer: Option<Viewer>, place: P) -> Box<Self> {
        Box::new(Self {
            socket,
            _place: place,
            wishes: viewer.map(|viewer| Box::new(Wishes::new(viewer))),
            // Most sockets watch one.
            polls: StreamMap::with_capacity(1),
            leaderboard: StreamMap::new(),
            shown: HashMap::new(),
            leaderboard_shown: ShownBoard::default(),
            insider_of: HashSet::new(),
            messages: 0,
            bad_messages: HashSet::new(),
            is_flushed: true,
            heard: Instant::now(),
        })
    }

    /// Shows one poll; `after` is what the client has seen.
    pub async fn show_poll(mut self: Box<Self>, poll: PollId, watched: WatchedPoll, after: Option<Version>, shutdown: Shutdown) {
        self.shown.insert(poll, Shown::up_to(after));
        // Boxed, here and below: what happens once would have room in every open socket.
        let start = Box::pin(self.add_poll(poll, watched)).await;
        self.run(start, shutdown).await;
    }

    /// Shows the leaderboard.
    pub async fn show_leaderboard(
        mut self: Box<Self>,
        first: BoardFrame,
        frames: watch::Receiver<Option<BoardFrame>>,
        shutdown: Shutdown,
    ) {
        let start = Box::pin(self.add_leaderboard(first, frames)).await;
        self.run(start, shutdown).await;
    }

    /// Shows what the client asks for.
    pub async fn show_on_request(self: Box<Self>, shutdown: Shutdown) {
        self.run(Ok(()), shutdown).await;
    }

    async fn run(mut self: Box<Self>, start: Step, shutdown: Shutdown) {
        let mut ping = tokio::time::interval_at(Instant::now() + PING_INTERVAL, PING_INTERVAL);
        let mut leave: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(async move {
            shutdown.requested().await;
            tokio::time::sleep(rand::random_range(Duration::ZERO..STAGGER)).await;
        });
        let mut step = start;
        let end = loop {
            step = match step {
                Ok(()) => self.flush().await,
                ended => ended,
            };
            if let Err(end) = step {
                break end;
            }
            step = tokio::select! {
                // Boxed: clients hardly ever say anything, and every open socket would hold ready what it takes to answer.
                message = self.socket.next() => Box::pin(self.hear(message)).await,
                Some((poll, news)) = self.polls.next(), if !self.polls.is_empty() => self.show(poll, news).await,
                Some(((), frame)) = self.leaderboard.next(), if !self.leaderboard.is_empty() => self.show_board(frame).await,
                Some(answer) = next_answer(&mut self.wishes) => Box::pin(self.tell(answer)).await,
                _ = ping.tick() => Box::pin(self.ping()).await,
                () = &mut leave => Err(close_with(CloseCode::Restart, leaving())),
            };
        };
        if let End::Close(code, reason) = end {
            Box::pin(self.close(code, reason)).await;
        }
    }

    async fn close(&mut self, code: CloseCode, reason: Utf8Bytes) {
        let close = CloseFrame { code, reason };
        // A reader that takes nothing does not take this either.
        let _gone = timeout(CLOSE_DEADLINE, async {
            self.socket.send(Message::Close(Some(close))).await?;
            // Until the client has answered, or hung up: closing at once could destroy what it has not read yet.
            while let Some(Ok(_)) = self.socket.next().await {}
            Ok::<(), SocketError>(())
        })
        .await;
    }

    /// Puts a frame where it is sent from, which happens before anything else is waited for.
    async fn send(&mut self, frame: Rendered) -> Step {
        self.is_flushed = false;
        taken(self.socket.feed(Message::Text(frame.text))).await
    }

    /// Sends what is there to be sent, in one write: polls that are voted in together change together.
    async fn flush(&mut self) -> Step {
        if self.is_flushed {
            return Ok(());
        }
        for _ in 1..self.polls.len() {
            let Some(Some((poll, news))) = self.polls.next().now_or_never() else { break };
            self.show(poll, news).await?;
        }
        self.is_flushed = true;
        taken(self.socket.flush()).await
    }

    async fn ping(&mut self) -> Step {
        if self.heard.elapsed() > SILENCE_MAX {
            return Err(close_with(CloseCode::Away, "nothing was heard for a while"));
        }
        let ping = timeout(WRITE_DEADLINE, self.socket.send(Message::Ping(bytes::Bytes::new())));
        matches!(ping.await, Ok(Ok(()))).then_some(()).ok_or(End::Gone)
    }

    async fn add_poll(&mut self, poll: PollId, WatchedPoll { watched, is_insider }: WatchedPoll) -> Step {
        let Watched { first, news } = watched;
        if is_insider {
            self.insider_of.insert(poll);
        }
        // What came during the handshake takes the place of the snapshot. That it comes once more is passed over, as all that was shown.
        let newest = news.borrow().or_newer(first);
        self.polls.insert(poll, WatchStream::from_changes(news));
        self.show(poll, newest).await
    }

    async fn add_leaderboard(&mut self, first: BoardFrame, frames: watch::Receiver<Option<BoardFrame>>) -> Step {
        self.leaderboard.insert((), WatchStream::from_changes(frames));
        self.show_board(Some(first)).await
    }

    async fn show(&mut self, poll: PollId, news: PollNews) -> Step {
        match news {
            PollNews::Frame(frame) => self.show_frame(poll, &frame).await,
            PollNews::Gone => {
                self.forget(poll);
                self.send(error_frame(&Problem::new(ProblemKind::PollNotFound), Some(poll))).await?;
                if self.wishes.is_some() { Ok(()) } else { Err(close_with(CloseCode::Normal, "the poll is gone")) }
            }
        }
    }

    async fn show_frame(&mut self, poll: PollId, frame: &PollFrame) -> Step {
        let shown = self.shown.entry(poll).or_default();
        match shown.news_in(frame, self.insider_of.contains(&poll)).cloned() {
            Some(news) => self.send(news).await,
            None => Ok(()),
        }
    }

    async fn show_board(&mut self, frame: Option<BoardFrame>) -> Step {
        match frame.as_ref().and_then(|frame| self.leaderboard_shown.news_in(frame)).cloned() {
            Some(news) => self.send(news).await,
            None => Ok(()),
        }
    }

    /// Remembers what was shown: should the client come back to the poll, only something newer is sent.
    fn forget(&mut self, poll: PollId) {
        self.polls.remove(&poll);
        self.insider_of.remove(&poll);
        self.take_back(Some(poll));
    }

    async fn hear(&mut self, message: Option<Result<Message, SocketError>>) -> Step {
        self.heard = Instant::now();
        match message {
            Some(Ok(Message::Text(text))) => self.answer(text.as_bytes()).await,
            Some(Ok(Message::Binary(bytes))) => self.answer(&bytes).await,
            // Pings are answered by the socket itself.
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => Ok(()),
            Some(Ok(Message::Close(_))) | None => Err(End::Gone),
            Some(Err(SocketError::Capacity(CapacityError::MessageTooLong { .. }))) => {
                Err(close_with(CloseCode::Size, "a message may have 4096 bytes"))
            }
            Some(Err(SocketError::Protocol(_))) => Err(close_with(CloseCode::Protocol, "this is not the WebSocket protocol")),
            Some(Err(SocketError::Utf8(_))) => Err(close_with(CloseCode::Invalid, "a text was not UTF-8")),
            Some(Err(_)) => Err(End::Gone),
        }
    }

    async fn answer(&mut self, message: &[u8]) -> Step {
        self.messages += 1;
        self.act_on(message).await?;
        // Of a message that waits for the store nobody knows yet how good it is.
        if !self.bad_messages.contains(&self.messages) && self.wishes.as_ref().is_none_or(|wishes| wishes.is_empty()) {
            self.bad_messages.clear();
        }
        Ok(())
    }

    async fn act_on(&mut self, message: &[u8]) -> Step {
        if self.wishes.is_none() {
            let problem = Problem::with_detail(ProblemKind::Validation, "this socket takes no messages");
            return self.complain(self.messages, &problem, None).await;
        }
        let request = match Request::parse(message) {
            Ok(request) => request,
            Err(problem) => return self.complain(self.messages, &problem, None).await,
        };
        for poll in request.unsubscribe {
            self.forget(poll);
        }
        for poll in request.subscribe {
            self.subscribe(poll).await?;
        }
        match request.leaderboard {
            Some(true) if self.leaderboard.is_empty() => self.wish(None).await,
            Some(false) => {
                self.leaderboard.clear();
                self.take_back(None);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    async fn subscribe(&mut self, poll: PollId) -> Step {
        let Some(wishes) = &self.wishes else { return Ok(()) };
        if self.polls.contains_key(&poll) || wishes.has(Some(poll)) {
            return Ok(());
        }
        let bound = if self.polls.len() + wishes.polls() >= POLLS_MAX {
            Some("a socket watches at most 100 polls")
        } else if self.shown.len() >= SHOWN_MAX && !self.shown.contains_key(&poll) {
            Some("a socket asks for at most 1000 different polls in its life; open another")
        } else {
            None
        };
        if let Some(bound) = bound {
            return self.complain(self.messages, &Problem::with_detail(ProblemKind::Validation, bound), Some(poll)).await;
        }
        self.shown.entry(poll).or_default();
        self.wish(Some(poll)).await
    }

    async fn wish(&mut self, wish: Wish) -> Step {
        match self.wishes.as_mut().and_then(|wishes| wishes.make(self.messages, wish)) {
            Some(answer) => self.tell(answer).await,
            None => Ok(()),
        }
    }

    fn take_back(&mut self, wish: Wish) {
        if let Some(wishes) = &mut self.wishes {
            wishes.take_back(wish);
        }
    }

    /// Shows what was asked for, or says why it cannot be shown.
    async fn tell(&mut self, Answer { message, wish, granted }: Answer) -> Step {
        if granted.is_ok() {
            self.bad_messages.clear();
        }
        match granted {
            Ok(Granted::Poll(poll, watched)) => self.add_poll(poll, watched).await,
            Ok(Granted::Leaderboard(first, frames)) => self.add_leaderboard(first, frames).await,
            Err(problem) => self.complain(message, &problem, wish).await,
        }
    }

    /// A message counts once, however many complaints it gets: a hundred polls of a dashboard may have been archived.
    async fn complain(&mut self, message: u64, problem: &Problem, poll: Option<PollId>) -> Step {
        self.bad_messages.insert(message);
        self.send(error_frame(problem, poll)).await?;
        if self.bad_messages.len() > BAD_MESSAGES_MAX {
            return Err(close_with(CloseCode::Policy, "too many messages that could not be served"));
        }
        Ok(())
    }
}

/// What was asked for and can be answered now; `None` when nothing is waited for.
async fn next_answer(wishes: &mut Option<Box<Wishes>>) -> Option<Answer> {
    wishes.as_mut()?.next().await
}

/// Why we close.
fn close_with(code: CloseCode, reason: impl Into<Utf8Bytes>) -> End {
    End::Close(code, reason.into())
}

/// Says when to come back, each time something else.
fn leaving() -> String {
    format!("the server is stopping; retry: {}", rand::random_range(RETRY_MILLIS))
}

/// Waits until the socket has taken what it is given.
async fn taken(sending: impl Future<Output = Result<(), SocketError>>) -> Step {
    match timeout(WRITE_DEADLINE, sending).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(End::Gone),
        Err(_) => {
            metrics::counter!("polling_sockets_too_slow_total").increment(1);
            Err(close_with(CloseCode::Again, "the frames were not taken in time"))
        }
    }
}
