//! The kernel's keyrings.

use std::process::Command;

use keyring_core::api::CredentialStoreApi;

use crate::real::{self, Real};

const INSIDE: &str = "TOKENKEEP_TEST_INSIDE_KEYRING";

/// Runs `test` with a session keyring of its own; `name` is that of the calling test, with its module.
async fn within_keyring(name: &str, test: impl Future<Output = ()>) {
    if std::env::var_os(INSIDE).is_some() {
        return test.await;
    }
    let status = Command::new("keyctl")
        .args(["session", "-"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        .status()
        .unwrap();
    assert!(status.success(), "{name} failed inside: {status}");
}

/// Removes the manifest, which the user's persistent keyring has too, for days.
fn clear(place: &Real) {
    let keyrings = linux_keyutils_keyring_store::Store::new().unwrap();
    let manifest = keyrings.build(&place.service, "token-cache", None).unwrap();
    // Not every rule writes.
    let _ = manifest.delete_credential();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_contract_holds() {
    within_keyring(
        "keyutils::the_contract_holds",
        real::the_contract_holds("keyutils", clear),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_count_together() {
    within_keyring("keyutils::processes_count_together", async {
        let place = Real::new("keyutils");
        real::processes_count_together(&place).await;
        clear(&place);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_processes_leave_whole_records() {
    within_keyring("keyutils::killed_processes_leave_whole_records", async {
        let place = Real::new("keyutils");
        real::killed_processes_leave_whole_records(&place).await;
        clear(&place);
    })
    .await;
}
