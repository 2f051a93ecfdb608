//! A reply, and what its request had told in confidence.

use crate::http::{HttpResponse, SentSecrets};

/// A reply whose words can be shown.
pub(crate) struct Reply {
    pub(crate) response: HttpResponse,
    sent: SentSecrets,
}

impl Reply {
    /// The reply to a request with these secrets.
    pub(crate) fn new(response: HttpResponse, sent: SentSecrets) -> Self {
        Self { response, sent }
    }

    /// The server's `text` for people: nothing in it steers a terminal, and no secret of the request is in it.
    pub(crate) fn display(&self, text: &str) -> String {
        self.sent.display(text)
    }

    /// Whether the server's `text` repeats a secret of the request.
    pub(crate) fn repeats_a_secret(&self, text: &str) -> bool {
        self.sent.are_in(text)
    }
}

#[cfg(test)]
impl From<HttpResponse> for Reply {
    /// The reply to a request without secrets.
    fn from(response: HttpResponse) -> Self {
        Self::new(response, SentSecrets::default())
    }
}
