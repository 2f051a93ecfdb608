//! The items of a keychain, on its thread.

use bytes::Bytes;
use cache_core::secret::SecretBytes;
use keyring_core::Entry;

use super::failure::Failure;
use super::manifest::{ChunkName, Content};
use crate::error::{KeychainError, KeychainErrorKind};
use crate::platform::Connection;

/// The items of one application.
pub(super) struct Items<'a> {
    pub(super) connection: &'a Connection,
    pub(super) service: &'a str,
}

impl Items<'_> {
    pub(super) fn read(&self, name: &str) -> Result<Option<SecretBytes>, KeychainError> {
        match self.item(name)?.get_secret() {
            Ok(content) => Ok(Some(SecretBytes::new(content))),
            Err(error) => match KeychainError::of_keyring(error) {
                missing if missing.kind() == KeychainErrorKind::Missing => Ok(None),
                error => Err(error),
            },
        }
    }

    pub(super) fn write(&self, name: &str, content: &[u8]) -> Result<(), KeychainError> {
        self.item(name)?
            .set_secret(content)
            .map_err(KeychainError::of_keyring)
    }

    /// Removes the item if it is there.
    pub(super) fn remove(&self, name: &str) -> Result<(), KeychainError> {
        let removed = self.item(name)?.delete_credential();
        match removed.map_err(KeychainError::of_keyring) {
            Err(error) if error.kind() != KeychainErrorKind::Missing => Err(error),
            _ => Ok(()),
        }
    }

    /// The bytes that are somewhere.
    pub(super) fn fetch(&self, content: &Content) -> Result<Bytes, Failure> {
        let (length, names) = match content {
            Content::Inline(bytes) => return Ok(bytes.clone()),
            Content::Chunks { length, names } => (*length, names),
        };
        let mut bytes = Vec::new();
        for name in names {
            let chunk = self.read(&name.to_string())?.ok_or(Failure::ChunkMissing)?;
            bytes.extend_from_slice(chunk.expose());
        }
        if bytes.len() != length {
            return Err(Failure::ChunkMissing);
        }
        Ok(bytes.into())
    }

    /// Puts the bytes into items of the names, as many as there are, each of at most `item_bytes`.
    pub(super) fn store(
        &self,
        bytes: &[u8],
        names: &[ChunkName],
        item_bytes: usize,
    ) -> Result<(), KeychainError> {
        for (name, chunk) in names.iter().zip(bytes.chunks(item_bytes)) {
            self.write(&name.to_string(), chunk)?;
        }
        Ok(())
    }

    fn item(&self, name: &str) -> Result<Entry, KeychainError> {
        self.connection.item(self.service, name)
    }
}
