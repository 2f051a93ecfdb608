//! Numbers as people read them.

/// A duration in nanoseconds, with three digits: `1.50 µs`.
#[must_use]
pub fn duration(nanoseconds: f64) -> String {
    const UNITS: [(f64, &str); 4] = [(1e9, "s"), (1e6, "ms"), (1e3, "µs"), (1.0, "ns")];
    if nanoseconds < 0.5 {
        return "0 ns".to_owned();
    }
    let (size, unit) = UNITS
        .into_iter()
        .find(|(size, _)| nanoseconds >= *size * 0.9995)
        .unwrap_or((1.0, "ns"));
    if unit == "ns" {
        return format!("{nanoseconds:.0} ns");
    }
    format!("{} {unit}", three_digits(nanoseconds / size))
}

/// How often in a second: `0.42 times`.
#[must_use]
pub fn rate(per_second: f64) -> String {
    if (per_second - 1.0).abs() < 0.005 {
        return "once".to_owned();
    }
    format!("{} times", three_digits(per_second))
}

/// A factor: `1.4 ×`.
#[must_use]
pub fn times(factor: f64) -> String {
    if factor >= 9.95 {
        format!("{} ×", grouped(factor.round()))
    } else {
        format!("{factor:.1} ×")
    }
}

/// A size: `1.2 MiB`.
#[must_use]
pub fn bytes(count: f64) -> String {
    const UNITS: [(f64, &str); 3] = [(1_073_741_824.0, "GiB"), (1_048_576.0, "MiB"), (1024.0, "KiB")];
    match UNITS.into_iter().find(|(size, _)| count >= *size) {
        Some((size, unit)) => format!("{} {unit}", three_digits(count / size)),
        None => format!("{count:.0} B"),
    }
}

/// A part of one, in percent.
#[must_use]
pub fn percent(part: f64) -> String {
    let percent = part * 100.0;
    if percent == 0.0 {
        "0 %".to_owned()
    } else if percent == 100.0 {
        "100 %".to_owned()
    } else if percent < 0.1 {
        "< 0.1 %".to_owned()
    } else if percent > 99.9 && percent < 100.0 {
        "> 99.9 %".to_owned()
    } else {
        format!("{percent:.1} %")
    }
}

/// A whole number with its thousands apart: `12,345`.
#[must_use]
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number with three digits.
#[must_use]
pub fn three_digits(value: f64) -> String {
    match value {
        value if value >= 999.5 => grouped(value.round()),
        value if value >= 99.95 => format!("{value:.0}"),
        value if value >= 9.995 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "rounded, not negative, and saturating"
)]
fn grouped(value: f64) -> String {
    count(value as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_as_people_read_them() {
        let shown = [
            0.0,
            42.0,
            999.6,
            1_500.0,
            23_456.0,
            999_999.0,
            61_000_000.0,
            2.5e9,
        ]
        .map(duration);
        assert_eq!(
            shown,
            [
                "0 ns", "42 ns", "1.00 µs", "1.50 µs", "23.5 µs", "1.00 ms", "61.0 ms", "2.50 s"
            ]
        );
        assert_eq!([0.42, 1.0, 33.3].map(rate), ["0.42 times", "once", "33.3 times"]);
        assert_eq!([1.44, 29.2, 1234.0].map(times), ["1.4 ×", "29 ×", "1,234 ×"]);
        assert_eq!(
            [512.0, 2048.0, 3.5e7].map(bytes),
            ["512 B", "2.00 KiB", "33.4 MiB"]
        );
        assert_eq!(
            [0.0, 0.0004, 0.123, 0.9999, 1.0].map(percent),
            ["0 %", "< 0.1 %", "12.3 %", "> 99.9 %", "100 %"]
        );
        assert_eq!(
            [0, 999, 1000, 1_234_567].map(count),
            ["0", "999", "1,000", "1,234,567"]
        );
    }
}
