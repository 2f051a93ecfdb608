//! What a caller asks the cache for.

use std::hash::Hasher;
use std::sync::OnceLock;

use sha2::{Digest, Sha256};

use crate::cache::arguments::Arguments;

use super::scopes::{folded_hash, mixed};
use super::{AuthorityKind, PartitionKey, RequestHash, ScopeSet, TokenContext, TokenType};

/// A request for an access token: who asks, of whom, for what.
#[derive(Clone, Debug)]
pub struct TokenRequest {
    partition: PartitionKey,
    kind: AuthorityKind,
    client_id: String,
    environment: String,
    realm: String,
    scopes: ScopeSet,
    token_type: TokenType,
    context: TokenContext,
    claims: Option<String>,
    is_by_scopes: bool,
    /// Few requests are told from others in other processes.
    hash: OnceLock<RequestHash>,
    context_hash: u64,
    fingerprint: u64,
    arguments_hash: u64,
}

impl TokenRequest {
    /// A request for a bearer token of the plain context.
    ///
    /// `environment` is the authority's host (with its port, if any); `realm` its tenant, empty where there is none.
    #[must_use]
    pub fn new(
        partition: PartitionKey,
        kind: AuthorityKind,
        client_id: impl Into<String>,
        environment: impl Into<String>,
        realm: impl Into<String>,
        scopes: ScopeSet,
    ) -> Self {
        let is_by_scopes = matches!(
            &partition,
            PartitionKey::App { resource: Some(resource), .. } if *resource == scopes.normalised()
        );
        Self {
            is_by_scopes,
            partition,
            kind,
            client_id: client_id.into(),
            environment: environment.into(),
            realm: realm.into(),
            scopes,
            token_type: TokenType::Bearer,
            context: TokenContext::default(),
            claims: None,
            hash: OnceLock::new(),
            context_hash: 0,
            fingerprint: 0,
            arguments_hash: 0,
        }
        .hashed()
    }

    /// Asks for a token that is bound to a key.
    #[must_use]
    pub fn token_type(mut self, token_type: TokenType) -> Self {
        self.token_type = token_type;
        self.hashed()
    }

    /// Sets what else the request has that its tokens must agree with.
    #[must_use]
    pub fn context(mut self, context: TokenContext) -> Self {
        self.context = context;
        self.hashed()
    }

    /// Sets the claims that the authority is asked for (OIDC Core section 5.5), so that the request is told from one without.
    #[must_use]
    pub fn claims(mut self, claims: Option<String>) -> Self {
        self.claims = claims;
        self.hashed()
    }

    /// Where the token would be.
    #[must_use]
    pub fn partition(&self) -> &PartitionKey {
        &self.partition
    }

    /// The kind of authority.
    #[must_use]
    pub fn authority_kind(&self) -> AuthorityKind {
        self.kind
    }

    /// The client that asks.
    #[must_use]
    pub fn client_id(&self) -> &str {
        &self.client_id
    }

    /// The authority's host.
    #[must_use]
    pub fn environment(&self) -> &str {
        &self.environment
    }

    /// The tenant; empty where there is none.
    #[must_use]
    pub fn realm(&self) -> &str {
        &self.realm
    }

    /// The scopes that the token must cover.
    #[must_use]
    pub fn scopes(&self) -> &ScopeSet {
        &self.scopes
    }

    /// A hash of all of it that is the same in every process.
    #[must_use]
    pub fn hash(&self) -> &RequestHash {
        self.hash.get_or_init(|| self.computed_hash())
    }

    /// A fast hash of what an access token must agree with. Equal requests have equal fingerprints; the reverse is
    /// verified field by field.
    pub(crate) fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// As [`fingerprint`](Self::fingerprint), without the scopes.
    pub(crate) fn context_hash(&self) -> u64 {
        self.context_hash
    }

    /// Whether the partition's resource is the scopes, so that it says nothing of its own.
    pub(crate) fn is_by_scopes(&self) -> bool {
        self.is_by_scopes
    }

    /// The hash by which memory finds what answered the same arguments before.
    pub(crate) fn arguments_hash(&self) -> u64 {
        self.arguments_hash
    }

    /// The claims that the authority is asked for.
    #[must_use]
    pub fn requested_claims(&self) -> Option<&str> {
        self.claims.as_deref()
    }

    /// The token type and its key.
    #[must_use]
    pub fn requested_token_type(&self) -> &TokenType {
        &self.token_type
    }

    /// What else the token must agree with.
    #[must_use]
    pub fn requested_context(&self) -> &TokenContext {
        &self.context
    }

    fn hashed(mut self) -> Self {
        self.hash = OnceLock::new();
        self.context_hash = context_hash(&self.client_id, &self.realm, &self.token_type, &self.context);
        self.fingerprint = fingerprint(self.context_hash, self.scopes.words());
        self.arguments_hash = Arguments::of_request(&self).map_or(0, |arguments| arguments.hash());
        self
    }

    fn computed_hash(&self) -> RequestHash {
        let mut hash = Sha256::new();
        let mut part = |bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        };
        part(&self.partition.to_bytes());
        // Where case matters, requests that differ in it must not share an answer.
        let scopes = if self.kind.scopes_ignore_case() {
            self.scopes.normalised()
        } else {
            self.scopes.words().collect::<Vec<_>>().join(" ")
        };
        for text in [&self.client_id, &self.realm, &scopes] {
            part(text.as_bytes());
        }
        part(self.token_type.as_str().as_bytes());
        part(self.token_type.key_id().unwrap_or_default().as_bytes());
        part(&[
            u8::from(self.context.resource.is_some()),
            u8::from(self.context.assertion_hash.is_some()),
            u8::from(self.claims.is_some()),
        ]);
        part(self.context.resource.as_deref().unwrap_or_default().as_bytes());
        part(&[u8::from(self.context.continuous_access_evaluation)]);
        part(
            self.context
                .assertion_hash
                .as_deref()
                .unwrap_or_default()
                .as_bytes(),
        );
        part(self.claims.as_deref().unwrap_or_default().as_bytes());
        for (name, value) in &self.context.components {
            part(name.as_bytes());
            part(value.as_bytes());
        }
        let digest: [u8; 32] = hash.finalize().into();
        let mut short = [0; 16];
        short.copy_from_slice(&digest[..16]);
        short
    }
}

/// The fingerprint of what a token is for: of its [context](context_hash) and its scopes.
pub(crate) fn fingerprint<'a>(context: u64, words: impl Iterator<Item = &'a str>) -> u64 {
    let mut hash = context;
    let mut before = "";
    for word in words {
        // Words that differ in case alone are neighbours. Where case does not matter they are one.
        if word.eq_ignore_ascii_case(before) {
            continue;
        }
        before = word;
        hash = scope_hash(hash, word);
    }
    hash
}

/// The hash of a context and one scope.
pub(crate) fn scope_hash(context: u64, scope: &str) -> u64 {
    mixed(context.rotate_left(7) ^ folded_hash(scope))
}

/// The hash of what tokens that differ only in scope have in common. Environments are left out because aliases must meet.
pub(crate) fn context_hash(
    client_id: &str,
    realm: &str,
    token_type: &TokenType,
    context: &TokenContext,
) -> u64 {
    use std::hash::Hash;
    let mut hasher = std::hash::DefaultHasher::new();
    client_id.hash(&mut hasher);
    realm.hash(&mut hasher);
    token_type.hash(&mut hasher);
    context.hash(&mut hasher);
    hasher.finish()
}
