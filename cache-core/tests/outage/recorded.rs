//! What was counted and logged.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Arc, Mutex};

use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};
use tracing_subscriber::fmt::MakeWriter;

/// Sums of counters and the latest values of gauges, under `name label=value …`.
#[derive(Clone, Default)]
pub(crate) struct Recorded {
    values: Arc<Mutex<BTreeMap<String, f64>>>,
    log: Arc<Mutex<Vec<u8>>>,
}

impl Recorded {
    /// Runs a test on a runtime of its own, and records what it counts and logs.
    pub(crate) fn run<F: Future<Output = ()>>(test: impl FnOnce(Self) -> F) {
        let recorded = Self::default();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::INFO)
            .with_ansi(false)
            .with_writer(recorded.clone())
            .finish();
        let _logging = tracing::subscriber::set_default(subscriber);
        metrics::with_local_recorder(&recorded.clone(), || {
            tokio::runtime::Builder::new_current_thread()
                .build()
                .unwrap()
                .block_on(test(recorded));
        });
    }

    pub(crate) fn value(&self, series: &str) -> f64 {
        self.values.lock().unwrap().get(series).copied().unwrap_or(0.0)
    }

    /// How often something was logged.
    pub(crate) fn logged(&self, text: &str) -> usize {
        String::from_utf8_lossy(&self.log.lock().unwrap())
            .matches(text)
            .count()
    }

    fn series(&self, key: &Key) -> Arc<Series> {
        let labels: Vec<_> = key
            .labels()
            .map(|label| format!(" {}={}", label.key(), label.value()))
            .collect();
        Arc::new(Series {
            recorded: self.clone(),
            name: format!("{}{}", key.name(), labels.concat()),
        })
    }
}

struct Series {
    recorded: Recorded,
    name: String,
}

impl Series {
    fn change(&self, change: impl FnOnce(&mut f64)) {
        change(
            self.recorded
                .values
                .lock()
                .unwrap()
                .entry(self.name.clone())
                .or_default(),
        );
    }
}

impl Recorder for Recorded {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.series(key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.series(key))
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

impl CounterFn for Series {
    fn increment(&self, value: u64) {
        self.change(|sum| *sum += value as f64);
    }

    fn absolute(&self, value: u64) {
        self.change(|sum| *sum = value as f64);
    }
}

impl GaugeFn for Series {
    fn increment(&self, value: f64) {
        self.change(|now| *now += value);
    }

    fn decrement(&self, value: f64) {
        self.change(|now| *now -= value);
    }

    fn set(&self, value: f64) {
        self.change(|now| *now = value);
    }
}

impl<'a> MakeWriter<'a> for Recorded {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Write for Recorded {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.log.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
