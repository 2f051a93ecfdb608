//! Handing an authorization request in before the browser is sent (RFC 9126).

use cache_core::schema::ScopeSet;
use cache_core::time::UnixMillis;

use super::PendingAuthorization;
use crate::error::ReplyError;
use crate::http::Form;
use crate::response::Fields;

/// What is left in the browser's URL when a request was pushed; the client's authentication brings it into the form.
const CLIENT_ID: &str = "client_id";

impl PendingAuthorization {
    /// Whether the request has to be handed in with
    /// [`TokenEndpoint::push_authorization`](crate::TokenEndpoint::push_authorization) before the browser is sent.
    #[must_use]
    pub fn is_to_be_pushed(&self) -> bool {
        self.is_to_be_pushed
    }

    /// Until when the URL can be opened, where the authority said so: a pushed request lives for a minute or so.
    #[must_use]
    pub fn expires_on(&self) -> Option<UnixMillis> {
        self.expires_on
    }

    /// What is asked for.
    pub(crate) fn scopes(&self) -> &ScopeSet {
        &self.parts.scopes
    }

    /// The request as the form that is pushed, without the client's identity.
    pub(crate) fn pushed_form(&self) -> Form {
        let mut form = Form::new();
        for (name, value) in self.url.query_pairs().skip(self.own_parameters) {
            if name != CLIENT_ID {
                form.push(&name, &value);
            }
        }
        form
    }

    /// The same sign-in, whose URL names the request that was pushed and shows nothing of it (section 4).
    pub(crate) fn accept_pushed(
        mut self,
        client_id: &str,
        fields: &Fields,
        sent_at: UnixMillis,
    ) -> Result<Self, ReplyError> {
        let request_uri = fields
            .text("request_uri")
            .ok_or(ReplyError::Missing("request_uri"))?;
        let own: Vec<_> = self
            .url
            .query_pairs()
            .take(self.own_parameters)
            .map(|(name, value)| (name.into_owned(), value.into_owned()))
            .collect();
        self.url
            .query_pairs_mut()
            .clear()
            .extend_pairs(own)
            .append_pair(CLIENT_ID, client_id)
            .append_pair("request_uri", request_uri);
        self.own_parameters = 0;
        self.is_to_be_pushed = false;
        self.expires_on = fields
            .duration("expires_in")
            .map(|lifetime| sent_at.saturating_add(lifetime));
        Ok(self)
    }
}
