//! Caches that real MSALs wrote: import and export keep every row, field and section.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test ends at the first surprise"
)]

use std::collections::BTreeMap;
use std::path::Path;

use cache_core::codec::{BincodeCodec, Codec, MsalJsonCodec, msal};
use cache_core::schema::{AuthorityKind, Partition, PartitionKey};
use cache_core::time::UnixSeconds;
use serde_json::Value;

fn fixtures() -> BTreeMap<String, Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/msal");
    std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            (name, std::fs::read(path).unwrap())
        })
        .collect()
}

fn fixture(name: &str) -> Vec<u8> {
    fixtures().remove(name).unwrap()
}

fn partitions(file: &[u8]) -> Vec<Partition> {
    let cache = msal::read(file).unwrap();
    assert_eq!(cache.unread, []);
    msal::into_partitions(cache, &|origin| origin.default_identity())
}

#[test]
fn every_fixture_is_exported_as_it_was_imported() {
    let fixtures = fixtures();
    assert_eq!(fixtures.len(), 13);
    for (name, file) in fixtures {
        let expected: Value = serde_json::from_slice(&file).unwrap();
        for codec in [&BincodeCodec as &dyn Codec, &MsalJsonCodec] {
            let stored: Vec<_> = partitions(&file)
                .iter()
                .map(|partition| {
                    let bytes = codec.encode(partition).unwrap();
                    let decoded = codec.decode(bytes.expose(), 1).unwrap();
                    assert!(decoded == *partition, "{name}");
                    decoded
                })
                .collect();
            let written = msal::write(&msal::from_partitions(&stored));
            let written: Value = serde_json::from_slice(written.expose()).unwrap();
            assert_eq!(written, expected, "{name}");
        }
    }
}

#[test]
fn every_fixture_survives_a_clock_that_is_behind() {
    for (name, file) in fixtures() {
        let expected: Value = serde_json::from_slice(&file).unwrap();
        let mut cache = msal::read(&file).unwrap();
        let now = UnixSeconds(1_000_000_000);
        cache.clamp_future(now);
        assert!(cache.access_tokens.iter().all(|row| row.cached_at == now));
        let partitions = msal::into_partitions(cache, &|origin| origin.default_identity());
        let written = msal::write(&msal::from_partitions(&partitions));
        assert_eq!(
            serde_json::from_slice::<Value>(written.expose()).unwrap(),
            expected,
            "{name}"
        );
    }
}

#[test]
fn every_section_that_msal_reads_is_where_msal_looks_for_it() {
    let partition = partitions(&fixture("py_msft_two_tenants")).remove(0);
    let mut encoded: Value =
        serde_json::from_slice(MsalJsonCodec.encode(&partition).unwrap().expose()).unwrap();
    encoded.as_object_mut().unwrap().remove("TokenKeep").unwrap();
    let original: Value = serde_json::from_slice(&fixture("py_msft_two_tenants")).unwrap();
    assert_eq!(encoded, original);
}

#[test]
fn users_of_every_msal_share_one_partition() {
    for names in [
        [
            "py_msft_device_code",
            "node_msft_device_code",
            "node_msft_obo",
            "x_msft_go",
        ]
        .as_slice(),
        &["py_ip_device_code", "node_ip_device_code"],
        &["py_msft_auth_code_foci", "node_msft_auth_code_foci"],
    ] {
        let keys: Vec<_> = names
            .iter()
            .map(|name| {
                let mut users = partitions(&fixture(name));
                users.retain(|partition| partition.key != PartitionKey::Residue);
                assert_eq!(users.len(), 1, "{name}");
                users.remove(0).key
            })
            .collect();
        assert!(keys.iter().all(|key| *key == keys[0]), "{keys:?}");
        let PartitionKey::User { authority, .. } = &keys[0] else {
            panic!("{keys:?}")
        };
        assert_eq!(authority.kind(), AuthorityKind::Entra);
    }
}

#[test]
fn application_tokens_of_every_msal_share_one_partition() {
    let keys: Vec<_> = [
        "py_msft_client_credentials",
        "node_msft_client_credentials",
        "x_msft_go_cc",
    ]
    .iter()
    .map(|name| {
        let found = partitions(&fixture(name));
        let app = found
            .iter()
            .find(|partition| !partition.access_tokens.is_empty())
            .unwrap();
        assert_eq!(app.access_tokens[0].home_account_id, "");
        app.key.clone()
    })
    .collect();
    assert!(matches!(&keys[0], PartitionKey::App { tenant, .. } if tenant.starts_with("aaaaaaaa-")));
    assert!(keys.iter().all(|key| *key == keys[0]), "{keys:?}");
}

#[test]
fn caches_of_several_programs_are_merged_without_loss() {
    let names = ["node_msft_two_tenants", "py_msft_two_tenants", "x_msft_go"];
    let mut merged: BTreeMap<PartitionKey, Partition> = BTreeMap::new();
    for name in names.iter().chain(&names) {
        for imported in partitions(&fixture(name)) {
            let existing = merged
                .entry(imported.key.clone())
                .or_insert_with(|| Partition::new(imported.key.clone()));
            msal::merge_import(existing, imported);
        }
    }
    let merged: Vec<_> = merged.into_values().collect();
    let written = msal::write(&msal::from_partitions(&merged));
    let written: Value = serde_json::from_slice(written.expose()).unwrap();
    for name in names {
        let original: Value = serde_json::from_slice(&fixture(name)).unwrap();
        for (section, rows) in original.as_object().unwrap() {
            for row in rows.as_object().unwrap().keys() {
                assert!(written[section].get(row).is_some(), "{name}: {section}");
            }
        }
    }
    // Python and Go call the account, the metadata and nothing else the same.
    let count = |section: &str| written[section].as_object().unwrap().len();
    assert_eq!(
        (count("Account"), count("AppMetadata"), count("AccessToken")),
        (2, 1, 6)
    );
}

#[test]
fn the_on_behalf_of_token_keeps_the_hash_of_its_assertion() {
    let partition = partitions(&fixture("node_msft_obo")).remove(0);
    let context = &partition.access_tokens[0].context;
    assert_eq!(
        context.assertion_hash.as_deref(),
        Some("Nh6hyuDAQS-vmghGBDH4aQiFg8JzPqSCU60ey8UW5ho")
    );
}

#[test]
fn no_debug_output_shows_a_token() {
    for (name, file) in fixtures() {
        let cache = msal::read(&file).unwrap();
        let secrets: Vec<_> = cache
            .access_tokens
            .iter()
            .map(|row| row.secret.clone())
            .chain(cache.refresh_tokens.iter().map(|row| row.secret.clone()))
            .chain(cache.id_tokens.iter().map(|row| row.secret.clone()))
            .collect();
        assert!(!secrets.is_empty());
        let shown = format!("{cache:?} {:?} {:?}", msal::write(&cache), partitions(&file));
        for secret in secrets {
            assert!(!shown.contains(secret.expose()), "{name}");
        }
    }
}
