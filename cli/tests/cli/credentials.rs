//! An application that proves who it is by a certificate or by an assertion, not by a secret.

use cache_testkit::authority::{
    CONFIDENTIAL_CLIENT, CONFIDENTIAL_SECRET, Client, Config, FakeAuthority, Grant,
};
use cache_testkit::oidc_provider::{OidcProvider, Options, SERVICE_JWT_CLIENT_ID, SERVICE_KEYS};
use rcgen::{CertificateParams, KeyPair, PKCS_RSA_SHA256, RsaKeySize};

use crate::program::Program;

const LOGIN: [&str; 4] = [
    "login",
    "client-credentials",
    "--scope",
    "https://graph.microsoft.com/.default",
];
const TOKEN: [&str; 3] = ["token", "--scope", "https://graph.microsoft.com/.default"];

#[tokio::test(flavor = "multi_thread")]
async fn an_application_signs_in_by_certificate() {
    let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
    let certificate = CertificateParams::new(Vec::new())
        .unwrap()
        .self_signed(&key)
        .unwrap()
        .pem();
    let app = Client::confidential(CONFIDENTIAL_CLIENT, CONFIDENTIAL_SECRET)
        .assertion_certificate(&certificate, &key.public_key_pem());
    let authority = FakeAuthority::start(Config::default().client(app)).await.unwrap();
    let with = |options: &[(&str, &str)]| {
        let mut program = Program::of_fake(&authority);
        program.options(&["--client-id", CONFIDENTIAL_CLIENT]);
        for (name, content) in options {
            let path = program.path(&name[2..]);
            std::fs::write(&path, content).unwrap();
            program.options(&[name, path.to_str().unwrap()]);
        }
        program
    };
    let private = key.serialize_pem();
    let both = format!("{certificate}{private}");
    for options in [
        &[
            ("--client-certificate", certificate.as_str()),
            ("--client-key", &private),
        ][..],
        &[("--client-certificate", &both)],
    ] {
        let program = with(options);
        assert_eq!(program.json(&LOGIN).await["metadata"]["source"], "authority");
        let object = program.json(&TOKEN).await;
        assert_eq!(object["metadata"]["source"], "store");
        assert!(authority.is_access_token_active(object["access_token"].as_str().unwrap()));
    }
    assert_eq!(authority.grant_count(Grant::ClientCredentials).issued, 2);

    // What makes no sense is found out before anything is sent, and no key is repeated.
    let stranger = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048)
        .unwrap()
        .serialize_pem();
    for options in [
        &[("--client-certificate", certificate.as_str())][..],
        &[
            ("--client-certificate", &certificate),
            ("--client-key", &stranger),
        ],
        &[("--client-key", &private)],
        &[
            ("--client-certificate", &both),
            ("--client-assertion-file", "a.b.c"),
        ],
        &[("--client-assertion-file", "two tokens")],
        &[("--client-assertion-file", "")],
    ] {
        let error = with(options).failing(&LOGIN, 2).await;
        let shown = error.to_string();
        assert!(
            !shown.contains("-----BEGIN") && !shown.contains("two tokens"),
            "{shown}"
        );
        let expected = match options {
            [("--client-assertion-file", _)] => "client_assertion",
            _ => "usage",
        };
        assert_eq!(error["kind"], expected, "{shown}");
    }
    assert_eq!(authority.grant_count(Grant::ClientCredentials).requests, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_signs_in_at_an_openid_provider_by_its_key_alone() {
    let provider = OidcProvider::start(Options::default()).await.unwrap();
    for (name, key) in SERVICE_KEYS {
        let mut program = Program::of_provider(&provider);
        let path = program.path(name);
        std::fs::write(&path, key).unwrap();
        program.options(&[
            "--client-id",
            SERVICE_JWT_CLIENT_ID,
            "--client-key",
            path.to_str().unwrap(),
        ]);
        let login = ["login", "client-credentials", "--scope", "api:read"];
        assert_eq!(program.json(&login).await["metadata"]["source"], "authority");
    }
}
