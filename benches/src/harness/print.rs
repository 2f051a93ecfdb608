//! The answers as text, for whoever waits for them.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the programs that use the harness are for people at a terminal"
)]

use super::report::{ComparisonReport, CountReport, Report, Role, SeriesReport, TargetReport, Verdict};
use super::statistics::Estimate;

pub(super) fn heading(report: &Report) {
    let Report {
        question,
        title,
        machine,
        ..
    } = report;
    println!("\n{question}: {title}");
    println!(
        "{}, {} × {}, {}",
        report.date, machine.processors, machine.processor, machine.system
    );
    if report.quick {
        println!("A smoke run: its values say nothing.");
    }
}

pub(super) fn comparison(report: &ComparisonReport) {
    println!("\n  {} ({} rounds)", report.name, report.rounds);
    let widest = report
        .entries
        .iter()
        .map(|entry| entry.name.chars().count())
        .max();
    let widest = widest.unwrap_or(0);
    for entry in &report.entries {
        let role = match entry.role {
            Role::Limit => "limit",
            Role::Variant => "",
            Role::Peer => "peer",
        };
        let ratio = entry.ratio.map_or_else(String::new, |ratio| {
            format!(
                "{:>9} ×  ({} to {})",
                number(ratio.median),
                number(ratio.lower),
                number(ratio.upper)
            )
        });
        let Estimate { median, lower, upper } = entry.nanoseconds;
        println!(
            "    {:widest$}  {role:5}  {:>10}  {:>23}  {ratio}",
            entry.name,
            duration(median),
            format!("{} to {}", duration(lower), duration(upper)),
        );
    }
}

pub(super) fn count(count: &CountReport) {
    println!("  {}: {} {}", count.name, number(count.value), count.unit);
}

pub(super) fn series(series: &SeriesReport) {
    println!("\n  {} ({} → {})", series.name, series.x, series.y);
    for (x, y) in &series.points {
        println!("    {:>12}  {:>12}", number(*x), number(*y));
    }
}

pub(super) fn conclusion(report: &Report) {
    if !report.targets.is_empty() {
        println!();
    }
    for target in &report.targets {
        println!("  {}", self::target(target));
        if target.verdict == Verdict::Missed {
            for (label, text) in [("because", &target.reason), ("next", &target.next_idea)] {
                if let Some(text) = text {
                    println!("          {label}: {text}");
                }
            }
        }
    }
}

pub(super) fn failure(question: &str, error: &(dyn std::error::Error + 'static)) {
    eprintln!("{question}: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        eprintln!("  because: {error}");
        cause = error.source();
    }
}

fn target(target: &TargetReport) -> String {
    let verdict = match target.verdict {
        Verdict::Met => "met   ",
        Verdict::Missed => "MISSED",
    };
    format!(
        "{verdict}  {} ({}), measured {}: {}",
        target.name,
        target.criterion,
        number(target.measured.median),
        target.row.what()
    )
}

/// Three digits, or all of those before the point.
fn number(value: f64) -> String {
    let digits = match value.abs() {
        0.0 => 0,
        size if size < 0.01 => 4,
        size if size < 10.0 => 2,
        size if size < 100.0 => 1,
        _ => 0,
    };
    if value == value.trunc() {
        format!("{value}")
    } else {
        format!("{value:.digits$}")
    }
}

fn duration(nanoseconds: f64) -> String {
    match nanoseconds {
        small if small < 1e3 => format!("{} ns", number(small)),
        small if small < 1e6 => format!("{} µs", number(small / 1e3)),
        small if small < 1e9 => format!("{} ms", number(small / 1e6)),
        large => format!("{} s", number(large / 1e9)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_digits_are_shown() {
        let shown = [0.0, 0.001_23, 0.123, 1.234, 12.34, 123.4, 12_345.6].map(number);
        assert_eq!(shown, ["0", "0.0012", "0.12", "1.23", "12.3", "123", "12346"]);
        assert_eq!(
            [12.34, 12_340.0, 1.5e6, 2e9].map(duration),
            ["12.3 ns", "12.3 µs", "1.50 ms", "2 s"]
        );
    }
}
