//! Stores in the operating system's keychain, and in the places of MSAL programs.

use std::path::Path;
use std::sync::Arc;

#[cfg(unix)]
use cache_core::store::Store;
use cache_keychain::{KeychainStore, KeychainStoreConfig};

#[cfg(unix)]
use cache_keychain::msal_file::{MsalFileConfig, MsalFileStore};

use super::{Handle, OpenedStore, missing_store};
use crate::failure::Failure;
use crate::folders;
use crate::item_address::ItemAddress;
use crate::key_source::keychain;
use crate::keychain_name::KeychainName;
use crate::session::Missing;
use crate::store_address::StoreAddress;

impl OpenedStore {
    /// Records in the keychain. Keychains have no conditional write, so processes keep out of each other's by a file in the data folder.
    pub(super) async fn open_keychain(
        name: Option<&KeychainName>,
        missing: Missing,
    ) -> Result<Self, Failure> {
        let folder = folders::data()?;
        folders::create(&folder)?;
        let config = KeychainStoreConfig::new().lock_file(folder.join("keychain.lock"));
        let store = KeychainStore::open(keychain(name), config).await?;
        let opened = Self {
            store: Arc::new(store),
            handle: Handle::Keychain,
        };
        if missing == Missing::Refuse && !opened.holds_anything().await? {
            let address = StoreAddress::Keychain(name.cloned());
            return Err(missing_store(&format!("--store {address}")));
        }
        Ok(opened)
    }

    /// A missing file is made by the first write.
    #[cfg(unix)]
    pub(super) async fn open_msal_file(path: &Path, missing: Missing) -> Result<Self, Failure> {
        if missing == Missing::Refuse && !path.exists() {
            return Err(missing_store(&path.display().to_string()));
        }
        let config = MsalFileConfig::new(path).create(missing == Missing::Create);
        let file = Arc::new(MsalFileStore::open(config).await?);
        Ok(Self {
            store: Arc::clone(&file) as Arc<dyn Store>,
            handle: Handle::MsalFile(file),
        })
    }

    #[cfg(not(unix))]
    pub(super) async fn open_msal_file(_path: &Path, _missing: Missing) -> Result<Self, Failure> {
        Err(Failure::usage(
            "files of MSAL programs are encrypted on this system, and cannot be shared",
        ))
    }

    /// An item that is not there is made by the first write.
    #[cfg(all(unix, not(target_vendor = "apple")))]
    pub(super) async fn open_msal_item(address: &ItemAddress) -> Result<Self, Failure> {
        use crate::item_address::Item;
        use cache_keychain::{MsalSecretServiceConfig, MsalSecretServiceStore};

        let config = match (&address.item, &address.path) {
            (Item::Node { service, account }, _) => MsalSecretServiceConfig::node(service, account),
            (Item::Python { schema, attributes }, _) => {
                let attributes = attributes.iter().map(|(name, value)| (name, value));
                MsalSecretServiceConfig::python(schema, attributes)
            }
            (Item::OfPath, path) => {
                let path = path.as_ref().map(|path| path.display().to_string());
                MsalSecretServiceConfig::python_at(path.unwrap_or_default())
            }
        };
        let config = match &address.path {
            Some(path) => config.cache_path(path),
            None => config,
        };
        let item = MsalSecretServiceStore::open(config).await?;
        let handle = Handle::MsalItem(item.record());
        Ok(Self {
            store: Arc::new(item),
            handle,
        })
    }

    #[cfg(not(all(unix, not(target_vendor = "apple"))))]
    pub(super) async fn open_msal_item(_address: &ItemAddress) -> Result<Self, Failure> {
        Err(Failure::usage("there is no Secret Service on this system"))
    }
}
