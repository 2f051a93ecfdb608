//! `azure_identity`.

use std::sync::Arc;

use async_trait::async_trait;
use azure_core::credentials::{Secret, TokenCredential};
use azure_core::http::headers::Headers;
use azure_core::http::{AsyncRawResponse, ClientOptions, HttpClient, Request, StatusCode, Transport};
use azure_identity::{ClientSecretCredential, ClientSecretCredentialOptions};
use benches::harness::QuestionError;
use benches::payload::{CLIENT_ID, REALM};

use crate::applications::{Resources, SECRET};
use crate::offline::Offline;

/// The way of `azure_identity` to an authority.
#[derive(Debug)]
struct Wire(Arc<Offline>);

#[async_trait]
impl HttpClient for Wire {
    async fn execute_request(&self, _: &Request) -> azure_core::Result<AsyncRawResponse> {
        let reply = self.0.reply();
        let status = if reply.is_some() {
            StatusCode::Ok
        } else {
            StatusCode::BadRequest
        };
        let body = reply.unwrap_or_else(|| r#"{"error":"invalid_request"}"#.to_owned());
        Ok(AsyncRawResponse::from_bytes(status, Headers::new(), body))
    }
}

/// A credential that has obtained a token for each resource.
pub(crate) async fn credential(
    resources: &Resources,
    http: Arc<Offline>,
) -> Result<Arc<ClientSecretCredential>, QuestionError> {
    let transport = Transport::new(Arc::new(Wire(Arc::clone(&http))));
    let options = ClientSecretCredentialOptions {
        client_options: ClientOptions {
            transport: Some(transport),
            ..ClientOptions::default()
        },
    };
    let credential =
        ClientSecretCredential::new(REALM, CLIENT_ID.to_owned(), Secret::new(SECRET), Some(options))?;
    for resource in 0..resources.count() {
        http.grant_next(cache_core::secret::Secret::new(resources.access_token(resource)));
        credential.get_token(&[&resources.scope(resource)], None).await?;
    }
    Ok(credential)
}
