//! The `Retry-After` header (RFC 9110 section 10.2.3).

use std::time::{Duration, UNIX_EPOCH};

use cache_core::time::UnixMillis;

use crate::http::HttpResponse;

/// However long a server asks to wait, an hour is the most: a mistaken header must not lock a user out for days.
const LONGEST: Duration = Duration::from_secs(3_600);

/// How long the server asks to wait, from `now`: seconds or a date, at most an hour.
pub(crate) fn retry_after(response: &HttpResponse, now: UnixMillis) -> Option<Duration> {
    let value = response.header("retry-after")?.trim();
    let wait = if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than a u64 has is a long wait, not a malformed one.
        Duration::from_secs(value.parse().unwrap_or(u64::MAX))
    } else {
        let date = httpdate::parse_http_date(value).ok()?;
        let date = date.duration_since(UNIX_EPOCH).ok()?;
        let date = UnixMillis(i64::try_from(date.as_millis()).unwrap_or(i64::MAX));
        date.duration_since(now)
    };
    Some(wait.min(LONGEST))
}

#[cfg(test)]
mod tests {
    use super::*;
    use cache_core::secret::SecretBytes;

    #[test]
    fn seconds_and_dates_are_capped_at_an_hour() {
        // 2015-10-21T07:28:00Z
        let now = UnixMillis(1_445_412_480_000);
        for (value, seconds) in [
            ("0", Some(0)),
            ("120", Some(120)),
            (" 120 ", Some(120)),
            ("999999", Some(3_600)),
            ("99999999999999999999999", Some(3_600)),
            ("Wed, 21 Oct 2015 07:30:00 GMT", Some(120)),
            ("Wed, 21 Oct 2015 07:00:00 GMT", Some(0)),
            ("Thu, 22 Oct 2015 07:28:00 GMT", Some(3_600)),
            ("-5", None),
            ("1.5", None),
            ("", None),
            ("soon", None),
        ] {
            let response = HttpResponse {
                status: 429,
                headers: vec![("retry-after".into(), value.into())],
                body: SecretBytes::default(),
            };
            assert_eq!(
                retry_after(&response, now),
                seconds.map(Duration::from_secs),
                "{value}"
            );
        }
    }
}
