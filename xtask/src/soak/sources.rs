//! The names of what is put to the proof, and of what does it.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::command::{Failure, output, root};

/// The product. Not its tests: one more of them makes no other product.
const PRODUCT: [&str; 13] = [
    "Cargo.lock",
    "cache-core/Cargo.toml",
    "cache-core/src",
    "cache-keychain/Cargo.toml",
    "cache-keychain/src",
    "cache-redis/Cargo.toml",
    "cache-redis/src",
    "cache-sqlite/Cargo.toml",
    "cache-sqlite/src",
    "cli/Cargo.toml",
    "cli/src",
    "flows/Cargo.toml",
    "flows/src",
];

/// The gates, and what they stand on.
const HARNESS: [&str; 3] = ["cache-testkit", "fuzz", "soak"];

/// Sources, named by the Git objects that they are, committed or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sources {
    pub(super) product: String,
    pub(super) harness: String,
}

impl Sources {
    /// Those in the folder of this workspace.
    pub(super) fn present(target_folder: &Path) -> Result<Self, Failure> {
        // An index of our own, so that nothing is staged for the person who works here.
        let index = target_folder.join("soak.index");
        let git = |arguments: &[&str]| {
            let mut command = Command::new("git");
            command.current_dir(root()).env("GIT_INDEX_FILE", &index);
            output(command.args(arguments))
        };
        git(&["read-tree", "HEAD"])?;
        git(&["add", "--all"])?;
        let tree = git(&["write-tree"])?;
        let named = |paths: &[&str]| -> Result<String, Failure> {
            let list = ["ls-tree", "--format=%(objectname)", tree.trim(), "--"];
            let trees = git(&[&list, paths].concat())?;
            let names: Vec<_> = trees.lines().map(|tree| tree.get(..7).unwrap_or(tree)).collect();
            Ok(names.join("-"))
        };
        let sources = Self {
            product: named(&PRODUCT)?,
            harness: named(&HARNESS)?,
        };
        fs::remove_file(&index)
            .map_err(|error| Failure::new(format!("could not remove {}: {error}", index.display())))?;
        Ok(sources)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_sources_have_the_same_names() {
        let folder = std::env::temp_dir().join(format!("tokenkeep-sources-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        let sources = Sources::present(&folder).unwrap();
        assert_eq!(sources.product.split('-').count(), PRODUCT.len());
        assert_eq!(sources.harness.split('-').count(), HARNESS.len());
        assert_eq!(sources, Sources::present(&folder).unwrap());
        fs::remove_dir(&folder).unwrap();
    }
}
