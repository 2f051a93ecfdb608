//! The cookie that names the session.

use std::time::Duration;

use axum_extra::extract::PrivateCookieJar;
use axum_extra::extract::cookie::{Cookie, SameSite};
use cache_core::time::UnixMillis;
use flows::client::SessionId;

/// `__Host-` has the browser refuse a cookie of this name that was not set by this very host, over TLS and for all paths: a
/// neighbouring subdomain, or somebody on the network, cannot plant one.
const NAME: &str = "__Host-session";

/// A cookie that only this host sees (`Secure`, no `Domain`), that no script reads (`HttpOnly`), and that other sites' forms, frames
/// and scripts do not carry (`SameSite=Lax`; `Strict` would hide it when the browser comes back from the issuer).
pub(super) fn host_cookie(name: impl Into<String>, value: impl Into<String>) -> Cookie<'static> {
    Cookie::build((name.into(), value.into()))
        .http_only(true)
        .secure(true)
        .same_site(SameSite::Lax)
        .path("/")
        .build()
}

/// The session that the browser names, if the cookie was made here not longer than `absolute` ago.
pub(super) fn read(jar: &PrivateCookieJar, now: UnixMillis, absolute: Duration) -> Option<SessionId> {
    let cookie = jar.get(NAME)?;
    let (id, issued_at) = cookie.value().split_once('.')?;
    let issued_at = UnixMillis(issued_at.parse().ok()?);
    if now.duration_since(issued_at) >= absolute {
        return None;
    }
    SessionId::parse(id).ok()
}

/// Names `id` from now on. The cookie is encrypted, though it holds nothing but the ID and the time: what a browser
/// hands in that was not made here is refused before the store is asked.
///
/// It has no age of its own, so a browser that is closed forgets it; the server's limits hold in any case.
pub(super) fn write(jar: PrivateCookieJar, id: &SessionId, now: UnixMillis) -> PrivateCookieJar {
    jar.add(host_cookie(NAME, format!("{}.{now}", id.expose())))
}

/// Has the browser forget the session.
pub(super) fn clear(jar: PrivateCookieJar) -> PrivateCookieJar {
    // With the same attributes, or the browser refuses to touch a `__Host-` cookie.
    jar.remove(host_cookie(NAME, ""))
}
