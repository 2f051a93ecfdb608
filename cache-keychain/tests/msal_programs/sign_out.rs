//! A sign-out by one is a sign-out for all, and leaves no token.

use crate::party::{Usage, Who};
use crate::scene::Scene;

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_out_by_one_reaches_all() {
    let scene = Scene::set().await;
    for leaver in [Who::Tokenkeep, Who::Python, Who::Node] {
        for other in [Who::Tokenkeep, Who::Python, Who::Node] {
            let file = format!("{leaver}-{other}.json");
            let mut other = scene.party(other, Usage::PerCommand, &file).await;
            let mut leaver = scene.party(leaver, Usage::PerCommand, &file).await;
            let (home, _) = other.sign_in().await;
            assert_eq!(leaver.accounts().await.len(), 1);
            leaver.sign_out(&home).await;
            let who = format!("{} signed out what {} had", leaver.who(), other.who());
            assert!(other.accounts().await.is_empty(), "{who}");
            assert!(other.silent(&home, false).await.is_err(), "{who}");
            let rows = scene.rows(&file);
            println!("{who}: {rows:?}");
            // Python removes rows by its own names, so what Node had stays, without an account.
            if (leaver.who(), other.who()) != (Who::Python, Who::Node) {
                assert_eq!(rows[..4], [0; 4], "{who}: no token is left");
            }
        }
    }
}
