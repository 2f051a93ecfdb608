//! Every gate, one file each. Their order and numbers are those of the scorecard in `docs/reliability.md`.

pub mod cached_increments;
pub mod canaries;
pub mod clock_jumps;
pub mod compare_and_swap;
#[cfg(target_os = "linux")]
pub mod damaged_databases;
pub mod damaged_records;
#[cfg(target_os = "linux")]
pub mod endurance;
#[cfg(target_os = "linux")]
pub mod failing_calls;
pub mod fuzzing;
pub mod histories;
pub mod key_rotation;
pub mod kill_writer;
pub mod killed_spender;
pub mod lost_reply;
#[cfg(target_os = "linux")]
pub mod modes;
#[cfg(target_os = "linux")]
pub mod nonces;
#[cfg(target_os = "linux")]
pub mod power_cut;
pub mod redis_failover;
#[cfg(target_os = "linux")]
pub mod redis_partition;
pub mod removal;
pub mod removal_race;
pub mod rollback;
pub mod rotation_race;
#[cfg(target_os = "linux")]
pub mod starved;
pub mod stopped_spender;
pub mod vectors;

use crate::gate::{Gate, GateError};

/// All of them.
pub const ALL: &[Gate] = &[
    kill_writer::GATE,
    #[cfg(target_os = "linux")]
    power_cut::GATE,
    #[cfg(target_os = "linux")]
    failing_calls::GATE,
    #[cfg(target_os = "linux")]
    starved::GATE,
    compare_and_swap::GATE,
    histories::GATE,
    cached_increments::GATE,
    rotation_race::GATE,
    lost_reply::GATE,
    killed_spender::GATE,
    stopped_spender::GATE,
    removal::GATE,
    removal_race::GATE,
    redis_failover::GATE,
    #[cfg(target_os = "linux")]
    redis_partition::GATE,
    damaged_records::GATE,
    rollback::GATE,
    key_rotation::GATE,
    #[cfg(target_os = "linux")]
    nonces::GATE,
    fuzzing::GATE,
    clock_jumps::GATE,
    #[cfg(target_os = "linux")]
    damaged_databases::GATE,
    canaries::GATE,
    #[cfg(target_os = "linux")]
    modes::GATE,
    vectors::GATE,
    #[cfg(target_os = "linux")]
    endurance::GATE,
];

/// The gate of this name.
///
/// # Errors
///
/// When there is none; the error names them all.
pub fn named(name: &str) -> Result<&'static Gate, GateError> {
    ALL.iter().find(|gate| gate.name == name).ok_or_else(|| {
        let names: Vec<_> = ALL.iter().map(|gate| gate.name).collect();
        GateError::new(format!("there is no gate {name}; there are {}", names.join(", ")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gates_are_in_the_order_of_the_scorecard() {
        assert!(ALL.is_sorted_by_key(|gate| gate.number));
    }
}
