//! Where calls can fail.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::path::Path;

use cache_testkit::system_calls::{Argument, Call, Fault, Outcome, Strace, Trace};

/// What is watched beside the calls that change files.
pub(super) const WATCHED: &[&str] = &[
    "read",
    "pread64",
    "fcntl",
    "flock",
    "fchmod",
    "fchown",
    "utimensat",
    "fstat",
    "newfstatat",
    "statx",
    "mmap",
];

const NAMES: &[&str] = &[
    "open",
    "openat",
    "rename",
    "renameat",
    "renameat2",
    "link",
    "linkat",
    "unlink",
    "unlinkat",
    "mkdir",
    "mkdirat",
    "ftruncate",
    "fallocate",
];

/// The n-th call of a name in its thread, and what happens to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Site {
    pub(super) call: &'static str,
    number: u64,
    pub(super) failure: Failure,
}

/// What happens to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Failure {
    Error(&'static str),
    /// The disk is broken for good.
    ErrorFromThenOn(&'static str),
    WritesNothing,
    Kill,
}

impl Site {
    pub(super) fn is_sync(self) -> bool {
        matches!(self.call, "fsync" | "fdatasync")
    }

    /// Whether `call` is the one, of a process that was killed at it: it is the last of its thread, and never returned.
    pub(super) fn is_reached_by(self, call: &Call, trace: &Trace) -> bool {
        let before = trace.calls.iter().filter(|other| {
            other.thread == call.thread && other.name == call.name && other.entered <= call.entered
        });
        call.name == self.call && call.outcome == Outcome::Never && before.count() as u64 == self.number
    }

    /// Whether an error of this kind is the right one to hand to a caller. Nothing is written by somebody else or forbidden. Where only SQLite could
    /// know that the disk was full, and it is not when the system is asked, it is none of these.
    pub(super) fn is_told_by(self, kind: &str) -> bool {
        match (self.failure, self.call) {
            (Failure::Error("ENOSPC") | Failure::WritesNothing, _) => {
                matches!(kind, "Full" | "Other" | "Seal")
            }
            // SQLite takes a disk that cannot be read for a file that is damaged, and says so.
            (Failure::Error("EIO"), "read" | "pread64") if kind == "Corrupt" => true,
            _ => matches!(kind, "Other" | "Unavailable" | "Seal"),
        }
    }

    pub(super) fn inject(self, strace: Strace) -> Strace {
        let Self { call, number, .. } = self;
        match self.failure {
            Failure::Error(error) => strace.inject(call, Fault::Error(error), number),
            Failure::ErrorFromThenOn(error) => strace.inject_from(call, Fault::Error(error), number),
            Failure::WritesNothing => strace.inject(call, Fault::Returns(0), number),
            Failure::Kill => strace.inject(call, Fault::Kill, number),
        }
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} number {}: {:?}", self.call, self.number, self.failure)
    }
}

/// Whether `call` is on something in `folder`, and can fail. A lock of a local file is always let go.
pub(super) fn is_ours(call: &Call, folder: &Path) -> bool {
    let lets_go = call.arguments.iter().any(
        |argument| matches!(argument, Argument::Other(text) if text.contains("F_UNLCK") || text.contains("LOCK_UN")),
    );
    call.is_within(folder) && !lets_go
}

/// Every site of which a call on something in `folder` is known.
pub(super) fn all(trace: &Trace, folder: &Path) -> Vec<Site> {
    let mut counted: HashMap<(u32, &str), u64> = HashMap::new();
    let mut sites = BTreeSet::new();
    for call in &trace.calls {
        let number = counted.entry((call.thread, &call.name)).or_default();
        *number += 1;
        if is_ours(call, folder) {
            let failures = failures(&call.name);
            sites.extend(failures.into_iter().map(|(call, failure)| Site {
                call,
                number: *number,
                failure,
            }));
        }
    }
    sites.into_iter().collect()
}

/// What can happen to calls of this name.
fn failures(name: &str) -> Vec<(&'static str, Failure)> {
    use Failure::{Error, ErrorFromThenOn, Kill, WritesNothing};

    let named = |names: &[&'static str], failures: &[Failure]| -> Vec<_> {
        let name = names.iter().find(|known| **known == name);
        name.map(|name| failures.iter().map(|failure| (*name, *failure)).collect())
            .unwrap_or_default()
    };
    let errors = [Error("EIO"), Error("ENOSPC"), Error("EINTR")];
    // What was written to the standard output is not said either when every write fails.
    let mut all = named(&["write"], &[errors.as_slice(), &[WritesNothing, Kill]].concat());
    all.extend(named(
        &["pwrite64"],
        &[errors.as_slice(), &[WritesNothing, Kill, ErrorFromThenOn("EIO")]].concat(),
    ));
    all.extend(named(
        &["fsync", "fdatasync"],
        &[errors.as_slice(), &[Kill, ErrorFromThenOn("EIO")]].concat(),
    ));
    all.extend(named(NAMES, &[errors.as_slice(), &[Kill]].concat()));
    all.extend(named(WATCHED, &[Error("EIO"), Error("EINTR")]));
    all
}
