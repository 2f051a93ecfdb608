//! Who the server is, and who the client is.

use cache_core::secret::SecretBytes;
use cache_core::store::error::{ErrorKind, Retry};
use cache_redis::{RedisConfig, RedisStore};
use cache_testkit::redis::{ClientCertificates, RedisServer};

use crate::client::{assert_failed, config, put, text};

async fn server(clients: ClientCertificates) -> RedisServer {
    RedisServer::builder().tls(clients).start().await.unwrap()
}

fn trusting(server: &RedisServer, trusted: &RedisServer) -> RedisConfig {
    config(&server.url()).ca_certificates(trusted.ca_pem().unwrap().into())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_of_another_authority_is_not_trusted() {
    let (server, other) = tokio::join!(
        server(ClientCertificates::NotAsked),
        server(ClientCertificates::NotAsked)
    );
    let store = RedisStore::open(trusting(&server, &server)).await.unwrap();
    put(&store, "a", "text").await.unwrap();
    for untrusting in [trusting(&server, &other), config(&server.url())] {
        let words = assert_failed(
            RedisStore::open(untrusting).await,
            ErrorKind::PermissionDenied,
            Retry::No,
        );
        assert!(words.contains("certificate is not trusted"), "{words}");
    }
    // It is made for localhost too, and for no other name of this machine.
    let url = format!("rediss://localhost:{}", server.port());
    let by_name = config(&url).ca_certificates(server.ca_pem().unwrap().into());
    let store = RedisStore::open(by_name).await.unwrap();
    assert_eq!(text(&store, "a").await.as_deref(), Some("text"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_another_name_is_not_trusted() {
    let server = RedisServer::builder()
        .tls(ClientCertificates::NotAsked)
        .directive("bind", "127.0.0.1 127.0.0.2")
        .start()
        .await
        .unwrap();
    let url = format!("rediss://127.0.0.2:{}", server.port());
    let config = config(&url).ca_certificates(server.ca_pem().unwrap().into());
    let words = assert_failed(
        RedisStore::open(config).await,
        ErrorKind::PermissionDenied,
        Retry::No,
    );
    assert!(words.contains("certificate is not trusted"), "{words}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_without_the_right_certificate_is_refused() {
    let (server, other) = tokio::join!(
        server(ClientCertificates::Required),
        server(ClientCertificates::Required)
    );
    assert_failed(
        RedisStore::open(trusting(&server, &server)).await,
        ErrorKind::PermissionDenied,
        Retry::No,
    );
    let with = |whose: &RedisServer| {
        let client = whose.client_certificate().unwrap();
        trusting(&server, &server)
            .client_certificate(client.certificate_pem, SecretBytes::new(client.key_pem))
    };
    let foreign = RedisStore::open(with(&other)).await;
    assert_failed(foreign, ErrorKind::PermissionDenied, Retry::No);
    let store = RedisStore::open(with(&server)).await.unwrap();
    put(&store, "a", "text").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_and_plain_text_do_not_go_together() {
    let (tls, plain) = tokio::join!(server(ClientCertificates::NotAsked), RedisServer::start());
    let plain = plain.unwrap();
    let plain_url = format!("redis://127.0.0.1:{}", tls.port());
    let to_tls = RedisStore::open(config(&plain_url)).await;
    assert_failed(to_tls, ErrorKind::Unavailable, Retry::Yes);
    let tls_url = format!("rediss://127.0.0.1:{}", plain.port());
    let to_plain = config(&tls_url).ca_certificates(tls.ca_pem().unwrap().into());
    assert_failed(
        RedisStore::open(to_plain).await,
        ErrorKind::Unavailable,
        Retry::Yes,
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_that_are_none_are_invalid_arguments() {
    let server = server(ClientCertificates::NotAsked).await;
    let garbage = config(&server.url()).ca_certificates(b"no certificate".to_vec());
    assert_failed(
        RedisStore::open(garbage).await,
        ErrorKind::InvalidArgument,
        Retry::No,
    );
    let key_pem = SecretBytes::new(b"no key".to_vec());
    let garbage = trusting(&server, &server).client_certificate(b"no certificate".to_vec(), key_pem);
    assert_failed(
        RedisStore::open(garbage).await,
        ErrorKind::InvalidArgument,
        Retry::No,
    );
}
