//! The commands, a file each.

mod accounts;
#[cfg(feature = "bench")]
mod bench;
mod doctor;
mod export;
mod import;
mod inspect;
mod keys;
mod keys_keychain;
mod login;
mod login_password;
mod logout;
mod managed_identity;
mod migrate;
mod on_behalf_of;
mod quarantine;
mod token;
mod watch;
mod whoami;

use crate::answer::Answer;
use crate::arguments::{Command, Keys, Login};
use crate::failure::Failure;
use crate::session::Session;

/// Runs `command`.
pub(crate) async fn run(session: &Session, command: Command) -> Result<Answer, Failure> {
    if let Some(what) = lacking_at_msal(&command) {
        session.require_own_store(what)?;
    }
    let done = execute(session, command).await;
    done.map_err(|failure| session.advised(failure))
}

/// What places of MSAL programs do not have, if the command is about that.
fn lacking_at_msal(command: &Command) -> Option<&'static str> {
    const NO_SESSIONS: &str = "no room for tokens on behalf of users";
    const NO_IDENTITIES: &str = "no room for tokens of managed identities";
    match command {
        Command::Keys(_) => Some("no keys: nothing in it is encrypted by this program"),
        Command::Quarantine { .. } => {
            Some("no records that a key would open; what cannot be read there is left to its programs")
        }
        Command::Login(Login::OnBehalfOf(_)) => Some(NO_SESSIONS),
        Command::Token(arguments) if arguments.on_behalf_of.is_given() => Some(NO_SESSIONS),
        Command::Login(Login::ManagedIdentity(_)) => Some(NO_IDENTITIES),
        Command::Token(arguments) if arguments.managed_identity || arguments.identity.is_given() => {
            Some(NO_IDENTITIES)
        }
        _ => None,
    }
}

async fn execute(session: &Session, command: Command) -> Result<Answer, Failure> {
    match command {
        #[cfg(feature = "bench")]
        Command::Bench(arguments) => Box::pin(bench::run(session, arguments)).await,
        #[cfg(feature = "bench")]
        Command::BenchWorker => Box::pin(bench::work()).await,
        #[cfg(feature = "demo")]
        Command::Demo => crate::demo::run(session).await,
        Command::Login(Login::DeviceCode) => login::device_code(session).await,
        Command::Login(Login::Browser(arguments)) => login::browser(session, arguments).await,
        Command::Login(Login::Password {
            username,
            password_env,
        }) => login_password::run(session, username, &password_env).await,
        Command::Login(Login::ClientCredentials) => login::client_credentials(session).await,
        Command::Login(Login::OnBehalfOf(arguments)) => on_behalf_of::login(session, &arguments).await,
        Command::Login(Login::ManagedIdentity(identity)) => {
            login::managed_identity(session, identity.into()).await
        }
        Command::Token(arguments) => token::run(session, arguments).await,
        Command::Accounts => accounts::run(session).await,
        Command::Whoami => whoami::run(session).await,
        Command::Logout(arguments) => logout::run(session, arguments).await,
        Command::Import { file } => import::run(session, &file).await,
        Command::Export { file, force } => export::run(session, &file, force).await,
        Command::Inspect { show_names } => inspect::run(session, show_names).await,
        Command::Keys(Keys::List) => keys::list(session).await,
        Command::Keys(Keys::Rotate) => keys::rotate(session).await,
        Command::Keys(Keys::Reseal) => keys::reseal(session).await,
        Command::Keys(Keys::Rewrap { new_key }) => keys::rewrap(session, new_key).await,
        Command::Keys(Keys::Keychain { name, remove: None }) => keys_keychain::list(session, name).await,
        Command::Keys(Keys::Keychain {
            name,
            remove: Some(item),
        }) => keys_keychain::remove(session, name, &item).await,
        Command::Keys(Keys::Retire { id }) => keys::retire(session, &id).await,
        Command::Doctor { online } => doctor::run(session, online).await,
        Command::Migrate(arguments) => Box::pin(migrate::run(session, arguments)).await,
        Command::Watch(arguments) => watch::run(session, arguments).await,
        Command::Quarantine {
            record: Some(record),
            restore: true,
            ..
        } => quarantine::restore(session, &record).await,
        Command::Quarantine {
            record: Some(record),
            force,
            ..
        } => quarantine::one(session, &record, force).await,
        Command::Quarantine { record: None, .. } => quarantine::all(session).await,
    }
}
