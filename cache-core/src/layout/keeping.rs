//! What a document keeps of a partition: `impl SharedStore` for whoever brings one from elsewhere.

use super::SharedStore;
use crate::codec::CodecError;
use crate::codec::msal::{Document, RowOrigin};
use crate::schema::{AuthorityIdentity, Partition, PartitionKey};

impl SharedStore {
    /// Whether the partition lies in a document, and not in a record of our own beside it.
    pub(crate) fn has_place_for(&self, key: &PartitionKey) -> bool {
        self.record(key).is_some()
    }

    /// What a document gives back of the partition that is put into it; `None` where that is nothing.
    pub(crate) fn as_kept(&self, partition: &Partition) -> Result<Option<Partition>, CodecError> {
        let asked = partition.key.authority();
        let identify = |named: &[AuthorityIdentity], origin: &RowOrigin<'_>| {
            self.layout.authorities.identify(asked, named, origin)
        };
        let mut document = Document::default();
        document.replace(partition.clone());
        let json = document.write(self.layout.style());
        let read = Document::read(json.expose(), &identify, self.clock.now().to_seconds())?;
        Ok(read.partition(&partition.key).cloned())
    }
}
