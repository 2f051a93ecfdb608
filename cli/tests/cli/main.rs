//! The program as its users run it: processes, arguments, standard streams and exit codes.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "tests; the lint's own exception does not reach helper functions"
)]

#[cfg(feature = "bench")]
mod bench;
mod browser;
mod credentials;
mod crowd;
#[cfg(feature = "demo")]
mod demonstration;
mod doctor;
mod entra;
mod environment;
mod exchange;
#[cfg(target_os = "linux")]
mod keychain;
mod keys;
mod killed;
mod managed_identity;
#[cfg(unix)]
mod migrate;
#[cfg(unix)]
mod migrate_interrupted;
mod oidc;
mod on_behalf_of;
mod password;
mod program;
#[cfg(unix)]
mod redis;
mod secrecy;
#[cfg(unix)]
mod shared_azure_cli;
#[cfg(unix)]
mod shared_file;
mod tampering;
mod usage;
#[cfg(unix)]
mod watch;
mod whoami;
