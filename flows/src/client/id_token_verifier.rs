//! Checking ID tokens that came another way.

use std::sync::Arc;

use super::application::Application;
use super::{ConfidentialClient, PublicClient};
use crate::{Error, IdTokenVerifier};

impl ConfidentialClient {
    /// Checks ID tokens of this client that a browser or an app brings.
    ///
    /// # Errors
    /// As discovery.
    ///
    /// # Cancellation safety
    /// Cancellation safe.
    pub async fn id_token_verifier(&self) -> Result<IdTokenVerifier, Error> {
        self.application().id_token_verifier().await
    }
}

impl PublicClient {
    /// As [`ConfidentialClient::id_token_verifier`].
    ///
    /// # Errors
    /// As discovery.
    ///
    /// # Cancellation safety
    /// Cancellation safe.
    pub async fn id_token_verifier(&self) -> Result<IdTokenVerifier, Error> {
        self.application().id_token_verifier().await
    }
}

impl Application {
    async fn id_token_verifier(&self) -> Result<IdTokenVerifier, Error> {
        let metadata = self.metadata(&self.authority).await?;
        let transport = Arc::clone(&self.transport);
        Ok(IdTokenVerifier::new(
            transport,
            self.authority.clone(),
            metadata,
            self.client.id(),
        ))
    }
}
