//! Keys, certificates and a transport for the tests of this folder.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cache_core::random::OsRandom;
use cache_core::secret::Secret;
use cache_core::time::{Clock, CoarseTime, UnixMillis};
use rcgen::{CertificateParams, KeyPair, PKCS_RSA_SHA256, RsaKeySize, SignatureAlgorithm};

use crate::Transport;
use crate::http::{HttpClient, HttpError, HttpRequest, HttpResponse};

/// What the clock says, in seconds since 1970.
pub(super) const NOW: i64 = 1_800_000_000;

pub(super) fn transport() -> Transport {
    Transport::new(Arc::new(Nobody), Arc::new(Frozen), Arc::new(OsRandom))
}

pub(super) fn rsa_key() -> KeyPair {
    KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap()
}

pub(super) fn elliptic_key(curve: &'static SignatureAlgorithm) -> KeyPair {
    KeyPair::generate_for(curve).unwrap()
}

pub(super) fn certificate(key: &KeyPair) -> String {
    CertificateParams::new(Vec::new())
        .unwrap()
        .self_signed(key)
        .unwrap()
        .pem()
}

pub(super) fn private_key(key: &KeyPair) -> Secret {
    Secret::new(key.serialize_pem())
}

#[derive(Debug)]
struct Nobody;

#[async_trait]
impl HttpClient for Nobody {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        panic!("nothing is sent here: {request:?}")
    }
}

/// A clock that stands still and never keeps anybody waiting.
#[derive(Debug)]
struct Frozen;

#[async_trait]
impl Clock for Frozen {
    fn now(&self) -> UnixMillis {
        UnixMillis::default().saturating_add(Duration::from_secs(NOW.unsigned_abs()))
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }

    fn coarse(&self) -> CoarseTime {
        CoarseTime::exact(self)
    }

    async fn sleep(&self, _duration: Duration) {}
}
