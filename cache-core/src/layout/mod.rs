//! Places that MSAL programs use at the same time: **unsealed by nature**.
//!
//! An [`MsalLayout`] says where MSAL programs keep what, and
//! [`open_plaintext_shared`](crate::cache::TokenCacheBuilder::open_plaintext_shared) opens a [`TokenCache`](crate::cache::TokenCache)
//! over it. The store beneath has to speak their protocol: `cache-redis` has stores for MSAL Node's `DistributedCachePlugin` and for
//! ASP.NET Core's distributed cache.
//!
//! # What is where
//!
//! - A record is a *document*: MSAL's JSON, without any envelope. It may hold rows of several users, clients and authorities. The
//!   cache reads and replaces the rows of one partition, and everything else in the document goes through unchanged: rows of
//!   authorities that the configuration does not name, rows that are not understood, unknown fields, sections and members.
//! - What MSAL has no place for (who is spending a refresh token, what was refused to it, sign-ins and their sessions) is in a
//!   member `TokenKeep` of the document. MSAL Node, MSAL Python and MSAL .NET write it back as they found it (the first two were tried,
//!   the third is what its sources say; Go and Java were not tried). A program that drops it drops the markers and the sign-ins with it: refresh
//!   tokens are then shared with it as with a program that looks at no marker, and sessions end.
//! - What MSAL programs have no record for at all (sessions, proof keys, tokens with components of their own) lies beside it, in
//!   unsealed records of the namespace `{namespace}.plaintext`. A [single record](MsalLayout::single_record) has nothing beside it.
//!
//! # What this protects, and what it cannot
//!
//! Whoever can read the place can read every token in it, and whoever can write to it can put rows there. A row serves a request only
//! of the authority that the *configuration* names, under its host or a built-in alias of it; endpoints never come from a row.
//!
//! Writes are compare-and-swap, so processes of this crate lose none of each other's changes, and
//! [`Coalescing::Fleet`](crate::strategy::Coalescing::Fleet) holds among them also where a version is only a hash of the content: a
//! marker has a random attempt in it, so content that recurs is a state that recurs, and whoever swaps a marker in has seen that no
//! other is there. **MSAL programs know neither.** They write whole documents over what is there and look at no marker. So:
//!
//! - An MSAL program and a process of this crate can spend one refresh token at the same time. An authority that revokes the family of a
//!   token that is used twice then ends the sign-in; Entra does not.
//! - A document that an MSAL program read before and writes after a change of this crate undoes that change, a sign-out too.
//!
//! With Entra's refresh tokens, which survive their use, neither does harm that lasts. At a strictly rotating authority, programs that take
//! turns can share them: this crate spends the youngest and leaves one row, where MSAL Python and MSAL Node look next. Do not share them with MSAL
//! programs that refresh at the same time, nor with Python and Node at once unless this crate refreshes between them (each leaves the row
//! that the other has spent): *move* them, by import.
//!
//! MSAL Python signs a user out by removing rows under its own names. What MSAL Node alone had written then stays, without an account.
//!
//! # Example
//!
//! ```
//! use std::sync::Arc;
//! use cache_core::cache::TokenCache;
//! use cache_core::layout::MsalLayout;
//! use cache_core::seal::Namespace;
//! use cache_core::store::MemoryStore;
//! use cache_core::strategy::{SealPolicy, Strategy};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! let cache = TokenCache::builder(Arc::new(MemoryStore::new())) // in earnest: the store of `cache-redis` for MSAL Node
//!     .strategy(Strategy::web_front_end().seal(SealPolicy::PlaintextAllowed))
//!     .open_plaintext_shared(Namespace::default(), MsalLayout::node())?;
//! assert!(cache.accounts().await?.accounts.is_empty());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod authorities;
mod keeping;
mod store;

use std::fmt;
use std::sync::Arc;

use authorities::Authorities;
pub(crate) use store::SharedStore;

use crate::codec::msal::{Names, Style};
use crate::schema::{AuthorityIdentity, PartitionKey};
use crate::store::StoreKey;

/// Where MSAL programs keep what, and how.
#[derive(Clone)]
pub struct MsalLayout {
    records: Records,
    names: Names,
    authorities: Authorities,
}

/// Which record holds a partition.
#[derive(Clone)]
enum Records {
    /// One for each user and each application.
    ByKey { user: UserKey, app: AppKey },
    /// One for all, or for all but what applications have.
    Single {
        record: StoreKey,
        app: Option<StoreKey>,
        /// Whether the store has room for records of our own beside it.
        beside: bool,
    },
}

type UserKey = Arc<dyn Fn(&str) -> String + Send + Sync>;
type AppKey = Arc<dyn Fn(&str, &str) -> String + Send + Sync>;

impl MsalLayout {
    /// As MSAL .NET suggests keys to a distributed cache: a user's tokens under the home account ID, an application's under
    /// `{client_id}_{tenant}_AppTokenCache`. A document without tokens is removed.
    ///
    /// The tenant is that of the configured authority, as it stands there. (MSAL .NET 4, `CacheKeyFactory`. Tokens on behalf of
    /// users, which .NET keeps under the hash of the assertion, are not shared.)
    #[must_use]
    pub fn suggested_keys() -> Self {
        Self {
            records: Records::ByKey {
                user: Arc::new(str::to_owned),
                app: Arc::new(|client_id, tenant| format!("{client_id}_{tenant}_AppTokenCache")),
            },
            names: Names::DotNet,
            authorities: Authorities::default(),
        }
    }

    /// As MSAL Node's `DistributedCachePlugin` with a partition manager whose keys are home account IDs. Node leaves the keys of
    /// applications' tokens to the caller: they are those of [`suggested_keys`](Self::suggested_keys) until
    /// [`app_key`](Self::app_key) says otherwise.
    ///
    /// Node keeps in memory what it has read: `acquireTokenSilent` reads anew and so sees a sign-out, `getAllAccounts` may not until
    /// then, and an application object that served several users writes the rows of all of them into one document. Rows in the
    /// document of somebody else are kept, but serve nobody here. Make one object for each request, as MSAL advises.
    /// (MSAL Node 7.2, `NodeStorage.inMemoryCacheToCache` and `ClientApplication.acquireTokenSilentAsync`.)
    #[must_use]
    pub fn node() -> Self {
        Self {
            names: Names::Node,
            ..Self::suggested_keys()
        }
    }

    /// Everything of everybody in the record `key`, as MSAL programs keep it in a file or in an item of a keychain, **and nothing beside
    /// it**: sessions, proof keys and tokens with components of their own are refused with
    /// [`CacheError::Unsupported`](crate::cache::CacheError::Unsupported), before anything is asked for or written. See
    /// [`records_beside`](Self::records_beside).
    ///
    /// What is written is what MSAL Python 1.39 and MSAL Node 7.2 find, replace and sign out:
    ///
    /// - Rows keep the names and the environment that the document has for them. New ones have the names of MSAL Python, and no port in
    ///   their environment, because Python knows none there; see [`node_names`](Self::node_names).
    /// - A token of an application has two rows, one with a `home_account_id` of `null` (which is what Python looks for) and one with the empty
    ///   text (which Node looks for). They are one token here: found, replaced and swept together.
    /// - Of refresh tokens of one user and client, the youngest is spent, and the reply takes the place of all. Node notes no times, so among
    ///   rows without them the one that stands further back is the younger: programs add rows at the end. MSAL Go sorts rows by
    ///   name and takes any; it was not tried, and where tokens rotate strictly, it must not share them.
    ///
    /// MSAL Java fails on a document with tokens of users *and* applications: see [`app_record`](Self::app_record).
    ///
    /// ```
    /// use std::sync::Arc;
    /// use cache_core::cache::TokenCache;
    /// use cache_core::layout::MsalLayout;
    /// use cache_core::seal::Namespace;
    /// use cache_core::store::{MemoryStore, StoreKey};
    /// use cache_core::strategy::{SealPolicy, Strategy};
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// // In earnest: the store of `cache-keychain` for an MSAL program's file, and its record.
    /// let store = Arc::new(MemoryStore::new());
    /// let layout = MsalLayout::single_record(StoreKey::new("msal_token_cache.json")?);
    /// let cache = TokenCache::builder(store)
    ///     .strategy(Strategy::desktop_tool().seal(SealPolicy::PlaintextAllowed))
    ///     .open_plaintext_shared(Namespace::default(), layout)?;
    /// assert!(cache.accounts().await?.accounts.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn single_record(key: StoreKey) -> Self {
        Self {
            records: Records::Single {
                record: key,
                app: None,
                beside: false,
            },
            names: Names::Common,
            ..Self::suggested_keys()
        }
    }

    /// Keeps what applications have for themselves in a record of its own, as MSAL Java demands, whose programs have a cache for users and
    /// one for applications. The store must have both records. Without effect but on a [`single_record`](Self::single_record).
    #[must_use]
    pub fn app_record(mut self, key: StoreKey) -> Self {
        if let Records::Single { app, .. } = &mut self.records {
            *app = Some(key);
        }
        self
    }

    /// Names new rows as MSAL Node does, for a document that only Node programs share. Node replaces a refresh token by its name and takes the
    /// first that it finds: without this, and at an authority that rotates strictly, a second refresh by Node after a sign-in here would
    /// spend a token twice, unless this program came in between. MSAL Python, which removes rows by *its* names, would leave such a row
    /// behind when it signs a user out. Without effect but on a [`single_record`](Self::single_record).
    #[must_use]
    pub fn node_names(mut self) -> Self {
        if matches!(self.records, Records::Single { .. }) {
            self.names = Names::Node;
        }
        self
    }

    /// Keeps what MSAL programs have no record for beside the document, in a store that has room for it. Without effect but on a
    /// [`single_record`](Self::single_record).
    #[must_use]
    pub fn records_beside(mut self) -> Self {
        if let Records::Single { beside, .. } = &mut self.records {
            *beside = true;
        }
        self
    }

    /// Sets the key of a user's record, from the home account ID. Without effect on a [`single_record`](Self::single_record).
    #[must_use]
    pub fn user_key(mut self, key: impl Fn(&str) -> String + Send + Sync + 'static) -> Self {
        if let Records::ByKey { user, .. } = &mut self.records {
            *user = Arc::new(key);
        }
        self
    }

    /// Sets the key of an application's record, from its client ID and tenant. Without effect on a
    /// [`single_record`](Self::single_record).
    #[must_use]
    pub fn app_key(mut self, key: impl Fn(&str, &str) -> String + Send + Sync + 'static) -> Self {
        if let Records::ByKey { app, .. } = &mut self.records {
            *app = Arc::new(key);
        }
        self
    }

    /// Names an authority whose rows do not show which it is: B2C and External ID, whose rows look like Entra's. Without it such
    /// accounts are listed as Entra's, although a client of the authority finds their tokens.
    #[must_use]
    pub fn authority(mut self, authority: AuthorityIdentity) -> Self {
        self.authorities.name(authority);
        self
    }

    /// The record in which MSAL programs keep the partition; `None` where they have none for it, or no store could name it.
    fn record(&self, key: &PartitionKey) -> Option<StoreKey> {
        let name = match (&self.records, key) {
            (_, PartitionKey::Session { .. }) => return None,
            (
                _,
                PartitionKey::App {
                    components, resource, ..
                },
            ) if !components.is_empty() || resource.is_some() => {
                return None;
            }
            (Records::Single { app: Some(app), .. }, PartitionKey::App { .. }) => return Some(app.clone()),
            (Records::Single { record, .. }, _) => return Some(record.clone()),
            (Records::ByKey { user, .. }, PartitionKey::User { home_account_id, .. }) => {
                user(home_account_id)
            }
            (
                Records::ByKey { app, .. },
                PartitionKey::App {
                    client_id, tenant, ..
                },
            ) => app(client_id, tenant),
            (Records::ByKey { .. }, PartitionKey::Residue) => return None,
        };
        StoreKey::new(name).ok()
    }

    /// How rows of our own are written.
    fn style(&self) -> Style {
        Style {
            names: self.names,
            twins: self.is_single(),
        }
    }

    /// The documents, where they are known beforehand.
    fn documents(&self) -> Option<Vec<StoreKey>> {
        let Records::Single { record, app, .. } = &self.records else {
            return None;
        };
        let app = app.iter().filter(|app| *app != record);
        Some(std::iter::once(record).chain(app).cloned().collect())
    }

    /// Whether only documents are kept.
    pub(crate) fn keeps_only_documents(&self) -> bool {
        matches!(self.records, Records::Single { beside: false, .. })
    }

    /// Whether one document is for all, so that nothing in it has an expiry of its own: files and items of keychains know none.
    fn is_single(&self) -> bool {
        matches!(self.records, Records::Single { .. })
    }

    /// Whether MSAL itself would suggest this key, so that a record under it which cannot be read is worth a report.
    fn is_usual(&self, record: &StoreKey) -> bool {
        match &self.records {
            Records::Single {
                record: single, app, ..
            } => single == record || app.as_ref() == Some(record),
            Records::ByKey { .. } => {
                let key = record.as_str();
                key.ends_with("_AppTokenCache")
                    || key.split_once('.').is_some_and(|(user, tenant)| {
                        let is_id = |part: &str| {
                            part.len() == 36 && part.bytes().filter(|byte| *byte == b'-').count() == 4
                        };
                        is_id(user) && is_id(tenant)
                    })
            }
        }
    }
}

impl fmt::Debug for MsalLayout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MsalLayout")
            .field("names", &self.names)
            .field("authorities", &self.authorities)
            .finish_non_exhaustive()
    }
}
