//! Events as words, and the two processes of which one looks on.

use std::sync::Arc;
use std::time::Duration;

use cache_core::cache::{
    AccountName, AcquireOptions, Acquired, CacheChange, CacheError, CacheEvent, Events, TokenCache,
};
use cache_core::store::Store;
use cache_testkit::clock::ManualClock;

use crate::support::*;

pub(crate) const HOUR: Duration = Duration::from_secs(3600);

/// Two processes over one store: one acts, the other looks on.
pub(crate) struct World {
    pub(crate) clock: ManualClock,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) issuer: Arc<Issuer>,
    pub(crate) acting: TokenCache,
    pub(crate) looking: TokenCache,
}

impl World {
    pub(crate) async fn new() -> Self {
        let (clock, store) = parts();
        let issuer = Issuer::new(&clock);
        Self {
            acting: open(&store, &clock).await,
            looking: open(&store, &clock).await,
            clock,
            store,
            issuer,
        }
    }

    pub(crate) async fn sign_in(&self) {
        self.acting
            .sign_in(&user(), self.issuer.sign_in("a b"))
            .await
            .unwrap();
    }

    pub(crate) async fn refresh(&self) -> Result<Acquired, CacheError> {
        let call = self.issuer.call("a b");
        self.acting
            .acquire(request("a"), AcquireOptions::default(), call)
            .await
    }
}

/// What has been noticed by now.
pub(crate) async fn told(events: &mut Events) -> Vec<String> {
    all(events).await.iter().map(words).collect()
}

pub(crate) async fn all(events: &mut Events) -> Vec<CacheEvent> {
    settle().await;
    let mut all = Vec::new();
    loop {
        tokio::select! {
            biased;
            event = events.next() => all.push(event.unwrap()),
            () = settle() => break,
        }
    }
    assert!(!format!("{all:?}").contains("canary"), "{all:?}");
    assert!(!format!("{all:?}").contains("alice"), "{all:?}");
    all
}

pub(crate) fn words(event: &CacheEvent) -> String {
    use CacheChange as C;
    let name = |account: &Option<AccountName>| {
        account
            .as_ref()
            .map_or("nobody", |known| &known.username)
            .to_owned()
    };
    match &event.change {
        C::SignedIn {
            account,
            client_id,
            again,
        } => {
            assert_eq!(account.home_account_id, "sub-1");
            assert_eq!(account.environment, "issuer.example");
            let again = if *again { " again" } else { "" };
            format!("{} signed in to {client_id}{again}", account.username)
        }
        C::SignedOut { account, clients } => {
            format!("{} signed out of {}", account.username, clients.join("+"))
        }
        C::RefreshStarted {
            account,
            client_id,
            deadline,
        } => {
            assert!(*deadline > event.at);
            format!("{} of {client_id} refreshes", name(account))
        }
        C::Refreshed {
            account,
            client_id,
            scopes,
            expires_on,
        } => {
            assert!(expires_on.to_millis() > event.at);
            format!("{} of {client_id} has {scopes} scopes", name(account))
        }
        C::RefreshNotSent { account, client_id } => format!("{} of {client_id} not sent", name(account)),
        C::RefreshRefused {
            account,
            error,
            token_is_dead,
            ..
        } => format!("{} refused {error} {token_is_dead}", name(account)),
        C::OutcomeUnknown { account, client_id } => format!("{} of {client_id} unknown", name(account)),
        C::AppTokenStored {
            client_id,
            tenant,
            scopes,
            ..
        } => format!("application {client_id} in {tenant} has {scopes} scopes"),
        C::SessionBegun { account, client_id } => format!("session of {} by {client_id}", name(account)),
        C::SessionTokenStored { account, scopes, .. } => {
            format!("session of {} has {scopes} scopes", name(account))
        }
        C::SessionEnded { account, client_id } => {
            format!("session of {} by {client_id} ended", name(account))
        }
        C::Resealed { kind } => format!("{} resealed", kind.tag()),
        C::RolledBack { kind } => format!("{} rolled back", kind.tag()),
        C::Committed { kind } => format!("{} committed", kind.map_or("?", |kind| kind.tag())),
        C::Removed { kind } => format!("{} removed", kind.map_or("?", |kind| kind.tag())),
        C::Unreadable { kind, error } => format!("{} unreadable: {error}", kind.tag()),
        C::StoreFailed { error } => format!("failed: {error}"),
        other => format!("{other:?}"),
    }
}
