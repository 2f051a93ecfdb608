//! One record for all: the names of rows, by which MSAL programs replace them.

use std::time::Duration;

use cache_core::layout::MsalLayout;

use crate::rows::*;
use crate::scene::*;
use crate::support::*;

#[tokio::test]
async fn a_program_that_adds_a_row_beside_ours_gets_its_own_name_next_time() {
    let (clock, store) = parts();
    let issuer = Issuer::new(&clock);
    let cache = over_file(&store, &clock);
    cache
        .sign_in(&alice(), as_entra(issuer.sign_in("User.Read")))
        .await
        .unwrap();
    let mut beside = document(&store, FILE).await;
    let (ours, row) = only(&beside, "RefreshToken");
    let (ours, mut row) = (ours.clone(), row.clone());
    // Node spends what we wrote, notes no time, and adds its row.
    let spent = row["secret"].as_str().unwrap().to_owned();
    let live = issuer.sign_in("User.Read").refresh_token.unwrap();
    row["secret"] = live.expose().into();
    row.as_object_mut().unwrap().remove("last_modification_time");
    let nodes = format!("{ours}-");
    beside["RefreshToken"][&nodes] = row;
    write(&store, FILE, &beside).await;
    clock.advance(Duration::from_secs(3600));
    silent(&cache, &issuer, "User.Read").await.unwrap();
    assert_eq!(issuer.sent(), [live.expose()]);
    assert_ne!(issuer.sent(), [spent]);
    assert_eq!(only(&document(&store, FILE).await, "RefreshToken").0, &nodes);
}

#[tokio::test]
async fn access_tokens_have_the_name_by_which_python_replaces_them() {
    let (clock, store) = parts();
    let issuer = Issuer::new(&clock);
    let cache = over_file(&store, &clock);
    cache
        .sign_in(&alice(), as_entra(issuer.sign_in("openid User.Read email")))
        .await
        .unwrap();
    let written = document(&store, FILE).await;
    let (name, row) = only(&written, "AccessToken");
    assert_eq!(row["target"], "User.Read email openid");
    let scopes = "user.read email openid";
    assert_eq!(
        name,
        &format!("{HOME}-{HOST}-accesstoken-{CLIENT}-{TENANT}-{scopes}")
    );
}

#[tokio::test]
async fn rows_can_have_the_names_by_which_node_replaces_them() {
    let (clock, store) = parts();
    let issuer = Issuer::new(&clock);
    let cache = shared(
        &store,
        &clock,
        MsalLayout::single_record(record(FILE)).node_names(),
    );
    cache
        .sign_in(&alice(), as_entra(issuer.sign_in("User.Read")))
        .await
        .unwrap();
    let written = document(&store, FILE).await;
    assert_eq!(only(&written, "RefreshToken").0, &nodes());
    assert!(only(&written, "IdToken").0.ends_with(&format!("{TENANT}--")));
}
