//! What is changed in the entries of a page: pure functions of what is there.

use std::time::Duration;

use super::entry::{DirectoryEntry, NeedsInteraction, Position};
use crate::cache::CacheError;
use crate::schema::{Account, PartitionKey, RequestHash};
use crate::store::Durability;
use crate::time::UnixSeconds;

/// A change to one account's entry, on its way to the page that has it.
pub(super) struct Note {
    pub(super) position: Position,
    pub(super) key: PartitionKey,
    pub(super) change: Change,
    pub(super) durability: Durability,
    /// Whose note it is, for who made several.
    pub(super) owner: usize,
    pub(super) outcome: Result<Effect, CacheError>,
}

/// A change that may be made several times over: a write whose acknowledgement was lost is made again.
#[derive(Clone)]
pub(super) enum Change {
    SignedIn {
        client_id: String,
        account: Box<Account>,
        at: UnixSeconds,
    },
    Used {
        client_id: String,
        at: UnixSeconds,
        /// Nothing is written while the entry is younger than this.
        touch_every: Duration,
        /// The request for which the authority has just granted a token.
        granted: Option<RequestHash>,
    },
    Needs {
        client_id: String,
        needs: NeedsInteraction,
    },
    Cleared {
        client_id: String,
    },
    /// What the partition says, which is right.
    Is(Option<Box<Listed>>),
}

/// What the directory should say of a partition.
#[derive(Clone)]
pub(super) struct Listed {
    pub(super) account: Account,
    /// Each with when its rows were last written.
    pub(super) clients: Vec<(String, UnixSeconds)>,
}

/// What became of a change.
#[derive(Clone, Copy, Default)]
pub(super) struct Effect {
    /// Whether the page must be written.
    pub(super) is_changed: bool,
    /// Whether there is no such entry, or not of this client.
    pub(super) is_missing: bool,
    /// When the client was last used, as it is written there now.
    pub(super) last_used: Option<UnixSeconds>,
}

impl Effect {
    const MISSING: Self = Self {
        is_changed: false,
        is_missing: true,
        last_used: None,
    };

    fn changed(is_changed: bool) -> Self {
        Self {
            is_changed,
            ..Self::default()
        }
    }
}

impl Note {
    /// Makes the change among the entries of the page that covers its position.
    pub(super) fn apply(&self, entries: &mut Vec<DirectoryEntry>) -> Effect {
        let found = entries.binary_search_by_key(&self.position, |entry| entry.position);
        match &self.change {
            Change::SignedIn {
                client_id,
                account,
                at,
            } => {
                let (index, is_new) = self.entry(entries, found, account);
                let entry = &mut entries[index];
                let mut is_changed = entry.rename(account) || is_new;
                match entry.client_mut(client_id) {
                    Some(client) => {
                        is_changed |= client.last_used != *at || client.needs_interaction.is_some();
                        client.last_used = *at;
                        client.needs_interaction = None;
                    }
                    None => {
                        entry.add(client_id.clone(), *at);
                        is_changed = true;
                    }
                }
                Effect::changed(is_changed)
            }
            Change::Is(None) => {
                if let Ok(index) = found {
                    entries.remove(index);
                }
                Effect::changed(found.is_ok())
            }
            Change::Is(Some(listed)) => {
                let (index, is_new) = self.entry(entries, found, &listed.account);
                let entry = &mut entries[index];
                let mut is_changed = entry.rename(&listed.account) || is_new;
                let before = entry.clients.len();
                let is_there = |client_id: &str| listed.clients.iter().any(|known| known.0 == client_id);
                entry.clients.retain(|client| is_there(&client.client_id));
                is_changed |= entry.clients.len() != before;
                for (client_id, last_used) in &listed.clients {
                    if entry.client(client_id).is_none() {
                        entry.add(client_id.clone(), *last_used);
                        is_changed = true;
                    }
                }
                Effect::changed(is_changed)
            }
            Change::Used { client_id, .. }
            | Change::Needs { client_id, .. }
            | Change::Cleared { client_id } => {
                let entry = found.ok().map(|index| &mut entries[index]);
                let Some(client) = entry.and_then(|entry| entry.client_mut(client_id)) else {
                    return Effect::MISSING;
                };
                let before = client.clone();
                match &self.change {
                    Change::Used {
                        at,
                        touch_every,
                        granted,
                        ..
                    } => {
                        // In both directions: a clock that was ahead must not keep an account from ever being idle.
                        if client.last_used.0.abs_diff(at.0) >= touch_every.as_secs() {
                            client.last_used = *at;
                        }
                        if let Some(granted) = granted {
                            let stays = |needs: &NeedsInteraction| {
                                needs.because.is_of_one_request() && needs.request != Some(*granted)
                            };
                            client.needs_interaction = client.needs_interaction.take().filter(stays);
                        }
                    }
                    Change::Needs { needs, .. } => match &client.needs_interaction {
                        // The moment stays, and what goes for all requests is not replaced by what goes for one.
                        Some(known) if known.because == needs.because && known.request == needs.request => {}
                        Some(known)
                            if needs.because.is_of_one_request() && !known.because.is_of_one_request() => {}
                        _ => client.needs_interaction = Some(needs.clone()),
                    },
                    _ => client.needs_interaction = None,
                }
                Effect {
                    is_changed: *client != before,
                    is_missing: false,
                    last_used: Some(client.last_used),
                }
            }
        }
    }

    /// Where the account's entry is, and whether it had to be added.
    fn entry(
        &self,
        entries: &mut Vec<DirectoryEntry>,
        found: Result<usize, usize>,
        account: &Account,
    ) -> (usize, bool) {
        match found {
            Ok(index) => (index, false),
            Err(index) => {
                entries.insert(
                    index,
                    DirectoryEntry::new(self.position, self.key.clone(), account),
                );
                (index, true)
            }
        }
    }
}
