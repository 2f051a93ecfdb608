//! A sign-in that waits for the browser to come back from the issuer, in a cookie of that browser.
//!
//! Somebody who sends a victim to the callback with a code of their own would sign the victim in as themselves, and read what is then
//! entered. Here such a code is refused: its `state` is of no cookie of the victim's browser, and nothing else can be redeemed without
//! the nonce and the verifier, which are in the cookie too, encrypted.
//!
//! Each sign-in has a cookie of its own, so that two tabs do not disturb each other.

use std::time::Duration;

use axum_extra::extract::PrivateCookieJar;
use axum_extra::extract::cookie::Cookie;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cache_core::schema::ScopeSet;
use cache_core::secret::Secret;
use cache_core::time::UnixMillis;
use flows::request::authorization_code::PendingParts;
use serde::{Deserialize, Serialize};
use url::form_urlencoded;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::return_address::{ReturnAddress, ReturnAddresses};
use super::session_cookie::host_cookie;

const NAME_PREFIX: &str = "__Host-sign-in-";

/// How long the user may take at the issuer.
const LIFETIME: Duration = Duration::from_secs(10 * 60);

/// How many may wait in one browser. Each is some 600 bytes that go with every request, and servers limit those.
const MOST: usize = 4;

/// What the cookie holds.
#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
struct Content {
    state: String,
    nonce: String,
    code_verifier: String,
    return_to: String,
    is_for_api: bool,
    begun_at: i64,
}

/// A sign-in that was taken from its cookie.
pub(super) struct PendingSignIn {
    pub(super) parts: PendingParts,
    pub(super) return_to: ReturnAddress,
    pub(super) is_for_api: bool,
}

/// Keeps `parts` in the browser until it comes back.
pub(super) fn keep(
    jar: PrivateCookieJar,
    parts: &PendingParts,
    return_to: &ReturnAddress,
    is_for_api: bool,
    now: UnixMillis,
) -> PrivateCookieJar {
    let content = Content {
        state: parts.state.expose().to_owned(),
        nonce: parts.nonce.expose().to_owned(),
        code_verifier: parts.code_verifier.expose().to_owned(),
        return_to: return_to.as_str().to_owned(),
        is_for_api,
        begun_at: now.0,
    };
    // A struct of texts and numbers is always JSON.
    let json = Zeroizing::new(serde_json::to_string(&content).unwrap_or_default());
    let mut cookie = host_cookie(name_of(&content.state), json.as_str());
    cookie.set_max_age(Some(LIFETIME.try_into().unwrap_or_default()));
    make_room(jar, now).add(cookie)
}

/// Takes the sign-in that the response in `query` is for out of the browser; `None` where the browser began none such, or too long ago.
/// It is gone from the browser in either case, as it can be used once.
pub(super) fn take(
    jar: PrivateCookieJar,
    query: &str,
    redirect_uri: String,
    scopes: ScopeSet,
    listed: &ReturnAddresses,
    now: UnixMillis,
) -> (PrivateCookieJar, Option<PendingSignIn>) {
    // One that occurs twice is refused with the rest of the response, which is read again by the client.
    let state = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "state");
    let Some((_, state)) = state else {
        return (jar, None);
    };
    let name = name_of(&state);
    let Some(content) = jar.get(&name).and_then(|cookie| read(&cookie)) else {
        return (jar, None);
    };
    let jar = jar.remove(host_cookie(name, ""));
    let return_to = listed.find(&content.return_to).cloned();
    let pending = return_to
        .filter(|_| !is_over(&content, now))
        .map(|return_to| PendingSignIn {
            parts: PendingParts {
                state: Secret::new(content.state.as_str()),
                nonce: Secret::new(content.nonce.as_str()),
                code_verifier: Secret::new(content.code_verifier.as_str()),
                redirect_uri,
                scopes,
                max_age: None,
            },
            return_to,
            is_for_api: content.is_for_api,
        });
    (jar, pending)
}

/// Removes what is over, and the oldest where there are too many.
fn make_room(mut jar: PrivateCookieJar, now: UnixMillis) -> PrivateCookieJar {
    let mut waiting: Vec<(i64, String)> = jar
        .iter()
        .filter(|cookie| cookie.name().starts_with(NAME_PREFIX))
        .map(|cookie| {
            let begun_at = read(&cookie).filter(|content| !is_over(content, now));
            let begun_at = begun_at.map_or(i64::MIN, |content| content.begun_at);
            (begun_at, cookie.name().to_owned())
        })
        .collect();
    waiting.sort_unstable();
    let too_many = waiting.len().saturating_sub(MOST - 1);
    for (place, (begun_at, name)) in waiting.into_iter().enumerate() {
        if begun_at == i64::MIN || place < too_many {
            jar = jar.remove(host_cookie(name, ""));
        }
    }
    jar
}

fn is_over(content: &Content, now: UnixMillis) -> bool {
    // The browser's own limit is the browser's to keep.
    now.duration_since(UnixMillis(content.begun_at)) >= LIFETIME
}

fn read(cookie: &Cookie<'_>) -> Option<Content> {
    serde_json::from_str(cookie.value()).ok()
}

/// What the cookie of a state is called. The state itself is no name: names are not encrypted.
fn name_of(state: &str) -> String {
    let hash = Secret::new(state).sha256();
    format!("{NAME_PREFIX}{}", URL_SAFE_NO_PAD.encode(&hash[..12]))
}
