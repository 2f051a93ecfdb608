//! The authority's own clock: real time plus what a test has advanced it by.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Real time plus an offset that only grows, so that tests can expire codes and tokens at the server.
#[derive(Debug, Default)]
pub(super) struct ServerClock {
    offset_milliseconds: AtomicU64,
}

impl ServerClock {
    /// Moves this clock, and nothing else's, forward.
    pub(super) fn advance(&self, by: Duration) {
        let milliseconds = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        self.offset_milliseconds.fetch_add(milliseconds, Ordering::SeqCst);
    }

    pub(super) fn system_time(&self) -> SystemTime {
        now() + Duration::from_millis(self.offset_milliseconds.load(Ordering::SeqCst))
    }

    /// Seconds since 1970, as tokens write it.
    pub(super) fn unix_seconds(&self) -> u64 {
        self.system_time()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs())
    }
}

/// Waits in real time: a scripted delay is about the client's patience, which runs on real time.
#[allow(
    clippy::disallowed_methods,
    reason = "the one place where the fake authority waits"
)]
pub(super) fn sleep(duration: Duration) -> tokio::time::Sleep {
    tokio::time::sleep(duration)
}

#[allow(
    clippy::disallowed_methods,
    reason = "the one place where the fake authority reads real time"
)]
fn now() -> SystemTime {
    SystemTime::now()
}

/// `2026-11-21 08:52:00Z`, the form of the `timestamp` in Entra's errors.
pub(super) fn error_timestamp(unix_seconds: u64) -> String {
    let Civil {
        year,
        month,
        day,
        hour,
        minute,
        second,
        ..
    } = Civil::from_unix_seconds(unix_seconds);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}Z")
}

/// `Sat, 21 Nov 2026 08:52:00 GMT`, the IMF-fixdate of RFC 9110 section 5.6.7, for `Retry-After`.
pub(super) fn http_date(unix_seconds: u64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let Civil {
        year,
        month,
        day,
        hour,
        minute,
        second,
        days,
    } = Civil::from_unix_seconds(unix_seconds);
    let weekday = DAYS
        .into_iter()
        .cycle()
        .nth((days % 7) as usize)
        .unwrap_or_default();
    let month = MONTHS.into_iter().nth(month as usize - 1).unwrap_or_default();
    format!("{weekday}, {day:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} GMT")
}

/// A moment in the proleptic Gregorian calendar, in UTC.
struct Civil {
    year: u64,
    month: u64,
    day: u64,
    hour: u64,
    minute: u64,
    second: u64,
    /// Whole days since 1970.
    days: u64,
}

impl Civil {
    fn from_unix_seconds(unix_seconds: u64) -> Self {
        let (days, rest) = (unix_seconds / 86_400, unix_seconds % 86_400);
        let (mut year, mut day) = (1970, days);
        while day >= year_length(year) {
            day -= year_length(year);
            year += 1;
        }
        let mut month = 1;
        for length in month_lengths(year) {
            if day < length {
                break;
            }
            day -= length;
            month += 1;
        }
        Self {
            year,
            month,
            day: day + 1,
            hour: rest / 3_600,
            minute: rest / 60 % 60,
            second: rest % 60,
            days,
        }
    }
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn year_length(year: u64) -> u64 {
    if is_leap(year) { 366 } else { 365 }
}

fn month_lengths(year: u64) -> [u64; 12] {
    let february = if is_leap(year) { 29 } else { 28 };
    [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        // The example of RFC 9110 section 5.6.7.
        assert_eq!(http_date(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(http_date(951_782_400), "Tue, 29 Feb 2000 00:00:00 GMT");
        assert_eq!(error_timestamp(1_798_761_599), "2026-12-31 23:59:59Z");
    }

    #[test]
    fn advancing_moves_the_clock_forward() {
        let clock = ServerClock::default();
        let before = clock.unix_seconds();
        clock.advance(Duration::from_secs(3_600));
        assert!(clock.unix_seconds() - before >= 3_600);
    }
}
