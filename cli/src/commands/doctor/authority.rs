//! Whether the authority answers, and what time it has.

use cache_core::time::UnixSeconds;
use flows::authority::Discovery;
use flows::http::HttpRequest;
use url::Url;

use super::Check;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::session::Session;

/// Tokens are judged by their times, so a clock that is further off does harm.
const TOLERATED_SECONDS: u64 = 60;

/// Fetches the authority's metadata and compares clocks.
pub(super) async fn checks(session: &Session) -> Vec<Check> {
    let authority = match session.authority() {
        Ok(authority) => authority,
        Err(failure) => return vec![Check::failed("authority", &failure)],
    };
    let http = match session.http() {
        Ok(http) => http,
        Err(failure) => return vec![Check::failed("authority", &failure)],
    };
    let limit = session.options.request_timeout;
    let discovery = Discovery::new(http.clone(), session.clock());
    let mut checks = Vec::new();
    match discovery.metadata(&authority, limit).await {
        Ok(_) => checks.push(Check::good(
            "authority",
            format!("{authority} publishes usable metadata"),
        )),
        Err(error) => checks.push(Check::failed("authority", &Failure::from(error))),
    }
    if let Ok(url) = Url::parse(authority.url())
        && let Ok(response) = http.send(HttpRequest::get(url, limit)).await
        && let Some(theirs) = response
            .header("date")
            .and_then(|date| httpdate::parse_http_date(date).ok())
    {
        checks.push(compare(session.clock().now().to_seconds(), theirs));
    }
    checks
}

fn compare(ours: UnixSeconds, theirs: std::time::SystemTime) -> Check {
    let theirs = theirs
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    let difference = u64::try_from(ours.0).unwrap_or(0).abs_diff(theirs);
    if difference > TOLERATED_SECONDS {
        let detail = format!("it differs from the authority's by {difference} s; set it");
        return Check::problem("clock", Exit::Other, detail);
    }
    Check::good(
        "clock",
        format!("it agrees with the authority's within {difference} s"),
    )
}
