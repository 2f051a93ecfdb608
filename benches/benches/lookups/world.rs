//! A cache that is full, and lookups of it.

use std::cell::Cell;
use std::ops::Range;
use std::time::Duration;

use benches::harness::QuestionError;
use benches::payload::{
    CLIENT_ID, ENVIRONMENT, FakeAuthority, Payload, Picker, REALM, TokenSizes, memory_cache,
};
use cache_core::cache::{AcquireOptions, Lookup, PartitionRef, TokenCache};
use cache_core::schema::{AuthorityIdentity, AuthorityKind, TokenContext, TokenType};
use cache_core::strategy::{MemoryTier, Strategy};

/// How many lookups are drawn before they recur. Each has arguments of its own, as a program's lookups have; that of a few users need not
/// be more than the processor's caches hold beside them, or their texts would be what is waited for.
fn drawn(users: usize) -> usize {
    users.clamp(1 << 10, 1 << 13)
}

/// A cache that keeps everything, and everybody who asks it.
pub(crate) struct World {
    pub(crate) cache: TokenCache,
    pub(crate) payload: Payload,
    authority: AuthorityIdentity,
    context: TokenContext,
    asks: Vec<Ask>,
    /// Those of the asks, one after another.
    home_account_ids: String,
    next: Cell<usize>,
}

/// Who asks.
pub(crate) struct Ask {
    pub(crate) user: usize,
    pub(crate) hash: u64,
    home_account_id: Range<usize>,
}

/// A strategy whose memory neither forgets nor asks the store while it is measured.
pub(crate) fn strategy() -> Strategy {
    let tier = MemoryTier::bounded(64 << 30).max_staleness(Duration::from_secs(24 * 3600));
    Strategy::web_front_end().memory_tier(tier)
}

impl World {
    pub(crate) fn new(
        runtime: &tokio::runtime::Runtime,
        sizes: TokenSizes,
        users: usize,
        mut pick: Picker,
    ) -> Result<Self, QuestionError> {
        let payload = Payload::present(1).sizes(sizes);
        let cache = runtime.block_on(memory_cache(&payload, users, 1, strategy()))?;
        let offline = FakeAuthority::at_once(&payload);
        let options = AcquireOptions {
            cache_only: true,
            ..AcquireOptions::default()
        };
        // Asked once more, from memory: that is what is remembered.
        runtime.block_on(async {
            for user in 0..users {
                cache
                    .acquire(payload.request(user, 0), options, offline.clone())
                    .await?;
            }
            Ok::<_, QuestionError>(())
        })?;
        let mut home_account_ids = String::new();
        let mut asks = Vec::new();
        for user in (0..drawn(users)).map(|_| pick.pick()) {
            let start = home_account_ids.len();
            home_account_ids.push_str(&payload.home_account_id(user));
            asks.push(Ask {
                user,
                hash: mixed(user),
                home_account_id: start..home_account_ids.len(),
            });
        }
        Ok(Self {
            asks,
            home_account_ids,
            cache,
            authority: AuthorityIdentity::of_host(AuthorityKind::Entra, ENVIRONMENT),
            context: TokenContext::default(),
            payload,
            next: Cell::new(0),
        })
    }

    pub(crate) fn next(&self) -> &Ask {
        let next = self.next.get();
        self.next.set((next + 1) % self.asks.len());
        &self.asks[next]
    }

    pub(crate) fn home_account_id(&self, ask: &Ask) -> &str {
        &self.home_account_ids[ask.home_account_id.clone()]
    }

    /// A lookup of each of the first asks that are of different users.
    pub(crate) fn lookups<'a>(&'a self, scopes: &'a [&'a str]) -> [Lookup<'a>; 2] {
        let first = &self.asks[0];
        let other = self.asks.iter().find(|ask| ask.user != first.user);
        [first, other.unwrap_or(first)].map(|ask| self.lookup(ask, scopes))
    }

    pub(crate) fn lookup<'a>(&'a self, ask: &'a Ask, scopes: &'a [&'a str]) -> Lookup<'a> {
        Lookup {
            partition: PartitionRef::User {
                authority: &self.authority,
                home_account_id: self.home_account_id(ask),
            },
            kind: AuthorityKind::Entra,
            client_id: CLIENT_ID,
            environment: ENVIRONMENT,
            realm: REALM,
            scopes,
            token_type: &TokenType::Bearer,
            context: &self.context,
        }
    }
}

/// A number spread over all 64 bits.
pub(crate) fn mixed(number: usize) -> u64 {
    let product = u128::from(number as u64 + 1).wrapping_mul(0xd6e8_feb8_6659_fd93_9e37_79b9_7f4a_7c15);
    (product ^ (product >> 64)) as u64
}
