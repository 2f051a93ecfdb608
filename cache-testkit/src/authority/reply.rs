//! An answer, and what may become of it on its way to the client.

use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, LOCATION};
use hyper::{Response, StatusCode};
use serde_json::Value;

use super::clock::sleep;

/// How long the first half of a half answer gets to leave before the connection closes.
const HALF_PAUSE: Duration = Duration::from_millis(20);
const ENDLESS_CHUNK: &[u8] = &[b' '; 8192];

/// An answer before it is put on the wire.
pub(super) struct Reply {
    status: u16,
    headers: Vec<(HeaderName, String)>,
    body: Bytes,
}

impl Reply {
    pub(super) fn empty(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Bytes::new(),
        }
    }

    /// JSON, with the cache headers of RFC 6749 section 5.1.
    pub(super) fn json(status: u16, body: &Value) -> Self {
        let reply = Self {
            body: Bytes::from(body.to_string()),
            ..Self::empty(status)
        };
        reply
            .header(CONTENT_TYPE, "application/json; charset=utf-8")
            .header(CACHE_CONTROL, "no-store, no-cache")
    }

    pub(super) fn html(status: u16, body: String) -> Self {
        let reply = Self {
            body: Bytes::from(body),
            ..Self::empty(status)
        };
        reply
            .header(CONTENT_TYPE, "text/html; charset=utf-8")
            .header(CACHE_CONTROL, "no-store, no-cache")
    }

    pub(super) fn redirect(location: &str) -> Self {
        Self::empty(302)
            .header(LOCATION, location)
            .header(CACHE_CONTROL, "no-store, no-cache")
    }

    pub(super) fn header(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// The whole answer.
    pub(super) fn whole(self) -> Response<ReplyBody> {
        let body = ReplyBody::Whole(Some(self.body.clone()));
        self.response(body)
    }

    /// The head and the first half of the body, then a closed connection.
    pub(super) fn half(self) -> Response<ReplyBody> {
        let body = ReplyBody::Half {
            announced: self.body.len() as u64,
            first: Some(self.body.slice(..self.body.len() / 2)),
            pause: Box::pin(sleep(HALF_PAUSE)),
        };
        self.response(body)
    }

    /// The head and a body that goes on until the client hangs up.
    pub(super) fn endless(self) -> Response<ReplyBody> {
        let body = ReplyBody::Endless {
            opening: Some(self.body.clone()),
        };
        self.response(body)
    }

    fn response(self, body: ReplyBody) -> Response<ReplyBody> {
        let mut response = Response::new(body);
        *response.status_mut() =
            StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        for (name, value) in self.headers {
            // A value that no header can hold can only come from a script; the rest of the answer stands.
            if let Ok(value) = value.parse() {
                response.headers_mut().append(name, value);
            }
        }
        response
    }
}

/// A body that can fail on purpose.
pub(super) enum ReplyBody {
    Whole(Option<Bytes>),
    Half {
        announced: u64,
        first: Option<Bytes>,
        pause: Pin<Box<tokio::time::Sleep>>,
    },
    Endless {
        opening: Option<Bytes>,
    },
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match self.get_mut() {
            Self::Whole(body) => Poll::Ready(
                body.take()
                    .filter(|body| !body.is_empty())
                    .map(|body| Ok(Frame::data(body))),
            ),
            Self::Half { first, pause, .. } => {
                if let Some(first) = first.take().filter(|first| !first.is_empty()) {
                    return Poll::Ready(Some(Ok(Frame::data(first))));
                }
                ready!(pause.as_mut().poll(context));
                Poll::Ready(Some(Err(std::io::Error::other(
                    "scripted: the other half is withheld",
                ))))
            }
            Self::Endless { opening } => {
                let chunk = opening.take().unwrap_or(Bytes::from_static(ENDLESS_CHUNK));
                Poll::Ready(Some(Ok(Frame::data(chunk))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(body) if body.as_ref().is_none_or(Bytes::is_empty))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(body) => SizeHint::with_exact(body.as_ref().map_or(0, |body| body.len() as u64)),
            Self::Half { announced, .. } => SizeHint::with_exact(*announced),
            Self::Endless { .. } => SizeHint::new(),
        }
    }
}
