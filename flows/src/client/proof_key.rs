//! Which key a client's tokens are bound to, and proofs for resources.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use cache_core::cache::{ProofKey, ProofKeyOwner};
use cache_core::schema::{TokenResponse, TokenType};
use cache_core::secret::Secret;
use tokio::sync::OnceCell;
use url::Url;

use super::application::Application;
use super::{ConfidentialClient, PublicClient};
use crate::error::ConfigurationError;
use crate::proof::{self, DpopKey, KeyChoice, Proof, ProofError, ProofSigner, SoftwareKey};
use crate::{AuthenticationResult, Error};

/// How many sign-ins may be under way at once before the key of the oldest is forgotten.
const MOST_FRESH: usize = 64;

/// What a client knows of its keys.
pub(super) struct ProofKeys {
    choice: Option<DpopKey>,
    /// The confidential client's own, once it was had.
    own: OnceCell<Arc<SoftwareKey>>,
    /// The type of the tokens that are bound to the client's one key, once that was had.
    token_type: OnceLock<TokenType>,
    /// Of sign-ins that are under way: whose they are shows only when their tokens are there.
    fresh: Mutex<VecDeque<Arc<SoftwareKey>>>,
}

impl ProofKeys {
    pub(super) fn new(choice: Option<DpopKey>) -> Self {
        Self {
            choice,
            own: OnceCell::new(),
            token_type: OnceLock::new(),
            fresh: Mutex::default(),
        }
    }

    fn fresh(&self) -> Result<Arc<SoftwareKey>, ProofError> {
        let key = Arc::new(SoftwareKey::generate()?);
        let mut fresh = self.fresh.lock().unwrap_or_else(PoisonError::into_inner);
        fresh.push_back(Arc::clone(&key));
        let surplus = fresh.len().saturating_sub(MOST_FRESH);
        fresh.drain(..surplus);
        Ok(key)
    }

    /// The key of a sign-in that has ended.
    fn take(&self, thumbprint: &str) -> Option<Arc<SoftwareKey>> {
        let mut fresh = self.fresh.lock().unwrap_or_else(PoisonError::into_inner);
        let index = fresh.iter().position(|key| key.thumbprint() == thumbprint)?;
        fresh.remove(index)
    }
}

impl fmt::Debug for ProofKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProofKeys")
            .field("choice", &self.choice)
            .finish_non_exhaustive()
    }
}

impl Application {
    /// The one key of everything that the client does: its signer's, or a confidential client's own. `None` where no tokens are bound,
    /// and where each account has a key of its own.
    pub(super) async fn client_signer(&self) -> Result<Option<Arc<dyn ProofSigner>>, Error> {
        match &self.proof_keys.choice {
            None => Ok(None),
            Some(DpopKey(KeyChoice::Signer(signer))) => Ok(Some(Arc::clone(signer))),
            Some(DpopKey(KeyChoice::Software)) if self.client.is_confidential() => {
                let own = self.proof_keys.own.get_or_try_init(|| async {
                    let key = self.stored_key(&self.owner(None)).await?;
                    Ok::<_, Error>(Arc::new(SoftwareKey::from_pkcs8(key.material)?))
                });
                Ok(Some(own.await?.clone()))
            }
            Some(DpopKey(KeyChoice::Software)) => Ok(None),
        }
    }

    /// The key for a request of nobody in particular: the client's, or a fresh one that [`keep_key`](Self::keep_key) gives to whoever signs in.
    pub(super) async fn sign_in_signer(&self) -> Result<Option<Arc<dyn ProofSigner>>, Error> {
        if self.keys_are_per_account() {
            return Ok(Some(self.proof_keys.fresh()?));
        }
        self.client_signer().await
    }

    /// The key that `refresh_token`, which is about to be spent, is bound to.
    pub(super) async fn refresh_signer(
        &self,
        home_account_id: &str,
        refresh_token: &Secret,
    ) -> Result<Option<Arc<dyn ProofSigner>>, Error> {
        if !self.keys_are_per_account() {
            return self.client_signer().await;
        }
        let owner = self.owner(Some(home_account_id));
        let key = self.cache.spend_with_proof_key(&owner, refresh_token).await?;
        let key = key.ok_or_else(|| {
            ProofError::new("the key that the refresh token is bound to is not in the cache; sign in again")
        })?;
        Ok(Some(Arc::new(SoftwareKey::from_pkcs8(key.material)?)))
    }

    /// The type of the tokens of the application itself.
    pub(super) async fn client_token_type(&self) -> Result<TokenType, Error> {
        let Some(signer) = self.client_signer().await? else {
            return Ok(TokenType::Bearer);
        };
        let bound = || proof::token_type(signer.public_key());
        Ok(self.proof_keys.token_type.get_or_init(bound).clone())
    }

    /// The type of all tokens of this client, if that can be told at once.
    pub(super) fn known_token_type(&self) -> Option<&TokenType> {
        match &self.proof_keys.choice {
            None => Some(&TokenType::Bearer),
            Some(_) if self.keys_are_per_account() => None,
            Some(_) => self.proof_keys.token_type.get(),
        }
    }

    /// The type of an account's tokens.
    pub(super) async fn account_token_type(&self, home_account_id: &str) -> Result<TokenType, Error> {
        if !self.keys_are_per_account() {
            return self.client_token_type().await;
        }
        let owner = self.owner(Some(home_account_id));
        if let Some(key_id) = self.cache.proof_key_id(&owner).await? {
            return Ok(proof::bound_to(&key_id));
        }
        // Where the account was signed in without, its next refresh binds it.
        let key = self.stored_key(&owner).await?;
        Ok(proof::bound_to(&key.key_id))
    }

    /// The record of the key that a sign-in's tokens are bound to. It is stored before them and once more after, as
    /// [`add_proof_key`](cache_core::cache::TokenCache::add_proof_key) wants it.
    pub(super) fn keep_key(&self, response: &TokenResponse) -> Result<Option<KeptKey>, Error> {
        let (true, Some(thumbprint)) = (self.keys_are_per_account(), response.token_type.key_id()) else {
            return Ok(None);
        };
        let key = self.proof_keys.take(thumbprint).ok_or_else(|| {
            ProofError::new(
                "the key of this sign-in was forgotten, because too many were begun; sign in again",
            )
        })?;
        Ok(Some(KeptKey {
            owner: self.owner(Some(response.home_account_id())),
            key: to_record(&key),
            refresh_token: response.refresh_token.clone(),
        }))
    }

    pub(super) async fn store_key(&self, kept: Option<&KeptKey>) -> Result<(), Error> {
        if let Some(kept) = kept {
            self.cache
                .add_proof_key(&kept.owner, &kept.key, kept.refresh_token.as_ref())
                .await?;
        }
        Ok(())
    }

    async fn prove(
        &self,
        result: &AuthenticationResult,
        method: &str,
        url: &str,
        nonce: Option<&str>,
    ) -> Result<Secret, Error> {
        let url = Url::parse(url)
            .map_err(|error| ConfigurationError::new("the resource's URL is not one").with_source(error))?;
        let token_type = result.token_type();
        let key_id = token_type.key_id().ok_or_else(|| {
            ConfigurationError::new("the token is bound to no key; a bearer token needs no proof")
        })?;
        let signer = self.signer_named(result, key_id).await?;
        let proof = Proof {
            method,
            url: &url,
            nonce,
            access_token: Some(result.access_token()),
        };
        let now = self.cache.clock().now().to_seconds();
        proof.sign(&*signer, &**self.cache.random(), now).await
    }

    async fn signer_named(
        &self,
        result: &AuthenticationResult,
        key_id: &str,
    ) -> Result<Arc<dyn ProofSigner>, Error> {
        let gone =
            || ProofError::new("the key that the token is bound to is not this client's, or was removed");
        if !self.keys_are_per_account() {
            let signer = self.client_signer().await?;
            let own = signer.filter(|signer| signer.public_key().thumbprint() == key_id);
            return Ok(own.ok_or_else(gone)?);
        }
        let account = result.account().ok_or_else(gone)?;
        let owner = self.owner(Some(&account.home_account_id));
        let key = self
            .cache
            .proof_key_named(&owner, key_id)
            .await?
            .ok_or_else(gone)?;
        Ok(Arc::new(SoftwareKey::from_pkcs8(key.material)?))
    }

    /// A public client's refresh tokens are bound to the key too (RFC 9449 section 5), so each account has its own: one key for all would
    /// let resources tell that two accounts are one person's.
    fn keys_are_per_account(&self) -> bool {
        matches!(self.proof_keys.choice, Some(DpopKey(KeyChoice::Software))) && !self.client.is_confidential()
    }

    fn owner(&self, home_account_id: Option<&str>) -> ProofKeyOwner {
        ProofKeyOwner {
            authority: self.identity.clone(),
            client_id: self.client.id().to_owned(),
            home_account_id: home_account_id.map(str::to_owned),
        }
    }

    /// The owner's key, made if there is none.
    async fn stored_key(&self, owner: &ProofKeyOwner) -> Result<ProofKey, Error> {
        if let Some(key) = self.cache.proof_key(owner).await? {
            return Ok(key);
        }
        let fresh = to_record(&SoftwareKey::generate()?);
        Ok(self.cache.proof_key_or(owner, fresh).await?)
    }
}

/// The key of a sign-in, as the cache keeps it.
pub(super) struct KeptKey {
    owner: ProofKeyOwner,
    key: ProofKey,
    refresh_token: Option<Secret>,
}

fn to_record(key: &SoftwareKey) -> ProofKey {
    ProofKey {
        key_id: key.thumbprint().to_owned(),
        material: key.pkcs8().clone(),
    }
}

macro_rules! proof_methods {
    ($client:ty) => {
        impl $client {
            /// The value of a `DPoP` header for one request to a resource (RFC 9449 section 7), which goes with
            /// [`authorization_header`](AuthenticationResult::authorization_header). `method` is the request's, such as `GET`; of `url` the query
            /// is left out. `nonce` is what the resource demanded in a `DPoP-Nonce` header, if it did. Each request needs a proof of
            /// its own.
            ///
            /// # Errors
            /// [`Error::Configuration`] for a token that is bound to no key; [`Error::Proof`] when the key is not there any more, as after a
            /// sign-out; [`Error::Cache`].
            ///
            /// # Cancellation safety
            /// Cancellation safe.
            pub async fn dpop_proof(
                &self,
                result: &AuthenticationResult,
                method: &str,
                url: &str,
                nonce: Option<&str>,
            ) -> Result<Secret, Error> {
                self.application().prove(result, method, url, nonce).await
            }
        }
    };
}

proof_methods!(PublicClient);
proof_methods!(ConfidentialClient);
