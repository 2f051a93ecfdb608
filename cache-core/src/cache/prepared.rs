//! Requests that are made again and again: a handle that keeps its answer.

use std::fmt;
use std::sync::Arc;

use arc_swap::{ArcSwapOption, Guard};

use super::acquired::{AcquireOptions, Acquired, Freshness, TokenSource};
use super::{AppTokenCall, AuthorityCall, CacheError, TokenCache};
use crate::schema::{AccessTokenRef, TokenRequest};
use crate::strategy::answers::Answer;

/// A request for a token that is made again and again, with the answer that memory gave last.
///
/// While that holds, [`peek`](Self::peek) borrows it without writing anything that threads share: neither a reference count nor a
/// metric (hits of prepared requests are in no counter). Share one handle by an `Arc` among all who make the request. Each keeps the
/// partition that its last answer came from in memory, beyond the bound of the memory tier, until it is asked again or dropped.
pub struct PreparedRequest {
    cache: TokenCache,
    request: Arc<TokenRequest>,
    answer: ArcSwapOption<Answer>,
}

impl TokenCache {
    /// A handle for a request that is made again and again.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use cache_core::cache::{AcquireOptions, AuthorityCall, CacheError, PreparedRequest, TokenCache};
    /// # use cache_core::schema::TokenRequest;
    /// # async fn example(cache: &TokenCache, request: TokenRequest, call: Arc<dyn AuthorityCall>) -> Result<(), CacheError> {
    /// let prepared = cache.prepare(Arc::new(request));
    /// loop {
    ///     if let Some(token) = prepared.peek() {
    ///         println!("it expires at {}", token.token().expires_on);
    ///     } else {
    ///         let acquired = prepared.acquire(AcquireOptions::default(), Arc::clone(&call)).await?;
    ///         println!("it expires at {}", acquired.token().expires_on);
    ///     }
    /// #   break;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn prepare(&self, request: Arc<TokenRequest>) -> PreparedRequest {
        PreparedRequest {
            cache: self.clone(),
            request,
            answer: ArcSwapOption::empty(),
        }
    }
}

impl PreparedRequest {
    /// The request.
    #[must_use]
    pub fn request(&self) -> &Arc<TokenRequest> {
        &self.request
    }

    /// What memory answers, if it can at once: as [`TokenCache::find`], borrowed. Sign-outs, changes and deadlines end it as they end that.
    ///
    /// Hold it briefly: a thread has room for eight of them, and further ones cost a reference count.
    #[must_use]
    #[inline(always)]
    pub fn peek(&self) -> Option<PeekedToken> {
        let known = self.answer.load();
        let now = self.cache.inner.clock.coarse();
        match &*known {
            Some(answer) if self.cache.inner.memory.holds(answer, now) => Some(PeekedToken(known)),
            _ => self.look_again(),
        }
    }

    /// As [`TokenCache::acquire`], from what is known here first.
    ///
    /// Cancellation safe: a refresh that was begun goes on, and its tokens are stored.
    ///
    /// # Errors
    /// As [`TokenCache::acquire`].
    pub async fn acquire(
        &self,
        options: AcquireOptions,
        call: Arc<dyn AuthorityCall>,
    ) -> Result<Acquired, CacheError> {
        if let Some(peeked) = self.peek_for(options) {
            return Ok(peeked.to_acquired());
        }
        self.cache.acquire(Arc::clone(&self.request), options, call).await
    }

    /// As [`TokenCache::acquire_app`], from what is known here first.
    ///
    /// Cancellation safe: a request that was begun goes on, and its token is stored.
    ///
    /// # Errors
    /// As [`TokenCache::acquire_app`].
    pub async fn acquire_app(
        &self,
        options: AcquireOptions,
        call: Arc<dyn AppTokenCall>,
    ) -> Result<Acquired, CacheError> {
        if let Some(peeked) = self.peek_for(options) {
            return Ok(peeked.to_acquired());
        }
        self.cache
            .acquire_app(Arc::clone(&self.request), options, call)
            .await
    }

    fn peek_for(&self, options: AcquireOptions) -> Option<PeekedToken> {
        (options.freshness == Freshness::Cached)
            .then(|| self.peek())
            .flatten()
    }

    /// The answer that others have got meanwhile.
    #[cold]
    fn look_again(&self) -> Option<PeekedToken> {
        let now = self.cache.inner.clock.coarse();
        let answer = self.cache.inner.answer(&self.request, now);
        // Also where there is none: what has ended must not be kept in memory from here.
        self.answer.store(answer.clone());
        answer.map(|answer| PeekedToken(Guard::from_inner(Some(answer))))
    }
}

impl fmt::Debug for PreparedRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PreparedRequest").finish_non_exhaustive()
    }
}

/// A token that is borrowed from memory: see [`PreparedRequest::peek`].
pub struct PeekedToken(Guard<Option<Arc<Answer>>>);

impl PeekedToken {
    /// The access token.
    #[must_use]
    #[inline]
    pub fn token(&self) -> AccessTokenRef<'_> {
        self.answer().token()
    }

    /// The token as something to keep, with its account and its ID token. It writes a reference count that threads share.
    #[must_use]
    pub fn to_acquired(&self) -> Acquired {
        Acquired::of(Arc::clone(self.answer()), TokenSource::Memory)
    }

    #[inline]
    #[expect(
        clippy::expect_used,
        reason = "nothing is borrowed from a handle that has no answer"
    )]
    fn answer(&self) -> &Arc<Answer> {
        self.0.as_ref().expect("it had an answer")
    }
}

impl fmt::Debug for PeekedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeekedToken")
            .field("token", &self.token())
            .finish()
    }
}
