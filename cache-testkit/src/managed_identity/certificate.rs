//! Service Fabric's self-signed certificate, which programs know by its thumbprint.

use std::io;
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use sha1::{Digest, Sha1};

pub(super) struct ServerCertificate {
    pub(super) tls: Arc<ServerConfig>,
    /// In upper case, as the platform writes it.
    pub(super) thumbprint: String,
}

impl ServerCertificate {
    /// A fresh one. It is not for the host's name: only the thumbprint says whose it is.
    pub(super) fn new() -> io::Result<Self> {
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let params = CertificateParams::new(vec!["cluster.test".to_owned()]).map_err(io::Error::other)?;
        let certificate = params.self_signed(&key).map_err(io::Error::other)?;
        let digest = Sha1::digest(certificate.der());
        let private_key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(|builder| {
                builder
                    .with_no_client_auth()
                    .with_single_cert(vec![certificate.der().clone()], private_key)
            })
            .map_err(io::Error::other)?;
        Ok(Self {
            tls: Arc::new(tls),
            thumbprint: digest.iter().map(|byte| format!("{byte:02X}")).collect(),
        })
    }
}
