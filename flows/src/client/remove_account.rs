//! Signing out.

use std::fmt;
use std::future::IntoFuture;
use std::pin::Pin;
use std::sync::Arc;

use cache_core::cache::{CachedAccount, SignOutScope};
use cache_core::schema::PartitionKey;
use cache_core::secret::Secret;
use cache_core::time::with_deadline;

use super::application::Application;
use super::{ConfidentialClient, PublicClient};
use crate::Error;
use crate::http::{HttpError, HttpErrorKind};

/// A sign-out. Await it to run it.
///
/// The account is signed out here first, durably, whatever the network does then. After that the authority is asked to
/// revoke the refresh tokens that were removed (RFC 7009), if it offers that, within the client's
/// [time limit](super::ClientBuilder::time_limit). The user's session at the authority, in the browser, goes on.
///
/// ```no_run
/// # use cache_core::cache::CachedAccount;
/// # use flows::client::{PublicClient, Revocation};
/// # async fn sign_out(client: PublicClient, account: CachedAccount) -> Result<(), flows::Error> {
/// let signed_out = client.remove_account(&account).await?;
/// if let Revocation::Failed(error) = signed_out.revocation {
///     eprintln!("signed out here, but the authority did not revoke the token: {error}");
/// }
/// # Ok(()) }
/// ```
///
/// Dropping the future leaves the sign-out to its end; what was removed may then not be revoked.
#[must_use = "it does nothing until it is awaited"]
pub struct RemoveAccount<'a> {
    application: &'a Arc<Application>,
    /// Where the account lives, which is all that a sign-out needs of it.
    partition: PartitionKey,
    scope: SignOutScope,
    revoke: bool,
}

impl PublicClient {
    /// Signs an account out of this client: its tokens are removed and, where the authority offers it, revoked. No refresh that
    /// is under way, in whatever process, brings them back.
    pub fn remove_account<'a>(&'a self, account: &'a CachedAccount) -> RemoveAccount<'a> {
        RemoveAccount::new(self.application(), account.partition.clone())
    }
}

impl ConfidentialClient {
    /// Signs an account out of this client, as [`PublicClient::remove_account`] does.
    pub fn remove_account<'a>(&'a self, account: &'a CachedAccount) -> RemoveAccount<'a> {
        RemoveAccount::new(self.application(), account.partition.clone())
    }

    /// Signs the account with this home account ID out of this client, wherever its tokens are: those of the user, and all sessions that
    /// were begun on its behalf, in every process. A service that knows its users only by the tokens that they present has no
    /// [`accounts`](Self::accounts); the ID is that of the account in each [result](crate::AuthenticationResult).
    ///
    /// What an issuer gave without naming an account (see [token exchange](Self::acquire_token_by_token_exchange)) it cannot find.
    /// Refresh tokens of sessions are revoked too, where the authority offers that.
    ///
    /// ```no_run
    /// # async fn sign_out(client: flows::client::ConfidentialClient, id: String) -> Result<(), flows::Error> {
    /// let signed_out = client.remove_account_by_home_id(&id).await?;
    /// # let _ = signed_out; Ok(()) }
    /// ```
    pub fn remove_account_by_home_id(&self, home_account_id: &str) -> RemoveAccount<'_> {
        let application = self.application();
        RemoveAccount::new(application, application.user_partition(home_account_id))
    }
}

impl<'a> RemoveAccount<'a> {
    fn new(application: &'a Arc<Application>, partition: PartitionKey) -> Self {
        Self {
            application,
            partition,
            scope: SignOutScope::Client,
            revoke: true,
        }
    }

    /// Signs all clients of this client's family out at once. Without it, a family's token stays for its other members, and is
    /// not revoked.
    pub fn family(mut self) -> Self {
        self.scope = SignOutScope::Family;
        self
    }

    /// Says whether the authority is asked to revoke what was removed; it is, unless told otherwise.
    pub fn revoke(mut self, revoke: bool) -> Self {
        self.revoke = revoke;
        self
    }

    async fn run(self) -> Result<SignedOut, Error> {
        let Self {
            application,
            partition,
            scope,
            revoke,
        } = self;
        let removed = application
            .cache
            .sign_out_with_tokens(&partition, application.client.id(), scope)
            .await?;
        let revocation = if removed.refresh_tokens.is_empty() {
            Revocation::Nothing
        } else if revoke {
            revoke_all(application, &removed.refresh_tokens).await
        } else {
            Revocation::NotAsked
        };
        Ok(SignedOut {
            found: removed.found,
            revocation,
        })
    }
}

impl<'a> IntoFuture for RemoveAccount<'a> {
    type Output = Result<SignedOut, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

impl fmt::Debug for RemoveAccount<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoveAccount")
            .field("scope", &self.scope)
            .field("revoke", &self.revoke)
            .finish_non_exhaustive()
    }
}

/// What a sign-out did. The account is signed out here in any case.
#[derive(Debug)]
#[non_exhaustive]
pub struct SignedOut {
    /// Whether there was anything to remove.
    pub found: bool,
    /// What became of the removed refresh tokens at the authority.
    pub revocation: Revocation,
}

/// What became of removed refresh tokens at the authority.
#[derive(Debug)]
#[non_exhaustive]
pub enum Revocation {
    /// The authority offers no revocation (Entra does not): the tokens live there until they expire, known to nobody.
    NotOffered,
    /// The caller did not want it.
    NotAsked,
    /// No refresh token was removed.
    Nothing,
    /// The authority revoked all of them.
    Revoked,
    /// At least one may still be good at the authority, although nobody here has it any more.
    Failed(Error),
}

/// One after the other, because there is nearly always one; the first error is the one that is reported.
pub(super) async fn revoke_all(application: &Arc<Application>, tokens: &[Secret]) -> Revocation {
    let clock = application.cache.clock();
    let limit = application.time_limit;
    let revoking = async {
        let endpoint = application.endpoint_with(&application.authority, None).await?;
        if !endpoint.offers_revocation() {
            return Ok(false);
        }
        let correlation_id = application.correlation_id()?;
        let mut failed = None;
        for token in tokens {
            let revoked = endpoint.revoke(token, correlation_id, limit).await;
            failed = failed.or(revoked.err());
        }
        failed.map_or(Ok(true), Err)
    };
    match with_deadline(&**clock, limit, revoking).await {
        Some(Ok(true)) => Revocation::Revoked,
        Some(Ok(false)) => Revocation::NotOffered,
        Some(Err(error)) => Revocation::Failed(error),
        None => Revocation::Failed(out_of_time(application)),
    }
}

fn out_of_time(application: &Application) -> Error {
    let message = "the authority did not revoke the token within the time limit";
    HttpError::at(
        HttpErrorKind::OutcomeUnknown,
        application.authority.environment(),
        message,
    )
    .into()
}
