//! Whether a token may be handed out now.

use std::time::Duration;

use crate::schema::AccessTokenRef;
use crate::time::UnixSeconds;

/// Whether `token` may be handed out at `now`: it must outlive the margin.
#[must_use]
pub fn is_fresh<'a>(token: impl Into<AccessTokenRef<'a>>, now: UnixSeconds) -> bool {
    let token = token.into();
    token.expires_on > now.saturating_add(token.margin()) && !is_from_the_future(token, now)
}

/// Whether `token` has not expired at `now`, margin or not.
#[must_use]
pub fn is_unexpired<'a>(token: impl Into<AccessTokenRef<'a>>, now: UnixSeconds) -> bool {
    let token = token.into();
    token.expires_on > now && !is_from_the_future(token, now)
}

/// Whether `token` may serve at `now` although the authority does not answer.
#[must_use]
pub fn is_within_extended_lifetime<'a>(token: impl Into<AccessTokenRef<'a>>, now: UnixSeconds) -> bool {
    let token = token.into();
    token.extended_expires_on.is_some_and(|extended| extended > now) && !is_from_the_future(token, now)
}

/// A token that was obtained well after now was written under another clock, so nothing is known of its expiry.
fn is_from_the_future(token: AccessTokenRef<'_>, now: UnixSeconds) -> bool {
    const SKEW: Duration = Duration::from_secs(300);
    token.cached_at > now.saturating_add(SKEW)
}
