//! One walk through the accounts.

use std::sync::Arc;

use cache_core::cache::{CacheError, DirectoryEntry, DirectoryQuery};
use flows::client::ConfidentialClient;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::options::Options;
use super::report::{Outcome, Report};
use crate::api_call::{Called, call_api};
use crate::logging::chain;
use crate::open::Opened;
use crate::protected_api::ProtectedApi;

/// How many accounts are read at a time. All of them are acted for before the next are read, so that a cache of a million accounts
/// takes no more memory than one of a hundred.
const PAGE: usize = 100;

/// Who acts. Clones share everything.
#[derive(Clone, Debug)]
pub struct Worker {
    client: ConfidentialClient,
    client_id: String,
    api: ProtectedApi,
    scopes: Arc<[String]>,
    query: DirectoryQuery,
    concurrency: usize,
    name_accounts: bool,
}

/// What came of a walk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pass {
    /// For how many accounts the API was called.
    pub called: usize,
    /// For how many accounts it was not.
    pub not_called: usize,
}

impl Worker {
    /// A worker of `options`, on the cache that was `opened`.
    #[must_use]
    pub fn new(options: &Options, opened: &Opened) -> Self {
        let client_id = options.cache.client_id.clone();
        Self {
            client: opened.client.clone(),
            api: opened.api.clone(),
            scopes: options.cache.scopes.clone().into(),
            // Those whose user is needed are not asked for: each would cost a request that the issuer has to refuse.
            query: DirectoryQuery::new()
                .client_id(client_id.as_str())
                .idle_for(options.idle)
                .needs_interaction(false)
                .limit(PAGE),
            client_id,
            concurrency: options.concurrency.into(),
            name_accounts: options.name_accounts,
        }
    }

    /// Acts for each account that is idle, and hands a line of JSON for each to `say`. When `stop` says so, it begins no more.
    ///
    /// # Errors
    /// That the directory cannot be read. An account that fails does not keep the others from their turn.
    pub async fn pass(&self, stop: &watch::Receiver<bool>, say: fn(String)) -> Result<Pass, CacheError> {
        let mut done = Pass::default();
        let mut query = self.query.clone();
        loop {
            let page = self.client.cache().directory().page(query).await?;
            for (key, error) in &page.unreadable {
                tracing::warn!(%key, error = chain(error), "a page of the directory cannot be read");
            }
            self.act_for_all(page.entries, stop, say, &mut done).await;
            match page.next {
                Some(next) if !*stop.borrow() => query = self.query.clone().after(next),
                _ => return Ok(done),
            }
        }
    }

    async fn act_for_all(
        &self,
        entries: Vec<DirectoryEntry>,
        stop: &watch::Receiver<bool>,
        say: fn(String),
        done: &mut Pass,
    ) {
        let turns = Arc::new(Semaphore::new(self.concurrency));
        let mut acting = JoinSet::new();
        for entry in entries {
            // Never closed, so there is always a turn to wait for.
            let Ok(turn) = Arc::clone(&turns).acquire_owned().await else {
                break;
            };
            if *stop.borrow() {
                break;
            }
            let worker = self.clone();
            acting.spawn(async move {
                let outcome = worker.act_for(&entry).await;
                let report = Report::new(&entry.partition, outcome.clone(), worker.name_accounts);
                say(report.line());
                drop(turn);
                outcome
            });
        }
        while let Some(acted) = acting.join_next().await {
            match acted {
                Ok(Outcome::Called { .. }) => done.called += 1,
                _ => done.not_called += 1,
            }
        }
    }

    async fn act_for(&self, entry: &DirectoryEntry) -> Outcome {
        let account = entry.cached_account();
        match call_api(&self.client, &account, &self.scopes, &self.api).await {
            Ok(Called::Answered { token, .. }) => Outcome::Called {
                token_from: token.metadata().source.to_string(),
            },
            Ok(Called::Refused(status)) => Outcome::Refused { status },
            Ok(Called::NeedsUser { .. }) => self.needs_user(entry).await,
            Err(error) => Outcome::Failed { error: chain(&error) },
        }
    }

    /// The cache has noted what its own requests met, but it does not know what the API demands.
    async fn needs_user(&self, entry: &DirectoryEntry) -> Outcome {
        let directory = self.client.cache().directory();
        match directory
            .mark_needs_interaction(&entry.partition, &self.client_id)
            .await
        {
            Ok(true) => Outcome::NeedsUser,
            Ok(false) => Outcome::SignedOut,
            Err(error) => Outcome::Failed { error: chain(&error) },
        }
    }
}
