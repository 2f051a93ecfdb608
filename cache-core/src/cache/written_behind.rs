//! Tokens whose write is still under way in the background: lookups see them already.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::acquired::{Acquired, TokenSource};
use crate::schema::{AccessToken, RequestHash, TokenRequest};

/// The tokens that wait to be stored, by request.
#[derive(Debug, Default)]
pub(crate) struct WrittenBehind {
    tokens: Arc<Mutex<HashMap<RequestHash, (u64, Acquired)>>>,
    next: std::sync::atomic::AtomicU64,
}

impl WrittenBehind {
    pub(crate) fn len(&self) -> usize {
        lock(&self.tokens).len()
    }

    /// The token for exactly this request.
    pub(crate) fn find(
        &self,
        request: &TokenRequest,
        usable: impl Fn(&AccessToken) -> bool,
    ) -> Option<Acquired> {
        let tokens = lock(&self.tokens);
        let (_, acquired) = tokens.get(request.hash())?;
        let token = acquired.partition.find(request, usable)?;
        let serves = std::ptr::eq(token, acquired.token());
        serves.then(|| Acquired {
            source: TokenSource::Memory,
            refresh_reason: None,
            ..acquired.clone()
        })
    }

    /// Shows the token until the entry is dropped.
    pub(crate) fn insert(&self, request: Arc<TokenRequest>, acquired: Acquired) -> Entry {
        let number = self.next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        lock(&self.tokens).insert(*request.hash(), (number, acquired));
        Entry {
            tokens: Arc::clone(&self.tokens),
            request: *request.hash(),
            number,
        }
    }
}

/// Held by the task that stores the token.
pub(crate) struct Entry {
    tokens: Arc<Mutex<HashMap<RequestHash, (u64, Acquired)>>>,
    request: RequestHash,
    number: u64,
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut tokens = lock(&self.tokens);
        // A later token for the same request may have taken the place.
        if tokens
            .get(&self.request)
            .is_some_and(|(number, _)| *number == self.number)
        {
            tokens.remove(&self.request);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
