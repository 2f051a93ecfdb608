//! Tokens bound to a key (RFC 9449), at the fake authority in its strict mode.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cache_core::cache::{CachedAccount, ProofKeyOwner};
use cache_core::schema::TokenType;
use cache_core::store::Store;
use cache_sqlite::{SqliteConfig, SqliteStore};
use cache_testkit::authority::{Config, Dpop, Endpoint, PUBLIC_CLIENT, Rotation};
use flows::client::PublicClient;
use flows::error::ReplyError;
use flows::proof::{DpopKey, ProofAlgorithm, ProofError, ProofSigner, PublicJwk, SoftwareKey};
use flows::{AuthenticationResult, Error, TokenSource};

use crate::scene::{Entra, HOUR, Ticking, only_account};

pub(crate) fn strict(dpop: Dpop) -> Config {
    Config::default().rotation(Rotation::Strict).dpop(dpop)
}

pub(crate) async fn bound(scene: &Entra) -> PublicClient {
    let client = scene.public(PUBLIC_CLIENT).await;
    client.dpop(DpopKey::software()).build().unwrap()
}

fn key_of(result: &AuthenticationResult) -> String {
    let TokenType::Bound { scheme, key_id } = &result.token_type() else {
        panic!("{result:?}")
    };
    assert_eq!(&**scheme, "DPoP");
    assert!(result.authorization_header().expose().starts_with("DPoP "));
    key_id.to_string()
}

pub(crate) fn token_requests(scene: &Entra) -> usize {
    let requests = scene.authority.requests();
    requests
        .iter()
        .filter(|request| request.endpoint == Endpoint::Token)
        .count()
}

fn owner(result: &AuthenticationResult, account: &CachedAccount) -> ProofKeyOwner {
    ProofKeyOwner {
        authority: account.partition.authority().unwrap().clone(),
        client_id: PUBLIC_CLIENT.into(),
        home_account_id: result
            .account()
            .as_ref()
            .map(|account| account.home_account_id.clone()),
    }
}

#[tokio::test]
async fn a_device_signs_in_and_its_tokens_stay_bound_to_one_key_through_refreshes() {
    let scene = Entra::start(strict(Dpop::Offered)).await;
    let client = bound(&scene).await;
    let first = scene.sign_in(&client).await;
    let key = key_of(&first);
    let account = only_account(&client).await;
    let silent = || async {
        client
            .acquire_token_silent(["User.Read"])
            .account(&account)
            .await
            .unwrap()
    };
    let cached = silent().await;
    assert_eq!(
        (cached.metadata().source, &key_of(&cached)),
        (TokenSource::Memory, &key)
    );
    for _ in 0..3 {
        scene.advance(HOUR);
        let refreshed = silent().await;
        assert_eq!(
            (refreshed.metadata().source, &key_of(&refreshed)),
            (TokenSource::Authority, &key)
        );
    }
    assert_eq!((scene.refreshes(), scene.authority.families_revoked()), (3, 0));
}

#[tokio::test]
async fn another_process_refreshes_with_the_stored_key() {
    let scene = Entra::start(strict(Dpop::WithNonce)).await;
    let first = scene.sign_in(&bound(&scene).await).await;
    scene.advance(HOUR);
    let other = bound(&scene).await;
    let account = only_account(&other).await;
    let refreshed = other
        .acquire_token_silent(["User.Read"])
        .account(&account)
        .await
        .unwrap();
    assert_eq!(key_of(&refreshed), key_of(&first));
}

#[tokio::test]
async fn a_restart_finds_the_key_in_sqlite_and_refreshes_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cache.db");
    let mut scene = Entra::start(strict(Dpop::Offered)).await;
    let mut keys = Vec::new();
    for run in 0..2 {
        let sqlite = Arc::new(
            SqliteStore::open(SqliteConfig::new(&path).create(true))
                .await
                .unwrap(),
        );
        scene.store = Arc::clone(&sqlite) as Arc<dyn Store>;
        let client = bound(&scene).await;
        if run == 0 {
            keys.push(key_of(&scene.sign_in(&client).await));
        } else {
            let account = only_account(&client).await;
            let refreshed = client
                .acquire_token_silent(["User.Read"])
                .account(&account)
                .await
                .unwrap();
            assert_eq!(refreshed.metadata().source, TokenSource::Authority);
            keys.push(key_of(&refreshed));
        }
        client.cache().shutdown(Duration::from_secs(5)).await;
        sqlite.close().await;
        scene.advance(HOUR);
    }
    assert_eq!(keys[0], keys[1]);
}

#[tokio::test]
async fn an_application_s_token_is_bound_to_the_one_key_that_all_its_processes_have() {
    let scene = Entra::start(strict(Dpop::WithNonce)).await;
    let racing = (0..4).map(|_| async {
        let client = scene
            .confidential()
            .await
            .dpop(DpopKey::software())
            .build()
            .unwrap();
        let scopes = ["api://tokenkeep/.default"];
        client
            .acquire_token_for_client(scopes)
            .force_refresh(true)
            .await
            .unwrap()
    });
    let results = futures_util::future::join_all(racing).await;
    let keys: std::collections::HashSet<_> = results.iter().map(key_of).collect();
    assert_eq!(keys.len(), 1, "a race between processes ends with one key");
    let plain = scene.confidential().await.build().unwrap();
    let plain = plain
        .acquire_token_for_client(["api://tokenkeep/.default"])
        .await
        .unwrap();
    assert_eq!(
        plain.token_type(),
        TokenType::Bearer,
        "a bound token never stands in"
    );
    let again = scene
        .confidential()
        .await
        .dpop(DpopKey::software())
        .build()
        .unwrap();
    let again = again
        .acquire_token_for_client(["api://tokenkeep/.default"])
        .await
        .unwrap();
    assert_ne!(again.metadata().source, TokenSource::Authority);
    assert!(keys.contains(&key_of(&again)));
}

#[tokio::test]
async fn bearer_tokens_are_refused_where_bound_ones_were_asked_for() {
    let scene = Entra::start(strict(Dpop::Off)).await;
    let client = scene
        .confidential()
        .await
        .dpop(DpopKey::software())
        .build()
        .unwrap();
    let refused = client
        .acquire_token_for_client(["api://tokenkeep/.default"])
        .await
        .unwrap_err();
    let cause = std::error::Error::source(&refused).and_then(std::error::Error::source);
    let downgraded = cause.is_some_and(|cause| {
        matches!(cause.downcast_ref(), Some(Error::Reply(ReplyError::TokenType(name))) if name == "Bearer")
    });
    assert!(downgraded, "{refused:?}");
    let client = bound(&scene).await;
    let _ticking = Ticking::start(&scene.clock);
    let refused = client
        .acquire_token_by_device_code(["User.Read"])
        .on_prompt(|_| {})
        .await
        .unwrap_err();
    assert!(
        matches!(refused, Error::Reply(ReplyError::TokenType(_))),
        "{refused:?}"
    );
    assert!(client.accounts().await.unwrap().accounts.is_empty());
}

#[tokio::test]
async fn a_refresh_token_is_no_good_with_another_key() {
    let scene = Entra::start(strict(Dpop::Offered)).await;
    let client = bound(&scene).await;
    scene.sign_in(&client).await;
    let account = only_account(&client).await;
    scene.advance(HOUR);
    let thief = scene.public(PUBLIC_CLIENT).await;
    let other_key = Arc::new(SoftwareKey::generate().unwrap());
    let thief = thief.dpop(DpopKey::signer(other_key)).build().unwrap();
    let refused = thief
        .acquire_token_silent(["User.Read"])
        .account(&account)
        .await
        .unwrap_err();
    assert!(matches!(refused, Error::InteractionRequired(_)), "{refused:?}");
    assert_eq!(scene.authority.families()[0].refreshes, 0);
}

#[tokio::test]
async fn bearer_and_bound_tokens_of_one_account_never_cross() {
    let scene = Entra::start(strict(Dpop::Offered)).await;
    let plain = scene.public(PUBLIC_CLIENT).await.build().unwrap();
    let first = scene.sign_in(&plain).await;
    let account = only_account(&plain).await;
    let client = bound(&scene).await;
    let silent = |client: PublicClient| {
        let account = account.clone();
        async move {
            client
                .acquire_token_silent(["User.Read"])
                .account(&account)
                .await
                .unwrap()
        }
    };
    let upgraded = silent(client.clone()).await;
    assert_eq!(
        upgraded.metadata().source,
        TokenSource::Authority,
        "a bearer token does not stand in"
    );
    let key = key_of(&upgraded);
    assert_eq!(key_of(&silent(client).await), key);
    let kept = silent(plain).await;
    assert_eq!(
        (kept.token_type(), kept.access_token()),
        (TokenType::Bearer, first.access_token())
    );
}

#[tokio::test]
async fn a_sign_out_removes_the_key_and_what_it_proved() {
    let scene = Entra::start(strict(Dpop::Offered)).await;
    let client = bound(&scene).await;
    let first = scene.sign_in(&client).await;
    let account = only_account(&client).await;
    let owner = owner(&first, &account);
    let url = "https://api.example/things?secret=1";
    let proof = client.dpop_proof(&first, "GET", url, Some("n-1")).await.unwrap();
    assert_eq!(proof.expose().split('.').count(), 3);
    assert!(client.cache().proof_key(&owner).await.unwrap().is_some());
    client.remove_account(&account).await.unwrap();
    assert!(client.cache().proof_key(&owner).await.unwrap().is_none());
    let refused = client.dpop_proof(&first, "GET", url, None).await.unwrap_err();
    assert!(matches!(refused, Error::Proof(_)), "{refused:?}");
    // The next sign-in has a key of its own.
    assert_ne!(key_of(&scene.sign_in(&client).await), key_of(&first));
}

#[tokio::test]
async fn a_new_sign_in_takes_its_own_key_and_the_old_one_goes() {
    let scene = Entra::start(strict(Dpop::Offered)).await;
    let client = bound(&scene).await;
    let old = key_of(&scene.sign_in(&client).await);
    let second = scene.sign_in(&client).await;
    let new = key_of(&second);
    assert_ne!(old, new);
    let account = only_account(&client).await;
    let owner = owner(&second, &account);
    for _ in 0..2 {
        scene.advance(HOUR);
        let silent = client
            .acquire_token_silent(["User.Read"])
            .account(&account)
            .await
            .unwrap();
        assert_eq!(key_of(&silent), new);
    }
    assert!(
        client
            .cache()
            .proof_key_named(&owner, &old)
            .await
            .unwrap()
            .is_some()
    );
    scene.sign_in(&client).await;
    scene.advance(HOUR);
    client
        .acquire_token_silent(["User.Read"])
        .account(&account)
        .await
        .unwrap();
    assert!(
        client
            .cache()
            .proof_key_named(&owner, &new)
            .await
            .unwrap()
            .is_none()
    );
}

/// A key that somebody else holds, and may refuse.
#[derive(Debug)]
struct Hardware {
    key: SoftwareKey,
    is_there: bool,
}

#[async_trait]
impl ProofSigner for Hardware {
    fn algorithm(&self) -> ProofAlgorithm {
        self.key.algorithm()
    }

    fn public_key(&self) -> &PublicJwk {
        self.key.public_key()
    }

    async fn sign(&self, message: &[u8]) -> Result<Vec<u8>, ProofError> {
        if !self.is_there {
            return Err(ProofError::new("the card was taken out"));
        }
        self.key.sign(message).await
    }
}

#[tokio::test]
async fn a_signer_of_one_s_own_binds_everything_and_stores_nothing() {
    let scene = Entra::start(strict(Dpop::Offered)).await;
    let signer = |is_there| {
        let key = SoftwareKey::generate().unwrap();
        Arc::new(Hardware { key, is_there })
    };
    let card = signer(true);
    let client = scene
        .public(PUBLIC_CLIENT)
        .await
        .dpop(DpopKey::signer(card.clone()))
        .build()
        .unwrap();
    let first = scene.sign_in(&client).await;
    assert_eq!(key_of(&first), card.public_key().thumbprint());
    let account = only_account(&client).await;
    assert!(
        client
            .cache()
            .proof_key(&owner(&first, &account))
            .await
            .unwrap()
            .is_none()
    );
    client
        .dpop_proof(&first, "GET", "https://api.example", None)
        .await
        .unwrap();

    let asked = token_requests(&scene);
    let absent = scene
        .confidential()
        .await
        .dpop(DpopKey::signer(signer(false)))
        .build()
        .unwrap();
    let refused = absent
        .acquire_token_for_client(["api://tokenkeep/.default"])
        .await
        .unwrap_err();
    assert!(matches!(refused, Error::Cache(_)), "{refused:?}");
    assert_eq!(token_requests(&scene), asked, "nothing was sent");
    let plain = scene.confidential().await.build().unwrap();
    let plain = plain
        .acquire_token_for_client(["api://tokenkeep/.default"])
        .await
        .unwrap();
    let unbound = client
        .dpop_proof(&plain, "GET", "https://api.example", None)
        .await;
    assert!(matches!(unbound, Err(Error::Configuration(_))), "{unbound:?}");
}

#[tokio::test]
async fn keys_of_many_sign_ins_at_once_are_each_their_own() {
    let scene = Entra::start(strict(Dpop::Offered)).await;
    let client = bound(&scene).await;
    let ticking = Ticking::start(&scene.clock);
    let sign_ins = (0..6).map(|_| {
        client
            .acquire_token_by_device_code(["User.Read"])
            .on_prompt(|_| {})
            .into_future()
    });
    let results = futures_util::future::join_all(sign_ins).await;
    let keys: std::collections::HashSet<_> = results
        .iter()
        .map(|result| key_of(result.as_ref().unwrap()))
        .collect();
    assert_eq!(keys.len(), 6);
    drop(ticking);
    scene.advance(HOUR);
    let account = only_account(&client).await;
    let refreshed = client
        .acquire_token_silent(["User.Read"])
        .account(&account)
        .await
        .unwrap();
    assert!(
        keys.contains(&key_of(&refreshed)),
        "the last sign-in's key is the one"
    );
}
