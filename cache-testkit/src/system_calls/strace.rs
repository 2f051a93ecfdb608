//! A command under `strace`.

use std::path::PathBuf;
use std::process::Command;

/// The calls that change files or their names, and those that a [`Disk`](super::Disk) needs to know them by.
pub const FILE_CALLS: &[&str] = &[
    "openat",
    "creat",
    "open",
    "close",
    "dup",
    "dup2",
    "dup3",
    "write",
    "pwrite64",
    "writev",
    "pwritev",
    "pwritev2",
    "lseek",
    "truncate",
    "ftruncate",
    "fallocate",
    "copy_file_range",
    "sendfile",
    "splice",
    "fsync",
    "fdatasync",
    "sync_file_range",
    "rename",
    "renameat",
    "renameat2",
    "link",
    "linkat",
    "symlink",
    "symlinkat",
    "unlink",
    "unlinkat",
    "mkdir",
    "mkdirat",
    "rmdir",
];

/// Longer data would be cut short in the record, in bytes. Far above what a store writes at once.
const LONGEST_DATA: usize = 32 << 20;

/// What happens to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The call is not made and fails with this error, by its name: `EIO`.
    Error(&'static str),
    /// The call is not made and returns this. `Returns(0)` of a write says truthfully that nothing was written.
    Returns(u32),
    /// The process is killed when it makes the call, which does nothing any more.
    Kill,
}

/// How to run a command, or go on with a process, under `strace`, with all its threads and children.
#[derive(Clone, Debug)]
pub struct Strace {
    calls: Vec<String>,
    record: Option<PathBuf>,
    user: Option<String>,
    kills: bool,
    faults: Vec<String>,
}

impl Strace {
    /// Watches these calls, by their names; names that this machine's kernel does not have are let be. The other calls are not slowed down.
    #[must_use]
    pub fn new(calls: &[&str]) -> Self {
        Self {
            calls: calls.iter().map(|&call| call.to_owned()).collect(),
            record: None,
            user: None,
            kills: false,
            faults: Vec::new(),
        }
    }

    /// Watches these calls too.
    #[must_use]
    pub fn watch(mut self, calls: &[&str]) -> Self {
        self.calls.extend(calls.iter().map(|&call| call.to_owned()));
        self
    }

    /// Writes what was called to this file, for [`Trace::parse`](super::Trace::parse). All data is in it, secrets too.
    #[must_use]
    pub fn record(mut self, path: impl Into<PathBuf>) -> Self {
        self.record = Some(path.into());
        self
    }

    /// Runs the command as the user of this name. Only root can.
    #[must_use]
    pub fn as_user(mut self, name: &str) -> Self {
        self.user = Some(name.to_owned());
        self
    }

    /// Does `fault` to the `number`th call of this name, from 1, in each thread: `strace` counts them thread by thread.
    #[must_use]
    pub fn inject(self, call: &str, fault: Fault, number: u64) -> Self {
        self.injects(call, fault, &number.to_string())
    }

    /// Does `fault` to every call of this name from the `number`th on, in each thread.
    #[must_use]
    pub fn inject_from(self, call: &str, fault: Fault, number: u64) -> Self {
        self.injects(call, fault, &format!("{number}+"))
    }

    /// The command that runs `command` in this way. Its standard input and output are to be set anew.
    #[must_use]
    pub fn command(&self, command: &Command) -> Command {
        let mut strace = self.to_watch();
        strace.arg("-qq");
        // With it the other calls are not slowed down, and no signal arrives.
        if !self.kills {
            strace.arg("--seccomp-bpf");
        }
        if let Some(user) = &self.user {
            strace.args(["-u", user]);
        }
        strace
            .arg("--")
            .arg(command.get_program())
            .args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => strace.env(name, value),
                None => strace.env_remove(name),
            };
        }
        if let Some(directory) = command.get_current_dir() {
            strace.current_dir(directory);
        }
        strace
    }

    /// The command that watches a process that runs already: the calls that loaded its program are neither recorded nor counted. It does so
    /// from the moment on at which it has written that the process is `attached` to its standard error. All calls of the process are slowed
    /// down, and it keeps the user that it has, whatever [`as_user`](Self::as_user) says.
    ///
    /// The process must be this user's, and let itself be traced by who is no ancestor of it: some systems ask for `PR_SET_PTRACER`.
    #[must_use]
    pub fn attach(&self, process: u32) -> Command {
        let mut strace = self.to_watch();
        strace.arg("-p").arg(process.to_string());
        strace
    }

    /// `strace`, told what to watch, what to do to it, and where to write.
    fn to_watch(&self) -> Command {
        let mut strace = Command::new("strace");
        strace.args(["-f", "-y", "-xx", "-s"]);
        strace.arg(LONGEST_DATA.to_string());
        let calls: Vec<_> = self.calls.iter().map(|call| format!("?{call}")).collect();
        strace.args(["-e", &format!("trace={}", calls.join(","))]);
        for fault in &self.faults {
            strace.args(["-e", fault]);
        }
        strace.arg("-o");
        match &self.record {
            Some(path) => strace.arg(path),
            None => strace.arg("/dev/null"),
        };
        strace
    }

    fn injects(mut self, call: &str, fault: Fault, when: &str) -> Self {
        self.kills |= fault == Fault::Kill;
        let fault = match fault {
            Fault::Error(error) => format!("error={error}"),
            Fault::Returns(value) => format!("retval={value}"),
            Fault::Kill => "signal=KILL".to_owned(),
        };
        self.faults.push(format!("inject={call}:{fault}:when={when}"));
        // Only what is watched can be made to fail.
        if !self.calls.iter().any(|known| known == call) {
            self.calls.push(call.to_owned());
        }
        self
    }
}
