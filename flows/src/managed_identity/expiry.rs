//! `expires_on` as the endpoints send it: seconds since 1970, or a date in one of two forms.

use cache_core::time::UnixSeconds;

/// The moment that a date names: `2019-06-20T02:57:58.0000000+00:00`, or `6/20/2019 2:57:58 AM +00:00` with or without the half
/// of the day. Other forms are nobody's.
pub(super) fn parse_date(text: &str) -> Option<UnixSeconds> {
    let text = text.trim();
    if text.contains('/') {
        american(text)
    } else {
        iso_8601(text)
    }
}

fn american(text: &str) -> Option<UnixSeconds> {
    let mut words = text.split_whitespace();
    let date: Vec<i64> = numbers(words.next()?, '/')?;
    let [month, day, year] = date[..] else { return None };
    let mut time = time_of_day(words.next()?)?;
    let mut rest = words.next();
    if let Some(half @ ("AM" | "PM")) = rest {
        let hour = time / 3600;
        if !(1..=12).contains(&hour) {
            return None;
        }
        time += (hour % 12 - hour) * 3600 + if half == "PM" { 12 * 3600 } else { 0 };
        rest = words.next();
    }
    let offset = offset(rest.unwrap_or("+00:00"))?;
    words.next().is_none().then_some(())?;
    moment(year, month, day, time - offset)
}

fn iso_8601(text: &str) -> Option<UnixSeconds> {
    let (date, rest) = text.split_once(['T', ' '])?;
    let date = numbers(date, '-')?;
    let [year, month, day] = date[..] else { return None };
    let end = rest.find(['Z', 'z', '+', '-']).unwrap_or(rest.len());
    let (time, zone) = rest.split_at(end);
    let offset = match zone {
        "" | "Z" | "z" => 0,
        zone => offset(zone)?,
    };
    moment(year, month, day, time_of_day(time)? - offset)
}

/// Seconds since midnight; fractions are dropped, which makes a token expire earlier and not later.
fn time_of_day(text: &str) -> Option<i64> {
    let whole = text
        .trim()
        .split_once('.')
        .map_or(text.trim(), |(whole, _)| whole);
    let [hour, minute, second] = numbers(whole, ':')?[..] else {
        return None;
    };
    ((0..24).contains(&hour) && (0..60).contains(&minute) && (0..=60).contains(&second))
        .then_some(hour * 3600 + minute * 60 + second)
}

/// Seconds east of Greenwich.
fn offset(text: &str) -> Option<i64> {
    let (sign, text) = match text.split_at_checked(1)? {
        ("+", text) => (1, text),
        ("-", text) => (-1, text),
        _ => return None,
    };
    let [hours, minutes] = numbers(text, ':')?[..] else {
        return None;
    };
    (hours <= 14 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))
}

fn numbers(text: &str, separator: char) -> Option<Vec<i64>> {
    let number = |digits: &str| {
        let is_number = (1..=4).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| digits.parse().ok()).flatten()
    };
    text.split(separator).map(number).collect()
}

fn moment(year: i64, month: i64, day: i64, seconds: i64) -> Option<UnixSeconds> {
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // Years begin in March here, so that the day that comes and goes is the last one.
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
    // From 1 March of the year 0 to 1 January 1970.
    Some(UnixSeconds((days - 719_468) * 86_400 + seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_come_in_two_forms() {
        for (text, seconds) in [
            ("06/20/2019 02:57:58 +00:00", 1_560_999_478),
            ("6/20/2019 2:57:58 AM +00:00", 1_560_999_478),
            ("6/20/2019 2:57:58 PM +00:00", 1_561_042_678),
            ("6/20/2019 12:00:00 AM +00:00", 1_560_988_800),
            ("6/20/2019 12:00:00 PM +00:00", 1_561_032_000),
            ("6/20/2019 02:57:58 +02:00", 1_560_992_278),
            ("6/20/2019 02:57:58", 1_560_999_478),
            ("2019-06-20T02:57:58Z", 1_560_999_478),
            ("2019-06-20T02:57:58.9876543+00:00", 1_560_999_478),
            ("2019-06-20 02:57:58-01:30", 1_561_004_878),
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T00:00:00Z", 951_782_400),
            ("2100-03-01T00:00:00Z", 4_107_542_400),
        ] {
            assert_eq!(parse_date(text), Some(UnixSeconds(seconds)), "{text}");
        }
        for bad in [
            "",
            "soon",
            "6/20",
            "13/20/2019 02:57:58",
            "6/20/2019",
            "6/20/2019 13:00:00 PM",
            "6/20/2019 2:57",
            "2019-06-20",
            "2019-06-20T25:00:00Z",
            "2019-06-20T02:57:58+99:00",
            "99999-01-01T00:00:00Z",
            "-1-01-01T00:00:00Z",
            "6/20/2019 02:57:58 +00:00 x",
        ] {
            assert_eq!(parse_date(bad), None, "{bad}");
        }
    }
}
