//! Logs to standard error, on request.

use tracing::{Level, Metadata};
use tracing_subscriber::filter::{EnvFilter, FilterFn};
use tracing_subscriber::fmt::format::FmtSpan;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use crate::failure::Failure;

/// The crates that are held to log no secret at any level.
const OURS: [&str; 6] = [
    "cache_core",
    "cache_redis",
    "cache_sqlite",
    "cache_testkit",
    "flows",
    "tokenkeep",
];

/// What is logged unless something else is asked for.
const USUAL: &str = "cache_core=warn,cache_redis=warn,cache_sqlite=warn,flows=warn,tokenkeep=warn";

/// Starts to log as `TOKENKEEP_LOG`, else `RUST_LOG`, says.
pub(crate) fn start() -> Result<(), Failure> {
    let wanted = ["TOKENKEEP_LOG", "RUST_LOG"]
        .iter()
        .filter_map(|name| std::env::var(name).ok())
        .find(|text| !text.trim().is_empty());
    let filter = EnvFilter::try_new(wanted.as_deref().unwrap_or(USUAL))
        .map_err(|error| Failure::usage(format!("TOKENKEEP_LOG or RUST_LOG is not a log filter: {error}")))?;
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_span_events(FmtSpan::CLOSE)
        .with_filter(filter)
        .with_filter(FilterFn::new(is_harmless));
    // Fails only if a subscriber is set already, and then that one logs.
    let _ = tracing_subscriber::registry().with(lines).try_init();
    Ok(())
}

/// Libraries that carry our requests and records may show them at DEBUG or TRACE, today or after an update,
/// so those levels of theirs are never shown, whatever the filter says.
fn is_harmless(metadata: &Metadata<'_>) -> bool {
    let target = metadata.target();
    let is_ours = OURS.iter().any(|name| {
        target
            .strip_prefix(name)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    });
    is_ours || *metadata.level() <= Level::INFO
}
