//! As much of Azure Resource Manager as a sign-in of the Azure CLI asks: the tenants and the subscriptions of a token's bearer.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use cache_testkit::authority::HOME_TENANT;
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, KeyPair};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

pub(crate) const SUBSCRIPTION: &str = "0b1f6471-1bf0-4dda-aec3-111122223333";

/// A resource manager on loopback. It ends with the runtime of its test.
pub(crate) struct ResourceManager {
    pub(crate) base_url: String,
    pub(crate) certificate_pem: String,
    requests: Arc<AtomicUsize>,
    bearers: Arc<Mutex<Vec<String>>>,
}

impl ResourceManager {
    pub(crate) async fn start() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut leaf = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let certificate = leaf.self_signed(&key).unwrap();
        let private_key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(tokio_rustls::rustls::crypto::aws_lc_rs::default_provider());
        let tls = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], private_key)
            .unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let base_url = format!("https://127.0.0.1:{}", listener.local_addr().unwrap().port());
        let manager = Self {
            base_url,
            certificate_pem: certificate.pem(),
            requests: Arc::default(),
            bearers: Arc::default(),
        };
        let (requests, bearers) = (Arc::clone(&manager.requests), Arc::clone(&manager.bearers));
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, requests, bearers) = (acceptor.clone(), requests.clone(), bearers.clone());
                tokio::spawn(async move {
                    // Whoever does not trust the certificate says so itself.
                    let _ = answer(stream, &acceptor, &requests, &bearers).await;
                });
            }
        });
        manager
    }

    /// How many requests it had.
    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }

    /// The tokens that it was shown.
    pub(crate) fn bearers(&self) -> Vec<String> {
        self.bearers.lock().unwrap().clone()
    }
}

async fn answer(
    stream: TcpStream,
    acceptor: &TlsAcceptor,
    requests: &AtomicUsize,
    bearers: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let mut stream = acceptor.accept(stream).await?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    requests.fetch_add(1, Ordering::SeqCst);
    let head = String::from_utf8_lossy(&head);
    let bearer = head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        let is_it = name.eq_ignore_ascii_case("authorization");
        is_it.then(|| value.strip_prefix("Bearer ").map(str::to_owned))?
    });
    let path = head.split([' ', '?']).nth(1).unwrap_or_default();
    let (status, body) = match (bearer, path) {
        (None, _) => (
            "401 Unauthorized",
            json!({ "error": { "code": "AuthenticationFailed" } }),
        ),
        (Some(bearer), path) => {
            bearers.lock().unwrap().push(bearer);
            match path {
                "/subscriptions" => ("200 OK", json!({ "value": [subscription()] })),
                "/tenants" => ("200 OK", json!({ "value": [tenant()] })),
                _ => (
                    "404 Not Found",
                    json!({ "error": { "code": "NotFound", "message": path } }),
                ),
            }
        }
    };
    let body = body.to_string();
    let answer = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}

fn subscription() -> Value {
    json!({
        "id": format!("/subscriptions/{SUBSCRIPTION}"),
        "subscriptionId": SUBSCRIPTION,
        "tenantId": HOME_TENANT,
        "displayName": "Loop subscription",
        "state": "Enabled",
        "subscriptionPolicies": { "locationPlacementId": "Public_2014-09-01", "quotaId": "PayAsYouGo_2014-09-01", "spendingLimit": "Off" },
        "authorizationSource": "RoleBased",
        "managedByTenants": [],
    })
}

fn tenant() -> Value {
    json!({
        "id": format!("/tenants/{HOME_TENANT}"),
        "tenantId": HOME_TENANT,
        "displayName": "Contoso",
        "defaultDomain": "contoso.onmicrosoft.test",
        "tenantCategory": "Home",
    })
}
