//! The commands and their own options.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

#[cfg(feature = "bench")]
use super::BenchArguments;
use super::MigrateArguments;
use crate::assertion::AssertionArguments;
use crate::browser_arguments::BrowserArguments;
use crate::demanded_claims::DemandedClaims;
use crate::identity_choice::IdentityArguments;
use crate::key_address::KeyAddress;
use crate::keychain_name::KeychainName;
use crate::variable_name::VariableName;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show everything at work: sign in, share, refresh, rotate the key, sign out (needs no account)
    #[cfg(feature = "demo")]
    Demo,
    /// Sign in
    #[command(subcommand)]
    Login(Login),
    /// Print an access token, silently: from the cache, or by a refresh
    Token(TokenArguments),
    /// List the accounts that are signed in
    Accounts,
    /// Show who is signed in to the application at the authority, from the cache alone
    Whoami,
    /// Sign an account out
    Logout(LogoutArguments),
    /// Take the tokens of an MSAL cache file (JSON) into the cache
    Import {
        /// The file, or - for standard input
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Write the cache as an MSAL cache file (JSON), tokens included, readable by you alone
    Export {
        /// The file, or - for standard output
        #[arg(value_name = "FILE", default_value = "-")]
        file: PathBuf,
        /// Replace the file if it exists; only a regular file is ever replaced
        #[arg(long)]
        force: bool,
    },
    /// Show what is in the store, without any secret
    Inspect {
        /// Show names of accounts, clients and authorities too
        #[arg(long)]
        show_names: bool,
    },
    /// Manage the encryption keys
    #[command(subcommand)]
    Keys(Keys),
    /// Check the store, its key and this machine
    Doctor {
        /// Ask the authority for its metadata too
        #[arg(long)]
        online: bool,
    },
    /// Show sign-ins, refreshes and sign-outs as they happen, in whatever process, until Ctrl-C
    Watch(WatchArguments),
    /// Move everything from one store to another, so that each token is in one place only; safe to interrupt and to run again
    Migrate(MigrateArguments),
    /// Measure what strategies cost on this machine, and recommend one; with a simulated authority and temporary stores
    #[cfg(feature = "bench")]
    Bench(BenchArguments),
    /// A process of a measurement; `bench` starts it
    #[cfg(feature = "bench")]
    #[command(hide = true)]
    BenchWorker,
    /// Move a record that cannot be opened aside, so that its user can sign in again
    Quarantine {
        /// The record's key, as the error or `inspect` names it
        #[arg(value_name = "KEY", required_unless_present = "all")]
        record: Option<String>,
        /// Move everything aside, the key ring too: to start anew when the key is lost for good
        #[arg(long, conflicts_with = "record")]
        all: bool,
        /// Move the record aside although it can be opened, which signs its user out
        #[arg(long, conflicts_with = "all")]
        force: bool,
        /// Move a record in quarantine back to where it came from, if nothing took its place
        #[arg(long, conflicts_with_all = ["all", "force"])]
        restore: bool,
    },
}

impl Command {
    /// Whether it sees to the first interrupt itself. A process of a measurement ends when its parent does.
    pub(crate) fn stops_itself(&self) -> bool {
        match self {
            Self::Migrate(_) => true,
            #[cfg(feature = "bench")]
            Self::Bench(_) | Self::BenchWorker => true,
            _ => false,
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Login {
    /// Sign a user in: shows an address and a code to enter there, on any device
    DeviceCode,
    /// Sign a user in in the browser of this machine
    Browser(BrowserArguments),
    /// Sign a user in with a name and a password, where nothing better is possible: no second factor, no other provider
    Password {
        /// The user's name
        #[arg(long, value_name = "NAME")]
        username: String,
        /// The name of the environment variable that holds the password; where it is not set, the terminal asks
        #[arg(long, value_name = "NAME", default_value = "TOKENKEEP_PASSWORD")]
        password_env: VariableName,
    },
    /// Sign the application itself in, with its secret, its certificate or an assertion (--client-secret-env,
    /// --client-certificate, --client-assertion-file)
    ClientCredentials,
    /// Sign in on behalf of a user who presented a token to this application
    OnBehalfOf(AssertionArguments),
    /// Sign in with the identity that Azure gave this machine or service; --scope names the resource
    ManagedIdentity(IdentityArguments),
}

#[derive(Args, Clone, Debug)]
pub(crate) struct TokenArguments {
    /// Do not use the cached token, but refresh it
    #[arg(long)]
    pub(crate) force_refresh: bool,
    #[command(flatten)]
    pub(crate) demanded: DemandedClaims,
    #[command(flatten)]
    pub(crate) on_behalf_of: AssertionArguments,
    /// Take the token of this machine's or service's managed identity, not of an account
    #[arg(long)]
    pub(crate) managed_identity: bool,
    #[command(flatten)]
    pub(crate) identity: IdentityArguments,
}

#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct LogoutArguments {
    /// Also remove tokens of the application's family, which sister applications use
    #[arg(long)]
    pub(crate) family: bool,
    /// Remove everything of the account, of every application
    #[arg(long, conflicts_with = "family")]
    pub(crate) forget: bool,
    /// Do not ask the authority to revoke the refresh tokens that are removed
    #[arg(long)]
    pub(crate) no_revoke: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Keys {
    /// List the keys of the ring
    List,
    /// Add a key and encrypt with it from now on
    Rotate,
    /// Encrypt every record under an older key anew
    Reseal,
    /// Protect the key ring with another --key; no record changes. Other processes must be restarted with it
    Rewrap {
        /// What --key is from then on: file:PATH (made if it is missing), env:NAME, passphrase, which is
        /// TOKENKEEP_NEW_PASSPHRASE, else asked for, or keychain
        #[arg(long, value_name = "KEY")]
        new_key: KeyAddress,
    },
    /// List the keys that the keychain keeps for this program, and which of them this cache needs; rewrapping leaves the former one
    Keychain {
        /// The items' name, where it is not that of --key keychain:NAME
        #[arg(long, value_name = "NAME")]
        name: Option<KeychainName>,
        /// Remove the key that is listed as ITEM. Refused for the one that this cache needs. Of other caches, and of backups of this
        /// one, nothing is known: those that need it can never be opened again
        #[arg(long, value_name = "ITEM")]
        remove: Option<String>,
    },
    /// Wipe an old key that no record needs any more
    Retire {
        /// The key's ID
        #[arg(value_name = "ID")]
        id: String,
    },
}

#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct WatchArguments {
    /// End after this many events
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,
    /// End after this time
    #[arg(long = "for", value_name = "SECONDS", value_parser = seconds)]
    pub(crate) time: Option<Duration>,
}

fn seconds(text: &str) -> Result<Duration, String> {
    const MONTH: f64 = 31.0 * 86_400.0;
    match text.parse::<f64>() {
        Ok(seconds) if (0.1..=MONTH).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("give seconds, 0.1 to 2678400".to_owned()),
    }
}
