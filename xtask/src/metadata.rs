//! What `cargo metadata` writes.

use serde_json::Value;

use crate::command::Failure;

/// The packages in its output.
pub(crate) fn packages(metadata: &str) -> Result<Vec<Value>, Failure> {
    let mut metadata: Value = serde_json::from_str(metadata)
        .map_err(|error| Failure::new(format!("`cargo metadata` wrote no JSON: {error}")))?;
    match metadata["packages"].take() {
        Value::Array(packages) => Ok(packages),
        _ => Err(Failure::new("`cargo metadata` lists no packages")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_listed_or_it_is_said_that_none_are() {
        assert_eq!(packages(r#"{"packages": [{"name": "a"}]}"#).unwrap().len(), 1);
        for other in ["", "{}", r#"{"packages": {}}"#] {
            assert!(packages(other).is_err(), "{other}");
        }
    }
}
