//! What MSAL Python and MSAL Node do to each other where a refresh token works once, and what a refresh by tokenkeep mends.

use crate::party::{Usage, Who};
use crate::scene::Scene;

/// Python keeps Node's rows beside its own. Node finds two access tokens, drops both, and sends the first refresh token that it finds: the
/// one that Python has spent.
#[tokio::test(flavor = "multi_thread")]
async fn node_sends_what_python_has_spent() {
    let scene = Scene::set().await;
    let file = "cache.json";
    let mut node = scene.party(Who::Node, Usage::PerCommand, file).await;
    let mut python = scene.party(Who::Python, Usage::PerCommand, file).await;
    let (home, _) = node.sign_in().await;
    assert!(!python.silent(&home, true).await.unwrap().from_cache);
    let [_, _, access_tokens, refresh_tokens, _] = scene.rows(file);
    assert_eq!((access_tokens, refresh_tokens), (2, 2));
    let refused = node.silent(&home, false).await.unwrap_err();
    assert!(refused.contains("invalid_grant"), "{refused}");
    assert_eq!(scene.authority.families_revoked(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_by_tokenkeep_leaves_what_both_find() {
    let scene = Scene::set().await;
    let file = "cache.json";
    let mut node = scene.party(Who::Node, Usage::PerCommand, file).await;
    let mut python = scene.party(Who::Python, Usage::PerCommand, file).await;
    let mut tokenkeep = scene.party(Who::Tokenkeep, Usage::PerCommand, file).await;
    let (home, _) = node.sign_in().await;
    assert!(!python.silent(&home, true).await.unwrap().from_cache);
    // It finds the younger of the two rows, although the elder is another's.
    let mended = tokenkeep.silent(&home, true).await.unwrap();
    assert_eq!(scene.rows(file), [1; 5]);
    for party in [&mut node, &mut python] {
        let seen = party.silent(&home, false).await.unwrap();
        assert!(seen.from_cache);
        assert_eq!(seen.token, mended.token);
    }
    assert!(!node.silent(&home, true).await.unwrap().from_cache);
    assert_eq!(scene.authority.families_revoked(), 0);
}
