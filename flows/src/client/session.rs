//! What the acquisitions that live in sessions share.

use std::sync::Arc;
use std::time::Duration;

use cache_core::cache::SessionLookup;
use cache_core::schema::{PartitionKey, SessionKey, TokenContext};

use super::application::{Application, in_realm};
use super::outcome;
use super::remove_account::{Revocation, revoke_all};
use super::session_id::{SessionError, SessionId};
use crate::authority::Authority;
use crate::error::ReplyError;
use crate::request::TokenRequest;
use crate::{AuthenticationResult, CorrelationId, Error, InteractionRequired};

/// A session of a caller's key, as the cache knows it.
#[derive(Clone, Debug)]
pub(super) struct KeyedSession<'a> {
    id: &'a SessionId,
    partition: PartitionKey,
}

impl<'a> KeyedSession<'a> {
    /// A session that goes on without the user.
    pub(super) fn long_running(application: &Application, id: &'a SessionId) -> Self {
        Self {
            id,
            partition: application.session_partition(SessionKey::CallerKey(id.expose().to_owned())),
        }
    }

    /// A session of a user's browser with a web application.
    pub(super) fn web(application: &Application, id: &'a SessionId) -> Self {
        Self {
            id,
            partition: application.session_partition(SessionKey::WebSession(id.expose().to_owned())),
        }
    }

    pub(super) fn partition(&self) -> &PartitionKey {
        &self.partition
    }

    /// Whether it may be a session of this account.
    pub(super) fn is_of(&self, home_account_id: &str) -> bool {
        self.id.check(home_account_id).is_ok()
    }

    /// Whose session it is.
    pub(super) async fn lookup(&self, application: &Application) -> Result<SessionLookup, Error> {
        let lookup = application.cache.session_lookup(&self.partition).await?;
        let gone = || Error::InteractionRequired(Box::new(InteractionRequired::no_refresh_token()));
        let lookup = lookup.ok_or_else(gone)?;
        self.id.check(&lookup.account.home_account_id)?;
        Ok(lookup)
    }

    /// Refuses a session that is another account's already.
    pub(super) async fn check(&self, application: &Application) -> Result<(), Error> {
        if let Some(account) = application.cache.session_account(&self.partition).await? {
            self.id.check(&account.home_account_id)?;
        }
        Ok(())
    }

    /// Sends `request` at `authority`, and begins the session with what it brings.
    pub(super) async fn begin(
        &self,
        application: &Application,
        authority: &Authority,
        request: TokenRequest,
        lifetime: Duration,
    ) -> Result<AuthenticationResult, Error> {
        self.check(application).await?;
        let request = request.context(application.context.clone());
        let correlation_id: CorrelationId = application.correlation_id()?;
        let endpoint = application.endpoint(authority).await?;
        let clock = application.cache.clock();
        let began = clock.monotonic();
        let response = endpoint
            .send(request, correlation_id, application.time_limit)
            .await?;
        let answered = clock.monotonic();
        let response = in_realm(authority, response);
        let account = response.account.as_ref().ok_or(ReplyError::NoAccount)?;
        self.id.check(&account.home_account_id)?;
        let user = application.user_partition(&account.home_account_id);
        let acquired = application
            .cache
            .begin_session(&user, &self.partition, response, lifetime)
            .await?;
        let elapsed = clock.monotonic().saturating_sub(answered);
        let time_in_http = answered.saturating_sub(began);
        Ok(outcome::signed_in(
            acquired,
            correlation_id,
            elapsed,
            time_in_http,
        ))
    }

    /// Ends the session, and asks the authority to revoke its refresh token; `false` when there was none.
    pub(super) async fn end(&self, application: &Arc<Application>) -> Result<bool, Error> {
        self.check(application).await?;
        let removed = application.cache.end_session_with_tokens(&self.partition).await?;
        if !removed.refresh_tokens.is_empty()
            && let Revocation::Failed(error) = revoke_all(application, &removed.refresh_tokens).await
        {
            tracing::warn!(%error, "the refresh token of a session that was ended was not revoked");
        }
        Ok(removed.found)
    }
}

impl Application {
    pub(super) fn session_partition(&self, key: SessionKey) -> PartitionKey {
        PartitionKey::Session {
            client_id: self.client.id().to_owned(),
            authority: self.identity.clone(),
            key,
        }
    }

    /// This client's context, for what was obtained with the assertion of this hash.
    pub(super) fn assertion_context(&self, hash: &[u8; 32]) -> TokenContext {
        use base64::Engine;
        use base64::engine::general_purpose::URL_SAFE_NO_PAD;
        TokenContext {
            assertion_hash: Some(URL_SAFE_NO_PAD.encode(hash).into()),
            ..self.context.clone()
        }
    }
}

impl From<SessionError> for Error {
    fn from(error: SessionError) -> Self {
        Self::Session(error)
    }
}
