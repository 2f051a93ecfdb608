//! The item, on the thread that talks to the Secret Service.

use std::collections::{BTreeMap, HashMap};

use cache_core::secret::SecretBytes;
use secret_service::EncryptionType;
use secret_service::blocking::{Item, SecretService};

use super::encoding::{Content, ItemEncoding};
use super::error::{LOCKED, of_secret_service};
use crate::error::{KeychainError, KeychainErrorKind};

/// libsecret gives programs no text of any other type.
const CONTENT_TYPE: &str = "text/plain";

/// A connection to the session's Secret Service, which encrypts what it sends.
pub(super) type Connection = SecretService<'static>;

pub(super) fn connect() -> Result<Connection, KeychainError> {
    SecretService::connect(EncryptionType::Dh).map_err(of_secret_service)
}

/// How the item is found, and made.
pub(super) struct Query {
    pub(super) attributes: BTreeMap<String, String>,
    pub(super) label: String,
    pub(super) encoding: ItemEncoding,
}

/// The item, and what it holds.
pub(super) struct Found<'a> {
    item: Option<Item<'a>>,
    pub(super) content: Content,
}

impl Query {
    /// Looks for the one item that has the attributes, and reads it. Nothing is asked of the user: a locked one is an error.
    pub(super) fn find<'a>(&self, service: &'a SecretService<'a>) -> Result<Found<'a>, KeychainError> {
        let mut found = service
            .search_items(self.attributes())
            .map_err(of_secret_service)?;
        let item = match (found.unlocked.len(), found.locked.len()) {
            (0, 0) => None,
            (1, 0) => found.unlocked.pop(),
            (0, 1) => return Err(KeychainError::new(KeychainErrorKind::Locked, LOCKED)),
            (unlocked, locked) => {
                return Err(KeychainError::new(
                    KeychainErrorKind::Ambiguous,
                    format!(
                        "{} items have these attributes; name more of them, or remove the items that nobody uses",
                        unlocked + locked
                    ),
                ));
            }
        };
        let content = match &item {
            None => Content::Absent { encoding: None },
            Some(item) => Content::of(&SecretBytes::new(item.get_secret().map_err(of_secret_service)?)),
        };
        Ok(Found { item, content })
    }

    /// Replaces what the item holds, or makes it in the default keyring.
    pub(super) fn write<'a>(
        &self,
        service: &'a SecretService<'a>,
        found: &Found<'a>,
        json: &[u8],
    ) -> Result<(), KeychainError> {
        let secret = found.content.encoding().unwrap_or(self.encoding).encode(json);
        if let Some(item) = &found.item {
            return item
                .set_secret(secret.expose(), CONTENT_TYPE)
                .map_err(of_secret_service);
        }
        let keyring = service.get_default_collection().map_err(of_secret_service)?;
        keyring.ensure_unlocked().map_err(of_secret_service)?;
        keyring
            .create_item(
                &self.label,
                self.attributes(),
                secret.expose(),
                true,
                CONTENT_TYPE,
            )
            .map(drop)
            .map_err(of_secret_service)
    }

    fn attributes(&self) -> HashMap<&str, &str> {
        self.attributes
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect()
    }
}
