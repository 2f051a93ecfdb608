//! The listener: accepts connections on loopback, speaks TLS or not, and stops when told.

use std::convert::identity;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::clock::sleep;
use super::reply::ReplyBody;
use super::request::IncomingRequest;
use super::respond::{respond, unreadable};
use super::state::Core;

/// How long the listener rests after it failed to accept a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Accepts connections until `stop` becomes true or its sender goes away, then lets the requests that are
/// under way finish. Dropping the future closes every connection at once.
pub(super) async fn serve(
    core: Arc<Core>,
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    mut stop: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    let connection_stop = stop.clone();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                match accepted {
                    Ok((stream, _)) => {
                        connections.spawn(connection(core.clone(), stream, tls.clone(), connection_stop.clone()));
                    }
                    // Out of file descriptors, say: trying again at once would only spin.
                    Err(_) => sleep(ACCEPT_PAUSE).await,
                }
            }
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            () = stopped(&mut stop) => break,
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn connection(
    core: Arc<Core>,
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
    stop: watch::Receiver<bool>,
) {
    // Without it, small answers on a reused connection wait for the client's delayed acknowledgement.
    let _ = stream.set_nodelay(true);
    match tls {
        None => speak_http(core, stream, stop).await,
        // A failed handshake is the client's to report: it did not trust the certificate, or spoke HTTP.
        Some(tls) => {
            if let Ok(stream) = tls.accept(stream).await {
                speak_http(core, stream, stop).await;
            }
        }
    }
}

async fn speak_http(
    core: Arc<Core>,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    mut stop: watch::Receiver<bool>,
) {
    let service = service_fn(move |request| answer(core.clone(), request));
    let mut connection = pin!(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        // An error ends this connection and no other: the client hung up, or a script wanted it so.
        _ = connection.as_mut() => return,
        () = stopped(&mut stop) => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

async fn answer(core: Arc<Core>, request: Request<Incoming>) -> Result<Response<ReplyBody>, io::Error> {
    match IncomingRequest::read(request).await {
        // In a task of its own: a real authority also finishes what a client has stopped waiting for.
        Ok(request) => tokio::spawn(respond(core, request))
            .await
            .map_err(io::Error::other)
            .and_then(identity),
        Err(refusal) => Ok(unreadable(&core, &refusal)),
    }
}

/// Waits until the authority is told to stop, or its handle is gone.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stopped| *stopped).await;
}
