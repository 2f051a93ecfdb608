//! An issuer that rotates refresh tokens, and sometimes does not answer.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use cache_core::cache::{
    AuthorityCall, AuthorityRefusal, CallError, CallOutcome, Redemption, RefusedBecause,
};
use cache_core::schema::{Account, ScopeSet, TokenContext, TokenResponse, TokenType};
use cache_core::secret::Secret;
use cache_core::time::Clock;
use cache_testkit::clock::ManualClock;

use super::oracle::{Oracle, Subject};

pub(super) const CLIENT: &str = "client";
pub(super) const HOST: &str = "issuer.example";
pub(super) const ISSUER: &str = "https://issuer.example";
pub(super) const SCOPE: &str = "s";

/// The issuer, who is the one to tell the oracle of what happens.
pub(super) struct Issuer {
    clock: ManualClock,
    oracle: Mutex<Oracle>,
}

/// How a refresh ends.
#[derive(Clone, Copy, Debug)]
pub(super) enum Reply {
    Granted,
    /// The reply is lost, the token is spent.
    Lost,
    NotSent,
    AsksUser,
    RefusesToken,
    /// It is for somebody else.
    OtherUser,
}

impl Reply {
    pub(super) fn of(argument: u8) -> Self {
        match argument & 7 {
            2 => Self::Lost,
            3 => Self::NotSent,
            4 => Self::AsksUser,
            5 => Self::RefusesToken,
            6 => Self::OtherUser,
            _ => Self::Granted,
        }
    }
}

impl Issuer {
    pub(super) fn new(clock: ManualClock) -> Arc<Self> {
        Arc::new(Self {
            clock,
            oracle: Mutex::default(),
        })
    }

    pub(super) fn oracle(&self) -> MutexGuard<'_, Oracle> {
        self.oracle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Grants tokens, and their number.
    pub(super) fn grant(&self, subject: Subject) -> (u64, TokenResponse) {
        let now = self.clock.now().to_seconds();
        let expires_on = now.saturating_add(Duration::from_secs(3600));
        let serial = self.oracle().issue(subject, expires_on);
        let response = TokenResponse {
            client_id: CLIENT.to_owned(),
            environment: HOST.to_owned(),
            realm: String::new(),
            scopes: ScopeSet::parse(SCOPE),
            requested_scopes: ScopeSet::parse(SCOPE),
            token_type: TokenType::Bearer,
            access_token: Some(Secret::new(format!("access {serial}"))),
            requested_at: now,
            expires_on,
            extended_expires_on: None,
            refresh_on: None,
            refresh_token: Some(Secret::new(format!("refresh {serial}"))),
            refresh_token_expires_on: None,
            family_id: None,
            id_token: None,
            account: Some(account(&subject.home_account_id())),
            context: TokenContext::default(),
        };
        (serial, response)
    }

    pub(super) fn call(self: &Arc<Self>, subject: Subject, reply: Reply) -> Arc<dyn AuthorityCall> {
        Arc::new(Call {
            issuer: Arc::clone(self),
            subject,
            reply,
        })
    }
}

struct Call {
    issuer: Arc<Issuer>,
    subject: Subject,
    reply: Reply,
}

#[async_trait]
impl AuthorityCall for Call {
    async fn prepare(&self, _time_limit: Duration) -> Result<(), CallError> {
        Ok(())
    }

    async fn redeem(&self, redemption: Redemption) -> CallOutcome {
        if matches!(self.reply, Reply::NotSent) {
            return CallOutcome::NotSent(CallError::new("no route"));
        }
        let is_spent = matches!(self.reply, Reply::Granted | Reply::Lost | Reply::OtherUser);
        let token = redemption.refresh_token.expose();
        self.issuer.oracle().sent(self.subject, token, is_spent);
        match self.reply {
            Reply::Lost => CallOutcome::OutcomeUnknown(CallError::new("no reply")),
            Reply::AsksUser => refused("interaction_required", RefusedBecause::Interaction),
            Reply::RefusesToken => refused("invalid_grant", RefusedBecause::Token),
            Reply::OtherUser => {
                let (_, mut granted) = self.issuer.grant(self.subject);
                granted.account = Some(account("mallory"));
                CallOutcome::Granted(Box::new(granted))
            }
            Reply::Granted | Reply::NotSent => {
                let (_, granted) = self.issuer.grant(self.subject);
                CallOutcome::Granted(Box::new(granted))
            }
        }
    }

    async fn discard(&self, _refresh_token: Secret, _time_limit: Duration) {}
}

fn refused(error: &str, about: RefusedBecause) -> CallOutcome {
    CallOutcome::Refused(AuthorityRefusal {
        error: error.to_owned(),
        suberror: None,
        claims: None,
        description: None,
        correlation_id: None,
        about,
    })
}

fn account(home_account_id: &str) -> Account {
    Account {
        home_account_id: home_account_id.to_owned(),
        environment: HOST.to_owned(),
        realm: String::new(),
        local_account_id: home_account_id.to_owned(),
        username: format!("{home_account_id}@contoso.test"),
        authority_type: "Generic".to_owned(),
        name: None,
        issuer: Some(ISSUER.to_owned()),
        tenant_profiles: Vec::new(),
        foreign: None,
    }
}
