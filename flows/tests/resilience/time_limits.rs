//! A request whose time is over before its first byte is not sent: by then its refresh token may be another's to send.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cache_core::random::OsRandom;
use cache_core::schema::ScopeSet;
use cache_core::secret::Secret;
use flows::authority::{Authority, Metadata};
use flows::http::HttpErrorKind;
use flows::proof::{ProofAlgorithm, ProofError, ProofSigner, PublicJwk, SoftwareKey};
use flows::request::{ClientIdentity, refresh_token};
use flows::{CorrelationId, Error, TokenEndpoint, Transport};

use crate::support::{ScriptedClient, StepClock};

const LIMIT: Duration = Duration::from_secs(30);

/// Takes its time over each signature, as a hardware key may, or a process that is stopped meanwhile.
#[derive(Debug)]
struct Slow {
    key: SoftwareKey,
    clock: Arc<StepClock>,
    takes: Duration,
}

#[async_trait]
impl ProofSigner for Slow {
    fn algorithm(&self) -> ProofAlgorithm {
        self.key.algorithm()
    }

    fn public_key(&self) -> &PublicJwk {
        self.key.public_key()
    }

    async fn sign(&self, message: &[u8]) -> Result<Vec<u8>, ProofError> {
        self.clock.advance(self.takes);
        self.key.sign(message).await
    }
}

/// How often a refresh token is sent when each proof takes so long, to a server that wants a nonce first.
async fn sent(takes: u64) -> (usize, Result<(), Error>) {
    let http = Arc::new(ScriptedClient::default());
    let wanted = r#"{"error":"use_dpop_nonce"}"#;
    http.push_with(400, &[("dpop-nonce", "n-1")], wanted);
    http.push(
        200,
        r#"{"access_token":"a","token_type":"DPoP","expires_in":3600}"#,
    );
    let clock = Arc::new(StepClock::at(1_767_225_600));
    let transport = Arc::new(Transport::new(http.clone(), clock.clone(), Arc::new(OsRandom)));
    let authority =
        Authority::detect("https://login.microsoftonline.com/72f988bf-86f1-41af-91ab-2d7cd011db47");
    let authority = authority.unwrap();
    let metadata = Arc::new(Metadata::by_convention(&authority).unwrap());
    let client = ClientIdentity::public("client").unwrap();
    let signer = Slow {
        key: SoftwareKey::generate().unwrap(),
        clock,
        takes: Duration::from_secs(takes),
    };
    let endpoint =
        TokenEndpoint::new(transport, authority.clone(), metadata, client).proof_signer(Arc::new(signer));
    let (scopes, account) = (ScopeSet::parse("User.Read"), crate::throttle::account("alice"));
    let request = refresh_token::request(&authority, &Secret::new("rt"), scopes, account, None);
    let id = CorrelationId::random(&OsRandom).unwrap();
    let ended = endpoint.send(request, id, LIMIT).await;
    (http.sent().len(), ended.map(drop))
}

#[tokio::test]
async fn a_refresh_token_is_not_sent_after_the_time_for_it_however_long_a_proof_took() {
    let (count, ended) = sent(10).await;
    ended.unwrap();
    assert_eq!(count, 2);
    // The second one, for the nonce, would be too late; the first one was not executed.
    for (takes, expected) in [(20, 1), (30, 0)] {
        let (count, ended) = sent(takes).await;
        let Err(Error::Http(error)) = ended else {
            panic!("{ended:?}")
        };
        assert_eq!((count, error.kind()), (expected, HttpErrorKind::NotSent));
    }
}
