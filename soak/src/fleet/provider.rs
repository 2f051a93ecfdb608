//! The issuers at which fleets refresh: two real providers that rotate strictly, and one whose tokens survive their use.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cache_core::cache::TokenCache;
use cache_core::time::{Clock, SystemClock};
use cache_testkit::authority::{Config, FakeAuthority, Grant, HOME_TENANT, Lifetimes, PUBLIC_CLIENT, User};
use cache_testkit::oidc_provider::OidcProvider;
use cache_testkit::proxy::Proxy;
use cache_testkit::{authority, glewlwyd, oidc_provider};
use flows::error::ReplyError;
use flows::{AuthenticationResult, Error};
use url::Url;

use super::{Issuer, Setup};
use crate::gate::{Doing, GateError};
use crate::tally::Tally;

/// A kind of issuer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// oidc-provider, on Node.js: a token that is sent again revokes its family.
    OidcProvider,
    /// glewlwyd, in C: likewise.
    Glewlwyd,
    /// As Entra: old tokens survive their use, and whoever lost a reply may send again once. It is the fake of `cache-testkit`.
    ReuseSafe,
}

impl Kind {
    /// The real providers, both of which rotate strictly.
    pub const ROTATING: [Self; 2] = [Self::OidcProvider, Self::Glewlwyd];
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::OidcProvider => "oidc-provider",
            Self::Glewlwyd => "glewlwyd",
            Self::ReuseSafe => "a reuse-safe issuer",
        })
    }
}

/// A running issuer, and the proxy that refresh tokens pass on their way to it.
#[derive(Debug)]
pub struct Provider {
    kind: Kind,
    part: Part,
    proxy: Proxy,
    /// Sign-ins that were tried again since somebody asked.
    tried_again: AtomicU64,
}

#[derive(Debug)]
enum Part {
    OidcProvider(OidcProvider),
    Glewlwyd(glewlwyd::Glewlwyd),
    ReuseSafe(FakeAuthority),
}

/// What an issuer has seen and done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Refresh tokens that were sent: connections through the proxy, of which each carries one.
    pub sent: u64,
    /// Those for which there was a successor.
    pub granted: u64,
    /// Families of which no token is good any more.
    pub revoked: u64,
    /// Refresh tokens that were sent again after they had been spent, where it says so.
    pub reused: u64,
}

/// How often a sign-in is tried that glewlwyd's own database was in the way of.
const SIGN_IN_ATTEMPTS: usize = 8;

impl Provider {
    /// Starts an issuer of access tokens that live for so many seconds, with so many users.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub async fn start(kind: Kind, lifetime: u32, users: usize) -> Result<Self, GateError> {
        let failed = || format!("could not start {kind}");
        let part = match kind {
            Kind::OidcProvider => {
                let options = oidc_provider::Options {
                    access_token_ttl_seconds: lifetime,
                };
                Part::OidcProvider(OidcProvider::start(options).await.doing(failed())?)
            }
            Kind::Glewlwyd => {
                let options = glewlwyd::Options {
                    access_token_ttl_seconds: lifetime,
                    numbered_users: users,
                };
                let provider = glewlwyd::Glewlwyd::start_with(&options).await;
                Part::Glewlwyd(provider.doing(failed())?)
            }
            Kind::ReuseSafe => {
                let config = Config::default().lifetimes(lifetimes(lifetime));
                let config = (0..users).fold(config, |config, number| config.user(entra_user(number)));
                let fake = FakeAuthority::start(config).await;
                Part::ReuseSafe(fake.doing(failed())?)
            }
        };
        let proxy = Proxy::start(address(part.base())?)
            .await
            .doing("could not start a proxy")?;
        Ok(Self {
            kind,
            part,
            proxy,
            tried_again: AtomicU64::new(0),
        })
    }

    /// Which issuer it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What refresh tokens pass.
    #[must_use]
    pub fn proxy(&self) -> &Proxy {
        &self.proxy
    }

    /// What processes are told of it.
    #[must_use]
    pub fn issuer(&self) -> Issuer {
        let refresh_port = Some(self.proxy.address().port());
        match &self.part {
            Part::OidcProvider(provider) => Issuer {
                authority: provider.issuer().to_owned(),
                client_id: oidc_provider::CLI_CLIENT_ID.to_owned(),
                is_confidential: false,
                ca_pem: None,
                scope: "api:read".to_owned(),
                introspection: Some(format!("{}/token/introspection", provider.issuer())),
                refresh_port,
                others_port: None,
            },
            Part::Glewlwyd(provider) => Issuer {
                authority: provider.issuer().to_owned(),
                client_id: glewlwyd::SERVICE_CLIENT_ID.to_owned(),
                is_confidential: true,
                ca_pem: None,
                scope: "api:read".to_owned(),
                introspection: Some(format!("{}/introspect", provider.issuer())),
                refresh_port,
                others_port: None,
            },
            Part::ReuseSafe(fake) => Issuer {
                authority: fake.authority_url(HOME_TENANT),
                client_id: PUBLIC_CLIENT.to_owned(),
                is_confidential: false,
                ca_pem: fake.ca_pem().map(str::to_owned),
                scope: "User.Read".to_owned(),
                introspection: None,
                refresh_port,
                others_port: None,
            },
        }
    }

    /// Changes the lifetime of access tokens that are issued from now on.
    ///
    /// # Errors
    ///
    /// When the issuer does not do that while it runs.
    pub async fn set_lifetime(&self, seconds: u32) -> Result<(), GateError> {
        match &self.part {
            Part::OidcProvider(provider) => {
                let set = provider.set_access_token_ttl(seconds).await;
                set.doing("could not set the lifetime")
            }
            Part::Glewlwyd(_) => Err(GateError::new("glewlwyd sets lifetimes at its start only")),
            Part::ReuseSafe(fake) => {
                fake.set_lifetimes(lifetimes(seconds));
                Ok(())
            }
        }
    }

    /// The name and the password of a user.
    #[must_use]
    pub fn credential(&self, number: usize) -> (String, &'static str) {
        match &self.part {
            Part::OidcProvider(_) => (oidc_provider::numbered_user(number), oidc_provider::PASSWORD),
            Part::Glewlwyd(_) => (glewlwyd::numbered_user(number), glewlwyd::PASSWORD),
            Part::ReuseSafe(_) => (entra_user(number).username, authority::PASSWORD),
        }
    }

    /// Signs a user in by password.
    ///
    /// # Errors
    ///
    /// When it does not.
    pub async fn sign_in(
        &self,
        setup: &Setup,
        cache: &TokenCache,
        number: usize,
    ) -> Result<AuthenticationResult, GateError> {
        let (user, password) = self.credential(number);
        let mut attempts = 1;
        loop {
            // A client of its own for each attempt: one that was answered by an error of the server would wait.
            let client = setup.client(cache.clone(), Arc::new(setup.http()?))?;
            let signed_in = client.sign_in(&setup.issuer.scope, user.clone(), password).await;
            match signed_in {
                Err(error)
                    if self.kind == Kind::Glewlwyd
                        && is_locked_database(&error)
                        && attempts < SIGN_IN_ATTEMPTS => {}
                done => return done.doing(format!("{} does not sign user {number} in", self.kind)),
            }
            attempts += 1;
            self.tried_again.fetch_add(1, Ordering::Relaxed);
            SystemClock.sleep(Duration::from_millis(300)).await;
        }
    }

    /// Counts the sign-ins that were tried again since this was called last.
    pub fn tell_tried_again(&self, tally: &mut Tally) {
        if self.kind == Kind::Glewlwyd {
            let tried_again = self.tried_again.swap(0, Ordering::Relaxed);
            tally.add(
                "sign-ins tried again, as glewlwyd's own database was locked",
                tried_again,
            );
        }
    }

    /// How many refresh tokens were sent to it so far.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.proxy.statistics().connections
    }

    /// What it has seen and done so far.
    ///
    /// # Errors
    ///
    /// When it does not say, or says something else than the proxy.
    pub async fn seen(&self) -> Result<Seen, GateError> {
        let sent = self.sent();
        let unsaid = "the provider does not tell what it has done";
        let mut reused = 0;
        let (said, granted, revoked) = match &self.part {
            Part::OidcProvider(provider) => {
                let statistics = provider.statistics().await.doing(unsaid)?;
                let said = Some(statistics.refresh_requests());
                reused = statistics.refresh_tokens_reused;
                (
                    said,
                    statistics.refresh_tokens_consumed,
                    statistics.grants_revoked,
                )
            }
            Part::Glewlwyd(provider) => {
                let statistics = provider.statistics().await.doing(unsaid)?;
                (
                    None,
                    statistics.refresh_tokens_consumed,
                    statistics.families_revoked,
                )
            }
            Part::ReuseSafe(fake) => {
                let count = fake.grant_count(Grant::RefreshToken);
                (Some(count.requests), count.issued, fake.families_revoked() as u64)
            }
        };
        if said.is_some_and(|said| said > sent) {
            return Err(GateError::new(format!(
                "{said:?} refresh tokens reached {}, and {sent} the proxy",
                self.kind
            )));
        }
        Ok(Seen {
            sent,
            granted,
            revoked,
            reused,
        })
    }

    /// The version of the program; `None` where it is of this project.
    ///
    /// # Errors
    ///
    /// When it does not say.
    pub async fn version(&self) -> Result<Option<String>, GateError> {
        match &self.part {
            Part::OidcProvider(_) => Ok(oidc_provider::version()),
            Part::Glewlwyd(_) => {
                let version = glewlwyd::version().await;
                version.map(Some).doing("glewlwyd does not tell its version")
            }
            Part::ReuseSafe(_) => Ok(None),
        }
    }
}

impl Part {
    fn base(&self) -> &str {
        match self {
            Self::OidcProvider(provider) => provider.issuer(),
            Self::Glewlwyd(provider) => provider.issuer(),
            Self::ReuseSafe(fake) => fake.base_url(),
        }
    }
}

/// Whether glewlwyd could not write to its own database, as another sign-in was writing: it has no better answer then. Anything else is no
/// fault of glewlwyd's, and is not tried again.
fn is_locked_database(error: &Error) -> bool {
    matches!(error, Error::Reply(ReplyError::Unavailable { status: 500, .. }))
}

/// Where a base URL on this machine leads to.
fn address(base: &str) -> Result<SocketAddr, GateError> {
    let port = Url::parse(base).ok().and_then(|url| url.port());
    let port = port.ok_or_else(|| GateError::new(format!("{base} has no port")))?;
    Ok(SocketAddr::from(([127, 0, 0, 1], port)))
}

fn lifetimes(seconds: u32) -> Lifetimes {
    Lifetimes::default().access_token(Duration::from_secs(seconds.into()))
}

fn entra_user(number: usize) -> User {
    User::new(
        &format!("user-{number}@contoso.test"),
        &format!("User {number}"),
        &format!("00000000-0000-0000-0001-{number:012}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_locked_database_is_tried_again() {
        let failed = |status| {
            Error::Reply(ReplyError::Unavailable {
                status,
                retry_after: None,
            })
        };
        assert!(is_locked_database(&failed(500)));
        assert!(!is_locked_database(&failed(503)));
        assert!(!is_locked_database(&Error::Reply(ReplyError::Unreadable(200))));
    }
}
