//! Logs to standard error.

use tracing_subscriber::EnvFilter;

/// Starts logging, at the level that `RUST_LOG` says. Unless it does, warnings and what this program says of itself.
///
/// Keep other crates at `info` or above: below it, HTTP libraries may log what they carry.
pub fn start() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn,examples=info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
}

/// An error with all that caused it, in one line.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
