//! What this process takes of the machine.

use std::time::Duration;

/// Processor time of this process since it began, in user and kernel mode; `None` where the system does not tell.
#[cfg(unix)]
pub(crate) fn processor_time() -> Option<Duration> {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Some(Duration::new(
        u64::try_from(time.tv_sec).ok()?,
        u32::try_from(time.tv_nsec).ok()?,
    ))
}

#[cfg(not(unix))]
pub(crate) fn processor_time() -> Option<Duration> {
    None
}

/// How many bytes of this process lie in memory; `None` where the system does not tell.
#[cfg(target_os = "linux")]
pub(crate) fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn resident_bytes() -> Option<u64> {
    None
}

/// The unit of `/proc/PID/stat`: `USER_HZ` is 100 on every architecture that this is built for.
#[cfg(target_os = "linux")]
const MILLISECONDS_PER_TICK: u64 = 10;

/// Processor time of another process since it began; `None` where the system does not tell.
#[cfg(target_os = "linux")]
pub(crate) fn processor_time_of(process: u32) -> Option<Duration> {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name in parentheses may hold anything; the fields after it are numbers, of which the 12th and the 13th are ticks.
    let mut fields = text.rsplit_once(')')?.1.split_whitespace().skip(11);
    let ticks = fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?;
    Some(Duration::from_millis(ticks.saturating_mul(MILLISECONDS_PER_TICK)))
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn processor_time_of(_: u32) -> Option<Duration> {
    None
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_process_takes_as_much_as_it_takes() {
        let mut sum = 0_u64;
        while processor_time().unwrap() < Duration::from_millis(60) {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        let seen = processor_time_of(std::process::id()).unwrap();
        assert!(seen >= Duration::from_millis(30), "{seen:?}");
        assert!(resident_bytes().unwrap() > 100_000);
    }
}
