//! For programs without an asynchronous runtime: waits for what the clients do. Feature `blocking`.
//!
//! A [`Runtime`] owns the threads that the cache works on, so a token that is due is refreshed between two calls as in any
//! asynchronous program. [`Wait::wait`] ends an acquisition in place of `.await`, and [`Runtime::run`] runs everything else.
//!
//! ```no_run
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! use cache_core::cache::TokenCache;
//! use cache_core::seal::{FileKeySource, Namespace};
//! use cache_core::store::MemoryStore;
//! use flows::authority::Authority;
//! use flows::blocking::{Runtime, Wait};
//! use flows::client::PublicClient;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let runtime = Runtime::new()?;
//! let key = Arc::new(FileKeySource::new("/etc/my-tool/key"));
//! let cache = TokenCache::builder(Arc::new(MemoryStore::new())).open_sealed(Namespace::default(), key);
//! let cache = runtime.run(cache)??;
//!
//! let authority = Authority::detect("https://login.microsoftonline.com/organizations")?;
//! let client = PublicClient::builder("11111111-2222-3333-4444-555555555555", authority, cache.clone()).build()?;
//! for account in client.accounts().wait(&runtime)?.accounts {
//!     let result = client.acquire_token_silent(["User.Read"]).account(&account).wait(&runtime)?;
//!     let header = result.authorization_header();
//!     # let _ = header;
//! }
//!
//! // Before the program ends: what was just refreshed must be stored.
//! runtime.run(cache.shutdown(Duration::from_secs(40)))?;
//! # Ok(()) }
//! ```

use std::fmt;
use std::future::IntoFuture;
use std::time::Duration;

use tokio::runtime::{Builder, Handle};

use crate::Error;

/// How long a [`Runtime`] waits for its threads when it is dropped, unless told otherwise.
const GRACE: Duration = Duration::from_secs(5);

/// The threads that clients and caches work on in a program without an asynchronous runtime.
///
/// One serves a whole program, from any number of threads. Everything that belongs together must run on the same one.
///
/// # Dropping
/// Refreshes and writes that are under way are abandoned at their next pause, and the drop ends within the
/// [grace](Self::grace), 5 seconds unless set. A refresh token that was just obtained would be lost that way, so run
/// [`TokenCache::shutdown`](cache_core::cache::TokenCache::shutdown) first.
///
/// ```
/// use flows::blocking::{BlockingError, Runtime};
///
/// # fn main() -> Result<(), BlockingError> {
/// let runtime = Runtime::new()?;
/// assert_eq!(runtime.run(async { 2 + 2 })?, 4);
/// assert_eq!(runtime.run(async { runtime.run(async {}) })?, Err(BlockingError::InsideRuntime));
/// # Ok(()) }
/// ```
pub struct Runtime {
    /// Taken when dropped, and only then.
    runtime: Option<tokio::runtime::Runtime>,
    grace: Duration,
}

impl Runtime {
    /// A runtime with one thread of its own, for the background. What is [run](Self::run) runs on the caller's thread.
    ///
    /// # Errors
    /// [`BlockingError::NotStarted`] when the system gives no thread, or no descriptor to wait by.
    pub fn new() -> Result<Self, BlockingError> {
        let not_started = |error: std::io::Error| BlockingError::NotStarted(error.kind());
        // Tokio panics where there is no thread for its worker.
        let probe = std::thread::Builder::new().spawn(|| {}).map_err(not_started)?;
        let _ = probe.join();
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("tokenkeep")
            .enable_all()
            .build()
            .map_err(not_started)?;
        Ok(Self {
            runtime: Some(runtime),
            grace: GRACE,
        })
    }

    /// Sets how long dropping it may wait for work that cannot be abandoned at once, such as a look-up of a host name.
    #[must_use]
    pub fn grace(mut self, limit: Duration) -> Self {
        self.grace = limit;
        self
    }

    /// Runs `work` to its end and gives what it gives.
    ///
    /// # Errors
    /// [`BlockingError::InsideRuntime`] on a thread of an asynchronous runtime, where waiting would hold up everything else on
    /// that thread, what is waited for included. `work` was not begun then.
    pub fn run<F: IntoFuture>(&self, work: F) -> Result<F::Output, BlockingError> {
        if Handle::try_current().is_ok() {
            return Err(BlockingError::InsideRuntime);
        }
        #[expect(
            clippy::expect_used,
            reason = "it is taken when this is dropped, and nobody has it then"
        )]
        let runtime = self
            .runtime
            .as_ref()
            .expect("the runtime is there until it is dropped");
        Ok(runtime.block_on(work.into_future()))
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        let Some(runtime) = self.runtime.take() else {
            return;
        };
        if Handle::try_current().is_ok() {
            // Waiting is forbidden on this thread.
            runtime.shutdown_background();
        } else {
            runtime.shutdown_timeout(self.grace);
        }
    }
}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runtime")
            .field("grace", &self.grace)
            .finish_non_exhaustive()
    }
}

/// Waits for what a client does. Every acquisition has it, and every other call of a client that can fail.
///
/// ```no_run
/// # fn token(client: &flows::client::ConfidentialClient) -> Result<(), flows::Error> {
/// use flows::blocking::{Runtime, Wait};
///
/// let runtime = Runtime::new()?;
/// let result = client.acquire_token_for_client(["https://graph.microsoft.com/.default"]).wait(&runtime)?;
/// # let _ = result; Ok(()) }
/// ```
pub trait Wait<T>: IntoFuture<Output = Result<T, Error>> + Sized {
    /// Runs it on `runtime` to its end.
    ///
    /// # Errors
    /// Its own, and [`Error::Blocking`] on a thread of an asynchronous runtime.
    fn wait(self, runtime: &Runtime) -> Result<T, Error>;
}

impl<T, F: IntoFuture<Output = Result<T, Error>>> Wait<T> for F {
    fn wait(self, runtime: &Runtime) -> Result<T, Error> {
        runtime.run(self)?
    }
}

/// Why nothing was run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BlockingError {
    /// The thread belongs to an asynchronous runtime, or is lent by one (`spawn_blocking`).
    #[error(
        "waiting is not allowed on a thread of an asynchronous runtime; use `.await` there, or a thread of your own"
    )]
    InsideRuntime,
    /// The system gave no thread, or no descriptor to wait by.
    #[error("no thread could be started for background work ({0}); is the process at a limit of the system?")]
    NotStarted(std::io::ErrorKind),
}
