//! The operations that are counted, a function each. Callgrind finds them by their names, so none is inlined.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use cache_core::cache::{
    AcquireOptions, Acquired, AuthorityCall, CachedAccount, Lookup, PartitionRef, PreparedRequest, TokenCache,
};
use cache_core::codec::{BincodeCodec, Codec};
use cache_core::schema::{AuthorityIdentity, Partition, TokenContext, TokenRequest, TokenType};
use cache_core::secret::SecretBytes;
use flows::AuthenticationResult;
use flows::client::PublicClient;

use crate::fixture::{CLIENT_ID, ENVIRONMENT, KIND, REALM, SCOPES};

/// A prepared request that memory answers; the length of the token.
#[inline(never)]
#[must_use]
pub fn peek(prepared: &PreparedRequest) -> Option<usize> {
    let token = prepared.peek()?;
    Some(token.token().secret.expose().len())
}

/// A lookup from plain arguments, in the same words as before.
#[inline(never)]
#[must_use]
pub fn find(cache: &TokenCache, authority: &AuthorityIdentity, home_account_id: &str) -> Option<Acquired> {
    find_scopes(cache, authority, home_account_id, &SCOPES)
}

#[inline]
pub(crate) fn find_scopes(
    cache: &TokenCache,
    authority: &AuthorityIdentity,
    home_account_id: &str,
    scopes: &[&str],
) -> Option<Acquired> {
    cache.find(&Lookup {
        partition: PartitionRef::User {
            authority,
            home_account_id,
        },
        kind: KIND,
        client_id: CLIENT_ID,
        environment: ENVIRONMENT,
        realm: REALM,
        scopes,
        token_type: &TokenType::Bearer,
        context: &TokenContext::default(),
    })
}

/// An acquisition that memory answers, at once; `None` when it had to wait.
#[inline(never)]
#[must_use]
pub fn acquire(
    cache: &TokenCache,
    request: Arc<TokenRequest>,
    call: Arc<dyn AuthorityCall>,
) -> Option<Acquired> {
    let acquisition = pin!(cache.acquire(request, AcquireOptions::default(), call));
    match acquisition.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(acquired) => acquired.ok(),
        Poll::Pending => None,
    }
}

/// As [`acquire`], in words that nobody has used before.
#[inline(never)]
#[must_use]
pub fn acquire_anew(
    cache: &TokenCache,
    request: Arc<TokenRequest>,
    call: Arc<dyn AuthorityCall>,
) -> Option<Acquired> {
    // Of two functions that do the same the compiler keeps one.
    std::hint::black_box("in words that nobody has used before");
    let acquisition = pin!(cache.acquire(request, AcquireOptions::default(), call));
    match acquisition.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(acquired) => acquired.ok(),
        Poll::Pending => None,
    }
}

/// The whole silent acquisition that memory answers, at once; `None` when it had to wait.
#[inline(never)]
#[must_use]
pub fn silent(client: &PublicClient, account: &CachedAccount) -> Option<AuthenticationResult> {
    silently(client, account)
}

#[inline]
pub(crate) fn silently(client: &PublicClient, account: &CachedAccount) -> Option<AuthenticationResult> {
    let acquisition = pin!(client.acquire_token_silent(SCOPES).account(account).into_future());
    match acquisition.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result.ok(),
        Poll::Pending => None,
    }
}

/// The decoding of a partition with ten access tokens.
#[inline(never)]
#[must_use]
pub fn decode(encoded: &SecretBytes) -> Option<Partition> {
    BincodeCodec
        .decode(encoded.expose(), BincodeCodec.schema_version())
        .ok()
}

/// The encoding of such a partition.
#[inline(never)]
#[must_use]
pub fn encode(partition: &Partition) -> Option<SecretBytes> {
    BincodeCodec.encode(partition).ok()
}
