//! Room for what is large: answers that clients have asked for and have not taken yet, and the bodies of requests in hand.
//!
//! Each of them has a bound of its own, and so has the number of connections; the product of both is more than machines have. So all of
//! them together have one more. What is small is not counted, and never refused.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http_body_util::BodyExt;
use http_body_util::combinators::BoxBody;
use hyper::StatusCode;
use hyper::body::{Body, SizeHint};
use poem::{PathPattern, Response};

use super::refusal::{explanation, no_room_for_answer, problem};

/// Bytes of what is small: no more than some requests and their heads, which every connection may have in its buffers anyway.
const SMALL_BYTES_MAX: usize = 16 * 1024;
/// Bytes that one body of a request counts for, at most: no operation reads more.
const BODY_BYTES_MAX: usize = crate::api::request_body::BATCH_BYTES_MAX;

/// The room of a listener. Cloning gives another handle to the same.
#[derive(Debug, Clone)]
pub struct Room(Arc<State>);

#[derive(Debug)]
struct State {
    bytes_max: usize,
    taken: AtomicUsize,
}

/// There is no room left.
#[derive(Debug, PartialEq, Eq)]
pub struct NoRoom;

/// Room that is taken as long as this lives.
#[derive(Debug)]
pub struct Taken {
    room: Room,
    bytes: usize,
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.room.0.taken.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Bytes that take room until the last of them was sent.
struct Held {
    bytes: Bytes,
    _taken: Taken,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Room {
    /// Room for so many bytes.
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        Self(Arc::new(State { bytes_max, taken: AtomicUsize::new(0) }))
    }

    /// Takes room for a body of this size, to be held until its request is answered. What is small needs none, and what does not say how
    /// large it is only has to find some.
    ///
    /// # Errors
    ///
    /// When there is not so much room.
    pub fn for_body(&self, size: &SizeHint) -> Result<Option<Taken>, NoRoom> {
        let taken = match size.upper() {
            Some(bytes) if bytes <= SMALL_BYTES_MAX as u64 => return Ok(None),
            Some(bytes) => self.take(usize::try_from(bytes).unwrap_or(BODY_BYTES_MAX).min(BODY_BYTES_MAX)).map(Some),
            None => self.take(1).map(|_| None),
        };
        taken.inspect_err(|NoRoom| count_refused())
    }

    /// Has an answer take room until the client has taken it, or gone; one that is made of bytes that are kept anyway, for others, too,
    /// takes none. Where there is no room and the answer `may_be_refused`, that is said instead; what was done cannot be taken back.
    pub async fn hold(&self, mut response: Response, may_be_refused: bool) -> Response {
        let body: BoxBody<Bytes, io::Error> = response.take_body().into();
        match body.size_hint().exact() {
            Some(bytes) if bytes > SMALL_BYTES_MAX as u64 => Box::pin(self.hold_large(response, body, may_be_refused)).await,
            _ => {
                response.set_body(body);
                response
            }
        }
    }

    async fn hold_large(&self, mut response: Response, body: BoxBody<Bytes, io::Error>, may_be_refused: bool) -> Response {
        // It is one piece, which is not copied.
        let bytes = match body.collect().await {
            Ok(collected) => collected.to_bytes(),
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "an answer could not be made");
                let status = StatusCode::INTERNAL_SERVER_ERROR;
                return problem(status, explanation(status));
            }
        };
        if !bytes.is_unique() {
            response.set_body(bytes);
            return response;
        }
        let taken = match self.take(bytes.len()) {
            Ok(taken) => taken,
            Err(NoRoom) if may_be_refused => {
                count_refused();
                let mut refused = no_room_for_answer();
                if let Some(pattern) = response.data::<PathPattern>() {
                    refused.set_data(pattern.clone());
                }
                return refused;
            }
            Err(NoRoom) => self.take_anyway(bytes.len()),
        };
        response.set_body(Bytes::from_owner(Held { bytes, _taken: taken }));
        response
    }

    fn take(&self, bytes: usize) -> Result<Taken, NoRoom> {
        let with = |taken: usize| taken.checked_add(bytes).filter(|&taken| taken <= self.0.bytes_max);
        match self.0.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, with) {
            Ok(_) => Ok(Taken { room: self.clone(), bytes }),
            Err(_) => Err(NoRoom),
        }
    }

    fn take_anyway(&self, bytes: usize) -> Taken {
        self.0.taken.fetch_add(bytes, Ordering::Relaxed);
        Taken { room: self.clone(), bytes }
    }
}

fn count_refused() {
    metrics::counter!("polling_large_refused_total").increment(1);
}

#[cfg(test)]
mod tests {
    use super::*;

    const LARGE: usize = SMALL_BYTES_MAX + 1;

    fn taken(room: &Room) -> usize {
        room.0.taken.load(Ordering::Relaxed)
    }

    fn answer(bytes: usize) -> Response {
        Response::builder().body(vec![0; bytes])
    }

    async fn body(response: &mut Response) -> Bytes {
        response.take_body().into_bytes().await.expect("read")
    }

    #[tokio::test]
    async fn an_answer_takes_room_until_its_bytes_are_gone() {
        let room = Room::new(2 * LARGE);
        let mut first = room.hold(answer(LARGE), true).await;
        let second = room.hold(answer(LARGE), true).await;
        assert_eq!(room.hold(answer(LARGE), true).await.status(), 503);
        assert_eq!(room.hold(answer(SMALL_BYTES_MAX), true).await.status(), 200, "what is small is never refused");
        drop(second);
        let mut bytes = body(&mut first).await;
        drop(first);
        let end = bytes.split_off(LARGE - 1);
        drop(bytes);
        assert_eq!((taken(&room), end.len()), (LARGE, 1), "the connection has the end of it");
        drop(end);
        assert_eq!(taken(&room), 0);
    }

    #[tokio::test]
    async fn what_is_kept_for_others_takes_no_room() {
        let room = Room::new(0);
        let kept = Bytes::from(vec![0; LARGE]);
        let mut response = room.hold(Response::builder().body(kept.clone()), true).await;
        assert_eq!((response.status().as_u16(), body(&mut response).await), (200, kept));
        let constant = Response::builder().body(Bytes::from_static(&[0; LARGE]));
        assert_eq!(room.hold(constant, true).await.status(), 200);
        assert_eq!(taken(&room), 0);
    }

    #[tokio::test]
    async fn what_was_done_is_answered_and_new_bodies_wait_for_it() {
        let room = Room::new(LARGE);
        let held = room.hold(answer(2 * LARGE), false).await;
        assert_eq!((held.status().as_u16(), taken(&room)), (200, 2 * LARGE));
        assert_eq!(room.for_body(&SizeHint::with_exact(LARGE as u64)).err(), Some(NoRoom));
        assert_eq!(room.for_body(&SizeHint::new()).err(), Some(NoRoom));
        assert!(matches!(room.for_body(&SizeHint::with_exact(SMALL_BYTES_MAX as u64)), Ok(None)));
        drop(held);
        let body = room.for_body(&SizeHint::with_exact(LARGE as u64)).expect("room");
        assert_eq!(taken(&room), LARGE);
        drop(body);
        assert!(matches!(room.for_body(&SizeHint::new()), Ok(None)));
        assert_eq!(taken(&room), 0);
    }
}
