//! A successful token reply: parsed leniently, checked strictly, and made into what the cache commits.

use std::time::Duration;

use cache_core::schema::{Account, ScopeRules, ScopeSet, TokenContext, TokenResponse, TokenType};
use cache_core::secret::Secret;
use cache_core::time::UnixMillis;

use super::{Fields, Reply, definite_success, of_refresh};
use crate::account::{self, Identity};
use crate::authority::{Authority, Metadata};
use crate::client_info::ClientInfo;
use crate::error::{Error, ReplyError};
use crate::id_token::{IdTokenClaims, IdTokenRules};

/// Who the tokens are for.
pub(crate) enum Subject {
    /// The application itself. The reply's refresh token and ID token, if any, are dropped: they would speak for
    /// nobody.
    Application,
    /// Whoever signed in; `nonce` ties the ID token to this sign-in.
    NewUser { nonce: Option<Secret> },
    /// Whoever a token exchange was for: known if the reply says it. The type that was asked for, if any.
    Exchanged { requested: Option<&'static str> },
    /// An account that is signed in already. A reply for anybody else is refused.
    KnownUser(Box<KnownUser>),
}

/// The account that a refresh is for, and its latest ID token if the cache has one.
pub(crate) struct KnownUser {
    pub(crate) account: Account,
    pub(crate) id_token: Option<IdTokenClaims>,
}

/// What a reply is read against.
pub(crate) struct ReplyContext<'a> {
    pub(crate) authority: &'a Authority,
    pub(crate) metadata: &'a Metadata,
    pub(crate) client_id: &'a str,
    pub(crate) scopes: &'a ScopeSet,
    pub(crate) context: &'a TokenContext,
    pub(crate) subject: &'a Subject,
    /// How long ago the user may have signed in, where the request said so.
    pub(crate) max_age: Option<Duration>,
    /// How the token must be presented: what was asked for.
    pub(crate) token_type: TokenType,
    /// When the request was sent: all lifetimes count from here.
    pub(crate) sent_at: UnixMillis,
    /// When the reply was complete.
    pub(crate) now: UnixMillis,
}

/// Used when the reply does not say how long the token lives, as MSAL does.
const UNSAID_LIFETIME: Duration = Duration::from_secs(3_600);

/// Reads the reply to a token request (RFC 6749 section 5).
pub(crate) fn token_response(context: &ReplyContext<'_>, reply: &Reply) -> Result<TokenResponse, Error> {
    let kind = context.authority.kind();
    let fields = definite_success(kind, reply, context.now);
    let mut fields = match context.subject {
        Subject::KnownUser(_) => fields.map_err(|error| of_refresh(kind, error))?,
        Subject::Application | Subject::NewUser { .. } | Subject::Exchanged { .. } => fields?,
    };
    let token_type = token_type(reply, &fields, &context.token_type)?;
    let access_token = fields.take_secret("access_token");
    let id_token = fields.take_secret("id_token");
    let user = match context.subject {
        Subject::Application => None,
        Subject::Exchanged { requested } => {
            check_issued_type(reply, &fields, *requested)?;
            let is_named =
                context.authority.kind().honours_client_info() && fields.text("client_info").is_some();
            match (&id_token, is_named) {
                (None, false) => None,
                _ => Some(user(
                    context,
                    &mut fields,
                    id_token.as_ref(),
                    access_token.as_ref(),
                )?),
            }
        }
        _ => Some(user(
            context,
            &mut fields,
            id_token.as_ref(),
            access_token.as_ref(),
        )?),
    };
    let is_user = user.is_some();
    // A sign-in for `openid` alone may bring no access token; a refresh or an application's request is for one.
    if access_token.is_none() && !(is_user && id_token.is_some()) {
        return Err(ReplyError::Missing("access_token").into());
    }
    let requested_at = context.sent_at.to_seconds();
    let lifetime = fields.duration("expires_in").unwrap_or(UNSAID_LIFETIME);
    let later = |name: &str| {
        fields
            .duration(name)
            .map(|duration| requested_at.saturating_add(duration))
    };
    let expires_on = requested_at.saturating_add(lifetime);
    let rules = ScopeRules::of(context.authority.kind(), context.authority.environment());
    Ok(TokenResponse {
        client_id: context.client_id.to_owned(),
        environment: context.authority.environment().to_owned(),
        realm: realm(context, user.as_ref()),
        scopes: match fields.text("scope") {
            None => context.scopes.clone(),
            Some(granted) => rules.granted(context.scopes, &ScopeSet::parse(granted)),
        },
        requested_scopes: context.scopes.clone(),
        token_type,
        access_token,
        requested_at,
        expires_on,
        extended_expires_on: later("ext_expires_in").filter(|extended| *extended > expires_on),
        refresh_on: later("refresh_in").filter(|refresh| *refresh < expires_on),
        refresh_token_expires_on: later("refresh_token_expires_in").or_else(|| later("refresh_expires_in")),
        family_id: fields.scalar("foci").filter(|_| is_user),
        refresh_token: fields.take_secret("refresh_token").filter(|_| is_user),
        id_token: id_token.filter(|_| is_user),
        account: user.map(|user| user.account),
        context: context.context.clone(),
    })
}

struct User {
    account: Account,
    realm: Option<String>,
}

/// Who signed in, by the checked ID token and the `client_info` of authorities that may name accounts with it.
fn user(
    context: &ReplyContext<'_>,
    fields: &mut Fields,
    id_token: Option<&Secret>,
    access_token: Option<&Secret>,
) -> Result<User, Error> {
    let kind = context.authority.kind();
    let nonce = match context.subject {
        Subject::NewUser { nonce } => nonce.as_ref(),
        _ => None,
    };
    let rules = IdTokenRules {
        issuer: &context.metadata.issuer,
        client_id: context.client_id,
        nonce,
        max_age: context.max_age,
        access_token,
        code: None,
        now: context.now.to_seconds(),
    };
    let claims = match (id_token, nonce) {
        (Some(token), _) => {
            let claims = rules.check(token)?;
            claims.check_policy(context.authority)?;
            Some(claims)
        }
        // Without an ID token nothing ties the reply to the nonce that was sent.
        (None, Some(_)) => return Err(ReplyError::Missing("id_token").into()),
        (None, None) => None,
    };
    let client_info = match fields.take_secret("client_info") {
        Some(text) if kind.honours_client_info() => Some(ClientInfo::decode(&text)?),
        _ => None,
    };
    let identity = Identity {
        authority: context.authority,
        claims: claims.as_ref(),
        client_info: client_info.as_ref(),
    };
    let account = match context.subject {
        Subject::KnownUser(known) => account::same(&identity, &known.account, known.id_token.as_ref())?,
        _ => account::new(&identity)?,
    };
    let realm = claims
        .as_ref()
        .and_then(|claims| claims.tenant_id())
        .map(str::to_owned);
    Ok(User { account, realm })
}

/// The tenant that issued the tokens: the guest's, where the user is a guest.
fn realm(context: &ReplyContext<'_>, user: Option<&User>) -> String {
    let authority = context.authority;
    if !authority.kind().honours_client_info() {
        return authority.tenant().to_owned();
    }
    match user {
        Some(User {
            realm: Some(realm), ..
        }) => realm.clone(),
        // A refresh without an ID token, at an authority that names no tenant: the account's own.
        Some(user) if authority.is_multi_tenant() => user.account.realm.clone(),
        _ => authority.tenant().to_owned(),
    }
}

/// RFC 8693 section 2.2.1: what the issuer gave must be what was asked for, and something that a resource takes.
fn check_issued_type(reply: &Reply, fields: &Fields, requested: Option<&str>) -> Result<(), ReplyError> {
    use crate::request::token_exchange::RequestedTokenType::{AccessToken, Jwt};
    let issued = fields
        .text("issued_token_type")
        .ok_or(ReplyError::Missing("issued_token_type"))?;
    let fits = match requested {
        Some(requested) => issued == requested,
        None => [AccessToken.as_str(), Jwt.as_str()].contains(&issued),
    };
    if fits {
        return Ok(());
    }
    Err(ReplyError::IssuedTokenType(reply.display(issued)))
}

/// RFC 6749 section 7.1: a token of an unknown type must not be used. The name's case means nothing.
///
/// Where a bound token was asked for, one that anybody may use is a downgrade, and refused (RFC 9449 section 5).
fn token_type(reply: &Reply, fields: &Fields, asked: &TokenType) -> Result<TokenType, ReplyError> {
    let name = fields.text("token_type").unwrap_or(TokenType::Bearer.as_str());
    if name.eq_ignore_ascii_case(asked.as_str()) {
        return Ok(asked.clone());
    }
    Err(ReplyError::TokenType(reply.display(name)))
}

#[cfg(test)]
mod tests;
