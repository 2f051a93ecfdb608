//! What was measured.

use std::collections::BTreeMap;
use std::time::Duration;

use cache_core::cache::TokenSource;
use hdrhistogram::Histogram;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::counting::StoreCounts;

/// The longest latency that is told apart from longer ones.
const LONGEST_NANOSECONDS: u64 = 600_000_000_000;
/// 1 % is more exact than any two runs agree.
const DIGITS: u8 = 2;
/// Into how many pieces the measured time is cut to see how it goes on.
pub const PIECES: usize = 48;

/// Where a token came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tier {
    /// The memory of the process.
    Memory,
    /// The store.
    Store,
    /// The authority.
    Authority,
}

impl Tier {
    /// All, from the near to the far.
    pub const ALL: [Self; 3] = [Self::Memory, Self::Store, Self::Authority];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Store => "store",
            Self::Authority => "authority",
        }
    }
}

impl From<TokenSource> for Tier {
    fn from(source: TokenSource) -> Self {
        match source {
            TokenSource::Memory => Self::Memory,
            TokenSource::Store => Self::Store,
            TokenSource::Authority => Self::Authority,
        }
    }
}

/// How long something took, how often.
#[derive(Clone, Debug)]
pub struct Latencies(Histogram<u64>);

impl Latencies {
    /// Nothing yet.
    #[must_use]
    #[expect(
        clippy::expect_used,
        reason = "the bounds are constants that the histogram takes"
    )]
    pub fn new() -> Self {
        Self(Histogram::new_with_bounds(1, LONGEST_NANOSECONDS, DIGITS).expect("the bounds are sound"))
    }

    /// Notes one.
    pub fn record(&mut self, latency: Duration) {
        self.record_n(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX), 1);
    }

    fn record_n(&mut self, nanoseconds: u64, count: u64) {
        // Saturated to the bounds, so that it cannot be refused.
        let _ = self.0.record_n(nanoseconds.clamp(1, LONGEST_NANOSECONDS), count);
    }

    /// Adds what another noted.
    pub fn add(&mut self, other: &Self) {
        let _ = self.0.add(&other.0);
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The latency in nanoseconds that the part `quantile` did not exceed; 0 where there is none.
    #[must_use]
    pub fn quantile(&self, quantile: f64) -> u64 {
        if self.0.is_empty() {
            0
        } else {
            self.0.value_at_quantile(quantile)
        }
    }

    /// The mean in nanoseconds of the slowest hundredth: what p99 hides behind it.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        reason = "counts and nanoseconds of a run are far below 2^52"
    )]
    pub fn slowest_hundredth(&self) -> f64 {
        let mut left = (self.count() / 100).max(1).min(self.count());
        let all = left;
        let mut sum = 0.0;
        let buckets: Vec<_> = self.buckets().collect();
        for (value, count) in buckets.into_iter().rev() {
            let taken = count.min(left);
            sum += value as f64 * taken as f64;
            left -= taken;
            if left == 0 {
                break;
            }
        }
        if all == 0 { 0.0 } else { sum / all as f64 }
    }

    /// The latencies in nanoseconds that occurred, and how often, in ascending order.
    pub fn buckets(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.0
            .iter_recorded()
            .map(|bucket| (bucket.value_iterated_to(), bucket.count_at_value()))
    }
}

impl Default for Latencies {
    fn default() -> Self {
        Self::new()
    }
}

impl Serialize for Latencies {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.buckets())
    }
}

impl<'de> Deserialize<'de> for Latencies {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut latencies = Self::new();
        for (nanoseconds, count) in Vec::<(u64, u64)>::deserialize(deserializer)? {
            latencies.record_n(nanoseconds, count);
        }
        Ok(latencies)
    }
}

/// What callers saw.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Calls {
    /// How long callers waited, by where the token came from.
    pub tiers: [Latencies; 3],
    /// Calls of each tier in each of [`PIECES`] pieces of the measured time.
    pub over_time: Vec<[u64; 3]>,
    /// What failed, and how often.
    pub errors: BTreeMap<String, u64>,
    /// Calls before the measured time.
    pub warm_up: u64,
}

impl Calls {
    pub(super) fn new() -> Self {
        Self {
            over_time: vec![[0; 3]; PIECES],
            ..Self::default()
        }
    }

    pub(crate) fn note(&mut self, tier: Tier, latency: Duration, piece: usize) {
        self.tiers[tier as usize].record(latency);
        if let Some(piece) = self.over_time.get_mut(piece) {
            piece[tier as usize] += 1;
        }
    }

    pub(super) fn note_error(&mut self, error: &dyn std::error::Error) {
        *self.errors.entry(error.to_string()).or_default() += 1;
    }

    pub(super) fn add(&mut self, other: &Self) {
        for (ours, theirs) in self.tiers.iter_mut().zip(&other.tiers) {
            ours.add(theirs);
        }
        if self.over_time.len() < other.over_time.len() {
            self.over_time.resize(other.over_time.len(), [0; 3]);
        }
        for (ours, theirs) in self.over_time.iter_mut().zip(&other.over_time) {
            for (ours, theirs) in ours.iter_mut().zip(theirs) {
                *ours += theirs;
            }
        }
        for (error, count) in &other.errors {
            *self.errors.entry(error.clone()).or_default() += count;
        }
        self.warm_up += other.warm_up;
    }

    /// Calls that were answered within the measured time.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.tiers.iter().map(Latencies::count).sum()
    }

    /// Calls that failed.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.errors.values().sum()
    }

    /// The part of the calls that `tier` answered.
    #[must_use]
    pub fn share(&self, tier: Tier) -> f64 {
        ratio(self.tiers[tier as usize].count(), self.count())
    }

    /// All tiers together.
    #[must_use]
    pub fn all(&self) -> Latencies {
        let mut all = Latencies::new();
        self.tiers.iter().for_each(|tier| all.add(tier));
        all
    }
}

/// What the simulated authority saw in the measured time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthorityCounts {
    /// Refresh tokens that were redeemed.
    pub redeemed: u64,
    /// Tokens of the application itself that were asked for.
    pub obtained: u64,
    /// Users who were signed out because their refresh token came twice.
    pub signed_out: u64,
}

impl AuthorityCounts {
    /// All requests.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.redeemed + self.obtained
    }
}

/// What one process brought.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Share {
    /// What its callers saw.
    pub calls: Calls,
    /// What went to its store.
    pub store: StoreCounts,
    /// Processor time, in nanoseconds, where the system tells: of the measured time, or of the whole life of a short-lived process.
    pub cpu_nanoseconds: Option<u64>,
    /// By how much the process grew in memory, in bytes, where the system tells.
    pub grown_bytes: Option<u64>,
    /// From opening the store until it was closed, in nanoseconds; of a short-lived process.
    pub life_nanoseconds: Option<u64>,
}

/// What one run brought.
#[derive(Clone, Debug, Serialize)]
pub struct Measurement {
    /// The seed of its requests.
    pub seed: u64,
    /// How long was measured, in seconds.
    pub seconds: f64,
    /// What callers saw.
    pub calls: Calls,
    /// How long short-lived processes took from opening the store until it was closed.
    pub lives: Option<Latencies>,
    /// What the authority saw.
    pub authority: AuthorityCounts,
    /// What went to the store.
    pub store: StoreCounts,
    /// Processor time of all processes, and of a Redis that was started for them, in nanoseconds, where the system tells.
    pub cpu_nanoseconds: Option<u64>,
    /// By how much a process grew in memory on average, in bytes, where the system tells.
    pub grown_bytes: Option<u64>,
    /// How many processes there were.
    pub processes: u64,
}

impl Measurement {
    pub(crate) fn new(seed: u64, seconds: f64, is_short_lived: bool) -> Self {
        Self {
            seed,
            seconds,
            calls: Calls::new(),
            lives: is_short_lived.then(Latencies::new),
            authority: AuthorityCounts::default(),
            store: StoreCounts::default(),
            cpu_nanoseconds: None,
            grown_bytes: None,
            processes: 0,
        }
    }

    pub(super) fn add(&mut self, share: &Share) {
        self.calls.add(&share.calls);
        self.store.add(&share.store);
        if let (Some(lives), Some(life)) = (&mut self.lives, share.life_nanoseconds) {
            lives.record(Duration::from_nanos(life));
        }
        if let Some(cpu) = share.cpu_nanoseconds {
            *self.cpu_nanoseconds.get_or_insert(0) += cpu;
        }
        if let Some(grown) = share.grown_bytes {
            let sum = self.grown_bytes.unwrap_or(0) * self.processes + grown;
            self.grown_bytes = Some(sum / (self.processes + 1));
        }
        self.processes += 1;
    }

    /// Adds what a server took beside the processes.
    pub(super) fn add_processor_time(&mut self, time: Duration) {
        if let Some(cpu) = &mut self.cpu_nanoseconds {
            *cpu += u64::try_from(time.as_nanos()).unwrap_or(0);
        }
    }

    /// What people wait for: a token, or the whole life of a short-lived process.
    #[must_use]
    pub fn waits(&self) -> Latencies {
        self.lives.clone().unwrap_or_else(|| self.calls.all())
    }

    /// The figures that strategies are compared by.
    #[must_use]
    pub fn figures(&self) -> Figures {
        let waits = self.waits();
        Figures {
            median_nanoseconds: lossy(waits.quantile(0.5)),
            p99_nanoseconds: lossy(waits.quantile(0.99)),
            slowest_nanoseconds: waits.slowest_hundredth(),
            requests_per_second: lossy(self.authority.requests()) / self.seconds,
            requests: self.authority.requests(),
            cpu_nanoseconds: lossy(self.cpu_nanoseconds.unwrap_or(0)) / lossy(waits.count().max(1)),
            waits_per_second: lossy(waits.count()) / self.seconds,
            grown_bytes: self.grown_bytes,
            failed: self.calls.failed() + self.authority.signed_out,
            calls: self.calls.count(),
        }
    }
}

/// The figures of a run that strategies are compared by.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Figures {
    /// The median wait, in nanoseconds.
    pub median_nanoseconds: f64,
    /// The 99th percentile of the waits, in nanoseconds.
    pub p99_nanoseconds: f64,
    /// The mean of the slowest hundredth of the waits, in nanoseconds.
    pub slowest_nanoseconds: f64,
    /// Requests at the authority in a second.
    pub requests_per_second: f64,
    /// All requests at the authority.
    pub requests: u64,
    /// Processor time for one wait, in nanoseconds.
    pub cpu_nanoseconds: f64,
    /// Waits in a second.
    pub waits_per_second: f64,
    /// By how many bytes a process grew in memory on average, where the system tells.
    pub grown_bytes: Option<u64>,
    /// Calls that failed, and users who were signed out.
    pub failed: u64,
    /// Calls that were answered.
    pub calls: u64,
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts and nanoseconds of a run are far below 2^52"
)]
pub(crate) fn lossy(count: u64) -> f64 {
    count as f64
}

pub(crate) fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        0.0
    } else {
        lossy(part) / lossy(whole)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_hundredth_is_a_mean_of_the_tail() {
        let mut latencies = Latencies::new();
        for _ in 0..990 {
            latencies.record(Duration::from_micros(1));
        }
        for _ in 0..10 {
            latencies.record(Duration::from_millis(50));
        }
        let slow = latencies.slowest_hundredth();
        assert!((49e6..51e6).contains(&slow), "{slow}");
        assert!((990..1010).contains(&latencies.quantile(0.5)));
        assert!(Latencies::new().slowest_hundredth().abs() < f64::EPSILON);
    }

    #[test]
    fn latencies_survive_their_way_between_processes() {
        let mut latencies = Latencies::new();
        for nanoseconds in [3, 250, 4_000, 77_000_000] {
            latencies.record(Duration::from_nanos(nanoseconds));
        }
        let text = serde_json::to_string(&latencies).unwrap();
        let back: Latencies = serde_json::from_str(&text).unwrap();
        assert!(latencies.buckets().eq(back.buckets()));
    }
}
