//! An issuer whose keys and tokens a test makes itself.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cache_core::random::OsRandom;
use cache_core::secret::{Secret, SecretBytes};
use cache_core::time::Clock;
use cache_testkit::clock::ManualClock;
use flows::authority::{Authority, Discovery, Metadata};
use flows::http::{HttpClient, HttpError, HttpErrorKind, HttpRequest, HttpResponse};
use flows::{Error, IdTokenClaims, IdTokenExpectations, IdTokenVerifier, Transport};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rcgen::{KeyPair, RsaKeySize, SignatureAlgorithm};
use serde_json::{Value, json};

pub(crate) const CLIENT: &str = "client";
pub(crate) const ISSUER: &str = "https://id.example";
pub(crate) const LIMIT: Duration = Duration::from_secs(5);

/// A key pair with its public half as a JWK.
pub(crate) struct Key {
    encoding: EncodingKey,
    pub(crate) jwk: Value,
    pub(crate) algorithm: Algorithm,
}

impl Key {
    pub(crate) fn rsa(id: &str) -> Self {
        let pair = KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
        let encoding = EncodingKey::from_rsa_pem(pair.serialize_pem().as_bytes()).unwrap();
        Self::of(id, encoding, Algorithm::RS256)
    }

    pub(crate) fn p256(id: &str) -> Self {
        Self::ec(id, &rcgen::PKCS_ECDSA_P256_SHA256, Algorithm::ES256)
    }

    pub(crate) fn p384(id: &str) -> Self {
        Self::ec(id, &rcgen::PKCS_ECDSA_P384_SHA384, Algorithm::ES384)
    }

    pub(crate) fn ed25519(id: &str) -> Self {
        let pair = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let encoding = EncodingKey::from_ed_pem(pair.serialize_pem().as_bytes()).unwrap();
        let point = URL_SAFE_NO_PAD.encode(pair.public_key_raw());
        Self {
            encoding,
            jwk: json!({ "kty": "OKP", "crv": "Ed25519", "x": point, "kid": id, "use": "sig" }),
            algorithm: Algorithm::EdDSA,
        }
    }

    fn ec(id: &str, of: &'static SignatureAlgorithm, algorithm: Algorithm) -> Self {
        let pair = KeyPair::generate_for(of).unwrap();
        let encoding = EncodingKey::from_ec_pem(pair.serialize_pem().as_bytes()).unwrap();
        Self::of(id, encoding, algorithm)
    }

    fn of(id: &str, encoding: EncodingKey, algorithm: Algorithm) -> Self {
        let mut jwk = serde_json::to_value(Jwk::from_encoding_key(&encoding, algorithm).unwrap()).unwrap();
        jwk["kid"] = id.into();
        jwk["use"] = "sig".into();
        jwk.as_object_mut().unwrap().remove("alg");
        Self {
            encoding,
            jwk,
            algorithm,
        }
    }

    /// The public half with one member changed; null takes it away.
    pub(crate) fn with(&self, name: &str, value: Value) -> Value {
        let mut jwk = self.jwk.clone();
        jwk[name] = value;
        if jwk[name].is_null() {
            jwk.as_object_mut().unwrap().remove(name);
        }
        jwk
    }

    pub(crate) fn header(&self) -> Header {
        let mut header = Header::new(self.algorithm);
        header.kid = self.jwk["kid"].as_str().map(str::to_owned);
        header
    }

    pub(crate) fn sign(&self, claims: &Value) -> Secret {
        self.sign_as(&self.header(), claims)
    }

    pub(crate) fn sign_as(&self, header: &Header, claims: &Value) -> Secret {
        Secret::new(jsonwebtoken::encode(header, claims, &self.encoding).unwrap())
    }
}

/// The issuer's web server.
#[derive(Debug)]
pub(crate) struct KeyServer {
    pub(crate) answer: Mutex<Answer>,
    fetches: AtomicUsize,
    strayed: AtomicUsize,
}

/// What it answers when it is asked for its keys.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    Keys(Vec<Value>),
    Reply(u16, String),
    Nothing,
}

#[async_trait]
impl HttpClient for KeyServer {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        // Lets other tasks of a test run meanwhile, as a network would.
        tokio::task::yield_now().await;
        let reply = |status, body: String| {
            Ok(HttpResponse {
                status,
                headers: Vec::new(),
                body: SecretBytes::new(body.into_bytes()),
            })
        };
        if request.url.path().ends_with("openid-configuration") {
            let document = json!({
                "issuer": ISSUER, "token_endpoint": format!("{ISSUER}/token"), "jwks_uri": format!("{ISSUER}/keys"),
            });
            return reply(200, document.to_string());
        }
        if !request.url.path().ends_with("/keys") {
            self.strayed.fetch_add(1, Ordering::SeqCst);
        }
        self.fetches.fetch_add(1, Ordering::SeqCst);
        let answer = self.answer.lock().unwrap().clone();
        match answer {
            Answer::Keys(keys) => reply(200, json!({ "keys": keys }).to_string()),
            Answer::Reply(status, body) => reply(status, body),
            Answer::Nothing => Err(HttpError::new(
                HttpErrorKind::NotSent,
                &request.url,
                "no connection",
            )),
        }
    }
}

/// A verifier, and the issuer that it asks.
pub(crate) struct Bench {
    pub(crate) clock: ManualClock,
    pub(crate) server: Arc<KeyServer>,
    pub(crate) verifier: Arc<IdTokenVerifier>,
    pub(crate) issuer: String,
    tenant: Option<String>,
}

impl Bench {
    /// A generic issuer with `keys`.
    pub(crate) async fn oidc(keys: Vec<Value>) -> Self {
        let authority = Authority::oidc(ISSUER).unwrap();
        let (clock, server, transport) = parts(keys);
        let discovery = Discovery::new(server.clone(), Arc::new(clock.clone()));
        let metadata = discovery.metadata(&authority, LIMIT).await.unwrap();
        let verifier = Arc::new(IdTokenVerifier::new(transport, authority, metadata, CLIENT));
        Self {
            clock,
            server,
            verifier,
            issuer: ISSUER.to_owned(),
            tenant: None,
        }
    }

    /// Entra's shared endpoint with `keys`, and a user of `tenant`.
    pub(crate) fn entra(keys: Vec<Value>, tenant: &str) -> Self {
        let authority = Authority::entra("https://login.microsoftonline.com/common").unwrap();
        let (clock, server, transport) = parts(keys);
        let metadata = Arc::new(Metadata::by_convention(&authority).unwrap());
        let verifier = Arc::new(IdTokenVerifier::new(transport, authority, metadata, CLIENT));
        Self {
            clock,
            server,
            verifier,
            issuer: format!("https://login.microsoftonline.com/{tenant}/v2.0"),
            tenant: Some(tenant.to_owned()),
        }
    }

    /// The claims of a good token.
    pub(crate) fn claims(&self) -> Value {
        let now = self.clock.now().to_seconds().0;
        let mut claims = json!({
            "iss": self.issuer, "sub": "s", "aud": CLIENT, "iat": now, "exp": now + 600, "nonce": "n",
        });
        if let Some(tenant) = &self.tenant {
            claims["tid"] = tenant.as_str().into();
        }
        claims
    }

    pub(crate) async fn verify(&self, token: &Secret) -> Result<IdTokenClaims, Error> {
        self.expect(token, &IdTokenExpectations::with_nonce(Secret::new("n")))
            .await
    }

    pub(crate) async fn expect(
        &self,
        token: &Secret,
        expected: &IdTokenExpectations,
    ) -> Result<IdTokenClaims, Error> {
        self.verifier.verify(token, expected, LIMIT).await
    }

    /// How often the keys were asked for, and nothing else.
    pub(crate) fn fetches(&self) -> usize {
        assert_eq!(self.server.strayed.load(Ordering::SeqCst), 0, "a request strayed");
        self.server.fetches.load(Ordering::SeqCst)
    }

    pub(crate) fn answer(&self, answer: Answer) {
        *self.server.answer.lock().unwrap() = answer;
    }
}

fn parts(keys: Vec<Value>) -> (ManualClock, Arc<KeyServer>, Arc<Transport>) {
    let clock = ManualClock::new();
    let server = Arc::new(KeyServer {
        answer: Mutex::new(Answer::Keys(keys)),
        fetches: AtomicUsize::new(0),
        strayed: AtomicUsize::new(0),
    });
    let transport = Transport::new(server.clone(), Arc::new(clock.clone()), Arc::new(OsRandom));
    (clock, server, Arc::new(transport))
}
