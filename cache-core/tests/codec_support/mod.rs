//! Partitions of every shape, for the tests of the codecs.

use std::collections::BTreeMap;

use cache_core::schema::{
    AccessToken, Account, AppMetadata, AuthorityIdentity, AuthorityKind, ClientEpoch, Foreign, IdToken,
    Partition, PartitionKey, RefreshToken, Refusal, ScopeSet, SessionAnchor, SessionKey, SessionLink,
    SpendMarker, TenantProfile, TokenContext, TokenType,
};
use cache_core::secret::{Secret, SecretJson};
use cache_core::time::{UnixMillis, UnixSeconds};
use proptest::collection::{btree_map, vec};
use proptest::option::of;
use proptest::prelude::*;
use serde_json::Value;

/// Mostly plausible, sometimes empty or awkward.
fn text() -> BoxedStrategy<String> {
    prop_oneof![
        4 => "[a-cA-C]{1,3}",
        1 => Just(String::new()),
        1 => "[-~ .:\"\\\\,{}\u{e9}\u{130}\u{1f600}]{1,4}",
        1 => prop_oneof![Just("TokenKeep"), Just("Bearer"), Just("5"), Just("ext_cache_key")].prop_map(str::to_owned),
    ]
    .boxed()
}

/// Names that rows know, names that they do not, and ours.
fn field_name() -> BoxedStrategy<String> {
    prop_oneof![
        prop_oneof![
            Just("home_account_id"),
            Just("environment"),
            Just("client_id"),
            Just("secret"),
            Just("realm"),
            Just("target"),
            Just("family_id"),
            Just("cached_at"),
            Just("expires_on"),
            Just("last_modification_time"),
            Just("token_type"),
            Just("tenantProfiles"),
            Just("tenantId"),
            Just("issuer"),
            Just("TokenKeep"),
        ]
        .prop_map(str::to_owned),
        text(),
    ]
    .boxed()
}

pub(crate) fn json() -> BoxedStrategy<Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..3).prop_map(Value::from),
            btree_map(text(), inner, 0..3).prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
    .boxed()
}

fn object() -> BoxedStrategy<SecretJson> {
    btree_map(field_name(), json(), 0..3)
        .prop_map(|fields| SecretJson::new(fields.into_iter().collect()))
        .boxed()
}

fn foreign() -> BoxedStrategy<Option<Box<Foreign>>> {
    of(
        (of(text()), object(), vec(field_name(), 0..2)).prop_map(|(item_key, fields, absent)| {
            Box::new(Foreign {
                item_key,
                fields,
                absent,
            })
        }),
    )
    .boxed()
}

fn seconds() -> impl Strategy<Value = UnixSeconds> {
    any::<i64>().prop_map(UnixSeconds)
}

fn secret() -> impl Strategy<Value = Secret> {
    text().prop_map(Secret::new)
}

fn scopes() -> impl Strategy<Value = ScopeSet> {
    vec("[a-cA-C]{1,2}", 0..3).prop_map(ScopeSet::of)
}

fn map() -> impl Strategy<Value = BTreeMap<String, String>> {
    btree_map(text(), text(), 0..3)
}

prop_compose! {
    fn profile()(
        tenant_id in text(), local_account_id in text(), name in of(text()), username in of(text()),
        is_home_tenant in any::<bool>(), foreign in foreign(),
    ) -> TenantProfile {
        TenantProfile { tenant_id, local_account_id, name, username, is_home_tenant, foreign }
    }
}

prop_compose! {
    fn account()(
        home_account_id in text(), environment in text(), realm in text(), local_account_id in text(),
        username in text(), authority_type in text(), name in of(text()), issuer in of(text()),
        tenant_profiles in vec(profile().boxed(), 0..3), foreign in foreign(),
    ) -> Account {
        Account {
            home_account_id, environment, realm, local_account_id, username, authority_type, name, issuer,
            tenant_profiles, foreign,
        }
    }
}

prop_compose! {
    fn id_token()(
        home_account_id in text(), environment in text(), realm in text(), client_id in text(),
        secret in secret(), foreign in foreign(),
    ) -> IdToken {
        IdToken { home_account_id, environment, realm, client_id, secret, foreign }
    }
}

fn token_type() -> impl Strategy<Value = TokenType> {
    prop_oneof![
        Just(TokenType::Bearer),
        (text(), text()).prop_map(|(scheme, key_id)| TokenType::Bound {
            scheme: scheme.into(),
            key_id: key_id.into(),
        }),
    ]
}

prop_compose! {
    fn context()(
        resource in of(text()), continuous_access_evaluation in any::<bool>(), assertion_hash in of(text()),
        components in map(),
    ) -> TokenContext {
        TokenContext {
            resource: resource.map(Into::into),
            continuous_access_evaluation,
            assertion_hash: assertion_hash.map(Into::into),
            components,
        }
    }
}

prop_compose! {
    fn access_token()(
        (home_account_id, environment, client_id, realm) in (text(), text(), text(), text()),
        target in scopes(), token_type in token_type(), secret in secret(), cached_at in seconds(),
        expires_on in seconds(), extended_expires_on in of(seconds()), refresh_on in of(seconds()),
        context in context(), foreign in foreign(),
    ) -> AccessToken {
        AccessToken {
            home_account_id, environment, client_id, realm, target, token_type, secret, cached_at, expires_on,
            extended_expires_on, refresh_on, context, foreign,
        }
    }
}

prop_compose! {
    fn marker()(
        token_hash in any::<[u8; 32]>(), attempt in any::<[u8; 16]>(), deadline in any::<i64>(),
        attempts in any::<u8>(), outcome_unknown in any::<bool>(),
    ) -> SpendMarker {
        SpendMarker { token_hash, attempt, deadline: UnixMillis(deadline), attempts, outcome_unknown }
    }
}

prop_compose! {
    fn refusal()(
        request in of(any::<[u8; 16]>()), error in text(), suberror in of(text()), claims in of(text()),
        refused_at in seconds(),
    ) -> Refusal {
        Refusal { request, error, suberror, claims, refused_at }
    }
}

prop_compose! {
    fn refresh_token()(
        (home_account_id, environment, client_id) in (text(), text(), text()),
        family_id in of(text()), target in of(scopes()), secret in secret(),
        last_modification_time in of(seconds()), expires_on in of(seconds()), spending in of(marker()),
        refusals in vec(refusal(), 0..3), foreign in foreign(),
    ) -> RefreshToken {
        RefreshToken {
            home_account_id, environment, client_id, family_id, target, secret, last_modification_time,
            expires_on, spending, refusals, foreign,
        }
    }
}

prop_compose! {
    fn app_metadata()(
        client_id in text(), environment in text(), family_id in of(text()), foreign in foreign(),
    ) -> AppMetadata {
        AppMetadata { client_id, environment, family_id, foreign }
    }
}

fn authority() -> impl Strategy<Value = AuthorityIdentity> {
    let kind = prop_oneof![
        Just(AuthorityKind::Entra),
        Just(AuthorityKind::B2c),
        Just(AuthorityKind::Ciam),
        Just(AuthorityKind::Adfs),
        Just(AuthorityKind::Oidc),
    ];
    (kind, text()).prop_map(|(kind, id)| AuthorityIdentity::from_parts(kind, id))
}

fn key() -> BoxedStrategy<PartitionKey> {
    let session = prop_oneof![
        any::<[u8; 32]>().prop_map(SessionKey::AssertionHash),
        text().prop_map(SessionKey::CallerKey),
        text().prop_map(SessionKey::WebSession),
    ];
    prop_oneof![
        (authority(), text()).prop_map(|(authority, home_account_id)| PartitionKey::User {
            authority,
            home_account_id,
        }),
        (text(), authority(), text(), of(text()), map()).prop_map(
            |(client_id, authority, tenant, resource, components)| PartitionKey::App {
                client_id,
                authority,
                tenant,
                resource,
                components,
            }
        ),
        (text(), authority(), session).prop_map(|(client_id, authority, key)| PartitionKey::Session {
            client_id,
            authority,
            key,
        }),
        Just(PartitionKey::Residue),
    ]
    .boxed()
}

fn section() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("Account"),
        Just("AccessToken"),
        Just("AppMetadata"),
        Just("TokenKeep"),
        Just(""),
        Just("Unknown"),
    ]
    .prop_map(str::to_owned)
}

prop_compose! {
    /// Any partition at all, rows that no program would write among them.
    pub(crate) fn partition()(
        key in key(), accounts in vec(account().boxed(), 0..3), id_tokens in vec(id_token().boxed(), 0..3),
        access_tokens in vec(access_token().boxed(), 0..4), refresh_tokens in vec(refresh_token().boxed(), 0..3),
        app_metadata in vec(app_metadata().boxed(), 0..3), epochs in vec((text(), any::<[u8; 16]>()), 0..3),
        sessions in vec((vec(any::<u8>(), 0..9), any::<i64>()), 0..3),
        anchor in of((vec(any::<u8>(), 0..9), any::<[u8; 16]>())),
        residue in btree_map(section(), object(), 0..3),
    ) -> Partition {
        let epoch = |(client_id, epoch)| ClientEpoch { client_id, epoch };
        let link = |(key, expires_at)| SessionLink { key, expires_at: UnixMillis(expires_at) };
        Partition {
            key, accounts, id_tokens, access_tokens, refresh_tokens, app_metadata,
            epochs: epochs.into_iter().map(epoch).collect(),
            sessions: sessions.into_iter().map(link).collect(),
            anchor: anchor.map(|(user, epoch)| SessionAnchor { user, epoch }),
            residue,
        }
    }
}
