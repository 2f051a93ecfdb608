//! Proofs that a server takes once, and with its own nonce alone (RFC 9449 sections 8 and 11.1).

use std::sync::Arc;

use async_trait::async_trait;
use cache_testkit::authority::{Dpop, Endpoint, Grant, Script};
use flows::Error;
use flows::http::{HttpClient, HttpError, HttpRequest, HttpResponse};
use flows::proof::DpopKey;

use crate::dpop::{bound, strict, token_requests};
use crate::scene::{Entra, HOUR, only_account};

#[tokio::test]
async fn a_server_that_wants_a_nonce_is_asked_once_more_and_then_gets_it_unasked() {
    let scene = Entra::start(strict(Dpop::WithNonce)).await;
    let client = scene
        .confidential()
        .await
        .dpop(DpopKey::software())
        .build()
        .unwrap();
    let acquire = || async {
        let scopes = ["api://tokenkeep/.default"];
        client.acquire_token_for_client(scopes).force_refresh(true).await
    };
    acquire().await.unwrap();
    assert_eq!(token_requests(&scene), 2, "once without, once with the nonce");
    acquire().await.unwrap();
    assert_eq!(token_requests(&scene), 3, "the nonce is remembered");
    scene.authority.renew_dpop_nonce();
    acquire().await.unwrap();
    assert_eq!(
        token_requests(&scene),
        5,
        "a new nonce is learned in the same way"
    );
    let proofs = scene.authority.requests();
    assert!(proofs.iter().all(|request| request.endpoint != Endpoint::Token
        || request.header_names.iter().any(|name| name == "dpop")));
}

#[tokio::test]
async fn a_server_that_never_takes_its_own_nonce_is_asked_twice_and_no_more() {
    let scene = Entra::start(strict(Dpop::WithNonce)).await;
    let client = scene
        .confidential()
        .await
        .dpop(DpopKey::software())
        .build()
        .unwrap();
    let endless = cache_testkit::authority::ScriptedError::new("use_dpop_nonce", 0);
    scene
        .authority
        .script(Script::error(endless).on(Endpoint::Token).times(100));
    let refused = client
        .acquire_token_for_client(["api://tokenkeep/.default"])
        .await
        .unwrap_err();
    assert!(
        matches!(&refused, Error::Authority(error) if error.code() == "use_dpop_nonce"),
        "{refused:?}"
    );
    assert_eq!(token_requests(&scene), 2);
}

#[tokio::test]
async fn a_refresh_that_needs_a_nonce_spends_its_token_once() {
    let scene = Entra::start(strict(Dpop::WithNonce)).await;
    let client = bound(&scene).await;
    scene.sign_in(&client).await;
    let account = only_account(&client).await;
    scene.advance(HOUR);
    scene.authority.renew_dpop_nonce();
    client
        .acquire_token_silent(["User.Read"])
        .account(&account)
        .await
        .unwrap();
    let families = scene.authority.families();
    assert_eq!(
        (families[0].refreshes, families[0].reuses, families[0].revoked),
        (1, 0, false)
    );
    assert_eq!(scene.refreshes(), 2);
}

/// Sends the first proof with every request.
#[derive(Debug)]
struct Meddler {
    http: Arc<dyn HttpClient>,
    proof: std::sync::Mutex<Option<cache_core::secret::Secret>>,
}

#[async_trait]
impl HttpClient for Meddler {
    async fn send(&self, mut request: HttpRequest) -> Result<HttpResponse, HttpError> {
        if let Some((_, proof)) = request.headers.iter_mut().find(|(name, _)| *name == "dpop") {
            let mut first = self.proof.lock().unwrap();
            match &*first {
                Some(first) => *proof = first.clone(),
                None => *first = Some(proof.clone()),
            }
        }
        self.http.send(request).await
    }
}

#[tokio::test]
async fn the_strict_authority_refuses_a_proof_that_it_has_seen() {
    let scene = Entra::start(strict(Dpop::Offered)).await;
    let meddler = Arc::new(Meddler {
        http: Arc::clone(&scene.http),
        proof: std::sync::Mutex::default(),
    });
    let client = scene
        .confidential()
        .await
        .http(meddler)
        .dpop(DpopKey::software())
        .build()
        .unwrap();
    let acquire = || async {
        let scopes = ["api://tokenkeep/.default"];
        client.acquire_token_for_client(scopes).force_refresh(true).await
    };
    acquire().await.unwrap();
    let refused = acquire().await.unwrap_err();
    assert!(
        matches!(&refused, Error::Authority(error) if error.code() == "invalid_dpop_proof"),
        "{refused:?}"
    );
    assert_eq!(scene.authority.grant_count(Grant::ClientCredentials).issued, 1);
}
