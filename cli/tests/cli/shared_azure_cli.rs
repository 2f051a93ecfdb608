//! `--store azure-cli`, with files as the Azure CLI writes them. With the real one: `tests/azure_cli`.

use cache_testkit::authority::{
    ALICE, CONFIDENTIAL_CLIENT, CONFIDENTIAL_SECRET, Client, Config, FakeAuthority, Grant, HOME_TENANT,
    PUBLIC_CLIENT, Rotation,
};
use serde_json::json;

use crate::program::Program;

const AZURE_CLI: &str = "04b07795-8ddb-461a-bbee-02f9e1bf7b46";
const SCOPE: &str = "https://management.azure.com/.default";
const TOKEN: [&str; 3] = ["token", "--scope", SCOPE];

async fn authority() -> FakeAuthority {
    let config = Config::default()
        .rotation(Rotation::Strict)
        .client(Client::public(AZURE_CLI).family("1"))
        .auto_approve_devices(0, ALICE);
    FakeAuthority::start(config).await.unwrap()
}

/// A program that is told nothing but the store, where the Azure CLI is set to the authority's cloud.
fn program(authority: &FakeAuthority) -> Program {
    let mut program = Program::of_fake(authority);
    for name in ["--authority", "--client-id", "--key"] {
        program.without(name);
    }
    program.options(&["--store", "azure-cli"]);
    let folder = program.path("azure");
    std::fs::create_dir(&folder).unwrap();
    program.set("AZURE_CONFIG_DIR", folder.to_str().unwrap());
    write(&program, "config", "[cloud]\nname = Loop\n");
    let clouds = format!(
        "[Loop]\nendpoint_active_directory = {}\nendpoint_resource_manager = https://management.azure.com/\n\
         endpoint_active_directory_resource_id = https://management.core.windows.net/\n",
        authority.base_url()
    );
    write(&program, "clouds.config", &clouds);
    program
}

fn write(program: &Program, name: &str, content: &str) {
    std::fs::write(program.path("azure").join(name), content).unwrap();
}

/// What `az login` leaves beside the tokens.
fn sign_in(program: &Program, name: &str, kind: &str) {
    let profile = json!({
        "installationId": "5a5b6c7d-0000-4000-8000-000000000001",
        "subscriptions": [{
            "id": "0b1f6471-1bf0-4dda-aec3-111122223333", "name": "Loop", "state": "Enabled", "isDefault": true,
            "user": { "name": name, "type": kind }, "tenantId": HOME_TENANT, "environmentName": "Loop",
        }],
    });
    write(program, "azureProfile.json", &format!("\u{feff}{profile}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_users_token_needs_neither_authority_nor_client() {
    let authority = authority().await;
    let program = program(&authority);
    let error = program.failing(&TOKEN, 3).await;
    assert!(error["next"].as_str().unwrap().contains("az login"), "{error}");
    assert!(!program.path("azure/msal_token_cache.json").exists());

    sign_in(&program, ALICE, "user");
    let error = program.failing(&TOKEN, 3).await;
    assert!(error["next"].as_str().unwrap().contains("az login"), "{error}");
    program.json(&["login", "device-code", "--scope", SCOPE]).await;
    let before = authority.requests().len();
    let token = program.json(&TOKEN).await;
    assert_eq!(authority.requests().len(), before);
    assert_eq!(token["tenant"], HOME_TENANT);
    let scopes = token["scopes"].to_string();
    assert!(
        scopes.contains("https://management.core.windows.net//.default"),
        "under the CLI's own name: {scopes}"
    );
    let report = program.json(&["doctor"]).await.to_string();
    for word in ["cloud Loop", ALICE, HOME_TENANT, "not encrypted"] {
        assert!(report.contains(word), "{word}: {report}");
    }

    // Another user is signed in to the Azure CLI by now: nobody else's token is given.
    sign_in(&program, "bob@contoso.test", "user");
    program.failing(&TOKEN, 3).await;
    let mut named = TOKEN.to_vec();
    named.extend(["--account", ALICE]);
    program.json(&named).await;

    sign_in(&program, ALICE, "user");
    assert_eq!(program.json(&["logout"]).await["removed"], true);
    program.failing(&TOKEN, 3).await;
    let left = std::fs::read_to_string(program.path("azure/msal_token_cache.json")).unwrap();
    assert!(!left.contains("\"secret\""), "a family token was left: {left}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_says_that_the_azure_cli_is_signed_out() {
    let authority = authority().await;
    let program = program(&authority);
    sign_in(&program, ALICE, "user");
    program.json(&["login", "device-code", "--scope", SCOPE]).await;
    let (to, key) = (
        format!("sqlite:{}", program.path("own.db").display()),
        format!("file:{}", program.path("own-key").display()),
    );
    let migrate = ["migrate", "--to", &to, "--to-key", &key];
    let warning = "warning: a move signs its user out of the Azure CLI";
    for more in [&["--dry-run"][..], &["--dry-run", "--json"]] {
        let ran = program.run(&[&migrate[..], more].concat()).await.succeeded();
        assert!(
            ran.stderr.contains(warning) && ran.stderr.contains("`az login`"),
            "{}",
            ran.stderr
        );
    }
    program.json(&TOKEN).await;
    let copied = program
        .run(&["migrate", "--to", &to, "--to-key", &key, "--copy"])
        .await
        .succeeded();
    assert!(!copied.stderr.contains(warning), "{}", copied.stderr);
    let ran = program.run(&migrate).await;
    assert!(ran.stderr.contains(warning), "{}", ran.stderr);
    assert!(!ran.stderr.contains("must be pointed at"), "{}", ran.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_client_is_told_that_the_cache_is_not_its() {
    let authority = authority().await;
    let program = program(&authority);
    sign_in(&program, ALICE, "user");
    program.json(&["login", "device-code", "--scope", SCOPE]).await;
    let mut words = vec!["--client-id", PUBLIC_CLIENT];
    words.extend(TOKEN);
    let ran = program.run(&words).await;
    assert_eq!(ran.exit, Some(3), "{ran:?}");
    assert!(
        ran.stderr.contains("is not the Azure CLI's own"),
        "{}",
        ran.stderr
    );
    assert!(ran.stderr.contains("leave --client-id out"), "{}", ran.stderr);
    let mut words = vec!["--client-id", AZURE_CLI];
    words.extend(TOKEN);
    let ran = program.run(&words).await.succeeded();
    assert!(
        !ran.stderr.contains("is not the Azure CLI's own"),
        "{}",
        ran.stderr
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_principals_secret_is_read_only_for_a_request() {
    let authority = authority().await;
    let program = program(&authority);
    sign_in(&program, CONFIDENTIAL_CLIENT, "servicePrincipal");
    let error = program.failing(&TOKEN, 3).await;
    assert!(error["next"].as_str().unwrap().contains("az login"), "{error}");
    let entries = json!([{
        "client_id": CONFIDENTIAL_CLIENT, "tenant": HOME_TENANT, "client_secret": CONFIDENTIAL_SECRET,
    }]);
    write(&program, "service_principal_entries.json", &entries.to_string());
    let token = program.json(&TOKEN).await;
    assert_eq!(token["metadata"]["source"], "authority");
    assert_eq!(authority.grant_count(Grant::ClientCredentials).issued, 1);

    std::fs::remove_file(program.path("azure/service_principal_entries.json")).unwrap();
    let cached = program.json(&TOKEN).await;
    assert_eq!(cached["access_token"], token["access_token"]);
    let mut forced = TOKEN.to_vec();
    forced.push("--force-refresh");
    program.failing(&forced, 3).await;
    let error = program.failing(&["logout"], 2).await;
    assert!(error["next"].as_str().unwrap().contains("az logout"), "{error}");

    let wrong =
        json!([{ "client_id": CONFIDENTIAL_CLIENT, "tenant": HOME_TENANT, "client_secret": "canary-wrong" }]);
    write(&program, "service_principal_entries.json", &wrong.to_string());
    let ran = program.run(&forced).await;
    assert_eq!(ran.exit, Some(5));
    assert!(!ran.stderr.contains("canary"), "{}", ran.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_used_is_explained() {
    let authority = authority().await;
    let program = program(&authority);
    sign_in(&program, "systemAssignedIdentity", "servicePrincipal");
    let error = program.failing(&TOKEN, 2).await;
    assert!(
        error["next"].as_str().unwrap().contains("--managed-identity"),
        "{error}"
    );

    sign_in(&program, ALICE, "user");
    write(&program, "config", "[cloud]\nname = Elsewhere\n");
    let error = program.failing(&TOKEN, 2).await;
    assert!(
        error["message"].as_str().unwrap().contains("Elsewhere"),
        "{error}"
    );
    write(&program, "config", "[cloud]\nname = Loop\n");

    write(&program, "msal_token_cache.bin", "");
    let error = program.failing(&TOKEN, 4).await;
    let next = error["next"].as_str().unwrap();
    assert!(
        next.contains("encrypt_token_cache") && next.contains("msal-secret-service:"),
        "{error}"
    );
    std::fs::remove_file(program.path("azure/msal_token_cache.bin")).unwrap();

    write(&program, "azureProfile.json", "{\"canary\": ");
    let error = program.failing(&TOKEN, 4).await;
    assert_eq!(error["kind"], "azure_cli");
    assert!(!error.to_string().contains("canary"), "{error}");
    let ran = program.run(&["--json", "doctor"]).await;
    assert_eq!(ran.exit, Some(4));
    assert!(ran.stdout.contains("azureProfile.json"), "{}", ran.stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_other_authorities_get_no_request() {
    let (authority, other) = (authority().await, authority().await);
    let elsewhere = program(&other);
    sign_in(&elsewhere, ALICE, "user");
    elsewhere.json(&["login", "device-code", "--scope", SCOPE]).await;
    // Its rows, under an address that was never configured here.
    let rows = std::fs::read_to_string(elsewhere.path("azure/msal_token_cache.json")).unwrap();
    let rows = rows.replace("127.0.0.1", "login.evil.test");
    let here = program(&authority);
    sign_in(&here, ALICE, "user");
    write(&here, "msal_token_cache.json", &rows);
    let before = other.requests().len();
    here.failing(&TOKEN, 3).await;
    assert_eq!((authority.requests().len(), other.requests().len()), (0, before));
}
