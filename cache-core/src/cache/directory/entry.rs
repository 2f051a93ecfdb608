//! What the directory says of an account.

use std::fmt;

use crate::cache::CachedAccount;
use crate::schema::{Account, PartitionKey, RequestHash};
use crate::time::UnixSeconds;

/// How many clients of one account are listed; beyond that, those that used it last.
const MOST_CLIENTS: usize = 64;
/// The longest name that is kept to be shown, in characters.
const LONGEST_NAME: usize = 256;

/// An account in the directory.
///
/// It is a hint: the account may have been signed out, or its tokens may have expired, where nobody has noticed yet. The partition
/// decides, whoever asks for a token.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DirectoryEntry {
    /// The partition of the account, which identifies it.
    pub partition: PartitionKey,
    /// The account, without the profiles that other tenants keep of it.
    pub account: Account,
    /// The clients that have signed it in.
    pub clients: Vec<DirectoryClient>,
    pub(super) position: Position,
}

/// What the directory says of one client of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DirectoryClient {
    /// The client.
    pub client_id: String,
    /// When it was last used, as coarsely as [`DirectoryPolicy`](crate::strategy::DirectoryPolicy) says.
    pub last_used: UnixSeconds,
    /// Why the user must sign in again, if that is known.
    pub needs_interaction: Option<NeedsInteraction>,
}

/// That the user must sign in again before the client can act for it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NeedsInteraction {
    /// Why.
    pub because: InteractionCause,
    /// Since when that is known.
    pub since: UnixSeconds,
    /// The request that was refused, where another may be granted.
    pub(super) request: Option<RequestHash>,
}

/// Why the user must sign in again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InteractionCause {
    /// The authority refused the refresh token.
    Refused,
    /// The authority wants the user for one request, such as one for another scope; others may still be granted.
    RequestRefused,
    /// The refresh token was sent, and nobody knows the outcome.
    OutcomeUnknown,
    /// There is no refresh token that the client may use.
    NoRefreshToken,
    /// The program said so: [`Directory::mark_needs_interaction`](super::Directory::mark_needs_interaction).
    Marked,
}

impl DirectoryEntry {
    pub(super) fn new(position: Position, partition: PartitionKey, account: &Account) -> Self {
        Self {
            partition,
            account: listed_account(account),
            clients: Vec::new(),
            position,
        }
    }

    /// What the directory says of the client `client_id`.
    #[must_use]
    pub fn client(&self, client_id: &str) -> Option<&DirectoryClient> {
        self.clients.iter().find(|client| client.client_id == client_id)
    }

    /// When any of its clients was last used.
    #[must_use]
    pub fn last_used(&self) -> UnixSeconds {
        let moments = self.clients.iter().map(|client| client.last_used);
        moments.max().unwrap_or_default()
    }

    /// The account as `flows` and [`accounts`](crate::cache::TokenCache::accounts) name it. The directory knows of no family's token,
    /// and takes the clients that need no interaction for those that work silently.
    #[must_use]
    pub fn cached_account(&self) -> CachedAccount {
        let silent = self
            .clients
            .iter()
            .filter(|client| client.needs_interaction.is_none());
        CachedAccount {
            partition: self.partition.clone(),
            account: self.account.clone(),
            clients: self
                .clients
                .iter()
                .map(|client| client.client_id.clone())
                .collect(),
            silent_clients: silent.map(|client| client.client_id.clone()).collect(),
            has_family_token: false,
        }
    }

    /// Renews what is shown of the account. `false` when it is the same.
    pub(super) fn rename(&mut self, account: &Account) -> bool {
        let account = listed_account(account);
        let is_changed = self.account != account;
        self.account = account;
        is_changed
    }

    pub(super) fn client_mut(&mut self, client_id: &str) -> Option<&mut DirectoryClient> {
        self.clients
            .iter_mut()
            .find(|client| client.client_id == client_id)
    }

    /// Adds a client, in the place of that which was not used for longest if there are many.
    pub(super) fn add(&mut self, client_id: String, last_used: UnixSeconds) {
        if self.clients.len() >= MOST_CLIENTS {
            let mut clients = self.clients.iter().enumerate();
            if let Some(oldest) = clients
                .by_ref()
                .min_by_key(|(_, client)| client.last_used)
                .map(|found| found.0)
            {
                self.clients.remove(oldest);
            }
        }
        self.clients.push(DirectoryClient {
            client_id,
            last_used,
            needs_interaction: None,
        });
    }
}

/// Personal data stays out of logs.
impl fmt::Debug for DirectoryEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DirectoryEntry")
            .field("account", &self.account)
            .field("clients", &self.clients)
            .finish_non_exhaustive()
    }
}

impl InteractionCause {
    /// Whether it goes with one refused request, so that the grant of another says nothing of it.
    pub(super) fn is_of_one_request(self) -> bool {
        self == Self::RequestRefused
    }
}

/// Where in the order of the directory an account stands: a keyed hash of its partition key, so that nobody outside can tell whose it is or
/// crowd one page with accounts of a chosen name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Position(pub(super) [u8; 16]);

impl Position {
    pub(super) const LAST: Self = Self([0xff; 16]);

    /// The four bits by which a page of this depth tells its children apart.
    pub(super) fn digit(self, depth: u8) -> usize {
        let byte = self.0[usize::from(depth / 2)];
        usize::from(if depth.is_multiple_of(2) {
            byte >> 4
        } else {
            byte & 0x0f
        })
    }

    /// This position with the digit at `depth` set, and what follows as `fill` has it.
    pub(super) fn with_digit(self, depth: u8, digit: usize, fill: u8) -> Self {
        let mut bytes = self.0;
        let at = usize::from(depth / 2);
        let digit = u8::try_from(digit & 0x0f).unwrap_or_default();
        bytes[at] = if depth.is_multiple_of(2) {
            digit << 4 | fill & 0x0f
        } else {
            bytes[at] & 0xf0 | digit
        };
        bytes[at + 1..].fill(fill);
        Self(bytes)
    }
}

/// What is listed of an account: its names cut to a length that fits a page, and nothing that is kept for others.
fn listed_account(account: &Account) -> Account {
    let cut = |text: &str| text.chars().take(LONGEST_NAME).collect::<String>();
    Account {
        username: cut(&account.username),
        name: account.name.as_deref().map(cut),
        tenant_profiles: Vec::new(),
        foreign: None,
        ..account.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_those_of_the_hexadecimal_form() {
        let position = Position(*b"\x12\x34\x56\x78\x9a\xbc\xde\xf0\x12\x34\x56\x78\x9a\xbc\xde\xf0");
        let digits: Vec<_> = (0..32).map(|depth| position.digit(depth)).collect();
        assert_eq!(digits[..6], [1, 2, 3, 4, 5, 6]);
        assert_eq!(digits[30..], [0xf, 0]);
    }

    #[test]
    fn the_children_of_a_page_cover_it_without_overlap() {
        let page = Position([0; 16]).with_digit(0, 0xa, 0);
        for depth in [1, 2, 31] {
            let first = |digit| page.with_digit(depth, digit, 0);
            let last = |digit| page.with_digit(depth, digit, 0xff);
            for digit in 0..16 {
                assert!(first(digit) <= last(digit));
                assert_eq!(last(digit).digit(depth), digit);
                assert_eq!(last(digit).digit(0), 0xa);
                assert!(digit == 15 || last(digit) < first(digit + 1));
            }
        }
    }
}
