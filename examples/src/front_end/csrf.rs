//! Protection from requests that another site has the browser make (cross-site request forgery).
//!
//! Three independent locks: the cookie is `SameSite=Lax`; a request that changes anything must say that it comes from a page of this
//! origin; and its form must carry the session's token, which no other site can read.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use cache_core::secret::Secret;

use super::app::App;
use super::problem::Problem;
use super::session::Session;

/// Refuses every request but reads that does not come from a page of this origin.
pub(super) async fn same_origin(State(app): State<App>, request: Request, next: Next) -> Response {
    if matches!(*request.method(), Method::GET | Method::HEAD)
        || is_same_origin(request.headers(), app.origin())
    {
        return next.run(request).await;
    }
    Problem::CrossSite.into_response()
}

/// Every browser of the last years sends `Origin` with a POST. Who sends neither header is no browser, and has no business here.
fn is_same_origin(headers: &HeaderMap, origin: &str) -> bool {
    let said = |name| {
        headers
            .get(name)
            .map(|value: &axum::http::HeaderValue| value.as_bytes())
    };
    let site = said(header::HeaderName::from_static("sec-fetch-site"));
    match (said(header::ORIGIN), site) {
        (Some(from), site) => from == origin.as_bytes() && site.is_none_or(|site| site == b"same-origin"),
        (None, Some(site)) => site == b"same-origin",
        (None, None) => false,
    }
}

/// Refuses a form that does not carry the session's token.
pub(super) fn check_token(session: &Session, token: &Secret) -> Result<(), Problem> {
    // In constant time, as all comparisons of secrets.
    if session.csrf_token() == *token {
        return Ok(());
    }
    Err(Problem::CrossSite)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_origin_is_this_origin() {
        const OWN: &str = "https://app.example";
        for (origin, site, accepted) in [
            (Some(OWN), Some("same-origin"), true),
            (Some(OWN), None, true),
            (None, Some("same-origin"), true),
            (None, None, false),
            (Some(OWN), Some("cross-site"), false),
            (Some(OWN), Some("same-site"), false),
            (Some("https://evil.example"), Some("same-origin"), false),
            (Some("https://app.example.evil.example"), None, false),
            (Some("http://app.example"), None, false),
            (Some("https://app.example:444"), None, false),
            (Some("null"), None, false),
            (None, Some("none"), false),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in [("origin", origin), ("sec-fetch-site", site)] {
                if let Some(value) = value {
                    headers.insert(name, value.parse().unwrap());
                }
            }
            assert_eq!(is_same_origin(&headers, OWN), accepted, "{origin:?} {site:?}");
        }
    }
}
