//! `whoami`: who is signed in to this application.

use cache_core::cache::{CachedAccount, TokenCache};
use cache_core::schema::TenantProfile;
use flows::IdTokenClaims;
use serde_json::{Value, json};

use super::token::account_object;
use crate::account_choice::{choose, first_unreadable, no_account};
use crate::answer::Answer;
use crate::failure::{Failure, one_line};
use crate::session::{Missing, Session};

/// The accounts that are signed in to `--client-id` at `--authority`, or the one of `--account`. It asks nobody.
pub(crate) async fn run(session: &Session) -> Result<Answer, Failure> {
    let wanted = session.account()?;
    let client = session.public_client(Missing::Create).await?;
    let mut listing = client.accounts().await?;
    let mut accounts = if wanted.is_some() {
        vec![choose(listing, wanted)?]
    } else {
        let accounts = std::mem::take(&mut listing.accounts);
        if let Some(failure) = first_unreadable(listing.unreadable) {
            return Err(failure);
        }
        accounts
    };
    if accounts.is_empty() {
        return Err(no_account(None));
    }
    accounts.sort_by(|a, b| a.account.home_account_id.cmp(&b.account.home_account_id));
    let mut objects = Vec::new();
    let mut lines = Vec::new();
    for account in &accounts {
        let subjects = subjects(client.cache(), account, session.client_id()?).await?;
        lines.push(text(account, &subjects));
        objects.push(object(account, &subjects));
    }
    Ok(Answer::new(json!({ "accounts": objects }), lines.join("\n")))
}

/// Who an issuer says the user is: the pair that identifies a user to an application (OIDC Core section 2).
#[derive(PartialEq)]
struct Subject {
    issuer: String,
    subject: String,
    tenant: String,
}

/// What the ID tokens of this application say.
async fn subjects(
    cache: &TokenCache,
    account: &CachedAccount,
    client_id: &str,
) -> Result<Vec<Subject>, Failure> {
    let rows = cache.id_tokens(&account.partition, client_id).await?;
    let read = |row: &cache_core::schema::IdToken| {
        let claims = IdTokenClaims::decode(&row.secret).ok()?;
        Some(Subject {
            issuer: claims.issuer()?.to_owned(),
            subject: claims.subject()?.to_owned(),
            tenant: claims.tenant_id().unwrap_or(&row.realm).to_owned(),
        })
    };
    // ID tokens of several rows can say the same.
    let mut found: Vec<Subject> = Vec::new();
    for who in rows.iter().filter_map(read) {
        if !found.contains(&who) {
            found.push(who);
        }
    }
    Ok(found)
}

fn object(account: &CachedAccount, subjects: &[Subject]) -> Value {
    let mut object = account_object(&account.account);
    object["tenant_profiles"] = account.account.tenant_profiles.iter().map(profile).collect();
    object["subjects"] = subjects
        .iter()
        .map(|who| json!({ "issuer": who.issuer, "subject": who.subject, "tenant": who.tenant }))
        .collect();
    object
}

fn profile(profile: &TenantProfile) -> Value {
    json!({
        "tenant_id": profile.tenant_id,
        "local_account_id": profile.local_account_id,
        "name": profile.name,
        "username": profile.username,
        "is_home_tenant": profile.is_home_tenant,
    })
}

fn text(account: &CachedAccount, subjects: &[Subject]) -> String {
    let row = &account.account;
    let name = match row.username.as_str() {
        "" => "(no user name)",
        username => username,
    };
    let mut lines = vec![one_line(&format!("{name}  {}", row.home_account_id))];
    for profile in &row.tenant_profiles {
        let kind = if profile.is_home_tenant { "home" } else { "guest" };
        lines.push(one_line(&format!(
            "tenant {} ({kind}): {}",
            profile.tenant_id, profile.local_account_id
        )));
    }
    for who in subjects {
        let line = one_line(&format!("subject {} at {}", who.subject, who.issuer));
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    lines.join("\n  ")
}
