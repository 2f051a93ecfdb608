//! Every gate, one file each. Their order and numbers are those of the scorecard in `docs/reliability.md`.

pub mod cached_increments;
pub mod compare_and_swap;
pub mod kill_writer;
pub mod killed_spender;
pub mod lost_reply;
pub mod removal_race;
pub mod rotation_race;
pub mod stopped_spender;

use crate::gate::{Gate, GateError};

/// All of them.
pub const ALL: &[Gate] = &[
    kill_writer::GATE,
    compare_and_swap::GATE,
    cached_increments::GATE,
    rotation_race::GATE,
    lost_reply::GATE,
    killed_spender::GATE,
    stopped_spender::GATE,
    removal_race::GATE,
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
