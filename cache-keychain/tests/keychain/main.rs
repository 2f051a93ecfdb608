//! Keychains as they really are: a GNOME Keyring on a bus of its own, the kernel's keyrings, and what happens to both.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

mod given;
mod inside;
mod keyutils;
mod policy;
mod prompt;
mod race;
mod secret_service;
