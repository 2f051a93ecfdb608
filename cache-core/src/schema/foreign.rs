//! What another program wrote on a row and must find again.

use super::AccessToken;
use crate::secret::SecretJson;

/// The parts of a row that came from another program's cache.
///
/// `fields` holds fields of unknown meaning and, for a row that is still as it was imported, known fields in
/// the exact form in which they were written (a number where we would write a string, a `null`). Once a row
/// is replaced, only the unknown fields go on: see [`carried_over`](Self::carried_over).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Foreign {
    /// The name of the row in its section, where it is not the one that we would choose.
    pub item_key: Option<String>,
    /// Fields that overlay what we would write. They may hold secrets.
    pub fields: SecretJson,
    /// Known fields that the other program left out and that we must leave out too.
    pub absent: Vec<String>,
}

impl Foreign {
    /// Whether there is nothing to keep.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.item_key.is_none() && self.fields.is_empty() && self.absent.is_empty()
    }

    /// On an access token: the scopes that were asked for, if not all of them were granted.
    pub(super) fn requested_scopes(&self) -> Option<&str> {
        self.fields.expose().get(AccessToken::REQUESTED_SCOPES)?.as_str()
    }

    /// What a row that replaces this one keeps of it: its name and the fields that `known` does not list.
    #[must_use]
    pub fn carried_over(&self, known: &[&str]) -> Option<Box<Self>> {
        let mut fields = self.fields.clone();
        fields
            .expose_mut()
            .retain(|name, _| !known.contains(&name.as_str()));
        let kept = Self {
            item_key: self.item_key.clone(),
            fields,
            absent: Vec::new(),
        };
        (!kept.is_empty()).then(|| Box::new(kept))
    }
}
