//! Programs, libraries and objects among the sources of dependencies: nobody can review them, so each crate that brings
//! some has to be known.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::WORKSPACES;
use crate::command::{Failure, cargo, output};
use crate::metadata::packages;

/// Crates that may bring some, and what these are.
const KNOWN: [(&str, &str); 12] = [
    ("aws-lc-sys", "assembled for Windows, where no NASM is"),
    (
        "ring",
        "assembled for Windows; locked as an option of others, and built by nothing",
    ),
    ("vcpkg", "empty files with the names of libraries, for its tests"),
    ("windows_aarch64_gnullvm", "names of the system's functions"),
    ("windows_aarch64_msvc", "names of the system's functions"),
    ("windows_i686_gnu", "names of the system's functions"),
    ("windows_i686_gnullvm", "names of the system's functions"),
    ("windows_i686_msvc", "names of the system's functions"),
    ("windows_x86_64_gnu", "names of the system's functions"),
    ("windows_x86_64_gnullvm", "names of the system's functions"),
    ("windows_x86_64_msvc", "names of the system's functions"),
    ("wit-bindgen", "WebAssembly, for WebAssembly"),
];

/// How programs, libraries and archives of objects begin: ELF, PE, Mach-O (also universal), ar, WebAssembly.
const BEGINNINGS: [&[u8]; 9] = [
    b"\x7fELF",
    b"MZ",
    b"\xcf\xfa\xed\xfe",
    b"\xce\xfa\xed\xfe",
    b"\xfe\xed\xfa\xcf",
    b"\xfe\xed\xfa\xce",
    b"\xca\xfe\xba\xbe",
    b"!<arch>\n",
    b"\0asm",
];

/// Objects of Windows have no beginning of their own.
const EXTENSIONS: [&str; 9] = ["a", "dll", "dylib", "exe", "lib", "o", "obj", "so", "wasm"];

/// Looks through the sources of every dependency in every lock file, also of those for other systems.
pub(crate) fn check() -> Result<(), Failure> {
    let mut packages = BTreeMap::new();
    for workspace in WORKSPACES {
        let metadata = output(
            cargo(["metadata", "--format-version", "1", "--all-features", "--locked"]).args(workspace),
        )?;
        packages.extend(foreign_packages(&metadata)?);
    }

    let mut violations = Vec::new();
    for (folder, name) in &packages {
        if KNOWN.iter().any(|(known, _)| known == name) {
            continue;
        }
        let found = first_binary(folder)
            .map_err(|error| Failure::new(format!("could not look through {name}: {error}")))?;
        if let Some(path) = found {
            violations.push(format!(
                "{name} brings {}, which nobody can read",
                path.strip_prefix(folder).unwrap_or(&path).display()
            ));
        }
    }
    if violations.is_empty() {
        return Ok(());
    }
    Err(Failure::new(format!("\n  {}", violations.join("\n  "))))
}

/// Folder and name of each package from a registry, from the output of `cargo metadata`.
fn foreign_packages(metadata: &str) -> Result<Vec<(PathBuf, String)>, Failure> {
    let packages = packages(metadata)?;
    let mut found = Vec::new();
    for package in packages.iter().filter(|package| !package["source"].is_null()) {
        let (Some(name), Some(manifest)) = (package["name"].as_str(), package["manifest_path"].as_str())
        else {
            return Err(Failure::new(
                "`cargo metadata` describes a package without name or manifest",
            ));
        };
        let folder = Path::new(manifest).parent().unwrap_or(Path::new(""));
        found.push((folder.to_owned(), name.to_owned()));
    }
    Ok(found)
}

fn first_binary(folder: &Path) -> io::Result<Option<PathBuf>> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        let kind = entry.file_type()?;
        let found = if kind.is_dir() {
            first_binary(&path)?
        } else {
            (kind.is_file() && is_binary(&path)?).then_some(path)
        };
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

fn is_binary(path: &Path) -> io::Result<bool> {
    let extension = path.extension().and_then(|extension| extension.to_str());
    if extension.is_some_and(|extension| EXTENSIONS.contains(&extension.to_ascii_lowercase().as_str())) {
        return Ok(true);
    }
    let mut beginning = Vec::new();
    File::open(path)?.take(8).read_to_end(&mut beginning)?;
    Ok(BEGINNINGS.iter().any(|known| beginning.starts_with(known)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_of_a_registry_are_found() {
        let metadata = r#"{"packages": [
            {"name": "ours", "source": null, "manifest_path": "/a/Cargo.toml"},
            {"name": "theirs", "source": "registry", "manifest_path": "/b/Cargo.toml"}
        ]}"#;
        let expected = [(PathBuf::from("/b"), "theirs".to_owned())];
        assert_eq!(foreign_packages(metadata).unwrap(), expected);
        assert!(foreign_packages(r#"{"packages": [{"source": "registry"}]}"#).is_err());
    }

    #[test]
    fn programs_are_found_by_what_they_are_and_objects_by_their_names() {
        let folder = std::env::temp_dir().join(format!("tokenkeep-binaries-{}", std::process::id()));
        let inner = folder.join("src/data");
        fs::create_dir_all(&inner).unwrap();
        let source = inner.join("lib.rs");
        fs::write(&source, "fn f() {}").unwrap();
        assert_eq!(first_binary(&folder).unwrap(), None);

        for beginning in BEGINNINGS {
            fs::write(&source, beginning).unwrap();
            assert_eq!(first_binary(&folder).unwrap(), Some(source.clone()));
        }
        fs::write(&source, "").unwrap();
        let object = inner.join("x.OBJ");
        fs::write(&object, "").unwrap();
        assert_eq!(first_binary(&folder).unwrap(), Some(object));
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn this_very_program_is_one() {
        assert!(is_binary(&std::env::current_exe().unwrap()).unwrap());
    }
}
