//! What every answer tells the browser to refuse.

use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use super::app::App;
use super::pages::STYLE;

/// The headers, made once.
#[derive(Debug)]
pub(super) struct SecurityHeaders(Vec<(HeaderName, HeaderValue)>);

impl SecurityHeaders {
    /// For an application at a host that is reached over TLS. `is_loopback` leaves HSTS out: it would hold for every other program
    /// that a developer runs there.
    pub(super) fn new(is_loopback: bool) -> Result<Self, header::InvalidHeaderValue> {
        let style = STANDARD.encode(Sha256::digest(STYLE));
        let policy = format!(
            "default-src 'none'; style-src 'sha256-{style}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
        );
        let fixed = |text| HeaderValue::from_static(text);
        let mut all = vec![
            // No script, no image, no frame: nothing that a page is tricked into showing can run or phone home.
            (header::CONTENT_SECURITY_POLICY, HeaderValue::from_str(&policy)?),
            (header::X_CONTENT_TYPE_OPTIONS, fixed("nosniff")),
            // The callback's address has a code in it. (`no-referrer` would make the browser hide `Origin` from us too.)
            (header::REFERRER_POLICY, fixed("same-origin")),
            // Pages name the user: neither a proxy nor the back button after a sign-out may show them.
            (header::CACHE_CONTROL, fixed("no-store")),
            (
                HeaderName::from_static("cross-origin-opener-policy"),
                fixed("same-origin"),
            ),
            (
                HeaderName::from_static("cross-origin-resource-policy"),
                fixed("same-origin"),
            ),
        ];
        if !is_loopback {
            all.push((header::STRICT_TRANSPORT_SECURITY, fixed("max-age=31536000")));
        }
        Ok(Self(all))
    }
}

/// Adds them to every answer, those of refusals included.
pub(super) async fn add(State(app): State<App>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    for (name, value) in &app.security_headers().0 {
        response.headers_mut().insert(name, value.clone());
    }
    response
}
