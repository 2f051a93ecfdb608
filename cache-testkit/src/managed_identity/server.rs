//! The listener, and what it answers.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use cache_core::time::UnixSeconds;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use url::form_urlencoded;

use super::{Asked, Core, Expiry, Failure, Platform, State, contract};

/// How large a form may be, in bytes.
const LARGEST_FORM: usize = 64 * 1024;

pub(super) async fn serve(core: Arc<Core>, listener: TcpListener, tls: Option<Arc<ServerConfig>>) {
    let tls = tls.map(TlsAcceptor::from);
    // Dropped with this future, and every connection with it.
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (core, tls) = (Arc::clone(&core), tls.clone());
        connections.spawn(async move {
            match tls {
                None => speak_http(core, stream).await,
                // A client that does not trust the certificate says so itself.
                Some(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        speak_http(core, stream).await;
                    }
                }
            }
        });
    }
}

async fn speak_http(core: Arc<Core>, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
    let service = service_fn(move |request| answer(Arc::clone(&core), request));
    // An error ends this connection and no other: the client hung up, or a failure was wanted.
    let _ = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn answer(core: Arc<Core>, request: Request<Incoming>) -> io::Result<Response<Full<Bytes>>> {
    let asked = read(request).await?;
    let mut state = core.state();
    state.requests.push(asked.clone());
    if let Some(failure) = state.failures.pop_front() {
        return fail(&core.platform, &failure);
    }
    let identity = match contract::identity(&core.platform, &asked) {
        Ok(identity) => identity,
        Err(refusal) => return Ok(reply(refusal.status, &refusal.body(&core.platform))),
    };
    if let Platform::AzureArc { key_folder } = &core.platform {
        let shown = asked
            .header("authorization")
            .and_then(|value| value.strip_prefix("Basic "));
        // A key is good once.
        let expected = state.key.take();
        if shown.is_none() || shown != expected.as_deref() {
            return challenge(&mut state, key_folder);
        }
    }
    state.tokens += 1;
    let now = core.clock.now().to_seconds();
    Ok(reply(200, &granted(&state, &asked, identity, now)))
}

async fn read(request: Request<Incoming>) -> io::Result<Asked> {
    let (head, body) = request.into_parts();
    let body = Limited::new(body, LARGEST_FORM)
        .collect()
        .await
        .map_err(io::Error::other)?
        .to_bytes();
    let query = head.uri.query().unwrap_or_default().as_bytes();
    let pairs = form_urlencoded::parse(query).chain(form_urlencoded::parse(&body));
    Ok(Asked {
        method: head.method.to_string(),
        path: head.uri.path().to_owned(),
        parameters: pairs
            .map(|(name, value)| (name.into_owned(), value.into_owned()))
            .collect(),
        headers: head
            .headers
            .iter()
            .map(|(name, value)| {
                (
                    name.to_string(),
                    String::from_utf8_lossy(value.as_bytes()).into_owned(),
                )
            })
            .collect(),
    })
}

fn fail(platform: &Platform, failure: &Failure) -> io::Result<Response<Full<Bytes>>> {
    let error = |status| {
        reply(
            status,
            &contract::body(platform, status, "scripted", "it was to fail"),
        )
    };
    match failure {
        Failure::Status(status) => Ok(error(*status)),
        Failure::RetryAfter(status, seconds) => {
            let mut response = error(*status);
            response.headers_mut().insert("retry-after", (*seconds).into());
            Ok(response)
        }
        Failure::Body(body) => Ok(Response::new(Full::from(*body))),
        Failure::Close => Err(io::Error::other("the connection was to be closed")),
    }
}

/// Writes a key for the caller to show, and names its file.
fn challenge(state: &mut State, folder: &std::path::Path) -> io::Result<Response<Full<Bytes>>> {
    let number = state.requests.len();
    let key = format!("canary-key-{number}{}", "x".repeat(state.key_padding));
    let path = folder.join(format!("{number}.key"));
    std::fs::write(&path, &key)?;
    state.key = Some(key);
    let usual = format!("Basic realm={}", path.display());
    let value = state.challenge.clone().unwrap_or(usual);
    let mut response = reply(401, &json!({ "error": "unauthorized_client" }));
    let value = value.parse().map_err(io::Error::other)?;
    response.headers_mut().insert("www-authenticate", value);
    Ok(response)
}

fn granted(state: &State, asked: &Asked, identity: &str, now: UnixSeconds) -> Value {
    let mut object = json!({
        "access_token": format!("canary-token-{}-{identity}", state.tokens),
        "resource": asked.parameter("resource"),
        "token_type": "Bearer",
        "client_id": "ignored",
        "not_before": now.0.to_string(),
    });
    let expires_on = now.saturating_add(state.lifetime).0;
    let seconds = state.lifetime.as_secs();
    match state.expiry {
        Expiry::InAndOn => {
            object["expires_in"] = seconds.to_string().into();
            object["expires_on"] = expires_on.to_string().into();
        }
        Expiry::OnNumber => object["expires_on"] = expires_on.into(),
        Expiry::OnDigits => object["expires_on"] = expires_on.to_string().into(),
        Expiry::OnText(text) => object["expires_on"] = text.into(),
        Expiry::In => object["expires_in"] = seconds.into(),
    }
    object
}

fn reply(status: u16, body: &Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body.to_string()));
    *response.status_mut() = hyper::StatusCode::from_u16(status).unwrap_or_default();
    let json = hyper::header::HeaderValue::from_static("application/json; charset=utf-8");
    response.headers_mut().insert(hyper::header::CONTENT_TYPE, json);
    response
}
