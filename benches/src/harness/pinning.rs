//! Keeping threads on one processor.
//!
//! On small machines a thread that waits halts its processor, and waking that takes longer than most of what is measured here. With both
//! sides of a hop on one processor the cost of the hop itself shows; left free it is what users see. A question with a hop measures both.

/// Which processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Core(pub usize);

/// Runs `work` with this thread, and whatever threads it starts, on `core` alone. Where the system cannot do that, it runs free.
pub fn pinned<T>(core: Core, work: impl FnOnce() -> T) -> T {
    let _restriction = system::Restriction::of_thread(core);
    work()
}

/// Keeps another process on `core`, such as a server that was started for the measurement; `false` where the system cannot do that.
///
/// Threads that it has started already stay where they are, but for its first.
#[must_use]
pub fn restrict_process(process: u32, core: Core) -> bool {
    system::restrict_process(process, core)
}

#[cfg(target_os = "linux")]
mod system {
    use rustix::thread::{CpuSet, Pid, sched_getaffinity, sched_setaffinity};

    use super::Core;

    /// Ends when it is dropped.
    pub(super) struct Restriction(Option<CpuSet>);

    impl Restriction {
        pub(super) fn of_thread(core: Core) -> Self {
            let before = sched_getaffinity(None).ok();
            let is_restricted = sched_setaffinity(None, &only(core)).is_ok();
            Self(before.filter(|_| is_restricted))
        }
    }

    impl Drop for Restriction {
        fn drop(&mut self) {
            if let Some(before) = &self.0 {
                // What was allowed before is still allowed.
                let _ = sched_setaffinity(None, before);
            }
        }
    }

    pub(super) fn restrict_process(process: u32, core: Core) -> bool {
        let process = i32::try_from(process).ok().and_then(Pid::from_raw);
        process.is_some_and(|process| sched_setaffinity(Some(process), &only(core)).is_ok())
    }

    fn only(core: Core) -> CpuSet {
        let mut set = CpuSet::new();
        set.set(core.0);
        set
    }

    #[cfg(test)]
    mod tests {
        use super::super::pinned;
        use super::*;

        #[test]
        fn a_thread_is_pinned_and_freed_again() {
            let allowed = || sched_getaffinity(None).unwrap().count();
            let before = allowed();
            assert_eq!(pinned(Core(0), allowed), 1);
            assert_eq!(allowed(), before);
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use super::Core;

    pub(super) struct Restriction;

    impl Restriction {
        pub(super) fn of_thread(_: Core) -> Self {
            Self
        }
    }

    pub(super) fn restrict_process(_: u32, _: Core) -> bool {
        false
    }
}
