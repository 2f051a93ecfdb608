//! What the platform says by real variables. A process's own environment cannot be changed safely while threads run, so each test
//! starts this binary anew with the variables, for the one test that reads them.

use std::process::Command;

use cache_testkit::authority::{CONFIDENTIAL_CLIENT, HOME_TENANT};
use flows::authority::Region;
use flows::client::{ClientCredential, ConfidentialClient};
use flows::http::ReqwestClient;
use flows::request::{FederatedTokenFile, WorkloadIdentity};

use crate::scene::{Scene, cache, token};

const VARIABLES: [&str; 5] = [
    "AZURE_CLIENT_ID",
    "AZURE_TENANT_ID",
    "AZURE_AUTHORITY_HOST",
    "AZURE_FEDERATED_TOKEN_FILE",
    "REGION_NAME",
];

/// The certificate of the authority, in the process that is started.
const CHILD: &str = "TOKENKEEP_TEST_CA";

/// Runs the test `name` of this binary with `variables` and no others of [`VARIABLES`].
async fn passes(name: &str, variables: &[(&str, &str)]) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", name, "--nocapture"]);
    for name in VARIABLES {
        command.env_remove(name);
    }
    command.envs(variables.iter().copied());
    let output = tokio::task::spawn_blocking(move || command.output())
        .await
        .unwrap()
        .unwrap();
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && shown.contains("1 passed"), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workload_is_who_its_variables_say() {
    let name = "environment::a_workload_is_who_its_variables_say";
    if let Some(ca) = std::env::var_os(CHILD) {
        let identity = WorkloadIdentity::from_environment().unwrap();
        let http = ReqwestClient::builder()
            .ca_certificates(std::fs::read(ca).unwrap())
            .build()
            .unwrap();
        let credential = ClientCredential::federated_token_file(identity.token_file);
        let store = std::sync::Arc::new(cache_core::store::MemoryStore::new());
        let client =
            ConfidentialClient::builder(identity.client_id, identity.authority, credential, cache(store))
                .http(std::sync::Arc::new(http))
                .build()
                .unwrap();
        token(&client, false).await.unwrap();
        return;
    }
    let scene = Scene::with_key().await;
    let folder = tempfile::tempdir().unwrap();
    let (file, ca) = (folder.path().join("token"), folder.path().join("ca.pem"));
    std::fs::write(&file, scene.federated_token("by-variable")).unwrap();
    std::fs::write(&ca, scene.authority.ca_pem().unwrap()).unwrap();
    let host = scene.authority.authority_url("");
    passes(
        name,
        &[
            (CHILD, ca.to_str().unwrap()),
            ("AZURE_CLIENT_ID", CONFIDENTIAL_CLIENT),
            ("AZURE_TENANT_ID", HOME_TENANT),
            ("AZURE_AUTHORITY_HOST", &host),
            ("AZURE_FEDERATED_TOKEN_FILE", file.to_str().unwrap()),
        ],
    )
    .await;
    assert_eq!(scene.asked(), 1, "it was this authority that was asked");
}

#[tokio::test]
async fn a_variable_names_the_file_and_the_region() {
    let name = "environment::a_variable_names_the_file_and_the_region";
    if std::env::var_os(CHILD).is_some() {
        let file = FederatedTokenFile::from_environment().unwrap();
        assert_eq!(file.path(), std::path::Path::new("/var/run/token"));
        assert_eq!(
            format!("{:?}", Region::from_environment().unwrap()),
            "Region(westus2)"
        );
        return;
    }
    let variables = [
        (CHILD, "none"),
        ("AZURE_FEDERATED_TOKEN_FILE", "/var/run/token"),
        ("REGION_NAME", "West US 2"),
    ];
    passes(name, &variables).await;
}

#[tokio::test]
async fn a_variable_that_is_missing_is_named() {
    let name = "environment::a_variable_that_is_missing_is_named";
    if std::env::var_os(CHILD).is_some() {
        let file = FederatedTokenFile::from_environment().unwrap_err();
        assert!(file.to_string().contains("AZURE_FEDERATED_TOKEN_FILE"), "{file}");
        let region = Region::from_environment().unwrap_err();
        assert!(region.to_string().contains("REGION_NAME"), "{region}");
        let identity = WorkloadIdentity::from_environment().unwrap_err();
        assert!(identity.to_string().contains("AZURE_TENANT_ID"), "{identity}");
        return;
    }
    passes(name, &[(CHILD, "none")]).await;
}
