//! The Azure CLI.

use benches::harness::{Question, QuestionError};

pub(crate) fn ask(_: &mut Question) -> Result<(), QuestionError> {
    Ok(())
}
