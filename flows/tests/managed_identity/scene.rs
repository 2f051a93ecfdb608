//! A platform, a clock and a store.

use std::sync::Arc;

use cache_core::cache::TokenCache;
use cache_core::random::OsRandom;
use cache_core::seal::{FixedKeySource, Namespace, SecretKey};
use cache_core::store::{MemoryStore, Store};
use cache_testkit::clock::ManualClock;
use cache_testkit::managed_identity::{ManagedIdentityEndpoint, Platform};
use flows::Error;
use flows::client::{ManagedIdentityClient, ManagedIdentityClientBuilder};
use flows::managed_identity::{ManagedIdentityEnvironment, ManagedIdentityId};

pub(crate) const VAULT: &str = "https://vault.azure.net";
pub(crate) const SYSTEM: ManagedIdentityId = ManagedIdentityId::SystemAssigned;

pub(crate) struct Scene {
    pub(crate) endpoint: ManagedIdentityEndpoint,
    pub(crate) clock: ManualClock,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) keys: tempfile::TempDir,
}

impl Scene {
    pub(crate) async fn new(platform: Platform) -> Self {
        Self::with_keys(|_| platform).await
    }

    pub(crate) async fn arc() -> Self {
        Self::with_keys(|key_folder| Platform::AzureArc { key_folder }).await
    }

    async fn with_keys(platform: impl FnOnce(std::path::PathBuf) -> Platform) -> Self {
        let clock = ManualClock::new();
        let store = MemoryStore::with(Arc::new(clock.clone()), Arc::new(OsRandom));
        let keys = tempfile::tempdir().unwrap();
        let platform = platform(keys.path().to_owned());
        Self {
            endpoint: ManagedIdentityEndpoint::start(platform, Arc::new(clock.clone()))
                .await
                .unwrap(),
            clock,
            store: Arc::new(store),
            keys,
        }
    }

    pub(crate) fn environment(&self) -> ManagedIdentityEnvironment {
        ManagedIdentityEnvironment::of(|name| self.endpoint.variable(name)).arc_key_folder(self.keys.path())
    }

    /// The environment with the variable `name` changed.
    pub(crate) fn environment_with(&self, name: &str, value: &str) -> ManagedIdentityEnvironment {
        let variable = |asked: &str| match asked == name {
            true => Some(value.to_owned()),
            false => self.endpoint.variable(asked),
        };
        ManagedIdentityEnvironment::of(variable).arc_key_folder(self.keys.path())
    }

    pub(crate) async fn cache(&self) -> TokenCache {
        TokenCache::builder(Arc::clone(&self.store))
            .clock(Arc::new(self.clock.clone()))
            .open_sealed(
                Namespace::default(),
                Arc::new(FixedKeySource::new(SecretKey::from_bytes(&[7; 32]))),
            )
            .await
            .unwrap()
    }

    pub(crate) async fn builder(&self, identity: ManagedIdentityId) -> ManagedIdentityClientBuilder {
        ManagedIdentityClient::builder(identity, self.cache().await).environment(self.environment())
    }

    pub(crate) async fn client(&self, identity: ManagedIdentityId) -> ManagedIdentityClient {
        self.builder(identity).await.build().unwrap()
    }

    pub(crate) async fn refusal(&self, identity: ManagedIdentityId) -> String {
        match self.builder(identity).await.build() {
            Err(Error::Configuration(error)) => error.to_string(),
            other => panic!("{other:?}"),
        }
    }
}

/// The error and all of its causes, as a log would show them.
pub(crate) fn shown(error: &Error) -> String {
    let mut text = format!("{error} {error:?}");
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(&format!(" {error} {error:?}"));
        cause = error.source();
    }
    text
}
