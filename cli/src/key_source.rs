//! From `--key` to the source of the key-encryption key.

use std::sync::Arc;

use async_trait::async_trait;
use cache_core::random::Random;
use cache_core::seal::{
    EnvironmentKeySource, FileKeySource, KeySource, KeySourceError, PassphraseKeySource, SecretKey,
    SourceDescription,
};

use crate::exit::Exit;
use crate::failure::Failure;
use crate::folders;
use crate::key_address::KeyAddress;
use crate::passphrase::{self, Asking};

/// The source that `address` names.
pub(crate) async fn source_of(address: KeyAddress, asking: Asking) -> Result<Arc<dyn KeySource>, Failure> {
    Ok(match address {
        KeyAddress::File(path) => {
            // Only for a key that is to be made: where a key is missing, so may be the volume that it is on.
            if asking.is_new
                && let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty())
            {
                folders::create(folder)?;
            }
            Arc::new(FileKeySource::new(path))
        }
        KeyAddress::Environment(name) => Arc::new(
            EnvironmentKeySource::new(name.as_str()).map_err(|error| Failure::usage(error.to_string()))?,
        ),
        KeyAddress::Passphrase => Arc::new(ask(asking).await?),
        KeyAddress::Keychain { .. } => return Err(Failure::usage("not yet")),
    })
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
