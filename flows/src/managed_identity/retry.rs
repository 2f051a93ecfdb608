//! When a request is sent once more.

use std::time::Duration;

use cache_core::time::UnixMillis;

use super::ManagedIdentitySource;
use crate::http::{HttpError, HttpResponse};
use crate::response::retry_after;

const USUAL: Duration = Duration::from_secs(1);

/// While the service is replaced it answers 410, for up to 70 seconds.
const GONE: Duration = Duration::from_secs(10);

/// How long to wait before asking once more, from `now`; `None` when that would not help.
///
/// Only of the instance metadata service, whose documentation asks for it: 404, 410, 429 and 5xx, and no connection. Asking is
/// safe to repeat: a token is read and nothing is spent.
pub(crate) fn pause_before_retry(
    source: ManagedIdentitySource,
    reply: &Result<HttpResponse, HttpError>,
    now: UnixMillis,
) -> Option<Duration> {
    if source != ManagedIdentitySource::Imds {
        return None;
    }
    let response = match reply {
        Ok(response) => response,
        Err(_) => return Some(USUAL),
    };
    let usual = match response.status {
        404 | 429 | 500..=599 => USUAL,
        410 => GONE,
        _ => return None,
    };
    Some(retry_after(response, now).unwrap_or(usual))
}
