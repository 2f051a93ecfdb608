//! Which requests can be the answer of a sign-in.

use cache_core::secret::Secret;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::http::request::Parts;
use hyper::{Method, Request, StatusCode};
use zeroize::Zeroizing;

use super::RedirectListener;
use crate::request::authorization_code::ResponseMode;

/// How long a posted form may be, in bytes. A code is one or two KiB.
const MAX_BODY: usize = 64 * 1024;

const FORM: &str = "application/x-www-form-urlencoded";

impl RedirectListener {
    /// The parameters of a request that may be the answer, as a path with a query; else the status that refuses it.
    pub(super) async fn parameters(&self, request: Request<Incoming>) -> Result<Secret, StatusCode> {
        let (head, body) = request.into_parts();
        self.check(&head)?;
        let parameters = match self.mode {
            ResponseMode::Query => Zeroizing::new(head.uri.query().unwrap_or_default().to_owned()),
            ResponseMode::FormPost => {
                let body = Limited::new(body, MAX_BODY)
                    .collect()
                    .await
                    .map_err(|_| StatusCode::PAYLOAD_TOO_LARGE)?;
                let text = String::from_utf8(body.to_bytes().into()).map_err(|_| StatusCode::BAD_REQUEST)?;
                Zeroizing::new(text)
            }
        };
        Ok(Secret::new(format!("/?{}", *parameters)))
    }

    fn check(&self, head: &Parts) -> Result<(), StatusCode> {
        let mut hosts = head.headers.get_all(HOST).iter();
        let host = hosts.next().and_then(|host| host.to_str().ok());
        let is_ours = host.is_some_and(|host| self.address.is_named_by(host, self.port));
        // A second name, or one in the request's target, would be what somebody else in between reads.
        if !is_ours || hosts.next().is_some() || head.uri.authority().is_some() {
            return Err(StatusCode::FORBIDDEN);
        }
        if head.uri.path() != self.address.path() {
            return Err(StatusCode::NOT_FOUND);
        }
        let method = match self.mode {
            ResponseMode::Query => Method::GET,
            ResponseMode::FormPost => Method::POST,
        };
        if head.method != method {
            return Err(StatusCode::METHOD_NOT_ALLOWED);
        }
        let is_form = || {
            let content_type = head
                .headers
                .get(CONTENT_TYPE)
                .and_then(|value| value.to_str().ok());
            content_type.is_some_and(|value| {
                value
                    .split(';')
                    .next()
                    .unwrap_or_default()
                    .trim()
                    .eq_ignore_ascii_case(FORM)
            })
        };
        if self.mode == ResponseMode::FormPost && !is_form() {
            return Err(StatusCode::UNSUPPORTED_MEDIA_TYPE);
        }
        Ok(())
    }
}
