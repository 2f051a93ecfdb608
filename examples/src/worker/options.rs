//! What the worker is told.

use std::time::Duration;

use clap::Parser;

use crate::options::CacheOptions;

/// Calls an API for each user who has not been seen for a while.
#[derive(Parser, Clone, Debug)]
#[command(name = "worker")]
pub struct Options {
    /// The cache.
    #[command(flatten)]
    pub cache: CacheOptions,

    /// Go through the accounts once, instead of again and again
    #[arg(long)]
    pub once: bool,

    /// How many seconds to wait between two times
    #[arg(long, default_value = "60", value_parser = seconds, conflicts_with = "once")]
    pub interval: Duration,

    /// After how many seconds without use an account is acted for
    #[arg(long, default_value = "3600", value_parser = seconds)]
    pub idle: Duration,

    /// For how many accounts to act at once
    #[arg(long, default_value = "8", value_parser = clap::value_parser!(u8).range(1..))]
    pub concurrency: u8,

    /// Say whose account each line is of. Account IDs are personal data, and lines end up in logs: without this, each has a hash of
    /// it
    #[arg(long)]
    pub name_accounts: bool,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().map(Duration::from_secs);
    seconds.map_err(|_| "give a whole number of seconds".to_owned())
}
