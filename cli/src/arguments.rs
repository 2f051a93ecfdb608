//! The command line: what may be written, and where.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::FalseyValueParser;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::assertion::AssertionArguments;
use crate::authority_address::AuthorityAddress;
use crate::browser_arguments::BrowserArguments;
use crate::credential_options::CredentialOptions;
use crate::demanded_claims::DemandedClaims;
use crate::identity_choice::IdentityArguments;
use crate::key_address::KeyAddress;
use crate::store_address::StoreAddress;
use crate::variable_name::VariableName;

/// The id of the `--scope` that stands after a command; see [`parse`].
const SCOPE_AFTER: &str = "scope_after";

/// Sign in once, then get access tokens silently, from any number of processes.
///
/// Tokens are kept encrypted in a local file that processes share. `tokenkeep demo` shows it at work and
/// needs nothing.
#[derive(Debug, Parser)]
#[command(name = "tokenkeep", version, after_help = AFTER_HELP, arg_required_else_help = true)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) options: Options,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const AFTER_HELP: &str = "\
Options may stand before or after the command. Each has an environment variable; the command line wins.

Output: `token` prints the token alone and `export` the file; everything else that people read goes to standard
error. With --json, exactly one JSON object goes to standard output, also for an error.

Exit codes:
  0  done
  1  something else failed, such as writing the output
  2  usage: the command line or the configuration makes no sense
  3  interaction required: the user must sign in
  4  a problem of the store, of a record in it, or of the key
  5  the authority refused or could not be reached
  130  interrupted

Logs: TOKENKEEP_LOG (or RUST_LOG) takes a filter such as `debug` or `flows=trace`, and writes to standard error.";

/// The options that every command accepts.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// Where tokens are kept: sqlite:PATH, or memory: for this process only [default: a file in your data
    /// folder]
    #[arg(
        long,
        global = true,
        env = "TOKENKEEP_STORE",
        hide_env_values = true,
        value_name = "STORE",
        help_heading = HEADING,
    )]
    pub(crate) store: Option<StoreAddress>,

    /// What they are encrypted with: file:PATH, env:NAME (32 bytes in base64 or hexadecimal), or passphrase,
    /// which is TOKENKEEP_PASSPHRASE, else asked for [default: a file in your configuration folder, made on
    /// first use]
    #[arg(
        long,
        global = true,
        env = "TOKENKEEP_KEY",
        hide_env_values = true,
        value_name = "KEY",
        help_heading = HEADING,
    )]
    pub(crate) key: Option<KeyAddress>,

    /// Who issues the tokens.
    #[arg(
        long,
        global = true,
        env = "TOKENKEEP_AUTHORITY",
        hide_env_values = true,
        value_name = "URL",
        help = AUTHORITY_HELP,
        help_heading = HEADING
    )]
    pub(crate) authority: Option<AuthorityAddress>,

    /// The application's ID at the authority
    #[arg(
        long,
        global = true,
        env = "TOKENKEEP_CLIENT_ID",
        hide_env_values = true,
        value_name = "ID",
        help_heading = HEADING,
    )]
    pub(crate) client_id: Option<String>,

    #[command(flatten)]
    pub(crate) credential: CredentialOptions,

    /// What the token is for; repeat it, or separate several by spaces
    #[arg(long, env = "TOKENKEEP_SCOPE", hide_env_values = true, value_name = "SCOPE", help_heading = HEADING)]
    pub(crate) scope: Vec<String>,

    /// The account: its home account ID, or its user name where only one account bears it
    #[arg(
        long,
        global = true,
        env = "TOKENKEEP_ACCOUNT",
        hide_env_values = true,
        value_name = "ACCOUNT",
        help_heading = HEADING,
    )]
    pub(crate) account: Option<String>,

    /// Trust the certificates in this PEM file too
    #[arg(
        long,
        global = true,
        env = "TOKENKEEP_CA_CERT",
        hide_env_values = true,
        value_name = "FILE",
        help_heading = HEADING,
    )]
    pub(crate) ca_cert: Option<PathBuf>,

    /// Print one JSON object to standard output
    #[arg(
        long,
        global = true,
        env = "TOKENKEEP_JSON",
        hide_env_values = true,
        value_parser = FalseyValueParser::new(),
        help_heading = HEADING
    )]
    pub(crate) json: bool,

    /// How long one request to the authority may take
    #[arg(
        long,
        global = true,
        env = "TOKENKEEP_REQUEST_TIMEOUT",
        hide_env_values = true,
        value_name = "SECONDS",
        default_value = "30",
        value_parser = seconds,
        help_heading = HEADING
    )]
    pub(crate) request_timeout: Duration,
}

const AUTHORITY_HELP: &str = "\
Who issues the tokens: a URL such as https://login.microsoftonline.com/common or the issuer of an OpenID provider. The \
kind is told from the URL; write entra:URL, oidc:URL, b2c:URL, ciam:URL or adfs:URL where that is wrong";

pub(crate) const HEADING: &str = "Options of every command";

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
        /// What --key is from then on: file:PATH (made if it is missing), env:NAME, or passphrase, which is
        /// TOKENKEEP_NEW_PASSPHRASE, else asked for
        #[arg(long, value_name = "KEY")]
        new_key: KeyAddress,
    },
    /// Wipe an old key that no record needs any more
    Retire {
        /// The key's ID
        #[arg(value_name = "ID")]
        id: String,
    },
}

/// Parses the command line.
///
/// clap lets a global option that is repeated after the command replace what stood before it. That is right
/// for single values, but scopes would be lost without a word, so `--scope` is declared at every level and
/// the values are put together.
///
/// # Errors
/// What clap says, which may also be the help or the version.
pub(crate) fn parse(
    arguments: impl IntoIterator<Item = std::ffi::OsString>,
) -> Result<Arguments, clap::Error> {
    let mut command = Arguments::command();
    add_scope_to_subcommands(&mut command);
    let mut command = command.mut_args(without_empty_variable);
    let matches = command.clone().try_get_matches_from(arguments)?;
    let mut parsed = Arguments::from_arg_matches(&matches).map_err(|error| error.format(&mut command))?;
    let after = scopes_after(&matches);
    if !after.is_empty() {
        if matches.value_source("scope") != Some(ValueSource::CommandLine) {
            parsed.options.scope.clear();
        }
        parsed.options.scope.extend(after);
    }
    Ok(parsed)
}

/// An empty variable counts as unset: that is how shells and service managers clear one.
fn without_empty_variable(argument: Arg) -> Arg {
    let is_empty = argument
        .get_env()
        .and_then(std::env::var_os)
        .is_some_and(|value| value.is_empty());
    if is_empty { argument.env(None) } else { argument }
}

fn add_scope_to_subcommands(command: &mut clap::Command) {
    for subcommand in command.get_subcommands_mut() {
        let scope = Arg::new(SCOPE_AFTER)
            .long("scope")
            .value_name("SCOPE")
            .action(ArgAction::Append)
            .help("What the token is for; repeat it, or separate several by spaces [env: TOKENKEEP_SCOPE]")
            .help_heading(HEADING);
        *subcommand = std::mem::take(subcommand).arg(scope);
        add_scope_to_subcommands(subcommand);
    }
}

fn scopes_after(matches: &ArgMatches) -> Vec<String> {
    let mut found = Vec::new();
    let mut level = matches;
    while let Some((_, below)) = level.subcommand() {
        found.extend(
            below
                .get_many::<String>(SCOPE_AFTER)
                .into_iter()
                .flatten()
                .cloned(),
        );
        level = below;
    }
    found
}

fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.1..=600.0).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("give seconds, 0.1 to 600".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &str) -> Arguments {
        parse(
            std::iter::once("tokenkeep")
                .chain(words.split(' '))
                .map(Into::into),
        )
        .unwrap()
    }

    #[test]
    fn the_definition_is_sound() {
        let mut command = Arguments::command();
        add_scope_to_subcommands(&mut command);
        command.debug_assert();
    }

    #[test]
    fn options_stand_before_and_after_the_command() {
        for words in [
            "--client-id c --json token",
            "token --client-id c --json",
            "--json token --client-id c",
        ] {
            let options = parsed(words).options;
            assert_eq!(options.client_id.as_deref(), Some("c"), "{words}");
            assert!(options.json, "{words}");
        }
        let options = parsed("--client-id a login --client-id b device-code").options;
        assert_eq!(options.client_id.as_deref(), Some("b"), "the nearer one wins");
    }

    #[test]
    fn scopes_before_and_after_the_command_add_up() {
        let options = parsed("--scope a login --scope b device-code --scope c --scope d").options;
        assert_eq!(options.scope, ["a", "b", "c", "d"]);
    }

    #[test]
    fn a_time_limit_has_bounds() {
        assert_eq!(
            parsed("accounts --request-timeout 2.5").options.request_timeout,
            Duration::from_millis(2500)
        );
        for bad in ["0", "601", "-1", "inf", "NaN", "x"] {
            let words = ["tokenkeep", "accounts", "--request-timeout", bad];
            assert!(parse(words.map(Into::into)).is_err(), "{bad}");
        }
    }
}
