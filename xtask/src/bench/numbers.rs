//! Numbers as people read them.

/// Three digits, or all of those before the point, in groups of three.
pub(crate) fn number(value: f64) -> String {
    let digits = match value.abs() {
        0.0 => 0,
        size if size < 0.01 => 4,
        size if size < 10.0 => 2,
        size if size < 100.0 => 1,
        _ => 0,
    };
    let digits = if value == value.trunc() { 0 } else { digits };
    let text = format!("{value:.digits$}");
    let (whole, fraction) = text
        .split_once('.')
        .map_or((text.as_str(), None), |(a, b)| (a, Some(b)));
    let mut grouped = grouped(whole);
    if let Some(fraction) = fraction {
        grouped.push('.');
        grouped.push_str(fraction);
    }
    grouped
}

/// A time of so many nanoseconds, in the unit that fits.
pub(super) fn duration(nanoseconds: f64) -> String {
    match nanoseconds {
        small if small < 1e3 => format!("{} ns", number(small)),
        small if small < 1e6 => format!("{} µs", number(small / 1e3)),
        small if small < 1e9 => format!("{} ms", number(small / 1e6)),
        large => format!("{} s", number(large / 1e9)),
    }
}

fn grouped(digits: &str) -> String {
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (place, digit) in digits.chars().enumerate() {
        let left = digits.len() - place;
        if place > 0 && left.is_multiple_of(3) && !text.ends_with('-') {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_digits_and_groups() {
        let shown = [0.0, 0.001_23, 1.234, 12.34, 999.6, 12_345.6, 1e6, -123_456.0].map(number);
        assert_eq!(
            shown,
            [
                "0",
                "0.0012",
                "1.23",
                "12.3",
                "1,000",
                "12,346",
                "1,000,000",
                "-123,456"
            ]
        );
        assert_eq!(
            [12.34, 12_340.0, 1.5e6, 2e9].map(duration),
            ["12.3 ns", "12.3 µs", "1.50 ms", "2 s"]
        );
    }
}
