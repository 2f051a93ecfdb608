//! What a process asks of the operating system: recorded, and made to fail at will.
//!
//! The layer in between is [`strace`](https://strace.io). A library that is preloaded would see the calls of the C library only, and not
//! those that Rust programs make by themselves; `strace` sees them all, of every thread, in the order in which the kernel was asked.
//!
//! - [`Strace`] puts a command or a process under it: to record its calls with all their data, to fail a call, to kill the process at a call.
//! - [`Trace`] is what was recorded, as typed [`Call`]s.
//! - [`Disk`] plays a trace, and says what a disk could hold of the files if the power had failed at any moment.
//!
//! ```no_run
//! use std::process::Command;
//! use cache_testkit::system_calls::{Disk, Fault, Strace, Trace, FILE_CALLS};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // Does my backend say that it failed when the disk does, at the third write?
//! let write = Command::new("my-writer");
//! Strace::new(FILE_CALLS).inject("pwrite64", Fault::Error("EIO"), 3).command(&write).status()?;
//!
//! // What is on the disk if the power fails after the hundredth line of the record?
//! Strace::new(FILE_CALLS).record("/tmp/trace").command(&write).status()?;
//! let trace = Trace::parse(&std::fs::read_to_string("/tmp/trace")?)?;
//! let disk = Disk::new("/tmp/my-store").played(&trace, 100)?;
//! disk.synced_only().write_to("/tmp/my-store-after-the-cut".as_ref())?;
//! # Ok(())
//! # }
//! ```
//!
//! Linux only, and the package `strace` (5.3 or newer) must be installed.

mod call;
mod disk;
mod strace;
mod trace;

pub use call::{Argument, Call, Outcome};
pub use disk::{Disk, DiskError, Image};
pub use strace::{FILE_CALLS, Fault, Strace};
pub use trace::{Trace, TraceError};
