//! The bytes of both codecs never change for a schema version: records of years ago must stay readable.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test ends at the first surprise"
)]

use std::path::Path;

use cache_core::codec::{BincodeCodec, Codec, MsalJsonCodec, msal};
use cache_core::schema::{
    AccessToken, Account, AppMetadata, AuthorityIdentity, AuthorityKind, ClientEpoch, Foreign, IdToken,
    Partition, PartitionKey, RefreshToken, Refusal, ScopeSet, SessionAnchor, SessionKey, SessionLink,
    SpendMarker, TenantProfile, TokenContext, TokenType,
};
use cache_core::secret::{Secret, SecretJson};
use cache_core::time::{UnixMillis, UnixSeconds};
use serde_json::{Value, json};

fn fields(value: Value) -> SecretJson {
    SecretJson::new(value.as_object().unwrap().clone())
}

fn foreign(item_key: Option<&str>, unknown: Value) -> Option<Box<Foreign>> {
    Some(Box::new(Foreign {
        item_key: item_key.map(str::to_owned),
        fields: fields(unknown),
        absent: Vec::new(),
    }))
}

fn session_key() -> PartitionKey {
    PartitionKey::Session {
        client_id: "client".into(),
        authority: AuthorityIdentity::of_issuer("https://issuer.example/"),
        key: SessionKey::AssertionHash([7; 32]),
    }
}

fn account() -> Account {
    Account {
        home_account_id: "uid.utid".into(),
        environment: "login.microsoftonline.com".into(),
        realm: "tenant".into(),
        local_account_id: "oid".into(),
        username: "alice@contoso.test".into(),
        authority_type: "MSSTS".into(),
        name: Some("Alice".into()),
        issuer: None,
        tenant_profiles: vec![TenantProfile {
            tenant_id: "tenant".into(),
            local_account_id: "oid".into(),
            name: None,
            username: Some("alice@contoso.test".into()),
            is_home_tenant: true,
            foreign: foreign(None, json!({ "loginHint": "hint" })),
        }],
        foreign: foreign(None, json!({ "client_info": "e30" })),
    }
}

fn access_token(token_type: TokenType, context: TokenContext) -> AccessToken {
    AccessToken {
        home_account_id: "uid.utid".into(),
        environment: "login.microsoftonline.com".into(),
        client_id: "client".into(),
        realm: "tenant".into(),
        target: ScopeSet::parse("openid User.Read"),
        token_type,
        secret: Secret::new("at"),
        cached_at: UnixSeconds(1_700_000_000),
        expires_on: UnixSeconds(1_700_003_600),
        extended_expires_on: Some(UnixSeconds(1_700_007_200)),
        refresh_on: None,
        context,
        foreign: None,
    }
}

/// Every field of the schema, each in a way that shows in the bytes.
fn everything() -> Partition {
    let mut partition = Partition::new(PartitionKey::User {
        authority: AuthorityIdentity::of_host(AuthorityKind::Entra, "login.microsoftonline.com"),
        home_account_id: "uid.utid".into(),
    });
    partition.accounts.push(account());
    partition.id_tokens.push(IdToken {
        home_account_id: "uid.utid".into(),
        environment: "login.microsoftonline.com".into(),
        realm: "tenant".into(),
        client_id: "client".into(),
        secret: Secret::new("id"),
        foreign: foreign(Some("Its Own Name"), json!({})),
    });
    partition
        .access_tokens
        .push(access_token(TokenType::Bearer, TokenContext::default()));
    partition.access_tokens.push(access_token(
        TokenType::Bound {
            scheme: "pop".into(),
            key_id: "kid".into(),
        },
        TokenContext {
            resource: Some("https://api.example/".into()),
            continuous_access_evaluation: true,
            assertion_hash: Some("hash".into()),
            components: [("fmi".to_owned(), "path".to_owned())].into(),
        },
    ));
    partition.refresh_tokens.push(RefreshToken {
        home_account_id: "uid.utid".into(),
        environment: "login.windows.net".into(),
        client_id: "client".into(),
        family_id: Some("1".into()),
        target: Some(ScopeSet::parse("User.Read")),
        secret: Secret::new("rt"),
        last_modification_time: Some(UnixSeconds(1_700_000_000)),
        expires_on: Some(UnixSeconds(-1)),
        spending: Some(SpendMarker {
            token_hash: [1; 32],
            attempt: [2; 16],
            deadline: UnixMillis(1_700_000_030_000),
            attempts: 3,
            outcome_unknown: true,
        }),
        refusals: vec![Refusal {
            request: Some([4; 16]),
            error: "invalid_grant".into(),
            suberror: Some("basic_action".into()),
            claims: Some("{}".into()),
            refused_at: UnixSeconds(1_700_000_001),
        }],
        foreign: None,
    });
    partition.app_metadata.push(AppMetadata {
        client_id: "client".into(),
        environment: "login.microsoftonline.com".into(),
        family_id: Some(String::new()),
        foreign: Some(Box::new(Foreign {
            absent: vec!["environment".into()],
            ..Foreign::default()
        })),
    });
    partition.epochs.push(ClientEpoch {
        client_id: "client".into(),
        epoch: [5; 16],
    });
    partition.sessions.push(SessionLink {
        key: session_key().to_bytes(),
        expires_at: UnixMillis(1_700_000_100_000),
    });
    partition
        .residue
        .insert("".into(), fields(json!({ "Version": 3 })));
    partition
        .residue
        .insert("Other".into(), fields(json!({ "row": [null, 1.5, true] })));
    partition
}

fn session() -> Partition {
    let mut partition = Partition::new(session_key());
    partition.anchor = Some(SessionAnchor {
        user: PartitionKey::Residue.to_bytes(),
        epoch: [6; 16],
    });
    partition
}

fn app() -> Partition {
    Partition::new(PartitionKey::App {
        client_id: "client".into(),
        authority: AuthorityIdentity::of_host(AuthorityKind::B2c, "contoso.b2clogin.com"),
        tenant: "tenant".into(),
        resource: Some("https://api.example/".into()),
        components: [("fmi".to_owned(), "path".to_owned())].into(),
    })
}

fn golden(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name);
    std::fs::read_to_string(path)
        .unwrap_or_default()
        .trim()
        .to_owned()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let digit = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(digit).collect()
}

#[test]
fn the_binary_codec_writes_and_reads_its_golden_vectors() {
    for (name, partition) in [("user", everything()), ("session", session()), ("app", app())] {
        let expected = golden(&format!("{name}_v1.hex"));
        let written = hex(BincodeCodec.encode(&partition).unwrap().expose());
        assert_eq!(written, expected, "{name}");
        assert!(
            BincodeCodec.decode(&unhex(&expected), 1).unwrap() == partition,
            "{name}"
        );
    }
}

#[test]
fn the_json_codec_writes_and_reads_its_golden_vectors() {
    for (name, partition) in [("user", everything()), ("session", session()), ("app", app())] {
        let expected = golden(&format!("{name}_v1.json"));
        let written = MsalJsonCodec.encode(&partition).unwrap();
        assert_eq!(std::str::from_utf8(written.expose()).unwrap(), expected, "{name}");
        assert!(
            MsalJsonCodec.decode(expected.as_bytes(), 1).unwrap() == partition,
            "{name}"
        );
    }
}

#[test]
fn an_export_has_no_state_of_our_own() {
    let written = msal::write(&msal::from_partitions(&[everything()]));
    assert_eq!(
        std::str::from_utf8(written.expose()).unwrap(),
        golden("user_export.json")
    );
}

#[test]
fn a_newer_schema_is_refused_by_both_codecs() {
    for codec in [&BincodeCodec as &dyn Codec, &MsalJsonCodec] {
        let error = codec.decode(b"", 2).unwrap_err();
        assert!(matches!(
            error,
            cache_core::codec::CodecError::NewerSchema { found: 2, known: 1 }
        ));
    }
}
