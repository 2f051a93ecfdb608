//! What can be wrong with a workload, and with a run of it.

use std::path::PathBuf;

/// A workload file that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WorkloadError {
    /// The text is not TOML, or has a field that is unknown, missing or of another type.
    #[error("line {line}: {message}")]
    Syntax {
        /// The line, from 1.
        line: usize,
        /// What the parser says.
        message: String,
    },
    /// A field's value is out of its range or contradicts another's.
    #[error("{}: {message}", place(field, *line))]
    Value {
        /// The field, as `section.name`.
        field: &'static str,
        /// The line that it is on, from 1; `None` where it was left out.
        line: Option<usize>,
        /// What is wrong, and what would be right.
        message: String,
    },
    /// There is no shipped workload of this name.
    #[error(
        "there is no shipped workload {0:?}; there are desktop-tool, web-front-end and multi-tenant-daemon"
    )]
    NoPreset(String),
}

fn place(field: &str, line: Option<usize>) -> String {
    line.map_or_else(|| field.to_owned(), |line| format!("line {line}, {field}"))
}

/// A run that could not be made.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The operating system refused something.
    #[error("could not {doing}")]
    System {
        /// What was tried.
        doing: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The store that is measured failed.
    #[error("{store} failed to {doing}")]
    Store {
        /// Which kind.
        store: &'static str,
        /// What was tried.
        doing: &'static str,
        /// Why not.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The cache refused the strategy, or could not be filled.
    #[error("could not {doing}")]
    Cache {
        /// What was tried.
        doing: &'static str,
        /// Why not.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A process that makes requests ended before its time.
    #[error("a worker process ended early ({how}){}", said(told))]
    Worker {
        /// How it ended.
        how: String,
        /// The last that it wrote to standard error.
        told: String,
    },
    /// A process that makes requests did not end in time.
    #[error("a worker process did not end in time; is the machine, or the store, overloaded?")]
    Stuck,
    /// What a worker or its parent wrote is not understood by the other.
    #[error("a worker process and its parent do not understand each other")]
    Protocol(#[source] serde_json::Error),
    /// The worker's parent is gone.
    #[error("the process that started this worker is gone")]
    Orphaned,
    /// `redis-server` is not there or does not start.
    #[error("could not start redis-server: {reason}")]
    Redis {
        /// What was tried last, or what it said.
        reason: String,
    },
    /// Nothing is left to compare.
    #[error("no strategy is both safe for this workload and possible on this machine: {0}")]
    NothingToExplore(String),
    /// A chart could not be drawn.
    #[error("could not draw the chart {chart:?}: {reason}")]
    Chart {
        /// Which one.
        chart: &'static str,
        /// What the drawing library says.
        reason: String,
    },
    /// The report could not be written.
    #[error("could not write {}", path.display())]
    Write {
        /// Where to.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
}

impl BenchError {
    pub(crate) fn system(doing: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::System { doing, source }
    }

    pub(crate) fn cache(doing: &'static str) -> impl FnOnce(cache_core::cache::CacheError) -> Self {
        move |source| Self::Cache {
            doing,
            source: Box::new(source),
        }
    }
}

fn said(told: &str) -> String {
    if told.is_empty() {
        String::new()
    } else {
        format!(": {told}")
    }
}
