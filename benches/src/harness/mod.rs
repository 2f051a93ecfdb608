//! How a question is measured.
//!
//! A [`Question`] is a program of `benches/benches` that [`answer`] runs. It compares operations: the *limit* (what the machine allows: a bare
//! map, a raw query), the *variants* (this project) and the *peers* (what people use instead). They take turns in many short rounds, so that
//! whatever else the machine does meets all of them alike. A ratio is taken within each round; the median of these says what a variant costs
//! beside its limit, and holds on a machine that is busy.
//!
//! ```
//! use std::collections::HashMap;
//! use benches::harness::{Row, answer_with, at_most, sync, Arguments};
//!
//! let arguments = Arguments::quick().without_output();
//! answer_with(&arguments, "maps", "What does a look-up in a map cost?", |question| {
//!     let map: HashMap<u64, u64> = (0..1000).map(|key| (key, key)).collect();
//!     let lookup = question
//!         .compare("look-up, 1,000 entries")
//!         .limit("one addition", sync(|| std::hint::black_box(1_u64) + 1))
//!         .variant("HashMap::get", sync(|| map.get(std::hint::black_box(&500)).copied()))
//!         .run();
//!     question
//!         .target(Row::Find, "× one addition", at_most(1000.0), lookup.ratio("HashMap::get"))
//!         .reason("it hashes")
//!         .next_idea("hash less");
//!     question.means("An addition is cheaper.");
//!     Ok(())
//! })?;
//! # Ok::<(), benches::harness::QuestionError>(())
//! ```
//!
//! A question's program takes `--quick` (a smoke run; also what `cargo test --bench` does), `--filter TEXT` (only the comparisons whose name
//! contains it) and `--output FOLDER` (instead of `bench` in the target directory, or
//! `bench-quick` for a smoke run). Its results are written there as JSON, see [`Report`].

mod arguments;
mod comparison;
mod machine;
mod operation;
mod pinning;
mod print;
mod question;
mod report;
mod statistics;
mod stopwatch;
mod target;

pub use arguments::Arguments;
pub use comparison::{Comparison, Measured};
pub use machine::{Machine, date};
pub use operation::{Operation, batch, on, prepared, prepared_on, sync, tasks, threads, timed};
pub use pinning::{Core, pinned, restrict_process};
pub use question::{Question, QuestionError, answer, answer_with};
pub use report::{
    ComparisonReport, CountReport, EntryReport, Report, Role, SeriesReport, TargetReport, Verdict,
};
pub use statistics::Estimate;
pub use stopwatch::Stopwatch;
pub use target::{Criterion, Row, Target, at_least, at_most, exactly};
