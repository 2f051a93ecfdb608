use std::time::Duration;

use cache_testkit::authority::{
    ALICE, BOB, CONFIDENTIAL_CLIENT, CONFIDENTIAL_SECRET, Config, FAMILY_CLIENTS, FakeAuthority,
    GUEST_TENANT, Grant, HOME_TENANT, PASSWORD, PUBLIC_CLIENT, Rotation,
};
use serde_json::Value;

use crate::client::{Answer, TestClient, text};

async fn sign_in(client: &TestClient, client_id: &str, username: &str) -> Value {
    let form = [
        ("client_id", client_id),
        ("grant_type", "password"),
        ("username", username),
        ("password", PASSWORD),
        ("scope", "User.Read openid offline_access"),
        ("client_info", "1"),
    ];
    client.token(HOME_TENANT, &form).await.granted()
}

async fn refresh(client: &TestClient, tenant: &str, client_id: &str, refresh_token: &str) -> Answer {
    let form = [
        ("client_id", client_id),
        ("grant_type", "refresh_token"),
        ("refresh_token", refresh_token),
        ("scope", "Mail.Read openid offline_access"),
        ("client_info", "1"),
    ];
    client.token(tenant, &form).await
}

#[tokio::test]
async fn strict_rotation_revokes_the_whole_family_on_reuse() {
    let authority = FakeAuthority::start(Config::default().rotation(Rotation::Strict))
        .await
        .unwrap();
    let client = TestClient::new(&authority);
    let bystander = sign_in(&client, PUBLIC_CLIENT, BOB).await;
    let first = text(&sign_in(&client, PUBLIC_CLIENT, ALICE).await, "refresh_token");
    let refreshed = refresh(&client, HOME_TENANT, PUBLIC_CLIENT, &first)
        .await
        .granted();
    let (second, access_token) = (
        text(&refreshed, "refresh_token"),
        text(&refreshed, "access_token"),
    );
    assert_ne!(first, second);
    assert!(authority.is_access_token_active(&access_token));

    let reused = refresh(&client, HOME_TENANT, PUBLIC_CLIENT, &first).await;
    assert_eq!(reused.refused(), ("invalid_grant".to_owned(), 50_173));
    assert_eq!(
        refresh(&client, HOME_TENANT, PUBLIC_CLIENT, &second)
            .await
            .refused()
            .0,
        "invalid_grant"
    );
    assert!(!authority.is_access_token_active(&access_token));

    let families = authority.families();
    assert_eq!(
        (families[1].refreshes, families[1].reuses, families[1].revoked),
        (1, 1, true)
    );
    assert_eq!((families[0].username.as_str(), families[0].revoked), (BOB, false));
    assert_eq!(authority.families_revoked(), 1);
    assert!(authority.is_access_token_active(&text(&bystander, "access_token")));
    assert_eq!(authority.grant_count(Grant::RefreshToken).requests, 3);
    assert_eq!(authority.grant_count(Grant::RefreshToken).issued, 1);
}

#[tokio::test]
async fn of_twenty_concurrent_uses_one_succeeds_and_its_token_dies_too() {
    let authority = FakeAuthority::start(Config::default().rotation(Rotation::Strict))
        .await
        .unwrap();
    let client = TestClient::new(&authority);
    let token = text(&sign_in(&client, PUBLIC_CLIENT, ALICE).await, "refresh_token");
    let uses = (0..20).map(|_| refresh(&client, HOME_TENANT, PUBLIC_CLIENT, &token));
    let answers = futures_util::future::join_all(uses).await;
    let succeeded: Vec<&Answer> = answers.iter().filter(|answer| answer.status == 200).collect();
    assert_eq!(succeeded.len(), 1);
    let newest = succeeded[0].field("refresh_token");
    assert_eq!(
        refresh(&client, HOME_TENANT, PUBLIC_CLIENT, &newest)
            .await
            .refused()
            .0,
        "invalid_grant"
    );
    assert_eq!(authority.families()[0].reuses, 19);
}

#[tokio::test]
async fn entra_lets_an_old_token_live_until_it_expires() {
    let authority = FakeAuthority::start(Config::default()).await.unwrap();
    let client = TestClient::new(&authority);
    let first = text(&sign_in(&client, PUBLIC_CLIENT, ALICE).await, "refresh_token");
    let second = refresh(&client, HOME_TENANT, PUBLIC_CLIENT, &first)
        .await
        .field("refresh_token");
    assert_ne!(first, second);
    refresh(&client, HOME_TENANT, PUBLIC_CLIENT, &first)
        .await
        .granted();
    refresh(&client, HOME_TENANT, PUBLIC_CLIENT, &second)
        .await
        .granted();
    assert_eq!(authority.families()[0].refreshes, 3);

    authority.advance(Duration::from_secs(91 * 86_400));
    assert_eq!(
        refresh(&client, HOME_TENANT, PUBLIC_CLIENT, &second)
            .await
            .refused()
            .1,
        700_082
    );
}

#[tokio::test]
async fn a_refresh_reaches_the_users_other_tenants_and_a_failure_spends_nothing() {
    let authority = FakeAuthority::start(Config::default().rotation(Rotation::Strict))
        .await
        .unwrap();
    let client = TestClient::new(&authority);
    let alice = text(&sign_in(&client, PUBLIC_CLIENT, ALICE).await, "refresh_token");
    refresh(&client, GUEST_TENANT, PUBLIC_CLIENT, &alice)
        .await
        .granted();

    let bob = text(&sign_in(&client, PUBLIC_CLIENT, BOB).await, "refresh_token");
    assert_eq!(
        refresh(&client, GUEST_TENANT, PUBLIC_CLIENT, &bob)
            .await
            .refused()
            .1,
        50_020
    );
    refresh(&client, HOME_TENANT, PUBLIC_CLIENT, &bob).await.granted();
    assert_eq!(authority.families_revoked(), 0);
}

#[tokio::test]
async fn a_family_of_clients_shares_its_refresh_token_and_nobody_else_may() {
    let authority = FakeAuthority::start(Config::default()).await.unwrap();
    let client = TestClient::new(&authority);
    let signed_in = sign_in(&client, FAMILY_CLIENTS[0], ALICE).await;
    assert_eq!(signed_in["foci"], "1");
    let token = text(&signed_in, "refresh_token");
    assert_eq!(
        refresh(&client, HOME_TENANT, FAMILY_CLIENTS[1], &token)
            .await
            .granted()["foci"],
        "1"
    );
    let stranger = refresh(&client, HOME_TENANT, PUBLIC_CLIENT, &token).await;
    assert_eq!(stranger.refused().0, "invalid_grant");
    assert_eq!(stranger.json()["suberror"], "client_mismatch");
}

#[tokio::test]
async fn an_administrator_revokes_and_the_rest_is_invalid() {
    let authority = FakeAuthority::start(Config::default()).await.unwrap();
    let client = TestClient::new(&authority);
    let token = text(&sign_in(&client, PUBLIC_CLIENT, ALICE).await, "refresh_token");
    authority.revoke_user(ALICE).unwrap();
    assert!(authority.revoke_user("carol").is_err());
    assert_eq!(
        refresh(&client, HOME_TENANT, PUBLIC_CLIENT, &token)
            .await
            .refused()
            .1,
        50_173
    );
    assert_eq!(
        refresh(&client, HOME_TENANT, PUBLIC_CLIENT, "rt-made-up")
            .await
            .refused()
            .1,
        9_002_313
    );

    // A confidential client that does not ask for offline access has no refresh token.
    let form = [
        ("client_id", CONFIDENTIAL_CLIENT),
        ("client_secret", CONFIDENTIAL_SECRET),
        ("grant_type", "password"),
        ("username", ALICE),
        ("password", PASSWORD),
        ("scope", "User.Read"),
    ];
    assert_eq!(
        client
            .token(HOME_TENANT, &form)
            .await
            .granted()
            .get("refresh_token"),
        None
    );
}
