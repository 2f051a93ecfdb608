//! The real Azure CLI and this program, with one token cache between them.
//!
//! The Azure CLI is installed from the Python package index, at the version of `requirements.txt`, into a virtual environment of its
//! own in the target directory, once: some 800 MB. `cargo xtask test --azure-cli` does that and runs these tests; nothing else does.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "tests fail by panicking")]

mod installed;
#[path = "../cli/program.rs"]
#[allow(dead_code, reason = "shared with the other tests, which use more of it")]
mod program;
mod real_azure_cli;
mod resource_manager;
mod scene;
