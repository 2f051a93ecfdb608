//! What a cache has no place for.

use super::{CacheError, Inner};
use crate::schema::PartitionKey;

impl Inner {
    /// Refuses a partition that has no place, before anything is asked for or written on its behalf.
    pub(crate) fn has_place(&self, key: &PartitionKey) -> Result<(), CacheError> {
        let what = match key {
            _ if !self.only_documents => return Ok(()),
            PartitionKey::Session { .. } => {
                "place for sessions beside the one record that it shares with MSAL programs"
            }
            PartitionKey::App {
                components, resource, ..
            } if !components.is_empty() || resource.is_some() => {
                "place for tokens with components beside the one record that it shares with MSAL programs"
            }
            _ => return Ok(()),
        };
        Err(CacheError::Unsupported(what))
    }
}
