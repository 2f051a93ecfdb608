//! Who a lock file says that it belongs to.

use rustix::process::{Pid, test_kill_process};

/// What a holder writes into its lock file begins with its process ID, in all of the protocols: `123` (Node), `123 name` (Python, Java,
/// and .NET behind a byte order mark), `{123} {name}` (Go).
pub(super) fn parse(content: &[u8]) -> Option<u32> {
    let content = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content);
    let content = content.strip_prefix(b"{").unwrap_or(content);
    let length = content.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let digits = std::str::from_utf8(&content[..length]).ok()?;
    digits.parse().ok().filter(|pid| *pid != 0)
}

/// Whether a process of this number exists here, which need not be the one that was meant.
///
/// This very process does not count: its tasks take turns, so a file that has its number was left by an earlier process of the
/// number, as happens in containers, where numbers are small and recur.
pub(super) fn exists(pid: u32) -> bool {
    if pid == std::process::id() {
        return false;
    }
    let Some(id) = i32::try_from(pid).ok().and_then(Pid::from_raw) else {
        return false;
    };
    match test_kill_process(id) {
        Ok(()) => !has_ended(pid),
        Err(error) => error != rustix::io::Errno::SRCH,
    }
}

/// Whether it was killed and only its parent has not noticed yet.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn has_ended(pid: u32) -> bool {
    let Ok(status) = std::fs::read(format!("/proc/{pid}/stat")) else {
        return false;
    };
    // The name is in parentheses, and may have some itself.
    let behind_name = status.iter().rposition(|byte| *byte == b')');
    let state = behind_name.and_then(|at| status.get(at + 2));
    matches!(state, Some(b'Z' | b'X'))
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn has_ended(_pid: u32) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_protocols_content_names_its_process() {
        for (content, pid) in [
            (&b"123"[..], Some(123)),
            (b"123 /usr/bin/python3", Some(123)),
            (b"\xef\xbb\xbf123 dotnet\n", Some(123)),
            (b"{123} {/usr/bin/program}", Some(123)),
            (b"123 host.example", Some(123)),
            (b"", None),
            (b"0", None),
            (b"host 123", None),
            (b"99999999999999", None),
        ] {
            assert_eq!(parse(content), pid, "{}", String::from_utf8_lossy(content));
        }
    }

    #[test]
    fn this_process_and_those_that_ended_do_not_exist() {
        assert!(!exists(std::process::id()));
        assert!(!exists(u32::MAX));
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = child.id();
        // Not waited for yet: until then its number is taken.
        let mut looks = 0;
        while exists(pid) && looks < 100_000 {
            looks += 1;
            std::thread::yield_now();
        }
        assert!(!exists(pid), "ended, although nobody asked how");
        child.wait().unwrap();
        assert!(exists(std::os::unix::process::parent_id()));
    }
}
