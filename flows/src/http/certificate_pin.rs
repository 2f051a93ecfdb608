//! Trust in one certificate, which a platform named by its thumbprint.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, SignatureScheme};
use sha1::{Digest, Sha1};

use crate::error::ConfigurationError;

/// The SHA-1 thumbprint of the only certificate that is trusted.
///
/// SHA-1 is what the platform gives. To pass for the pinned certificate, another must have *its* hash (a second preimage); the
/// known attacks on SHA-1 make two new certificates collide, which helps nobody here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CertificatePin([u8; 20]);

impl CertificatePin {
    /// The thumbprint in `text`: 40 hexadecimal digits, which colons and white space may separate.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let digits: String = text
            .chars()
            .filter(|character| *character != ':' && !character.is_whitespace())
            .collect();
        if digits.len() != 40 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let mut thumbprint = [0; 20];
        for (index, byte) in thumbprint.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&digits[2 * index..2 * index + 2], 16).ok()?;
        }
        Some(Self(thumbprint))
    }

    /// TLS 1.2 or newer with the owner of the certificate, and nobody else.
    pub(crate) fn client_config(self) -> Result<ClientConfig, ConfigurationError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = PinVerifier {
            pin: self,
            provider: Arc::clone(&provider),
        };
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| ConfigurationError::new("TLS cannot be set up").with_source(error))?;
        Ok(builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth())
    }
}

/// Names and dates of a self-signed certificate prove nothing; the thumbprint does, together with the handshake's signature, by
/// which the server shows that it has the key.
#[derive(Debug)]
struct PinVerifier {
    pin: CertificatePin,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for PinVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let thumbprint: [u8; 20] = Sha1::digest(end_entity).into();
        if CertificatePin(thumbprint) == self.pin {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(CertificateError::ApplicationVerificationFailure.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thumbprint_is_forty_hexadecimal_digits() {
        let pin = CertificatePin::parse("00112233445566778899aabbccddeeff00112233");
        assert!(pin.is_some());
        assert_eq!(
            pin,
            CertificatePin::parse("00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33")
        );
        for bad in [
            "",
            "00",
            "00112233445566778899aabbccddeeff0011223g",
            &"0".repeat(64),
        ] {
            assert_eq!(CertificatePin::parse(bad), None, "{bad}");
        }
    }
}
