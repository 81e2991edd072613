//! The proxy itself: where it listens, what gets through, and how often a request is cut.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::pass;

/// Between two attempts to have an address again.
const BIND_AGAIN: Duration = Duration::from_millis(20);

/// What gets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Everything.
    Open,
    /// Everything, each piece so much later.
    Slow(Duration),
    /// Connections stay and are made, and nothing is heard: a black hole.
    Silent,
    /// What the client says gets through, and no answer comes until the way is open again.
    AnswersHeld,
    /// Connections are cut, and new ones refused.
    Refused,
}

/// What speaks, so that requests can be told from each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Kafka's; what may be cut is a Produce request.
    Kafka,
    /// PostgreSQL's; what may be cut is a COMMIT.
    Postgres,
    /// Another one, of which no request is cut.
    Other,
}

/// Which side of a request gets lost; its connection breaks in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// The server has it, and the client never learns what came of it.
    Answer,
    /// The server never has it.
    Request,
    /// Now the one, now the other.
    Either,
}

/// How often requests are cut.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Cutting {
    cut: Cut,
    share: f64,
}

/// What all connections share.
pub(super) struct Rules {
    pub(super) way: watch::Sender<Way>,
    cutting: Mutex<Option<Cutting>>,
    random: Mutex<SmallRng>,
    cuts: AtomicU64,
    pub(super) protocol: Protocol,
}

impl Rules {
    /// Decides about the next request of the kind that may be cut.
    pub(super) fn decide(&self) -> Option<Cut> {
        let cutting = (*self.cutting.lock().unwrap_or_else(PoisonError::into_inner))?;
        let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
        if !random.random_bool(cutting.share) {
            return None;
        }
        self.cuts.fetch_add(1, Ordering::Relaxed);
        match cutting.cut {
            Cut::Either => Some(if random.random() { Cut::Answer } else { Cut::Request }),
            cut => Some(cut),
        }
    }
}

/// Forwards connections to a server until it is dropped.
pub struct Proxy {
    address: SocketAddr,
    rules: Arc<Rules>,
    forwarding: JoinHandle<()>,
}

impl Proxy {
    /// An open way from `address`, where port 0 takes a free one, to the server at `server`.
    ///
    /// # Errors
    ///
    /// The address cannot be listened on.
    pub async fn start(address: SocketAddr, server: &str, protocol: Protocol, seed: u64) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let rules = Arc::new(Rules {
            way: watch::Sender::new(Way::Open),
            cutting: Mutex::default(),
            random: Mutex::new(SmallRng::seed_from_u64(seed)),
            cuts: AtomicU64::new(0),
            protocol,
        });
        let forwarding = tokio::spawn(forward(listener, address, server.into(), Arc::clone(&rules)));
        Ok(Self { address, rules, forwarding })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Says what gets through from now on.
    pub fn set(&self, way: Way) {
        self.rules.way.send_replace(way);
    }

    /// Cuts this share of the requests, between 0 and 1, from now on; `None` cuts no more.
    pub fn cut(&self, cut: Option<(Cut, f64)>) {
        let cutting = cut.map(|(cut, share)| Cutting { cut, share: share.clamp(0.0, 1.0) });
        *self.rules.cutting.lock().unwrap_or_else(PoisonError::into_inner) = cutting;
    }

    /// How many requests were cut.
    #[must_use]
    pub fn cuts(&self) -> u64 {
        self.rules.cuts.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.forwarding.abort();
        self.rules.way.send_replace(Way::Refused);
    }
}

async fn forward(listener: TcpListener, address: SocketAddr, server: Arc<str>, rules: Arc<Rules>) {
    let mut ways = rules.way.subscribe();
    let mut listener = Some(listener);
    loop {
        if *ways.borrow_and_update() == Way::Refused {
            listener = None;
            if ways.wait_for(|way| *way != Way::Refused).await.is_err() {
                return;
            }
        }
        let accepting = match listener.take() {
            Some(listener) => listener,
            None => bind(address).await,
        };
        let accepting = listener.insert(accepting);
        tokio::select! {
            accepted = accepting.accept() => {
                if let Ok((client, _)) = accepted {
                    tokio::spawn(pass::pass(client, Arc::clone(&server), Arc::clone(&rules)));
                }
            }
            _ = ways.changed() => {}
        }
    }
}

/// Binds the address again, which somebody else may have borrowed for a connection.
async fn bind(address: SocketAddr) -> TcpListener {
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => return listener,
            Err(_) => tokio::time::sleep(BIND_AGAIN).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    /// Longer than anything takes here that comes at all.
    const SOON: Duration = Duration::from_secs(20);

    /// A request of Kafka, which a server of these tests answers with itself.
    const PRODUCE: [u8; 6] = [0, 0, 0, 2, 0, 0];
    const FETCH: [u8; 6] = [0, 0, 0, 2, 0, 1];

    /// A server that says everything back, and counts what it heard.
    async fn echo() -> (String, watch::Receiver<usize>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let (heard, hearing) = watch::channel(0);
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let heard = heard.clone();
                tokio::spawn(async move {
                    let mut request = [0; PRODUCE.len()];
                    while client.read_exact(&mut request).await.is_ok() {
                        heard.send_modify(|heard| *heard += 1);
                        if client.write_all(&request).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        (address, hearing)
    }

    async fn proxy() -> (Proxy, watch::Receiver<usize>) {
        let (server, hearing) = echo().await;
        let proxy = Proxy::start(SocketAddr::from(([127, 0, 0, 1], 0)), &server, Protocol::Kafka, 1).await.expect("a port");
        (proxy, hearing)
    }

    /// Says something; answers whether the same came back.
    async fn is_answered(client: &mut TcpStream, request: [u8; 6]) -> bool {
        let mut answer = [0; PRODUCE.len()];
        client.write_all(&request).await.is_ok() && client.read_exact(&mut answer).await.is_ok_and(|_| answer == request)
    }

    async fn soon<T>(future: impl Future<Output = T>) -> T {
        tokio::time::timeout(SOON, future).await.expect("it comes soon")
    }

    #[tokio::test]
    async fn an_open_way_passes_everything() {
        let (proxy, _hearing) = proxy().await;
        let mut client = TcpStream::connect(proxy.address()).await.expect("connected");
        assert!(soon(is_answered(&mut client, PRODUCE)).await);
        assert!(soon(is_answered(&mut client, FETCH)).await);
    }

    #[tokio::test]
    async fn a_lost_answer_leaves_the_request_at_the_server() {
        let (proxy, mut hearing) = proxy().await;
        proxy.cut(Some((Cut::Answer, 1.0)));
        let mut client = TcpStream::connect(proxy.address()).await.expect("connected");
        assert!(soon(is_answered(&mut client, FETCH)).await, "only what matters is cut");
        assert!(!soon(is_answered(&mut client, PRODUCE)).await);
        soon(hearing.wait_for(|heard| *heard == 2)).await.expect("the server has it");
        assert_eq!(proxy.cuts(), 1);
        proxy.cut(None);
        let mut client = TcpStream::connect(proxy.address()).await.expect("connected");
        assert!(soon(is_answered(&mut client, PRODUCE)).await);
    }

    #[tokio::test]
    async fn a_lost_request_never_reaches_the_server() {
        let (proxy, hearing) = proxy().await;
        proxy.cut(Some((Cut::Request, 1.0)));
        let mut client = TcpStream::connect(proxy.address()).await.expect("connected");
        assert!(!soon(is_answered(&mut client, PRODUCE)).await);
        assert_eq!(*hearing.borrow(), 0);
    }

    #[tokio::test]
    async fn what_is_held_comes_when_the_way_is_open_again() {
        for way in [Way::Silent, Way::AnswersHeld] {
            let (proxy, mut hearing) = proxy().await;
            let mut client = TcpStream::connect(proxy.address()).await.expect("connected");
            assert!(soon(is_answered(&mut client, FETCH)).await);
            proxy.set(way);
            client.write_all(&PRODUCE).await.expect("said");
            if way == Way::AnswersHeld {
                soon(hearing.wait_for(|heard| *heard == 2)).await.expect("the server has it");
            }
            proxy.set(Way::Open);
            let mut answer = [0; PRODUCE.len()];
            soon(client.read_exact(&mut answer)).await.expect("the answer comes");
            assert_eq!((answer, *hearing.borrow_and_update()), (PRODUCE, 2));
        }
    }

    #[tokio::test]
    async fn a_refused_connection_is_cut_and_comes_back_at_the_same_address() {
        let (proxy, _hearing) = proxy().await;
        let mut client = TcpStream::connect(proxy.address()).await.expect("connected");
        assert!(soon(is_answered(&mut client, FETCH)).await);
        proxy.set(Way::Refused);
        assert!(!soon(is_answered(&mut client, FETCH)).await);
        proxy.set(Way::Open);
        soon(async {
            loop {
                if let Ok(mut client) = TcpStream::connect(proxy.address()).await {
                    return assert!(is_answered(&mut client, FETCH).await);
                }
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}
