//! A keychain in memory that does what it is told, through the interface of the `keyring` family.

use std::any::Any;
use std::collections::BTreeMap;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use cache_keychain::{Keychain, KeychainConfig, KeychainErrorKind};
use keyring_core::api::{Credential, CredentialApi, CredentialStoreApi};
use keyring_core::{Entry, Error, Result};

type Items = Arc<Mutex<BTreeMap<String, Vec<u8>>>>;
type Refusal = Arc<dyn Fn() -> Option<Error> + Send + Sync>;

/// What the keychain holds, and what it says instead.
#[derive(Clone)]
pub(crate) struct Given {
    pub(crate) items: Items,
    refusal: Refusal,
}

impl Given {
    pub(crate) fn new(refusal: impl Fn() -> Option<Error> + Send + Sync + 'static) -> Self {
        Self {
            items: Items::default(),
            refusal: Arc::new(refusal),
        }
    }

    pub(crate) fn keychain(&self, config: KeychainConfig) -> Keychain {
        let given = self.clone();
        Keychain::with_store(config, move || Ok(Arc::new(given.clone())))
    }

    fn refuse(&self) -> Result<()> {
        (self.refusal)().map_or(Ok(()), Err)
    }
}

struct Item {
    given: Given,
    name: String,
}

impl CredentialStoreApi for Given {
    fn vendor(&self) -> String {
        "given".to_owned()
    }

    fn id(&self) -> String {
        "given".to_owned()
    }

    fn build(&self, _: &str, name: &str, _: Option<&HashMap<&str, &str>>) -> Result<Entry> {
        Ok(Entry::new_with_credential(Arc::new(Item {
            given: self.clone(),
            name: name.to_owned(),
        })))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn debug_fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("given")
    }
}

impl CredentialApi for Item {
    fn set_secret(&self, secret: &[u8]) -> Result<()> {
        self.given.refuse()?;
        let mut items = self.given.items.lock().unwrap();
        items.insert(self.name.clone(), secret.to_vec());
        Ok(())
    }

    fn get_secret(&self) -> Result<Vec<u8>> {
        self.given.refuse()?;
        let items = self.given.items.lock().unwrap();
        items.get(&self.name).cloned().ok_or(Error::NoEntry)
    }

    fn delete_credential(&self) -> Result<()> {
        self.given.refuse()?;
        let mut items = self.given.items.lock().unwrap();
        items.remove(&self.name).map(drop).ok_or(Error::NoEntry)
    }

    fn get_credential(&self) -> Result<Option<Arc<Credential>>> {
        Ok(None)
    }

    fn get_specifiers(&self) -> Option<(String, String)> {
        None
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn debug_fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)
    }
}

/// Each error of the family has its kind, and none of them shows what the item holds.
#[tokio::test]
async fn errors_have_kinds_and_show_no_secret() {
    use KeychainErrorKind as Kind;
    let secret = || b"canary".to_vec();
    let refusals: [(fn() -> Error, Kind); 10] = [
        (|| Error::NoStorageAccess("locked".into()), Kind::Locked),
        (|| Error::PlatformFailure("failed".into()), Kind::Other),
        (|| Error::Ambiguous(Vec::new()), Kind::Ambiguous),
        (|| Error::TooLong("secret".to_owned(), 2560), Kind::TooLarge),
        (
            || Error::Invalid("secret".to_owned(), "empty".to_owned()),
            Kind::Unsupported,
        ),
        (
            || Error::NotSupportedByStore("not here".to_owned()),
            Kind::Unsupported,
        ),
        (|| Error::BadStoreFormat("bad".to_owned()), Kind::Malformed),
        (|| Error::BadEncoding(b"canary".to_vec()), Kind::Malformed),
        (
            || Error::BadDataFormat(b"canary".to_vec(), "canary".into()),
            Kind::Malformed,
        ),
        (|| Error::NoDefaultStore, Kind::Other),
    ];
    assert_eq!(secret(), b"canary");
    for (refusal, kind) in refusals {
        let keychain = Given::new(move || Some(refusal())).keychain(KeychainConfig::default());
        let error = keychain.try_out().await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(!format!("{error} {error:?}").contains("canary"), "{error:?}");
    }
    let keychain = Given::new(|| None).keychain(KeychainConfig::default());
    keychain.try_out().await.unwrap();
}
