//! Users come, stay while many requests at once want their tokens, and go.

use std::time::Duration;

use cache_core::cache::CachedAccount;
use cache_core::secret::Secret;
use cache_core::time::{Clock, SystemClock};
use flows::client::Revocation;
use flows::request::on_behalf_of::UserAssertion;
use futures_util::future::join_all;
use rand::Rng;
use rand::rngs::StdRng;

use super::diary::{Cause, Doing, Event, Owner, now};
use super::{AGAIN, Asked, Server, pause};

/// How many requests want a user's token at the same time.
const AT_ONCE: usize = 3;
/// Between two such crowds.
const BETWEEN: (Duration, Duration) = (Duration::from_millis(100), Duration::from_millis(500));
/// A sign-out follows a refresh of the same user within this, half of the time.
const REMOVED_WITHIN: Duration = Duration::from_millis(60);

/// Attends to a user, for ever.
pub(super) async fn attend(
    server: &Server,
    user: usize,
    password: &str,
    stays: (Duration, Duration),
    away: Duration,
) {
    let mut chance = server.chance(user);
    loop {
        let account = sign_in(server, user, password).await;
        let until = SystemClock.monotonic() + stays.0 + (stays.1 - stays.0).mul_f64(chance.random());
        if !serve(server, user, &account, until, &mut chance).await {
            server.diary.add("re-authentications");
            continue;
        }
        sign_out(server, user, &account, &mut chance).await;
        pause(&mut chance, (away, 2 * away)).await;
    }
}

async fn sign_in(server: &Server, user: usize, password: &str) -> CachedAccount {
    server.diary.happened(user, Event::SigningIn);
    let who = &server.serving.users[user];
    let result = loop {
        let (began, scope) = (now(), &server.parts.issuer.scope);
        let signed_in = server.parts.client.sign_in(scope, who.name.clone(), password);
        match signed_in.await {
            Ok(result) => break result,
            Err(error) => {
                let cause = Cause::of(&error);
                let owner = Owner::User(user);
                server.diary.failed(owner, Doing::SigningIn, cause, began);
                SystemClock.sleep(AGAIN).await;
            }
        }
    };
    server.diary.happened(user, Event::SignedIn);
    server.diary.add("sign-ins");
    let signed_in = result.account().map(|account| account.home_account_id.as_str());
    if signed_in != Some(who.id.as_str()) {
        server
            .diary
            .violation(format_args!("user {user} signed in as {signed_in:?}"));
    }
    if server.serving.sessions {
        begin_session(server, user, result.access_token().to_secret()).await;
    }
    server.account(user).await
}

async fn begin_session(server: &Server, user: usize, assertion: Secret) {
    let (Ok(client), Ok(id)) = (server.client(), server.session(user)) else {
        return server.diary.violation("only a client with a secret has sessions");
    };
    let began = now();
    let assertion = UserAssertion::jwt(assertion);
    let scope = [&server.parts.issuer.scope];
    match client.begin_long_running_session(&id, &assertion, scope).await {
        Ok(_) => {
            server.diary.happened(user, Event::SessionBegun);
            server.diary.add("sessions begun");
        }
        Err(error) => {
            let (owner, cause) = (Owner::User(user), Cause::of(&error));
            server.diary.failed(owner, Doing::BeginningSession, cause, began);
        }
    }
}

/// Serves a user until then; `false` if the user must sign in again before.
async fn serve(
    server: &Server,
    user: usize,
    account: &CachedAccount,
    until: Duration,
    chance: &mut StdRng,
) -> bool {
    while SystemClock.monotonic() < until || server.is_settled() {
        let requests = (0..AT_ONCE).map(|_| server.user_token(user, account, false));
        if join_all(requests).await.contains(&Asked::MustSignIn) {
            return false;
        }
        pause(chance, BETWEEN).await;
    }
    true
}

async fn sign_out(server: &Server, user: usize, account: &CachedAccount, chance: &mut StdRng) {
    let is_raced = chance.random_bool(0.5);
    let after = REMOVED_WITHIN.mul_f64(chance.random());
    let refresh = async {
        if is_raced {
            server.user_token(user, account, true).await;
            server.diary.add("refreshes raced by a sign-out");
        }
    };
    let remove = async {
        if is_raced {
            SystemClock.sleep(after).await;
        }
        server.diary.happened(user, Event::SigningOut);
        remove(server, user, account).await;
        server.diary.happened(user, Event::SignedOut);
        server.diary.add("sign-outs");
    };
    tokio::join!(refresh, remove);
}

/// Removes the account; tries again until that is acknowledged.
async fn remove(server: &Server, user: usize, account: &CachedAccount) {
    let Ok(client) = server.client() else {
        return server.diary.violation("only a client with a secret signs out");
    };
    loop {
        let began = now();
        match client.remove_account(account).await {
            Ok(signed_out) => {
                let name = match signed_out.revocation {
                    Revocation::Revoked => "refresh tokens revoked at a sign-out",
                    Revocation::Failed(_) => "refresh tokens that were not revoked at a sign-out",
                    _ => return,
                };
                return server.diary.add(name);
            }
            Err(error) => {
                let (owner, cause) = (Owner::User(user), Cause::of(&error));
                server.diary.failed(owner, Doing::SigningOut, cause, began);
                SystemClock.sleep(AGAIN).await;
            }
        }
    }
}
