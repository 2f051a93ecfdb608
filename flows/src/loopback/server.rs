//! Serving the redirect listener, within bounds.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use cache_core::secret::Secret;
use cache_core::time::{Clock, with_deadline};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CACHE_CONTROL, HeaderValue, LOCATION, REFERRER_POLICY};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc, oneshot};
use url::Url;

use super::{Page, RedirectListener};

/// How many connections are served at once. A browser opens some ahead of need. For one more, the oldest that has sent no whole
/// request is closed: whatever opens many and says nothing must not keep the user's own answer waiting.
const MAX_CONNECTIONS: usize = 32;

/// How long a connection may take to send its request, and again to read its answer.
const CONNECTION_TIME: Duration = Duration::from_secs(10);

/// How long a head may be, in bytes: the query holds a code of one or two KiB.
const MAX_HEAD: usize = 32 * 1024;
const MAX_HEADERS: usize = 100;

/// How long the listener rests after it failed to accept a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How long the last answer may take to be written.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// A request that may be the answer of the sign-in. It waits for what the browser is to be shown.
pub(crate) struct Received {
    parameters: Secret,
    answer: oneshot::Sender<Answer>,
    /// Ends with the connection.
    closed: oneshot::Receiver<Infallible>,
}

/// What the browser is told.
pub(crate) enum Answer {
    /// A page.
    Page(Page),
    /// To go on to another address.
    GoOn(Url),
}

impl Received {
    /// The parameters, as a path with a query.
    pub(crate) fn parameters(&self) -> &Secret {
        &self.parameters
    }

    /// Answers; waiting goes on.
    pub(crate) fn reply(self, answer: Answer) {
        let _ = self.answer.send(answer);
    }

    /// Answers, and waits until the browser has it, within bounds: the listener is about to close.
    pub(crate) async fn conclude(self, answer: Answer, clock: &dyn Clock) {
        let _ = self.answer.send(answer);
        let _ = with_deadline(clock, LAST_WORDS, self.closed).await;
    }
}

impl RedirectListener {
    /// Serves for as long as it is polled, and hands what may be the answer to `inbox`. When the inbox is closed, one answer was
    /// accepted, and later ones are told so. Dropping the future closes every connection at once.
    pub(crate) async fn serve(&self, clock: &dyn Clock, inbox: mpsc::Sender<Received>) -> Infallible {
        let mut connections = FuturesUnordered::new();
        let mut served = VecDeque::new();
        loop {
            served.retain(|connection: &Arc<Connection>| !connection.has_ended());
            let idle = served.iter().find(|connection| !connection.is_judged());
            let has_room = served.len() < MAX_CONNECTIONS || idle.is_some();
            tokio::select! {
                // First those that are there: what has arrived on them counts before another one takes their place.
                biased;
                Some(()) = connections.next(), if !connections.is_empty() => {}
                stream = self.accept(clock), if has_room => {
                    if served.len() >= MAX_CONNECTIONS && let Some(oldest) = idle {
                        oldest.evict();
                    }
                    let connection = Arc::new(Connection::default());
                    served.push_back(Arc::clone(&connection));
                    connections.push(self.connection(stream, connection, clock, &inbox));
                }
            }
        }
    }

    async fn accept(&self, clock: &dyn Clock) -> TcpStream {
        loop {
            let accepted = poll_fn(|context| {
                for socket in &self.sockets {
                    if let Poll::Ready(accepted) = socket.poll_accept(context) {
                        return Poll::Ready(accepted);
                    }
                }
                Poll::Pending
            })
            .await;
            match accepted {
                Ok((stream, _)) => return stream,
                // Out of file descriptors, say: trying again at once would only spin.
                Err(_) => clock.sleep(ACCEPT_PAUSE).await,
            }
        }
    }

    /// One request, and the connection is closed.
    async fn connection(
        &self,
        stream: TcpStream,
        state: Arc<Connection>,
        clock: &dyn Clock,
        inbox: &mpsc::Sender<Received>,
    ) {
        let _ending = Ending(&state);
        // Dropped at the end, which is how the other side learns of it.
        let (_open, closed) = oneshot::channel();
        let closed = Mutex::new(Some(closed));
        let service = service_fn(|request| async {
            let closed = closed.lock().ok().and_then(|mut closed| closed.take());
            let response = self.answer(request, &state.is_judged, closed, inbox).await;
            Ok::<_, Infallible>(response)
        });
        let mut http = http1::Builder::new();
        let http = http
            .keep_alive(false)
            .max_buf_size(MAX_HEAD)
            .max_headers(MAX_HEADERS)
            .serve_connection(TokioIo::new(stream), service);
        let out_of_time = async {
            loop {
                clock.sleep(CONNECTION_TIME).await;
                // The wait for a judgement is not the browser's fault, and ends with the sign-in.
                if !state.is_judged() {
                    return;
                }
            }
        };
        let (mut http, mut out_of_time) = (pin!(http), pin!(out_of_time));
        tokio::select! {
            // What fails here is between the client and this connection; waiting goes on.
            _ = &mut http => {}
            () = &mut out_of_time => {}
            () = state.evicted.notified() => {}
        }
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
        is_judged: &AtomicBool,
        closed: Option<oneshot::Receiver<Infallible>>,
        inbox: &mpsc::Sender<Received>,
    ) -> Response<Full<Bytes>> {
        let parameters = match self.parameters(request).await {
            Ok(parameters) => parameters,
            Err(status) => {
                tracing::debug!(%status, "a request that is not the answer of the sign-in was refused");
                return Page::stray(status).into_response();
            }
        };
        let Some(closed) = closed else {
            return Page::late().into_response();
        };
        let (answer, answered) = oneshot::channel();
        is_judged.store(true, Ordering::Relaxed);
        let received = Received {
            parameters,
            answer,
            closed,
        };
        let answer = match inbox.send(received).await {
            Ok(()) => answered.await.ok(),
            Err(_) => None,
        };
        is_judged.store(false, Ordering::Relaxed);
        match answer {
            Some(Answer::Page(page)) => page.into_response(),
            Some(Answer::GoOn(url)) => go_on(&url),
            None => Page::late().into_response(),
        }
    }
}

/// What is known of a connection while it is served.
#[derive(Default)]
struct Connection {
    /// Its request is being judged.
    is_judged: AtomicBool,
    has_ended: AtomicBool,
    evicted: Notify,
}

impl Connection {
    fn is_judged(&self) -> bool {
        self.is_judged.load(Ordering::Relaxed)
    }

    fn has_ended(&self) -> bool {
        self.has_ended.load(Ordering::Relaxed)
    }

    /// Closes it, and gives its place away at once.
    fn evict(&self) {
        self.has_ended.store(true, Ordering::Relaxed);
        self.evicted.notify_one();
    }
}

struct Ending<'a>(&'a Connection);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.has_ended.store(true, Ordering::Relaxed);
    }
}

/// 303 makes a GET of it, also after a form.
fn go_on(url: &Url) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    let Ok(location) = HeaderValue::from_str(url.as_str()) else {
        return Page::late().into_response();
    };
    *response.status_mut() = StatusCode::SEE_OTHER;
    let headers = response.headers_mut();
    headers.insert(LOCATION, location);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}
