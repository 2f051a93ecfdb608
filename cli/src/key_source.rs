//! From `--key` to the source of the key-encryption key.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cache_core::random::Random;
use cache_core::seal::{
    EnvironmentKeySource, FileKeySource, KeySource, KeySourceError, PassphraseKeySource, SecretKey,
    SourceDescription,
};
use cache_keychain::{KeyPolicy, Keychain, KeychainConfig, KeychainErrorKind, Prompt};

use crate::exit::Exit;
use crate::failure::Failure;
use crate::folders;
use crate::key_address::KeyAddress;
use crate::keychain_name::KeychainName;
use crate::passphrase::{self, Asking};
use crate::variable_name::VariableName;

/// How long a person may think about unlocking the keychain.
const UNLOCKED_WITHIN: Duration = Duration::from_secs(60);

/// The operating system's keychain, with items under the name.
pub(crate) fn keychain(name: Option<&KeychainName>) -> Keychain {
    let config = KeychainConfig::new(name.map_or(KeychainConfig::DEFAULT_SERVICE, KeychainName::as_str));
    Keychain::native(config.prompt(if may_ask() {
        Prompt::WaitFor(UNLOCKED_WITHIN)
    } else {
        Prompt::Refuse
    }))
}

/// Whether somebody sees a question of the keychain: who runs this in a terminal on a desktop does; a script, or a service, would
/// wait for nobody.
fn may_ask() -> bool {
    let is_set = |name: &&str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    ["DISPLAY", "WAYLAND_DISPLAY"].iter().any(is_set) && std::io::stderr().is_terminal()
}

/// The source that `address` names.
pub(crate) async fn source_of(address: KeyAddress, asking: Asking) -> Result<Arc<dyn KeySource>, Failure> {
    Ok(match address {
        KeyAddress::File(path) => file(path, asking)?,
        KeyAddress::Environment(name) => environment(&name)?,
        KeyAddress::Passphrase => Arc::new(ask(asking).await?),
        KeyAddress::Keychain { name, otherwise } => {
            let keychain = keychain(name.as_ref());
            if asking.is_new {
                require_usable(&keychain, otherwise.is_some()).await?;
            }
            let policy = match otherwise {
                None => KeyPolicy::RequireKeychain,
                Some(address) => KeyPolicy::PreferKeychain {
                    otherwise: otherwise_of(*address, asking)?,
                },
            };
            policy.source(keychain)
        }
    })
}

/// Looks at the keychain before a store is made, so that none is left where its key cannot be kept. One that is locked may be unlocked
/// when the key is made. Where another key is taken if there is no keychain, that there is none is no obstacle.
async fn require_usable(keychain: &Keychain, falls_back: bool) -> Result<(), Failure> {
    match keychain.examine().await.problem {
        Some(problem) if falls_back && problem.kind().means_no_keychain() => Ok(()),
        Some(problem) if problem.kind() == KeychainErrorKind::Locked && may_ask() => Ok(()),
        Some(problem) => Err(problem.into()),
        None => Ok(()),
    }
}

/// The source that is taken where there is no keychain. No key is asked for or made before that.
fn otherwise_of(address: KeyAddress, asking: Asking) -> Result<Arc<dyn KeySource>, Failure> {
    Ok(match address {
        KeyAddress::File(path) => file(path, asking)?,
        KeyAddress::Environment(name) => environment(&name)?,
        KeyAddress::Passphrase => Arc::new(PassphraseIfNeeded(asking)),
        KeyAddress::Keychain { .. } => {
            return Err(Failure::usage(
                "what is taken where there is no keychain cannot be a keychain",
            ));
        }
    })
}

fn file(path: PathBuf, asking: Asking) -> Result<Arc<dyn KeySource>, Failure> {
    // Only for a key that is to be made: where a key is missing, so may be the volume that it is on.
    if asking.is_new
        && let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty())
    {
        folders::create(folder)?;
    }
    Ok(Arc::new(FileKeySource::new(path)))
}

fn environment(name: &VariableName) -> Result<Arc<dyn KeySource>, Failure> {
    let source = EnvironmentKeySource::new(name.as_str());
    Ok(Arc::new(
        source.map_err(|error| Failure::usage(error.to_string()))?,
    ))
}

async fn ask(asking: Asking) -> Result<PassphraseKeySource, Failure> {
    // A person may think for a while.
    let asked = tokio::task::spawn_blocking(move || passphrase::ask(asking)).await;
    let passphrase = asked.map_err(|error| Failure::new("internal", Exit::Other, error))??;
    PassphraseKeySource::new(passphrase).map_err(|error| Failure::usage(error.to_string()))
}

/// A pass phrase that is asked for when it is needed: perhaps the keychain has the key.
#[derive(Debug)]
struct PassphraseIfNeeded(Asking);

impl PassphraseIfNeeded {
    async fn ask(&self, is_new: bool) -> Result<PassphraseKeySource, KeySourceError> {
        let asking = Asking { is_new, ..self.0 };
        ask(asking).await.map_err(|failure| KeySourceError::Other {
            what: failure.message(),
            source: None,
        })
    }
}

#[async_trait]
impl KeySource for PassphraseIfNeeded {
    fn kind(&self) -> &str {
        PassphraseKeySource::KIND
    }

    async fn create(&self, random: &dyn Random) -> Result<(SecretKey, SourceDescription), KeySourceError> {
        self.ask(true).await?.create(random).await
    }

    async fn load(&self, description: &SourceDescription) -> Result<SecretKey, KeySourceError> {
        self.ask(false).await?.load(description).await
    }

    async fn discard(&self, _description: &SourceDescription) -> Result<(), KeySourceError> {
        Ok(())
    }
}
