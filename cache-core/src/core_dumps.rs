//! Core dumps: a process that crashes leaves its memory in a file, or hands it to another program.
//!
//! Secrets are [wiped](crate::secret) when they are dropped, and a crash drops nothing. No library should decide this for its program, so
//! nothing here calls [`forbid`]: a program that holds tokens does, before it reads the first.

/// Lets no core dump of this process be written, from now on.
///
/// On Unix, the limit of the size of core files (`RLIMIT_CORE`) becomes 0, and nobody but root can raise it again. On Linux the process
/// becomes undumpable too (`PR_SET_DUMPABLE`), as a core pattern that is a pipe does not ask for the limit.
///
/// What else that does:
///
/// - children inherit the limit, so they leave no core dump either;
/// - on Linux, no process of the same user can attach to this one with a debugger, read its memory or `/proc/PID/environ`, or see its open
///   files: what is under `/proc/PID` becomes root's. A child that runs another program is dumpable again, but for the limit;
/// - root, a hypervisor and a suspended machine's image have the memory as before.
///
/// # Errors
///
/// That the system refuses, or has no such call. Core dumps may be written then.
pub fn forbid() -> Result<(), CoreDumpsNotForbidden> {
    system::forbid()
}

/// Core dumps may be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CoreDumpsNotForbidden {
    /// The system refused.
    #[error(
        "the system does not let this process forbid core dumps; forbid them for the user, as by `ulimit -c 0`"
    )]
    Refused(#[source] std::io::Error),
    /// There is no such call here.
    #[error(
        "core dumps cannot be forbidden by a program on this system; switch crash reports off in its settings"
    )]
    Unsupported,
}

#[cfg(unix)]
mod system {
    use rustix::process::{Resource, Rlimit, setrlimit};

    use super::CoreDumpsNotForbidden;

    pub(super) fn forbid() -> Result<(), CoreDumpsNotForbidden> {
        let none = Rlimit {
            current: Some(0),
            maximum: Some(0),
        };
        let refused = |error: rustix::io::Errno| CoreDumpsNotForbidden::Refused(error.into());
        setrlimit(Resource::Core, none).map_err(refused)?;
        #[cfg(target_os = "linux")]
        {
            use rustix::process::{DumpableBehavior, set_dumpable_behavior};

            set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(refused)?;
        }
        Ok(())
    }
}

#[cfg(not(unix))]
mod system {
    use super::CoreDumpsNotForbidden;

    pub(super) fn forbid() -> Result<(), CoreDumpsNotForbidden> {
        Err(CoreDumpsNotForbidden::Unsupported)
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use rustix::process::{DumpableBehavior, Resource, dumpable_behavior, getrlimit};

    #[test]
    fn a_process_that_forbids_them_has_neither_limit_nor_flag_left() {
        super::forbid().unwrap();
        let limit = getrlimit(Resource::Core);
        assert_eq!((limit.current, limit.maximum), (Some(0), Some(0)));
        assert_eq!(dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
        // Once more is no error.
        super::forbid().unwrap();
    }
}
