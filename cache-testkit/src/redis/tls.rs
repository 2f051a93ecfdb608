//! An authority of the test's own, and what it signed.

use std::fmt;
use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};

use super::Error;
use super::process::write_private;

/// Whether clients must have a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientCertificates {
    /// They are not asked for one.
    NotAsked,
    /// A client without one is refused during the handshake.
    Required,
}

/// A certificate and its key, for a client.
#[derive(Clone)]
pub struct ClientCertificate {
    /// The certificate, PEM.
    pub certificate_pem: Vec<u8>,
    /// Its key, PKCS #8 as PEM.
    pub key_pem: Vec<u8>,
}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCertificate").finish_non_exhaustive()
    }
}

/// What one server was given.
#[derive(Debug)]
pub(super) struct Certificates {
    pub(super) ca_pem: String,
    pub(super) client: ClientCertificate,
}

impl Certificates {
    /// Makes an authority, a server certificate for `localhost` and 127.0.0.1 (written to `folder`) and a client's.
    pub(super) fn write(folder: &Path) -> Result<Self, Error> {
        let made = make(folder).map_err(Error::start("its certificates"))?;
        Ok(made)
    }

    pub(super) fn configuration(asked: ClientCertificates) -> String {
        let asked = match asked {
            ClientCertificates::NotAsked => "no",
            ClientCertificates::Required => "yes",
        };
        format!(
            "tls-cert-file server.pem\ntls-key-file server.key\ntls-ca-cert-file ca.pem\ntls-auth-clients {asked}\n"
        )
    }
}

fn make(folder: &Path) -> Result<Certificates, Box<dyn std::error::Error + Send + Sync>> {
    let mut authority = CertificateParams::new(Vec::new())?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    authority
        .distinguished_name
        .push(DnType::CommonName, "authority of a test");
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;

    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()])?;
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    let server = params.signed_by(&key, &authority)?;
    write_private(&folder.join("server.pem"), server.pem().as_bytes())?;
    write_private(&folder.join("server.key"), key.serialize_pem().as_bytes())?;
    write_private(&folder.join("ca.pem"), authority.pem().as_bytes())?;

    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(vec!["client.test".to_owned()])?;
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let client = params.signed_by(&key, &authority)?;
    Ok(Certificates {
        ca_pem: authority.pem(),
        client: ClientCertificate {
            certificate_pem: client.pem().into_bytes(),
            key_pem: key.serialize_pem().into_bytes(),
        },
    })
}
