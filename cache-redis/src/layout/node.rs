//! MSAL Node's `DistributedCachePlugin`.

use std::sync::LazyLock;
use std::time::Duration;

use cache_core::time::UnixMillis;

use crate::script::ScriptText;

pub(super) static GET: LazyLock<ScriptText> =
    LazyLock::new(|| ScriptText::new(include_str!("../lua/layout/node_get.lua")));
pub(super) static PUT: LazyLock<ScriptText> =
    LazyLock::new(|| ScriptText::new(include_str!("../lua/layout/node_put.lua")));

/// How a program with MSAL Node's `DistributedCachePlugin` keeps its cache: one string for each partition key.
///
/// The plugin hands a key and a text to the program's own `ICacheClient` (msal-node 7.2, `DistributedCachePlugin`): it reads before each
/// access under `IPartitionManager.getKey()`, and writes what changed under `extractKey(account)`, or `getKey()` where there is no
/// account. What that client does with them is the program's decision: this is what the usual one does, `GET key` and
/// `SET key text` with an expiry of a day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeLayout {
    key_prefix: String,
    lifetime: Option<Duration>,
}

impl NodeLayout {
    /// Sets what the program's client puts before each key; nothing by default.
    #[must_use]
    pub fn key_prefix(mut self, prefix: &str) -> Self {
        prefix.clone_into(&mut self.key_prefix);
        self
    }

    /// Sets how long a record lives after each write that brings no expiry of its own; 24 hours by default, `None` for ever.
    #[must_use]
    pub fn lifetime(mut self, lifetime: Option<Duration>) -> Self {
        self.lifetime = lifetime;
        self
    }

    pub(super) fn prefix(&self) -> &str {
        &self.key_prefix
    }

    /// When the server is to forget what is written at `now`.
    pub(super) fn expiry(&self, expires_at: Option<UnixMillis>, now: UnixMillis) -> Vec<String> {
        let usual = || self.lifetime.map(|lifetime| now.saturating_add(lifetime));
        let moment = expires_at.or_else(usual);
        // A moment long past must not be one before the epoch, which the server refuses.
        let moment = moment.map(|moment| moment.0.max(1).to_string());
        vec![moment.unwrap_or_default()]
    }
}

impl Default for NodeLayout {
    fn default() -> Self {
        Self {
            key_prefix: String::new(),
            lifetime: Some(Duration::from_secs(86_400)),
        }
    }
}
