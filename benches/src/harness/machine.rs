//! Where and when something was measured, without what would name the machine.

use std::fs;
use std::process::Command;

use cache_core::time::{Clock, SystemClock, UnixSeconds};
use serde::{Deserialize, Serialize};

/// The machine that something was measured on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// The model of its processor.
    pub processor: String,
    /// How many processors this program may use.
    pub processors: usize,
    /// Its memory, in MiB.
    pub memory_mib: u64,
    /// Its operating system, with the version of its kernel.
    pub system: String,
    /// The compiler.
    pub rustc: String,
}

impl Machine {
    /// This machine.
    #[must_use]
    pub fn this() -> Self {
        let kernel = read("/proc/sys/kernel/osrelease");
        Self {
            processor: processor(&read("/proc/cpuinfo")),
            processors: std::thread::available_parallelism().map_or(1, usize::from),
            memory_mib: memory_mib(&read("/proc/meminfo")),
            system: system(&kernel),
            rustc: rustc(),
        }
    }
}

/// Now, as `2026-11-21 21:40 UTC`.
#[must_use]
pub fn date() -> String {
    format_date(SystemClock.now().to_seconds())
}

/// Days to a date as in "chrono-Compatible Low-Level Date Algorithms" (Howard Hinnant), `civil_from_days`.
fn format_date(at: UnixSeconds) -> String {
    let (days, seconds) = (at.0.div_euclid(86_400), at.0.rem_euclid(86_400));
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    let (hour, minute) = (seconds / 3600, seconds / 60 % 60);
    format!("{year}-{month:02}-{day:02} {hour:02}:{minute:02} UTC")
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// What follows the version's first hyphen says who built the kernel, and for what.
fn system(kernel: &str) -> String {
    let version = kernel.trim().split('-').next().unwrap_or_default();
    format!("{} {version}", std::env::consts::OS).trim().to_owned()
}

fn processor(cpuinfo: &str) -> String {
    field(cpuinfo, "model name").map_or_else(|| std::env::consts::ARCH.to_owned(), str::to_owned)
}

fn memory_mib(meminfo: &str) -> u64 {
    let kib = field(meminfo, "MemTotal").and_then(|text| text.split(' ').next()?.parse().ok());
    kib.unwrap_or(0_u64) / 1024
}

fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(key, _)| key.trim() == name)
        .map(|(_, value)| value.trim())
}

fn rustc() -> String {
    let output = Command::new("rustc").arg("--version").output();
    let version = output
        .ok()
        .and_then(|output| String::from_utf8(output.stdout).ok());
    version.map_or_else(|| "unknown".to_owned(), |version| version.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(format_date(UnixSeconds(0)), "1970-01-01 00:00 UTC");
        assert_eq!(format_date(UnixSeconds(951_782_399)), "2000-02-28 23:59 UTC");
        assert_eq!(format_date(UnixSeconds(951_782_400)), "2000-02-29 00:00 UTC");
        assert_eq!(format_date(UnixSeconds(1_795_296_060)), "2026-11-21 21:21 UTC");
    }

    #[test]
    fn the_kernel_describes_the_machine() {
        assert_eq!(
            processor("processor\t: 0\nmodel name\t: Fast 3000\n"),
            "Fast 3000"
        );
        assert!(system("6.1.0-49-cloud-amd64\n").ends_with(" 6.1.0"));
        assert_eq!(system(""), std::env::consts::OS);
        assert_eq!(memory_mib("MemTotal:        8169348 kB\n"), 7977);
    }
}
