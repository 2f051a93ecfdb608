//! From words to arguments.

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, CommandFactory, FromArgMatches};

use super::{Arguments, Command, HEADING};
use crate::failure::one_line;
use crate::redis_options;
use crate::store_address::StoreAddress;

/// The id of the `--scope` that stands after a command; see [`parse`].
const SCOPE_AFTER: &str = "scope_after";

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
    // What the environment names is the user's own cache, which no measurement may touch.
    #[cfg(feature = "bench")]
    if matches!(parsed.command, Command::Bench(_))
        && matches.value_source("store") != Some(ValueSource::CommandLine)
    {
        parsed.options.store = None;
    }
    let is_remote = match &parsed.options.store {
        Some(StoreAddress::Redis(address)) => {
            // Every process of the machine can read the command line; the environment only this user's.
            if address.has_password() && matches.value_source("store") == Some(ValueSource::CommandLine) {
                let message = "--store: a password in a command line can be read by everybody on this machine; leave it out of the URL \
                               and give it in TOKENKEEP_REDIS_PASSWORD or --redis-password-file, or give the whole URL in TOKENKEEP_STORE. \
                               Change it if others could have seen it";
                return Err(command.error(ErrorKind::ArgumentConflict, message));
            }
            true
        }
        _ => false,
    };
    let is_remote = match &parsed.command {
        Command::Migrate(arguments) => {
            if arguments.stores().any(has_password) {
                let message = "--from, --to: a password in a command line can be read by everybody on this machine; leave it out of the URL \
                               and give it in TOKENKEEP_REDIS_PASSWORD or --redis-password-file. Change it if others could have seen it";
                return Err(command.error(ErrorKind::ArgumentConflict, message));
            }
            is_remote
                || arguments
                    .stores()
                    .any(|store| matches!(store, StoreAddress::Redis(_)))
        }
        _ => is_remote,
    };
    if let Some(option) = redis_options::first_given(|id| matches.value_source(id))
        && !is_remote
    {
        let message = format!("{option} is of use only with a store in Redis, as in --store redis://HOST");
        return Err(command.error(ErrorKind::ArgumentConflict, message));
    }
    // Not ignored: who names a key believes that what is stored is encrypted.
    if matches.value_source("key").is_some()
        && let Some(store) = parsed.options.store.as_ref().filter(|store| store.is_of_msal())
    {
        let message = format!(
            "--key is of no use with --store {}: MSAL programs read and write that place, and could not read what is encrypted. Leave \
             --key (and TOKENKEEP_KEY) out, or choose a store of this program's own",
            one_line(&store.to_string())
        );
        return Err(command.error(ErrorKind::ArgumentConflict, message));
    }
    let after = scopes_after(&matches);
    if !after.is_empty() {
        if matches.value_source("scope") != Some(ValueSource::CommandLine) {
            parsed.options.scope.clear();
        }
        parsed.options.scope.extend(after);
    }
    Ok(parsed)
}

fn has_password(store: &StoreAddress) -> bool {
    matches!(store, StoreAddress::Redis(address) if address.has_password())
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

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
