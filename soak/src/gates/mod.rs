//! Every gate, one file each. Their order and numbers are those of the scorecard in `docs/reliability.md`.

pub mod canaries;
pub mod clock_jumps;
pub mod compare_and_swap;
pub mod damaged_records;
pub mod fuzzing;
pub mod kill_writer;
pub mod rollback;
pub mod vectors;

use crate::gate::{Gate, GateError};

/// All of them.
pub const ALL: &[Gate] = &[
    kill_writer::GATE,
    compare_and_swap::GATE,
    damaged_records::GATE,
    rollback::GATE,
    fuzzing::GATE,
    clock_jumps::GATE,
    canaries::GATE,
    vectors::GATE,
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
        assert!(ALL.is_sorted_by(|one, next| one.number < next.number));
    }
}
