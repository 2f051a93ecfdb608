//! An HTTP client that reaches nobody.

use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use benches::payload::LIFETIME;
use cache_core::secret::{Secret, SecretBytes};
use flows::http::{HttpClient, HttpError, HttpRequest, HttpResponse};
use serde_json::json;

/// Grants one token to whoever asks next, and counts.
#[derive(Default)]
pub(crate) struct Offline {
    next: Mutex<Option<Secret>>,
    requests: AtomicU64,
}

impl Offline {
    /// How many requests there were.
    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Grants this token at the next request.
    pub(crate) fn grant_next(&self, token: Secret) {
        *self.lock() = Some(token);
    }

    /// The reply to the next request: a grant of the token, if there is one.
    pub(crate) fn reply(&self) -> Option<String> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let token = self.lock().take()?;
        let reply = json!({
            "access_token": token.expose(),
            "token_type": "Bearer",
            "expires_in": LIFETIME.as_secs(),
            "ext_expires_in": LIFETIME.as_secs(),
        });
        Some(reply.to_string())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Secret>> {
        self.next
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl fmt::Debug for Offline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Offline")
            .field("requests", &self.requests())
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl HttpClient for Offline {
    async fn send(&self, _: HttpRequest) -> Result<HttpResponse, HttpError> {
        let reply = self.reply();
        Ok(HttpResponse {
            status: if reply.is_some() { 200 } else { 503 },
            headers: vec![("content-type".to_owned(), "application/json".to_owned())],
            body: SecretBytes::new(reply.unwrap_or_default().into_bytes()),
        })
    }
}
