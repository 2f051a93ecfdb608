//! `yup-oauth2`.

use std::path::Path;

use benches::harness::QuestionError;
use benches::payload::LIFETIME;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::json;
use time::OffsetDateTime;
use yup_oauth2::authenticator::Authenticator;
use yup_oauth2::storage::TokenInfo;
use yup_oauth2::{CustomHyperClientBuilder, ServiceAccountAuthenticator, ServiceAccountKey};

use crate::applications::Resources;

/// A service account that has a token for each resource. It reads them from a file, once, and then has them in memory as those that it obtains itself.
pub(crate) async fn service_account(
    resources: &Resources,
) -> Result<Authenticator<HttpConnector>, QuestionError> {
    let tokens: Vec<_> = (0..resources.count())
        .map(|resource| {
            let token = TokenInfo {
                access_token: Some(resources.access_token(resource)),
                refresh_token: None,
                expires_at: Some(OffsetDateTime::now_utc() + LIFETIME),
                id_token: None,
            };
            json!({ "scopes": [resources.scope(resource)], "token": token })
        })
        .collect();
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), serde_json::to_vec(&tokens)?)?;

    // A key that has signed nothing but the tests of this project.
    let key =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../cache-testkit/oidc-provider/keys/service-rsa.pem");
    let key = ServiceAccountKey {
        key_type: Some("service_account".to_owned()),
        project_id: None,
        private_key_id: None,
        private_key: std::fs::read_to_string(key)?,
        client_email: "daemon@contoso.example".to_owned(),
        client_id: None,
        auth_uri: None,
        // Nobody listens there.
        token_uri: "http://127.0.0.1:9/token".to_owned(),
        auth_provider_x509_cert_url: None,
        client_x509_cert_url: None,
    };
    let nobody = Client::builder(TokioExecutor::new()).build(HttpConnector::new());
    let builder = ServiceAccountAuthenticator::with_client(key, CustomHyperClientBuilder::from(nobody));
    Ok(builder.persist_tokens_to_disk(file.path()).build().await?)
}
