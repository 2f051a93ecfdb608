//! The options of `bench`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

#[derive(Args, Clone, Debug)]
pub(crate) struct BenchArguments {
    /// What to run: desktop-tool, web-front-end, multi-tenant-daemon, or a workload file (TOML)
    #[arg(value_name = "WORKLOAD", required_unless_present_any = ["list", "print"])]
    pub(crate) workload: Option<String>,
    /// List the workloads that are shipped
    #[arg(long, conflicts_with_all = ["workload", "print", "explore"])]
    pub(crate) list: bool,
    /// Print the file of a shipped workload to standard output, to start your own from
    #[arg(long, value_name = "WORKLOAD", conflicts_with_all = ["workload", "explore"])]
    pub(crate) print: Option<String>,
    /// Compare the strategies that are safe for the workload, and recommend one
    #[arg(long)]
    pub(crate) explore: bool,
    /// How long all of it may take; the more, the surer
    #[arg(long, value_name = "SECONDS", default_value = "120", value_parser = budget, requires = "explore")]
    pub(crate) budget: Duration,
    /// Measure a third as long: to see whether a workload file does what it should
    #[arg(long)]
    pub(crate) quick: bool,
    /// Where the report goes: a page.html, with its numbers as JSON beside it, or a folder for both. What is there is replaced
    #[arg(long, value_name = "PATH", default_value = "tokenkeep-bench.html")]
    pub(crate) out: PathBuf,
    /// What requests are drawn from: the same seed gives the same requests
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
}

fn budget(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (5.0..=86_400.0).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("give seconds, 5 to 86400".to_owned()),
    }
}
