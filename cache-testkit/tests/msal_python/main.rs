//! Real MSAL Python signs in against the fake authority, over HTTPS, trusting only its certificate.
//!
//! MSAL is installed, at the versions of `msal-python/requirements.txt`, into a virtual environment of its own in the
//! target directory, once. Without Python or its `venv` module the tests fail and say what to install.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "tests fail by panicking")]

mod environment;

use std::fs;
use std::path::Path;
use std::time::Duration;

use cache_testkit::authority::{
    ALICE, CONFIDENTIAL_CLIENT, CONFIDENTIAL_SECRET, Client, Config, Endpoint, FakeAuthority, Grant,
    Lifetimes,
};
use rcgen::{CertificateParams, KeyPair, PKCS_RSA_SHA256, RsaKeySize};

use environment::{run_script, scratch_directory};

#[tokio::test(flavor = "multi_thread")]
async fn device_code_then_silent_from_the_cache_and_after_expiry() {
    // MSAL uses a token until 300 seconds before its end: long enough for a cache hit, short enough to wait.
    let lifetimes = Lifetimes::default().access_token(Duration::from_secs(304));
    let config = Config::default()
        .lifetimes(lifetimes)
        .auto_approve_devices(1, ALICE);
    let authority = FakeAuthority::start(config).await.unwrap();
    run_script(&authority, "device_code.py", &[]);
    assert_eq!(authority.grant_count(Grant::DeviceCode).requests, 2);
    assert_eq!(authority.grant_count(Grant::DeviceCode).issued, 1);
    assert_eq!(authority.grant_count(Grant::RefreshToken).issued, 2);
    assert_eq!(authority.families().len(), 1);
    // What MSAL is known to do, and this project's own clients must cope with.
    let requests = authority.requests();
    assert!(
        requests
            .iter()
            .any(|request| request.endpoint == Endpoint::OpenIdConfiguration)
    );
    let token_requests = requests
        .iter()
        .filter(|request| request.endpoint == Endpoint::Token);
    for (index, _) in requests
        .iter()
        .enumerate()
        .filter(|(_, request)| request.endpoint == Endpoint::Token)
    {
        let form = authority.request_form(index).unwrap();
        assert!(form.contains(&("client_info".to_owned(), "1".to_owned())));
    }
    assert!(
        token_requests
            .flat_map(|request| &request.header_names)
            .any(|name| name == "x-client-sku")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn authorization_code_for_public_confidential_and_family_clients() {
    let authority = FakeAuthority::start(Config::default()).await.unwrap();
    run_script(&authority, "authorization_code.py", &[]);
    assert_eq!(authority.grant_count(Grant::AuthorizationCode).issued, 3);
    assert_eq!(authority.grant_count(Grant::RefreshToken).issued, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn client_credentials_by_secret_and_certificate_and_on_behalf_of() {
    let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
    let certificate = CertificateParams::new(Vec::new())
        .unwrap()
        .self_signed(&key)
        .unwrap();
    let app =
        Client::confidential(CONFIDENTIAL_CLIENT, CONFIDENTIAL_SECRET).assertion_key(&key.public_key_pem());
    let authority = FakeAuthority::start(Config::default().client(app)).await.unwrap();
    let directory = scratch_directory("client_credentials.py");
    let (key_file, certificate_file) = (directory.join("client.key"), directory.join("client.pem"));
    fs::write(&key_file, key.serialize_pem()).unwrap();
    fs::write(&certificate_file, certificate.pem()).unwrap();
    let files: [(&str, &Path); 2] = [
        ("CLIENT_KEY_FILE", &key_file),
        ("CLIENT_CERTIFICATE_FILE", &certificate_file),
    ];
    run_script(&authority, "client_credentials.py", &files);
    assert_eq!(authority.grant_count(Grant::ClientCredentials).requests, 3);
    assert_eq!(authority.grant_count(Grant::ClientCredentials).issued, 2);
    assert_eq!(authority.grant_count(Grant::OnBehalfOf).issued, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn user_name_and_password() {
    let authority = FakeAuthority::start(Config::default()).await.unwrap();
    run_script(&authority, "password.py", &[]);
    assert_eq!(authority.grant_count(Grant::Password).requests, 2);
    assert_eq!(authority.grant_count(Grant::Password).issued, 1);
}
