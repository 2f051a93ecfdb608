//! Verifying tokens as a stranger would: with the published keys only.

use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::{Map, Value};

use crate::client::TestClient;

/// The claims of a token whose signature, audience and times hold.
pub(crate) async fn verified(client: &TestClient, token: &str, audience: &str) -> Map<String, Value> {
    let keys = client.get("/common/discovery/v2.0/keys").await.granted();
    let header = jsonwebtoken::decode_header(token).unwrap();
    let key = keys["keys"]
        .as_array()
        .unwrap()
        .iter()
        .find(|key| key["kid"] == header.kid.as_deref().unwrap());
    let key = key.expect("the token's key is published");
    let key = DecodingKey::from_jwk(&serde_json::from_value(key.clone()).unwrap()).unwrap();
    let mut validation = Validation::new(Algorithm::RS256);
    validation.set_audience(&[audience]);
    jsonwebtoken::decode(token, &key, &validation).unwrap().claims
}
