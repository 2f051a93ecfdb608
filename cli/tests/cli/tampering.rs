//! Somebody edits the database: each kind of damage has an error of its own, and nothing is deleted.

use std::sync::Arc;

use cache_core::cache::TokenCache;
use cache_core::seal::Namespace;
use cache_core::store::{MemoryStore, Store};
use cache_core::strategy::{SealPolicy, Strategy};
use futures_util::TryStreamExt;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{Connection, Row};

use crate::program::Program;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../cache-core/tests/fixtures/msal");

/// Where the fields of a sealed record's header begin.
const FORMAT_VERSION: usize = 4;
const KEY_ID: usize = 33;
const COMMITMENT: usize = 41;
const LOCATION_TAG: usize = 73;
const CIPHERTEXT: usize = 117;

type Damage<'a> = &'a dyn Fn(&[u8]) -> Vec<u8>;

struct Database(SqliteConnection);

impl Database {
    async fn open(program: &Program) -> Self {
        let options = SqliteConnectOptions::new().filename(program.path("cache.db"));
        Self(SqliteConnection::connect_with(&options).await.unwrap())
    }

    async fn records(&mut self) -> Vec<(String, Vec<u8>)> {
        let rows = sqlx::query("SELECT key, payload FROM records ORDER BY key")
            .fetch_all(&mut self.0)
            .await
            .unwrap();
        rows.iter().map(|row| (row.get(0), row.get(1))).collect()
    }

    /// The key of the only record of a kind.
    async fn only(&mut self, kind: &str) -> (String, Vec<u8>) {
        let prefix = format!("tokenkeep/{kind}/");
        let mut found: Vec<_> = self
            .records()
            .await
            .into_iter()
            .filter(|(key, _)| key.starts_with(&prefix))
            .collect();
        assert_eq!(found.len(), 1);
        found.remove(0)
    }

    async fn write(&mut self, key: &str, payload: &[u8]) {
        let query = sqlx::query("UPDATE records SET payload = ? WHERE key = ?")
            .bind(payload)
            .bind(key);
        assert_eq!(query.execute(&mut self.0).await.unwrap().rows_affected(), 1);
    }
}

async fn imported(names: &[&str]) -> Program {
    let program = Program::new();
    for name in names {
        program
            .json(&["import", &format!("{FIXTURES}/{name}.json")])
            .await;
    }
    program
}

/// An unencrypted record, as a program with an unsealed cache writes it.
async fn plaintext_record() -> Vec<u8> {
    let store = Arc::new(MemoryStore::new());
    let cache = TokenCache::builder(store.clone())
        .strategy(Strategy::desktop_tool().seal(SealPolicy::PlaintextAllowed))
        .open_plaintext(Namespace::default())
        .unwrap();
    let file = std::fs::read(format!("{FIXTURES}/py_msft_device_code.json")).unwrap();
    cache
        .import(&file, &|origin| origin.default_identity())
        .await
        .unwrap();
    let keys: Vec<_> = store.scan("").map_ok(|(key, _)| key).try_collect().await.unwrap();
    let key = keys
        .into_iter()
        .find(|key| key.as_str().contains("/user/"))
        .unwrap();
    store.get(&key).await.unwrap().unwrap().payload.to_vec()
}

fn flipped(payload: &[u8], offset: usize) -> Vec<u8> {
    let mut payload = payload.to_vec();
    payload[offset] ^= 0x10;
    payload
}

#[tokio::test(flavor = "multi_thread")]
async fn each_kind_of_damage_is_told_apart_and_mended_by_a_quarantine() {
    let plaintext = plaintext_record().await;
    let cases: [(&str, Damage<'_>); 9] = [
        ("tampered", &|record| flipped(record, CIPHERTEXT)),
        ("tampered", &|record| flipped(record, record.len() - 1)),
        ("wrong_length", &|record| record[..record.len() - 1].to_vec()),
        ("wrong_length", &|record| record[..CIPHERTEXT - 1].to_vec()),
        ("unknown_key", &|record| flipped(record, KEY_ID)),
        ("wrong_key", &|record| flipped(record, COMMITMENT)),
        ("wrong_location", &|record| flipped(record, LOCATION_TAG)),
        ("unsupported_format", &|record| flipped(record, FORMAT_VERSION)),
        ("plaintext_record", &|_| plaintext.clone()),
    ];
    for (kind, damage) in cases {
        let mut program = imported(&["py_msft_device_code"]).await;
        let mut database = Database::open(&program).await;
        let (key, payload) = database.only("user").await;
        database.write(&key, &damage(&payload)).await;
        let damaged = database.records().await;

        program.options(&[
            "--authority",
            "https://login.microsoftonline.com/common",
            "--client-id",
            "c",
        ]);
        for words in [
            &["accounts"][..],
            &["token", "--scope", "s"],
            &["logout"],
            &["export"],
        ] {
            let error = program.failing(words, 4).await;
            assert_eq!(error["kind"], kind, "{words:?}: {error}");
            assert_eq!(error["record"], key, "{words:?}");
            assert!(
                error["next"]
                    .as_str()
                    .unwrap()
                    .contains(&format!("quarantine {key}")),
                "{error}"
            );
        }
        let file = format!("{FIXTURES}/py_msft_device_code.json");
        assert_eq!(program.failing(&["import", &file], 4).await["kind"], kind);
        let inspected = program.json(&["inspect"]).await;
        let shown = inspected["records"]
            .as_array()
            .unwrap()
            .iter()
            .find(|record| record["key"] == *key)
            .unwrap();
        assert_eq!(shown["unreadable"]["kind"], kind);
        program.failing(&["doctor"], 4).await;
        assert_eq!(
            database.records().await,
            damaged,
            "{kind}: ordinary use changed the database"
        );

        let moved = program.json(&["quarantine", &key]).await;
        let aside = moved["quarantined_as"].as_str().unwrap().to_owned();
        let kept = database.records().await;
        assert!(
            kept.contains(&(aside, damage(&payload))),
            "{kind}: the bytes were not kept"
        );
        assert_eq!(kept.len(), damaged.len());
        program.json(&["import", &file]).await;
        assert_eq!(
            program.json(&["accounts"]).await["accounts"]
                .as_array()
                .unwrap()
                .len(),
            1
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_was_moved_is_noticed() {
    let program = imported(&["py_msft_device_code", "py_msft_client_credentials"]).await;
    let other = imported(&["py_ip_device_code"]).await;
    let mut database = Database::open(&program).await;
    let (user, payload) = database.only("user").await;
    let (_, app) = database.only("app").await;

    database.write(&user, &app).await;
    assert_eq!(program.failing(&["accounts"], 4).await["kind"], "wrong_location");
    let (_, foreign) = Database::open(&other).await.only("user").await;
    database.write(&user, &foreign).await;
    assert_eq!(
        program.failing(&["accounts"], 4).await["kind"],
        "unknown_key",
        "it is of another cache"
    );
    database.write(&user, &payload).await;
    assert_eq!(
        program.json(&["accounts"]).await["accounts"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_application_record_stops_the_application_only() {
    let mut program = imported(&["py_msft_device_code", "py_msft_client_credentials"]).await;
    let mut database = Database::open(&program).await;
    let (app, payload) = database.only("app").await;
    database.write(&app, &flipped(&payload, CIPHERTEXT)).await;
    assert_eq!(
        program.json(&["accounts"]).await["accounts"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    program.options(&["--client-secret-env", "THE_SECRET"]);
    program.set("THE_SECRET", "s");
    assert_eq!(program.failing(&["export"], 4).await["record"], app);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_or_missing_ring_is_its_own_error() {
    let program = imported(&["py_msft_device_code"]).await;
    let mut database = Database::open(&program).await;
    let (ring, payload) = database.only("keyring").await;
    database.write(&ring, &flipped(&payload, payload.len() - 1)).await;
    let kind = program.failing(&["accounts"], 4).await["kind"].clone();
    assert!(kind == "ring_unreadable" || kind == "wrong_key_source", "{kind}");
    database.write(&ring, &payload[..40]).await;
    let error = program.failing(&["accounts"], 4).await;
    assert_eq!(error["kind"], "ring_unreadable");
    assert!(
        error["next"].as_str().unwrap().contains("quarantine --all"),
        "{error}"
    );
    sqlx::query("DELETE FROM records WHERE key = ?")
        .bind(&ring)
        .execute(&mut database.0)
        .await
        .unwrap();
    let before = database.records().await;
    assert_eq!(program.failing(&["accounts"], 4).await["kind"], "ring_missing");
    assert_eq!(database.records().await, before);
    assert_eq!(program.failing(&["quarantine", &ring], 2).await["kind"], "usage");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_are_no_store_are_left_alone() {
    let program = Program::new();
    let path = program.path("cache.db");
    std::fs::write(&path, "these are somebody's notes, and no database".repeat(50)).unwrap();
    let before = std::fs::read(&path).unwrap();
    assert_eq!(program.failing(&["accounts"], 4).await["kind"], "store_corrupt");
    assert_eq!(program.failing(&["doctor"], 4).await["kind"], "doctor");
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_records_can_be_put_in_quarantine() {
    let program = imported(&["py_msft_device_code"]).await;
    assert_eq!(
        program.failing(&["quarantine", "tokenkeep/user/nobody"], 4).await["kind"],
        "no_such_record"
    );
    for key in ["", "other/user/x", "tokenkeep/quarantine/user/x/0"] {
        assert_eq!(
            program.failing(&["quarantine", key], 2).await["kind"],
            "usage",
            "{key}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sound_record_is_put_aside_only_by_force_and_can_come_back() {
    let mut program = imported(&["py_msft_device_code", "py_msft_client_credentials"]).await;
    let mut database = Database::open(&program).await;
    let before = database.records().await;
    for kind in ["user", "app"] {
        let (key, _) = database.only(kind).await;
        let error = program.failing(&["quarantine", &key], 2).await;
        assert!(error["next"].as_str().unwrap().contains("--force"), "{error}");
    }
    assert_eq!(database.records().await, before);

    let (key, payload) = database.only("user").await;
    let moved = program.json(&["quarantine", "--force", &key]).await;
    let aside = moved["quarantined_as"].as_str().unwrap();
    assert_eq!(
        program.json(&["accounts"]).await["accounts"],
        serde_json::json!([])
    );
    let restored = program.json(&["quarantine", "--restore", aside]).await;
    assert_eq!(restored["record"], key);
    assert_eq!(database.records().await, before);
    assert_eq!(
        program.failing(&["quarantine", "--restore", aside], 4).await["kind"],
        "no_such_record"
    );
    assert_eq!(
        program.failing(&["quarantine", "--restore", &key], 2).await["kind"],
        "usage"
    );

    // Its place was taken meanwhile.
    let moved = program.json(&["quarantine", "--force", &key]).await;
    let aside = moved["quarantined_as"].as_str().unwrap();
    program
        .json(&["import", &format!("{FIXTURES}/py_msft_device_code.json")])
        .await;
    let (_, new) = database.only("user").await;
    assert_ne!(new, payload);
    assert_eq!(
        program.failing(&["quarantine", "--restore", aside], 4).await["kind"],
        "place_taken"
    );
    assert_eq!(database.only("user").await.1, new);

    // Without the key nothing can be opened, so it may be put aside.
    program.options(&["--key", "env:NOT_SET"]);
    program.json(&["quarantine", &key]).await;
    // A pass phrase that was merely forgotten is no such reason.
    let (app, _) = database.only("app").await;
    program.options(&["--key", "passphrase"]);
    assert_eq!(program.failing(&["quarantine", &app], 2).await["kind"], "usage");
    program.json(&["quarantine", "--force", &app]).await;
}
