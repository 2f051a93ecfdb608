//! Tokens that belong to one browser's session with a web application, not to the user everywhere.

use super::session::KeyedSession;
use super::session_id::SessionId;
use super::{AcquireTokenSilent, ConfidentialClient};
use crate::Error;

impl ConfidentialClient {
    /// Ends a web session that was begun with [`in_session`](super::AcquireTokenByAuthorizationCode::in_session): its tokens are removed, and no
    /// refresh that is under way brings them back. The user's other sessions go on. `false` when there was none.
    ///
    /// If it was the user's last with this client, the authority is then asked to revoke its refresh token (RFC 7009), where it offers that,
    /// within the client's [time limit](super::ClientBuilder::time_limit). Earlier that could end the others: providers make one grant of
    /// all sign-ins of a browser. A failure is logged; nobody has the token any more.
    ///
    /// # Errors
    /// [`Error::Cache`], and the session may go on; [`Error::Session`] when it is another account's.
    ///
    /// # Cancellation safety
    /// The removal goes on.
    pub async fn end_session(&self, id: &SessionId) -> Result<bool, Error> {
        let application = self.application();
        KeyedSession::web(application, id).end(application).await
    }
}

impl<'a> AcquireTokenSilent<'a> {
    /// Says that the token is that of a web session, begun with
    /// [`in_session`](super::AcquireTokenByAuthorizationCode::in_session); no account is needed then. A session that is gone, because it ended,
    /// expired, or its user signed out of this client, is [`Error::InteractionRequired`].
    ///
    /// ```no_run
    /// use cache_core::random::OsRandom;
    /// use flows::client::{ConfidentialClient, SessionId};
    /// use flows::request::authorization_code::PendingParts;
    ///
    /// # async fn session(client: ConfidentialClient, kept: PendingParts, query: String) -> Result<(), flows::Error> {
    /// let id = SessionId::random(&OsRandom)?;
    /// client.acquire_token_by_authorization_code(&kept, &query).in_session(&id).await?;
    /// // With each later request of this browser:
    /// let result = client.acquire_token_silent(["User.Read"]).in_session(&id).await?;
    /// // When it signs out:
    /// client.end_session(&id).await?;
    /// # let _ = result; Ok(()) }
    /// ```
    pub fn in_session(self, id: &'a SessionId) -> Self {
        let session = KeyedSession::web(self.application(), id);
        self.in_keyed_session(session)
    }
}
