//! The authority's own certification authority and its server certificate.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use super::AuthorityError;

const DAY: Duration = Duration::from_secs(86_400);

/// What the listener needs, and what clients must be told to trust.
pub(super) struct ServerCertificate {
    pub(super) tls: Arc<ServerConfig>,
    pub(super) ca_pem: String,
}

impl ServerCertificate {
    /// Makes a fresh certification authority and a leaf for loopback and `host`. The authority's key is
    /// dropped at once, so that nothing else can ever be issued by what a developer may have trusted.
    pub(super) fn issue(host: &str, now: SystemTime) -> Result<Self, AuthorityError> {
        let failed = |error| AuthorityError::cryptography("certificate", error);

        let ca_key = KeyPair::generate().map_err(failed)?;
        let mut ca = params(Vec::new(), "Fake authority CA (tests only)", now).map_err(failed)?;
        ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let ca_certificate = ca.self_signed(&ca_key).map_err(failed)?;
        let issuer = Issuer::new(ca, ca_key);

        let mut names: Vec<String> = ["127.0.0.1", "::1", "localhost"].map(String::from).into();
        if !names.iter().any(|name| name == host) {
            names.push(host.to_owned());
        }
        let leaf_key = KeyPair::generate().map_err(failed)?;
        let mut leaf = params(names, "Fake authority", now).map_err(failed)?;
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        // Python 3.13 verifies strictly (RFC 5280) and refuses a leaf without it.
        leaf.use_authority_key_identifier_extension = true;
        let leaf_certificate = leaf.signed_by(&leaf_key, &issuer).map_err(failed)?;

        let private_key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(leaf_key.serialize_der()));
        let tls =
            ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
                .with_safe_default_protocol_versions()
                .and_then(|builder| {
                    builder
                        .with_no_client_auth()
                        .with_single_cert(vec![leaf_certificate.der().clone()], private_key)
                })
                .map_err(|error| AuthorityError::cryptography("TLS configuration", error))?;
        Ok(Self {
            tls: Arc::new(tls),
            ca_pem: ca_certificate.pem(),
        })
    }
}

fn params(names: Vec<String>, common_name: &str, now: SystemTime) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.not_before = (now - DAY).into();
    // Apple's verifier refuses server certificates that live longer than 825 days.
    params.not_after = (now + 365 * DAY).into();
    Ok(params)
}
