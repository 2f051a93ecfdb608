//! What processes hold of the machine, as `/proc` tells it.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use crate::tally::Tally;

/// What a process holds at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sample {
    /// Memory that is its own, in KiB: heap and stacks. What it maps of files the system may take back and read again.
    private: u64,
    /// All that is in memory of it, in KiB.
    resident: u64,
    descriptors: u64,
    threads: u64,
}

impl Sample {
    /// Of a process; `None` where it is gone.
    pub(super) fn of(id: i32) -> Option<Self> {
        let status = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().next()?.parse().ok()
        };
        Some(Self {
            private: field("RssAnon:")?,
            resident: field("VmRSS:")?,
            descriptors: fs::read_dir(format!("/proc/{id}/fd")).ok()?.count() as u64,
            threads: field("Threads:")?,
        })
    }
}

/// What may be added to what the second quarter of a life had, until the last.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allowance {
    percent: u64,
    /// In KiB.
    memory: u64,
    descriptors: u64,
}

impl Allowance {
    /// For a life of so long. A short one is all warming up.
    pub(super) fn of(life: Duration) -> Self {
        if life < Duration::from_secs(600) {
            return Self {
                percent: 50,
                memory: 16 << 10,
                descriptors: 24,
            };
        }
        Self {
            percent: 5,
            memory: 1 << 10,
            descriptors: 2,
        }
    }
}

/// The samples of one process, at regular intervals.
#[derive(Debug, Default)]
pub(super) struct Series(Vec<Sample>);

impl Series {
    pub(super) fn add(&mut self, sample: Sample) {
        self.0.push(sample);
    }

    /// Checks that the last quarter had no more than the second one, but for the allowance, and notes both.
    pub(super) fn judge(&self, name: &str, scene: &str, allowance: Allowance, tally: &mut Tally) {
        let quarter = self.0.len() / 4;
        if quarter == 0 {
            return tally.violation(format_args!("{scene}: {name} was not seen four times"));
        }
        let (second, last) = (&self.0[quarter..2 * quarter], &self.0[self.0.len() - quarter..]);
        tally.add("samples of memory and descriptors", self.0.len() as u64);
        let mut flat = |what: &str, of: fn(&Sample) -> u64, allowed: &dyn Fn(u64) -> u64| {
            let (before, after) = (median(second, of), median(last, of));
            let peak = self.0.iter().map(of).max().unwrap_or_default();
            tally.at_most(&format!("{name}: {what}, second quarter"), before);
            tally.at_most(&format!("{name}: {what}, last quarter"), after);
            tally.at_most(&format!("{name}: {what}, peak"), peak);
            tally.at_most(&format!("{name}: {what}, grown by"), after.saturating_sub(before));
            tally.check(after <= allowed(before), || {
                format!(
                    "{scene}: {name}: {what} grew from {before} in the second quarter to {after} in the last"
                )
            });
        };
        let memory = |before| before + before * allowance.percent / 100 + allowance.memory;
        flat("private memory in KiB", |sample| sample.private, &memory);
        flat("descriptors", |sample| sample.descriptors, &|before| {
            before + allowance.descriptors
        });
        flat("threads", |sample| sample.threads, &|before| {
            before + allowance.descriptors
        });
        let resident = self.0.iter().map(|sample| sample.resident).max();
        tally.at_most(
            &format!("{name}: resident memory in KiB, peak"),
            resident.unwrap_or_default(),
        );
    }
}

fn median(samples: &[Sample], of: fn(&Sample) -> u64) -> u64 {
    let mut values: Vec<_> = samples.iter().map(of).collect();
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// The servers that this process started, by the names of their programs, and how much of them all is in memory, in KiB. They are counted and
/// not judged.
pub(super) fn servers() -> BTreeMap<String, u64> {
    let mut servers = BTreeMap::new();
    let own = std::process::id().to_string();
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    for id in processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok()) {
        let Ok(stat) = fs::read_to_string(format!("/proc/{id}/stat")) else {
            continue;
        };
        // The name may have anything in it but a parenthesis that closes after the last one.
        let Some((name, rest)) = stat.rsplit_once(") ") else {
            continue;
        };
        let name = name.split_once(" (").map_or("", |(_, name)| name);
        let is_own = rest.split(' ').nth(1) == Some(own.as_str());
        let is_server = ["node", "glewlwyd", "redis"]
            .iter()
            .any(|server| name.starts_with(server));
        if is_own
            && is_server
            && let Some(sample) = Sample::of(id)
        {
            *servers.entry(name.to_owned()).or_default() += sample.resident;
        }
    }
    servers
}

/// How long processors have worked for this process and for the children that it has waited for.
pub(super) fn processor_time() -> Duration {
    /// What every Linux tells programs, whatever its own ticks are.
    const TICKS_PER_SECOND: u64 = 100;
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields);
    let ticks = fields.split(' ').skip(11).take(4);
    let ticks: u64 = ticks.filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 1_000 / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(private: impl Fn(u64) -> u64, descriptors: impl Fn(u64) -> u64) -> Series {
        let sample = |at| Sample {
            private: private(at),
            descriptors: descriptors(at),
            ..Sample::default()
        };
        Series((0..400).map(sample).collect())
    }

    fn violations(series: &Series) -> Vec<String> {
        let mut tally = Tally::default();
        series.judge(
            "it",
            "here",
            Allowance::of(Duration::from_secs(7_200)),
            &mut tally,
        );
        tally.examples
    }

    #[test]
    fn warming_up_and_peaks_are_no_growth() {
        let peaks = |at: u64| if at.is_multiple_of(10) { 90_000 } else { 20_000 };
        let warming_up = |at: u64| 10 + at.min(99);
        assert_eq!(violations(&series(peaks, warming_up)), Vec::<String>::new());
    }

    #[test]
    fn what_grows_slowly_is_told() {
        let told = violations(&series(|at| 20_000 + 20 * at, |_| 10));
        assert!(told[0].contains("private memory"), "{told:?}");
        let told = violations(&series(|_| 20_000, |at| 10 + at / 60));
        assert!(told[0].contains("descriptors grew from 12 "), "{told:?}");
    }
}
