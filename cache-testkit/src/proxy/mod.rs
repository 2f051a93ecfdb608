//! A TCP proxy between a client and its authority that loses, delays and breaks what passes through it.
//!
//! It knows nothing but bytes, so it works for TLS as it does for plain HTTP. Each connection is treated as scripted;
//! without a script it passes. The clients of this project open one connection for each request, so there a
//! connection is a request.
//!
//! ```
//! use cache_testkit::proxy::{Behaviour, Proxy};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! # let authority = std::net::SocketAddr::from(([127, 0, 0, 1], 9));
//! let proxy = Proxy::start(authority).await?;
//! // The authority executes the first request, and its answer is lost. The second is served.
//! proxy.script([Behaviour::DropReply { request_bytes: 1 }]);
//! println!("connect to {}", proxy.address());
//! assert_eq!(proxy.statistics().connections, 0);
//! # std::io::Result::Ok(())
//! # })?;
//! # std::io::Result::Ok(())
//! ```

mod exchange;
mod relay;

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

pub use self::exchange::Exchange;
use self::exchange::Overheard;

/// What becomes of one connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Behaviour {
    /// Everything passes.
    #[default]
    Pass,
    /// The request passes and its reply is lost: once the client has sent `request_bytes`, the first thing that the authority says
    /// ends the connection. Under TLS the client's part of the handshake counts too; choose a number beyond it.
    DropReply {
        /// How many bytes the client must have sent.
        request_bytes: u64,
    },
    /// The reply breaks off after this many bytes.
    CutReply {
        /// How many bytes of what the authority says still pass.
        reply_bytes: u64,
    },
    /// As [`DropReply`](Self::DropReply), but only the direction to the client is closed: the client sees the end of the
    /// stream and can still send.
    HalfClose {
        /// How many bytes the client must have sent.
        request_bytes: u64,
    },
    /// As [`DropReply`](Self::DropReply), but the client sees its connection reset (RST).
    Reset {
        /// How many bytes the client must have sent.
        request_bytes: u64,
    },
    /// The connection is accepted, and nothing ever passes.
    Stall,
    /// The connection is reset at once; the authority does not see it.
    Refuse,
    /// Everything passes, each piece of the reply after this time.
    Delay(Duration),
}

/// What has passed so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Statistics {
    /// Connections that clients made.
    pub connections: u64,
    /// Bytes that reached the authority.
    pub bytes_to_authority: u64,
    /// Bytes that reached clients.
    pub bytes_to_client: u64,
    /// Connections on which the authority said something that its client did not get.
    pub replies_lost: u64,
}

/// A running proxy. It stops, and breaks every connection, when it is dropped.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    authority: SocketAddr,
    state: Mutex<State>,
    paused: watch::Sender<Paused>,
    open: watch::Sender<bool>,
}

/// Whose connections stand still.
#[derive(Default)]
struct Paused {
    all: bool,
    sources: HashSet<IpAddr>,
}

#[derive(Default)]
struct State {
    script: VecDeque<Behaviour>,
    afterwards: Behaviour,
    statistics: Statistics,
    /// Of connections that have ended; `None` where nobody wants to know.
    exchanges: Option<Vec<Exchange>>,
}

impl Proxy {
    /// A proxy on a free port of 127.0.0.1, in front of `authority`, on the current tokio runtime.
    ///
    /// # Errors
    /// That no port can be had.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn start(authority: SocketAddr) -> io::Result<Self> {
        Self::start_at((Ipv4Addr::LOCALHOST, 0).into(), authority).await
    }

    /// As [`start`](Self::start), at this address of this machine.
    ///
    /// # Errors
    /// That the address is taken, or none of this machine.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn start_at(address: SocketAddr, authority: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            authority,
            state: Mutex::default(),
            paused: watch::Sender::default(),
            open: watch::Sender::new(true),
        });
        let task = tokio::spawn(serve(listener, Arc::clone(&shared)));
        Ok(Self {
            address,
            shared,
            task,
        })
    }

    /// Where clients connect to.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Treats the next connections like this, one each, after those that are scripted already.
    pub fn script(&self, behaviours: impl IntoIterator<Item = Behaviour>) {
        self.shared.state().script.extend(behaviours);
    }

    /// Treats every connection like this that no script is for.
    pub fn afterwards(&self, behaviour: Behaviour) {
        self.shared.state().afterwards = behaviour;
    }

    /// Freezes everything, as if the authority's machine had been stopped (`SIGSTOP`): connections are accepted and
    /// stay open, and not a byte passes in either direction.
    pub fn pause(&self) {
        self.shared.paused.send_modify(|paused| paused.all = true);
    }

    /// The same for whoever connects from `source`; for all others everything goes on.
    pub fn pause_from(&self, source: IpAddr) {
        self.shared
            .paused
            .send_modify(|paused| _ = paused.sources.insert(source));
    }

    /// Ends every [`pause`](Self::pause): what was under way goes on.
    pub fn resume(&self) {
        self.shared.paused.send_replace(Paused::default());
    }

    /// Stops to listen, as if the authority's program had ended: the system refuses connections, so no client sends a byte. Those that are
    /// there go on.
    pub fn close(&self) {
        self.shared.open.send_replace(false);
    }

    /// Ends a [`close`](Self::close), at the same address.
    pub fn reopen(&self) {
        self.shared.open.send_replace(true);
    }

    /// Keeps what passes on each connection from now on, once it has ended, until it is [taken](Self::take_exchanges).
    pub fn keep_exchanges(&self) {
        self.shared.state().exchanges.get_or_insert_default();
    }

    /// What has passed on the connections that ended since this was last called. Nothing where it is not
    /// [kept](Self::keep_exchanges).
    #[must_use]
    pub fn take_exchanges(&self) -> Vec<Exchange> {
        let mut state = self.shared.state();
        state.exchanges.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// What has passed so far.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        self.shared.state().statistics
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy")
            .field("address", &self.address)
            .field("authority", &self.shared.authority)
            .field("statistics", &self.statistics())
            .finish_non_exhaustive()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until what comes from `source`, or goes there, is not paused.
    async fn running(&self, source: IpAddr) {
        let runs = |paused: &Paused| !paused.all && !paused.sources.contains(&source);
        // The sender lives in `self`, so the channel cannot close.
        let _ = self.paused.subscribe().wait_for(runs).await;
    }

    fn count(&self, count: impl FnOnce(&mut Statistics)) {
        count(&mut self.state().statistics);
    }

    /// Whoever listens in on a new connection, if that is wanted.
    fn overhear(&self) -> Option<Overheard> {
        self.state().exchanges.as_ref().map(|_| Overheard::new())
    }

    fn keep(&self, exchange: Exchange) {
        if let Some(exchanges) = &mut self.state().exchanges {
            exchanges.push(exchange);
        }
    }

    fn next(&self) -> Behaviour {
        let mut state = self.state();
        state.statistics.connections += 1;
        let afterwards = state.afterwards;
        state.script.pop_front().unwrap_or(afterwards)
    }
}

/// The connections are tasks of this one, so they end with it.
async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    let mut open = shared.open.subscribe();
    let address = listener.local_addr().ok();
    let mut listener = Some(listener);
    loop {
        tokio::select! {
            accepted = accept(listener.as_ref()) => {
                let Ok((client, from)) = accepted else { continue };
                let behaviour = shared.next();
                connections.spawn(connection(client, from.ip(), Arc::clone(&shared), behaviour));
            }
            Ok(()) = open.changed() => {
                listener = None;
                if *open.borrow_and_update() && let Some(address) = address {
                    listener = TcpListener::bind(address).await.ok();
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// The next client; never, where nobody listens.
async fn accept(listener: Option<&TcpListener>) -> io::Result<(TcpStream, SocketAddr)> {
    match listener {
        Some(listener) => listener.accept().await,
        None => std::future::pending().await,
    }
}

async fn connection(client: TcpStream, source: IpAddr, shared: Arc<Shared>, behaviour: Behaviour) {
    shared.running(source).await;
    match behaviour {
        Behaviour::Refuse => reset(client),
        Behaviour::Stall => std::future::pending().await,
        _ => {
            if let Ok(authority) = TcpStream::connect(shared.authority).await {
                let overheard = shared.overhear();
                relay::run(client, authority, source, &shared, behaviour, overheard).await;
            }
        }
    }
}

fn reset(client: TcpStream) {
    // Without lingering, closing sends RST instead of FIN.
    let _ = client.set_zero_linger();
}
