//! What the reader forgives, what the writer takes care of, and where rows end up.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test ends at the first surprise"
)]

use cache_core::codec::{CodecError, msal};
use cache_core::schema::{
    AuthorityIdentity, AuthorityKind, Partition, PartitionKey, RefreshToken, ScopeSet, TokenContext,
    TokenType,
};
use cache_core::secret::Secret;
use cache_core::time::UnixSeconds;
use serde_json::{Value, json};

fn read(file: &Value) -> msal::MsalCache {
    msal::read(file.to_string().as_bytes()).unwrap()
}

fn sorted(file: &Value) -> Vec<Partition> {
    msal::into_partitions(read(file), &|origin| origin.default_identity())
}

fn written(cache: &msal::MsalCache) -> Value {
    serde_json::from_slice(msal::write(cache).expose()).unwrap()
}

fn exported(partitions: &[Partition]) -> Value {
    written(&msal::from_partitions(partitions))
}

fn access_token(environment: &str, home_account_id: Value) -> Value {
    json!({
        "home_account_id": home_account_id,
        "environment": environment,
        "client_id": "c",
        "realm": "t",
        "target": "s",
        "secret": "canary",
        "expires_on": "1795248924",
        "cached_at": "1795245324",
    })
}

fn refresh_token(environment: &str) -> Value {
    json!({ "home_account_id": "u.t", "environment": environment, "client_id": "c", "secret": "canary" })
}

#[test]
fn times_targets_and_nulls_are_read_in_every_form_and_written_as_they_were() {
    let file = json!({
        "AccessToken": {
            "k": {
                "home_account_id": "u.t", "environment": "login.windows.net", "client_id": "c", "realm": null,
                "target": ["a", "b"], "secret": "s", "token_type": "bearer", "cached_at": 1795245324,
                "expires_on": 1795248924.5, "extended_expires_on": "1795256124.0", "refresh_on": null,
            },
        },
        "RefreshToken": null,
    });
    let cache = read(&file);
    let row = &cache.access_tokens[0];
    assert_eq!((row.realm.as_str(), row.target.as_str()), ("", "a b"));
    assert_eq!(row.token_type, TokenType::Bearer);
    assert_eq!(row.cached_at, UnixSeconds(1_795_245_324));
    assert_eq!(row.expires_on, UnixSeconds(1_795_248_924));
    assert_eq!(row.extended_expires_on, Some(UnixSeconds(1_795_256_124)));
    assert_eq!(row.refresh_on, None);
    assert_eq!(written(&cache), file);
}

#[test]
fn every_host_of_a_cloud_leads_to_one_partition_and_others_do_not() {
    let partitions = sorted(&json!({
        "AccessToken": { "1": access_token("login.windows.net", json!("u.t")) },
        "RefreshToken": {
            "2": refresh_token("login.microsoftonline.com"),
            "3": refresh_token("sts.windows.net"),
            "4": refresh_token("login.microsoftonline.us"),
        },
    }));
    let counts: Vec<_> = partitions
        .iter()
        .map(|partition| (partition.access_tokens.len(), partition.refresh_tokens.len()))
        .collect();
    assert_eq!(counts, [(1, 2), (0, 1)]);
}

#[test]
fn a_port_that_python_dropped_does_not_part_a_user() {
    let file = json!({
        "Account": {
            "1": { "home_account_id": "u.t", "environment": "localhost:8443", "authority_type": "MSSTS" },
            "2": { "home_account_id": "u.t", "environment": "localhost", "authority_type": "MSSTS" },
        },
        "RefreshToken": { "3": refresh_token("localhost"), "4": refresh_token("localhost:8443") },
    });
    let partitions = sorted(&file);
    assert_eq!(partitions.len(), 1);
    assert_eq!(partitions[0].accounts.len(), 2);
    assert_eq!(exported(&partitions), file);
}

#[test]
fn an_application_token_has_no_home_account_id_in_any_of_three_ways() {
    let mut without = access_token("login.windows.net", Value::Null);
    without.as_object_mut().unwrap().remove("home_account_id");
    let file = json!({
        "AccessToken": {
            "python": access_token("login.microsoftonline.com", Value::Null),
            "node": access_token("login.windows.net", json!("")),
            "go": without,
        },
    });
    let partitions = sorted(&file);
    assert_eq!(partitions.len(), 1);
    assert_eq!(
        partitions[0].key,
        PartitionKey::App {
            client_id: "c".into(),
            authority: AuthorityIdentity::of_host(AuthorityKind::Entra, "login.windows.net"),
            tenant: "t".into(),
            resource: None,
            components: [].into(),
        }
    );
    assert_eq!(partitions[0].access_tokens.len(), 3);
    assert_eq!(exported(&partitions), file);
}

#[test]
fn what_nobody_knows_is_kept_at_every_level() {
    let file = json!({
        "Account": {
            "k": {
                "home_account_id": "u.t", "environment": "e", "unknown": { "deep": [1, null] },
                "tenantProfiles": ["{\"tenantId\": \"t\", \"unknown\": {\"deep\": 1.25}}", "not JSON", 7],
            },
            "no row": 5,
            "no environment": { "home_account_id": "u.t" },
        },
        "AccessToken": { "not an object": "x" },
        "RefreshToken": {},
        "Unknown": { "row": { "secret": "s" } },
        "Version": [1, 2],
        "": { "": 1 },
    });
    let partitions = sorted(&file);
    assert_eq!(exported(&partitions), file);

    let account = partitions
        .iter()
        .find_map(|partition| partition.accounts.first())
        .unwrap();
    let profile = &account.tenant_profiles[0];
    assert_eq!(account.tenant_profiles.len(), 1);
    let kept = profile
        .foreign
        .as_ref()
        .unwrap()
        .carried_over(msal::TENANT_PROFILE_FIELDS)
        .unwrap();
    assert_eq!(kept.fields.expose()["unknown"], json!({ "deep": 1.25 }));

    // A replaced row loses the forms of what it replaces and keeps what is unknown, inside profiles too.
    let mut account = account.clone();
    account.username = "new".into();
    account.foreign = account.foreign.unwrap().carried_over(msal::ACCOUNT_FIELDS);
    let mut cache = msal::MsalCache::default();
    cache.accounts.push(account);
    let row = written(&cache)["Account"]["k"].clone();
    assert_eq!(
        (&row["username"], &row["unknown"]),
        (&json!("new"), &json!({ "deep": [1, null] }))
    );
    let profile = r#"{"tenantId":"t","unknown":{"deep":1.25}}"#;
    assert_eq!(row["tenantProfiles"], json!([profile]));
}

#[test]
fn rows_that_cannot_be_used_are_named_without_their_content() {
    let mut token = access_token("e", json!("u.t"));
    token["expires_on"] = json!("canary");
    let mut of_nobody = refresh_token("e");
    of_nobody["home_account_id"] = Value::Null;
    let file =
        json!({ "AccessToken": { "canary": token }, "RefreshToken": { "k": of_nobody, "l": "canary" } });
    let cache = read(&file);
    let shown: Vec<_> = cache.unread.iter().map(ToString::to_string).collect();
    assert_eq!(
        shown,
        [
            "a row of section AccessToken: field expires_on is not a time in unix seconds",
            "a row of section RefreshToken: field home_account_id is missing",
            "a row of section RefreshToken: it is not an object",
        ]
    );
    assert!(cache.access_tokens.is_empty() && cache.refresh_tokens.is_empty());
    assert_eq!(written(&cache), file);
}

#[test]
fn a_section_that_is_no_object_is_an_error_that_names_it() {
    for value in [json!([{ "secret": "canary" }]), json!("canary"), json!(1)] {
        let error = msal::read(json!({ "AccessToken": value }).to_string().as_bytes()).unwrap_err();
        assert!(matches!(error, CodecError::Malformed { .. }));
        assert_eq!(
            error.to_string(),
            "the MSAL JSON codec cannot read these bytes: section AccessToken is not an object of rows"
        );
    }
}

#[test]
fn accounts_of_adfs_take_their_tokens_along() {
    let file = json!({
        "Account": {
            "sub-adfs.example-adfs": {
                "home_account_id": "sub", "environment": "adfs.example", "realm": "adfs",
                "local_account_id": "sub", "username": "u", "authority_type": "ADFS",
            },
        },
        "RefreshToken": {
            "k": { "home_account_id": "sub", "environment": "adfs.example", "client_id": "c", "secret": "s" },
        },
    });
    let partitions = sorted(&file);
    assert_eq!(partitions.len(), 1);
    assert_eq!(
        partitions[0].key,
        PartitionKey::User {
            authority: AuthorityIdentity::of_host(AuthorityKind::Adfs, "adfs.example"),
            home_account_id: "sub".into(),
        }
    );
    assert_eq!(exported(&partitions), file);
}

#[test]
fn two_issuers_on_one_host_stay_apart_through_an_export() {
    let partitions: Vec<_> = ["https://host.example/a", "https://host.example/b"]
        .into_iter()
        .map(|issuer| {
            let row = refresh_token("host.example");
            let mut cache = read(&json!({
                "RefreshToken": { "u.t-host.example-refreshtoken-c--": row },
                "AppMetadata": {
                    "appmetadata-host.example-c": { "client_id": "c", "environment": "host.example" },
                },
            }));
            cache.refresh_tokens[0].foreign = None;
            let mut partition = Partition::new(PartitionKey::User {
                authority: AuthorityIdentity::of_issuer(issuer),
                home_account_id: "u.t".into(),
            });
            partition.refresh_tokens = cache.refresh_tokens;
            for row in &mut cache.app_metadata {
                row.foreign = None;
            }
            partition.app_metadata = cache.app_metadata;
            partition
        })
        .collect();
    let file = exported(&partitions);
    assert_eq!(file["RefreshToken"].as_object().unwrap().len(), 2);
    assert_eq!(
        file["RefreshToken"]["u.t-host.example-refreshtoken-c--"]["issuer"],
        json!("https://host.example/a")
    );
    let imported = sorted(&file);
    assert_eq!(imported.len(), 2);
    for (imported, original) in imported.iter().zip(&partitions) {
        assert_eq!(imported.key, original.key);
        assert_eq!(imported.app_metadata.len(), 1);
        assert!(imported.refresh_tokens[0].secret == original.refresh_tokens[0].secret);
        assert!(
            imported.refresh_tokens[0]
                .foreign
                .as_ref()
                .is_none_or(|kept| kept.fields.is_empty())
        );
    }
    assert_eq!(exported(&imported), file);
}

#[test]
fn application_metadata_goes_wherever_its_client_is_and_comes_back_once() {
    let mut other = refresh_token("login.windows.net");
    other["home_account_id"] = json!("v.t");
    let file = json!({
        "RefreshToken": { "1": refresh_token("login.microsoftonline.com"), "2": other },
        "AppMetadata": {
            "m": { "client_id": "c", "environment": "login.microsoftonline.com", "family_id": "1", "x": 1 },
            "n": { "client_id": "another", "environment": "login.microsoftonline.com" },
        },
    });
    let partitions = sorted(&file);
    let counts: Vec<_> = partitions
        .iter()
        .map(|partition| (partition.key.record_kind(), partition.app_metadata.len()))
        .collect();
    use cache_core::seal::RecordKind::{Residue, User};
    assert_eq!(counts, [(User, 1), (User, 1), (Residue, 1)]);
    assert!(partitions.iter().all(|partition| !partition.is_empty()));
    assert_eq!(exported(&partitions), file);
}

#[test]
fn the_configuration_may_know_better_whose_rows_they_are() {
    let file = json!({ "RefreshToken": { "k": refresh_token("contoso.b2clogin.com") } });
    let b2c = AuthorityIdentity::of_host(AuthorityKind::B2c, "contoso.b2clogin.com");
    let issuer = AuthorityIdentity::of_issuer("https://contoso.b2clogin.com/");
    for authority in [b2c, issuer] {
        let partitions = msal::into_partitions(read(&file), &|_| authority.clone());
        assert!(
            matches!(&partitions[0].key, PartitionKey::User { authority: found, .. } if *found == authority)
        );
        // The file did not name an issuer, so neither does its export.
        assert_eq!(exported(&partitions), file);
    }
}

#[test]
fn a_row_of_our_own_follows_the_rules_of_every_msal() {
    let mut partition =
        sorted(&json!({ "RefreshToken": { "k": refresh_token("Login.Windows.Net") } })).remove(0);
    let mut row: RefreshToken = partition.refresh_tokens[0].clone();
    row.foreign = None;
    row.target = Some(ScopeSet::parse("User.Read"));
    row.last_modification_time = Some(UnixSeconds(5));
    row.family_id = Some(String::new());
    row.secret = Secret::new("s");
    partition.refresh_tokens = vec![row];
    assert_eq!(
        exported(&[partition]),
        json!({
            "RefreshToken": {
                "u.t-login.windows.net-refreshtoken-c--user.read": {
                    "home_account_id": "u.t", "environment": "Login.Windows.Net", "client_id": "c",
                    "credential_type": "RefreshToken", "secret": "s", "target": "User.Read",
                    "last_modification_time": "5",
                },
            },
        })
    );
}

#[test]
fn a_token_of_a_special_request_is_not_imported_as_one_of_a_plain_request() {
    let mut partition = sorted(&json!({ "AccessToken": { "k": access_token("e", json!("u.t")) } })).remove(0);
    let plain = partition.access_tokens[0].clone();
    let mut special = plain.clone();
    special.foreign = None;
    special.context = TokenContext {
        resource: Some("r".into()),
        continuous_access_evaluation: true,
        assertion_hash: Some("h".into()),
        components: [("a".to_owned(), "b".to_owned())].into(),
    };
    partition.access_tokens = vec![special.clone(), plain];
    let file = exported(&[partition]);
    let imported = sorted(&file).remove(0);
    assert_eq!(imported.access_tokens.len(), 2);
    assert!(
        imported
            .access_tokens
            .iter()
            .any(|row| row.context == special.context)
    );

    // A context that cannot be read makes the token unusable, not plain.
    let mut damaged = access_token("e", json!("u.t"));
    damaged["TokenKeep"] = json!({ "cae": "yes" });
    let cache = read(&json!({ "AccessToken": { "k": damaged } }));
    assert!(cache.access_tokens.is_empty());
    assert_eq!(cache.unread[0].field, "TokenKeep");
}

#[test]
fn a_token_with_an_extended_cache_key_stays_apart() {
    let mut token = access_token("login.windows.net", Value::Null);
    token["ext_cache_key"] = json!("Hash");
    let file = json!({
        "AccessToken": { "extended": token, "plain": access_token("login.windows.net", Value::Null) },
    });
    let mut partitions = sorted(&file);
    assert_eq!(partitions.len(), 2);
    assert_eq!(exported(&partitions), file);
    partitions.retain(|partition| !partition.access_tokens[0].context.is_plain());
    let row = &mut partitions[0].access_tokens[0];
    assert_eq!(row.context.components["ext_cache_key"], "Hash");
    row.foreign = None;
    let ours = exported(&partitions);
    let row = &ours["AccessToken"]["-login.windows.net-atext-c-t-s-hash"];
    assert_eq!(row["ext_cache_key"], json!("Hash"));
    assert_eq!(row.get("TokenKeep"), None);
}

#[test]
fn times_in_the_future_are_not_believed_and_still_exported() {
    let mut row = refresh_token("e");
    row["last_modification_time"] = json!(9_999_999_999_i64);
    let file =
        json!({ "RefreshToken": { "k": row }, "AccessToken": { "k": access_token("e", json!("u.t")) } });
    let mut cache = read(&file);
    cache.clamp_future(UnixSeconds(1_795_245_400));
    assert_eq!(
        cache.refresh_tokens[0].last_modification_time,
        Some(UnixSeconds(1_795_245_400))
    );
    assert_eq!(cache.access_tokens[0].cached_at, UnixSeconds(1_795_245_324));
    assert_eq!(written(&cache), file);
}
