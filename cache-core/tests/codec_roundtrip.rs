//! Whatever a partition holds, both codecs give it back; whatever a cache file holds, an export has it again.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test ends at the first surprise"
)]

mod codec_support;

use cache_core::codec::{BincodeCodec, Codec, MsalJsonCodec, msal};
use cache_core::schema::Partition;
use cache_core::schema::index::IndexedPartition;
use proptest::collection::btree_map;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

fn recoded(codec: &dyn Codec, partition: &Partition) -> Partition {
    let bytes = codec.encode(partition).unwrap();
    codec.decode(bytes.expose(), codec.schema_version()).unwrap()
}

fn row_of_a_file() -> impl Strategy<Value = Value> {
    let name = prop_oneof![
        Just("home_account_id"),
        Just("name"),
        Just("local_account_id"),
        Just("authority_type"),
        Just("realm"),
        Just("target"),
        Just("token_type"),
        Just("kid"),
        Just("family_id"),
        Just("cached_at"),
        Just("extended_expires_on"),
        Just("last_modification_time"),
        Just("credential_type"),
        Just("userAssertionHash"),
        Just("user_assertion_hash"),
        Just("tenantProfiles"),
        Just("issuer"),
        Just("TokenKeep"),
        Just("ext_cache_key"),
        Just("unknown"),
    ]
    .prop_map(str::to_owned);
    let value = prop_oneof![
        codec_support::json(),
        "[ab]".prop_map(Value::from),
        Just(json!("ADFS")),
        Just(json!("Generic")),
        Just(json!("1795248924")),
        Just(json!(1795248924.5)),
        Just(json!(["{\"tenantId\":\"t\",\"x\":[1]}", {"tenantId": "u"}, 5])),
    ];
    let usable = prop_oneof![4 => Just(true), 1 => Just(false)];
    (btree_map(name, value, 0..8), usable, "[ab]", "[ab]").prop_map(|(fields, usable, client, user)| {
        let mut row: Map<_, _> = fields.into_iter().collect();
        if usable {
            row.insert("client_id".into(), client.into());
            row.insert("environment".into(), "login.windows.net".into());
            row.insert("secret".into(), "s".into());
            row.insert("expires_on".into(), "1795248924".into());
            row.entry("home_account_id").or_insert(user.into());
        }
        Value::Object(row)
    })
}

fn file() -> impl Strategy<Value = Value> {
    let section = prop_oneof![
        Just("Account"),
        Just("IdToken"),
        Just("AccessToken"),
        Just("RefreshToken"),
        Just("AppMetadata"),
        Just("TokenKeep"),
        Just("Unknown"),
        Just(""),
    ]
    .prop_map(str::to_owned);
    let row = prop_oneof![6 => row_of_a_file(), 1 => codec_support::json()];
    let rows = btree_map("[a-c]{0,2}", row, 0..4).prop_map(|rows| Value::Object(rows.into_iter().collect()));
    let sections = btree_map(section, rows, 0..6);
    let others = btree_map("[x-z]", codec_support::json(), 0..2);
    (sections, others)
        .prop_map(|(sections, others)| Value::Object(sections.into_iter().chain(others).collect()))
}

proptest! {
    #[test]
    fn any_partition_survives_being_kept_in_memory(partition in codec_support::partition()) {
        let kept = IndexedPartition::new(partition.clone()).unwrap();
        prop_assert!(kept.rows() == partition);
        prop_assert!(kept.key() == partition.key);
        let tokens: Vec<_> = kept.tokens().map(|token| token.to_owned()).collect();
        prop_assert!(tokens == partition.access_tokens);
        let sessions: Vec<_> = partition.sessions.iter().map(|link| (&*link.key, link.expires_at)).collect();
        prop_assert_eq!(kept.sessions().collect::<Vec<_>>(), sessions);
        let anchor = partition.anchor.as_ref().map(|anchor| (&*anchor.user, anchor.epoch));
        prop_assert_eq!(kept.anchor(), anchor);
        for known in &partition.epochs {
            let first = partition.epochs.iter().find(|other| other.client_id == known.client_id);
            prop_assert_eq!(kept.epoch(&known.client_id), first.map(|first| first.epoch));
        }
        for (row, token) in partition.access_tokens.iter().zip(kept.tokens()) {
            prop_assert_eq!(token.requested_scopes(), row.requested_scopes());
            prop_assert_eq!(token.declined_scopes(), row.declined_scopes());
            prop_assert_eq!((token.margin(), token.lifetime()), (row.margin(), row.lifetime()));
        }
    }

    #[test]
    fn any_partition_survives_both_codecs(partition in codec_support::partition()) {
        prop_assert!(recoded(&BincodeCodec, &partition) == partition);
        prop_assert!(recoded(&MsalJsonCodec, &partition) == partition);
    }

    #[test]
    fn any_file_survives_import_and_export(file in file()) {
        let cache = msal::read(file.to_string().as_bytes()).unwrap();
        let imported = msal::into_partitions(cache.clone(), &|origin| origin.default_identity());
        let mut stored = Vec::new();
        for partition in &imported {
            let mut existing = recoded(&BincodeCodec, partition);
            msal::merge_import(&mut existing, partition.clone());
            prop_assert!(existing == *partition, "importing twice is importing once");
            stored.push(recoded(&MsalJsonCodec, &existing));
        }
        let exported: Value = serde_json::from_slice(msal::write(&msal::from_partitions(&stored)).expose()).unwrap();
        prop_assert_eq!(&exported, &file);
        let direct: Value = serde_json::from_slice(msal::write(&cache).expose()).unwrap();
        prop_assert_eq!(&direct, &file);
    }

    #[test]
    fn no_bytes_make_a_codec_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = BincodeCodec.decode(&bytes, 1);
        let _ = MsalJsonCodec.decode(&bytes, 1);
        let _ = msal::read(&bytes);
    }

    #[test]
    fn a_damaged_record_is_an_error_or_another_partition(
        partition in codec_support::partition(), at in any::<proptest::sample::Index>(), bit in 0..8_u32,
    ) {
        for codec in [&BincodeCodec as &dyn Codec, &MsalJsonCodec] {
            let mut bytes = codec.encode(&partition).unwrap().expose().to_vec();
            let cut = at.index(bytes.len());
            prop_assert!(codec.decode(&bytes[..cut], 1).is_err());
            bytes[cut] ^= 1 << bit;
            let _ = codec.decode(&bytes, 1);
        }
    }
}
