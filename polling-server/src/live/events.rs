//! Frames as server-sent events: a response that does not end.

use std::io;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use poem::http::{HeaderName, HeaderValue, StatusCode, header};
use poem::{Body, Response};
use polling_core::model::{PollId, Version};
use polling_core::shutdown::Shutdown;
use tokio::sync::watch;
use tokio::time::{Instant, Interval, timeout};

use super::frame::{BoardFrame, PollNews, error_frame};
use super::hub::Watched;
use super::session::{STAGGER, WRITE_DEADLINE};
use super::shown::{Shown, ShownBoard};
use super::viewer::WatchedPoll;
use crate::api::problem::Problem;
use crate::api::problem_kind::ProblemKind;
use crate::transport::flow::Flow;

/// The media type of a stream of events.
pub const EVENT_STREAM: &str = "text/event-stream";
/// How often a comment is sent where nothing happens: more often than proxies forget a connection, and soon enough to notice a client
/// that has gone.
const COMMENT_INTERVAL: Duration = Duration::from_secs(15);
const COMMENT: Bytes = Bytes::from_static(b":\n\n");
/// How many milliseconds clients are asked to wait before they come back, each another number in this range, so that they do not come
/// all at once. Sockets say it when they are closed, in the words in which streams of events say it.
pub(super) const RETRY_MILLIS: std::ops::Range<u32> = 1000..3000;
/// nginx would gather what is to be sent at once.
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// What a stream shows.
pub enum Topic {
    /// A poll.
    Poll {
        /// The poll.
        poll: PollId,
        /// Its news.
        news: watch::Receiver<PollNews>,
        /// Whether the viewer sees results that not everybody sees.
        is_insider: bool,
        /// What was sent.
        shown: Shown,
    },
    /// The leaderboard.
    Board {
        /// Its frames.
        frames: watch::Receiver<Option<BoardFrame>>,
        /// What was sent.
        shown: ShownBoard,
    },
}

/// What comes next on a stream.
enum Next {
    Event(Bytes),
    /// An event, and nothing after it.
    Last(Bytes),
    /// Something that the client knows, or may not know.
    Nothing,
    End,
}

impl Topic {
    /// A poll, and its snapshot unless the client has it.
    #[must_use]
    pub fn poll(poll: PollId, watched: WatchedPoll, after: Option<Version>) -> (Self, Option<Bytes>) {
        let WatchedPoll { watched: Watched { first, news }, is_insider } = watched;
        let mut shown = Shown::up_to(after);
        let snapshot = shown.news_in(&first, is_insider).map(|rendered| rendered.event.clone());
        (Self::Poll { poll, news, is_insider, shown }, snapshot)
    }

    /// The leaderboard, and its snapshot unless the client has it.
    #[must_use]
    pub fn board(
        first: &BoardFrame,
        frames: watch::Receiver<Option<BoardFrame>>,
        after: Option<Version>,
    ) -> (Self, Option<Bytes>) {
        let mut shown = ShownBoard::up_to(after);
        let snapshot = shown.news_in(first).map(|rendered| rendered.event.clone());
        (Self::Board { frames, shown }, snapshot)
    }

    async fn next(&mut self) -> Next {
        let news = match self {
            Self::Poll { poll, news, is_insider, shown } => {
                if news.changed().await.is_err() {
                    return Next::End;
                }
                match &*news.borrow_and_update() {
                    PollNews::Frame(frame) => shown.news_in(frame, *is_insider).cloned(),
                    PollNews::Gone => {
                        let problem = Problem::new(ProblemKind::PollNotFound);
                        return Next::Last(error_frame(&problem, Some(*poll)).event);
                    }
                }
            }
            Self::Board { frames, shown } => {
                if frames.changed().await.is_err() {
                    return Next::End;
                }
                frames.borrow_and_update().as_ref().and_then(|frame| shown.news_in(frame)).cloned()
            }
        };
        news.map_or(Next::Nothing, |rendered| Next::Event(rendered.event))
    }
}

/// The life of one stream. No more is made ready for a client than what it is about to take.
struct EventStream<P> {
    topic: Topic,
    /// What is sent at once.
    first: Option<Bytes>,
    is_over: bool,
    comments: Interval,
    leave: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// Absent where somebody else's accept loop has the connection: then it is for that to give up slow readers.
    flow: Option<Flow>,
    /// Held as long as the client has the stream.
    _place: P,
}

impl<P> EventStream<P> {
    async fn next(mut self) -> Option<(io::Result<Bytes>, Self)> {
        if self.is_over {
            return None;
        }
        if let Some(flow) = &self.flow
            && timeout(WRITE_DEADLINE, flow.taken()).await.is_err()
        {
            metrics::counter!("polling_event_streams_too_slow_total").increment(1);
            self.is_over = true;
            // The only way to end a response that the client does not read is to fail.
            return Some((Err(io::Error::new(io::ErrorKind::TimedOut, "the events were not taken in time")), self));
        }
        let event = match self.first.take() {
            Some(first) => first,
            None => self.wait().await?,
        };
        if let Some(flow) = &self.flow {
            flow.note_sending();
        }
        self.comments.reset();
        Some((Ok(event), self))
    }

    /// The next event or comment; `None` at the end.
    async fn wait(&mut self) -> Option<Bytes> {
        loop {
            let next = tokio::select! {
                biased;
                () = &mut self.leave => Next::End,
                next = self.topic.next() => next,
                _ = self.comments.tick() => Next::Event(COMMENT),
            };
            match next {
                Next::Event(event) => return Some(event),
                Next::Last(event) => {
                    self.is_over = true;
                    return Some(event);
                }
                Next::Nothing => {}
                Next::End => return None,
            }
        }
    }
}

/// Answers with the topic, and holds `place` as long as the client listens. On shutdown streams end one here and one there, and clients
/// come back to another server.
pub fn event_stream<P: Send + 'static>(
    (topic, snapshot): (Topic, Option<Bytes>),
    flow: Option<Flow>,
    place: P,
    shutdown: Shutdown,
) -> Response {
    // Streams have bounds of their own: were they counted among the connections, too, votes would wait for watchers to go.
    if let Some(flow) = &flow {
        flow.begin_endless();
    }
    let retry = format!("retry: {}\n", rand::random_range(RETRY_MILLIS));
    // A field and the event behind it are one event to a client; without one, an empty line ends it.
    let first = [retry.as_bytes(), snapshot.as_deref().unwrap_or(b"\n")].concat();
    let stream = EventStream {
        topic,
        first: Some(first.into()),
        is_over: false,
        comments: tokio::time::interval_at(Instant::now() + COMMENT_INTERVAL, COMMENT_INTERVAL),
        leave: Box::pin(async move {
            shutdown.requested().await;
            tokio::time::sleep(rand::random_range(Duration::ZERO..STAGGER)).await;
        }),
        flow,
        _place: place,
    };
    let mut response =
        Response::builder().status(StatusCode::OK).body(Body::from_bytes_stream(stream::unfold(stream, EventStream::next)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(EVENT_STREAM));
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    // Kept by nobody, because it is of the moment.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(ACCEL_BUFFERING, HeaderValue::from_static("no"));
    response
}
