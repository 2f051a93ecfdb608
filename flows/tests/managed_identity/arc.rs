//! Azure Arc's agent is shown its own keys and nothing else.

use cache_testkit::managed_identity::SECRET;
use flows::Error;
use flows::managed_identity::ManagedIdentityError;

use crate::scene::{SYSTEM, Scene, VAULT, shown};

async fn refusal(scene: &Scene) -> ManagedIdentityError {
    let client = scene.client(SYSTEM).await;
    let error = client
        .acquire_token_for_managed_identity(VAULT)
        .await
        .unwrap_err();
    assert!(!shown(&error).contains("canary"), "{}", shown(&error));
    match error {
        Error::ManagedIdentity(error) => error,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn no_file_but_a_key_of_the_agent_is_read_or_sent() {
    let scene = Scene::arc().await;
    let outside = tempfile::tempdir().unwrap();
    let secret = outside.path().join("server.key");
    std::fs::write(&secret, SECRET).unwrap();
    std::fs::write(scene.keys.path().join("notes.txt"), SECRET).unwrap();
    let folder = scene.keys.path().display().to_string();
    let up = format!(
        "{folder}/../{}/server.key",
        outside.path().file_name().unwrap().display()
    );
    for path in [
        secret.display().to_string(),
        up,
        format!("{folder}/notes.txt"),
        format!("{folder}//1.key"),
        "server.key".to_owned(),
    ] {
        scene.endpoint.set_challenge(format!("Basic realm={path}"));
        assert_eq!(refusal(&scene).await, ManagedIdentityError::KeyRefused, "{path}");
    }
    let asked = scene.endpoint.requests();
    assert_eq!(asked.len(), 5, "nobody was asked a second time");
    assert!(asked.iter().all(|asked| asked.header("authorization").is_none()));
}

#[cfg(unix)]
#[tokio::test]
async fn a_link_out_of_the_folder_is_not_followed() {
    let scene = Scene::arc().await;
    let outside = tempfile::tempdir().unwrap();
    let secret = outside.path().join("secret");
    std::fs::write(&secret, SECRET).unwrap();
    let link = scene.keys.path().join("link.key");
    std::os::unix::fs::symlink(&secret, &link).unwrap();
    scene
        .endpoint
        .set_challenge(format!("Basic realm={}", link.display()));
    assert_eq!(refusal(&scene).await, ManagedIdentityError::KeyRefused);
    assert_eq!(scene.endpoint.requests().len(), 1);
}

#[tokio::test]
async fn a_key_that_is_too_large_missing_or_no_text_is_not_sent() {
    let scene = Scene::arc().await;
    scene.endpoint.pad_keys(4096);
    assert_eq!(refusal(&scene).await, ManagedIdentityError::KeyTooLarge);
    scene.endpoint.pad_keys(0);

    let path = scene.keys.path().join("other.key");
    scene
        .endpoint
        .set_challenge(format!("Basic realm={}", path.display()));
    let missing = ManagedIdentityError::KeyUnreadable(std::io::ErrorKind::NotFound);
    assert_eq!(refusal(&scene).await, missing);
    for content in [&b""[..], b"\n", b"a\r\nx-injected: 1", b"\xff\xfe"] {
        std::fs::write(&path, content).unwrap();
        assert_eq!(refusal(&scene).await, ManagedIdentityError::KeyMalformed);
    }
    assert!(
        scene
            .endpoint
            .requests()
            .iter()
            .all(|asked| asked.header("authorization").is_none())
    );
}

#[tokio::test]
async fn a_key_of_just_4096_bytes_is_sent() {
    let scene = Scene::arc().await;
    scene.endpoint.pad_keys(4096 - "canary-key-1".len());
    let client = scene.client(SYSTEM).await;
    assert!(client.acquire_token_for_managed_identity(VAULT).await.is_ok());
}

#[tokio::test]
async fn a_challenge_of_another_kind_is_an_error_and_a_second_one_a_refusal() {
    let scene = Scene::arc().await;
    scene.endpoint.set_challenge("Bearer realm=/a.key");
    assert_eq!(refusal(&scene).await, ManagedIdentityError::ChallengeUnreadable);

    // The key is the agent's, but not the one that it waits for.
    let path = scene.keys.path().join("old.key");
    std::fs::write(&path, "an old key").unwrap();
    scene
        .endpoint
        .set_challenge(format!("Basic realm={}", path.display()));
    let client = scene.client(SYSTEM).await;
    let error = client
        .acquire_token_for_managed_identity(VAULT)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Authority(_)), "{error:?}");
    assert_eq!(scene.endpoint.requests().len(), 3, "one, and then two");
}

#[tokio::test]
async fn an_agent_on_another_machine_is_refused() {
    let scene = Scene::arc().await;
    let environment = scene.environment_with("IDENTITY_ENDPOINT", "https://agent.test/token");
    let error = scene
        .builder(SYSTEM)
        .await
        .environment(environment)
        .build()
        .unwrap_err();
    assert!(error.to_string().contains("another machine"), "{error}");
}
