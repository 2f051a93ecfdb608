//! From the browser to the cache: what interactive and session sign-ins share.

use std::pin::pin;
use std::sync::Arc;

use cache_core::cache::CachedAccount;
use cache_core::schema::{AuthorityKind, ScopeSet};
use cache_core::time::with_deadline;
use tokio::sync::mpsc;

use super::application::Application;
use super::browser_options::{BrowserOptions, Opener};
use super::lazy_correlation::LazyCorrelation;
use crate::authority::Metadata;
use crate::error::{AuthorizationResponseError, InteractiveError, ReplyError};
use crate::loopback::{Answer, Page, Received, RedirectListener};
use crate::proof::ProofSigner;
use crate::request::TokenRequest;
use crate::request::authorization_code::{
    AuthorizationCode, AuthorizationRequest, PendingAuthorization, Prompt,
};
use crate::{AuthenticationResult, Error};

/// How many requests wait to be judged; each is judged at once.
const WAITING: usize = 4;

const ID_TOKEN_HINT: &str = "id_token_hint";

/// A sign-in in the browser that is about to begin.
pub(super) struct BrowserSignIn<'a> {
    pub(super) application: &'a Arc<Application>,
    pub(super) scopes: ScopeSet,
    /// What the user is asked: first this …
    pub(super) prompt: Option<Prompt>,
    /// … and then, where the first was refused because there is something to ask, this.
    pub(super) then: Option<Option<Prompt>>,
    pub(super) options: BrowserOptions<'a>,
}

impl BrowserSignIn<'_> {
    /// Listens, opens the browser, waits for its answer, redeems the code and stores the tokens. Dropping the future closes the
    /// listener.
    pub(super) async fn run(self) -> Result<AuthenticationResult, Error> {
        let Self {
            application,
            scopes,
            prompt,
            then,
            options,
        } = self;
        let address = options.address(application.authority.kind())?;
        let listener = RedirectListener::bind(address, options.mode).await?;
        let redirect_uri = listener.redirect_uri();
        let (mut first, second) = {
            let request = |prompt| options.request(application.client.id(), &redirect_uri, &scopes, prompt);
            (request(prompt)?, then.map(request).transpose()?)
        };
        if prompt == Some(Prompt::None) && !options.has_parameter(ID_TOKEN_HINT) {
            first = with_id_token_hint(first, application, options.account).await?;
        }
        let BrowserOptions {
            account,
            claims,
            time_limit,
            mut cancelled,
            opener,
            pages,
            ..
        } = options;

        let clock = application.cache.clock();
        let correlation_id = LazyCorrelation::default();
        let (inbox, mut received) = mpsc::channel(WAITING);
        let conversation = async {
            let begun = async {
                let metadata = application.metadata(&application.authority).await?;
                // One for the whole sign-in: the code is bound to it from the first.
                let signer = application.sign_in_signer().await?;
                let pending = application
                    .begin_authorization_with(first, signer.as_deref(), &correlation_id)
                    .await?;
                Ok::<_, Error>((metadata, signer, pending))
            };
            // The authority may be slow, and nobody need wait for it who has changed their mind.
            let (metadata, signer, pending) = tokio::select! {
                begun = begun => begun?,
                () = &mut cancelled => return Err(InteractiveError::Cancelled.into()),
            };
            let mut waiting = Waiting {
                application,
                metadata,
                pending,
                second,
                signer: signer.as_deref(),
                correlation_id: &correlation_id,
            };
            let answered = tokio::select! {
                biased;
                answered = with_deadline(&**clock, time_limit, waiting.answer(opener, &mut received)) => match answered {
                    Some(answered) => answered?,
                    None => return Err(InteractiveError::TimedOut(time_limit).into()),
                },
                () = &mut cancelled => return Err(InteractiveError::Cancelled.into()),
            };
            // One answer was accepted, and there is no other: from here on, the listener says so.
            drop(received);
            let Answered { code, browser } = answered;
            let result = match code {
                Ok(code) => {
                    let mut request = waiting.pending.token_request(&application.authority, &code);
                    // Elsewhere they were settled at the authorization endpoint, and the parameter is not defined.
                    if application.authority.kind() != AuthorityKind::Oidc {
                        request = request.claims(claims.as_deref().unwrap_or_default());
                    }
                    redeem(application, request, signer.clone(), account, &correlation_id).await
                }
                Err(error) => Err(error),
            };
            let page = match &result {
                Ok(_) => pages.success(),
                Err(error) => pages.error(error),
            };
            browser.conclude(Answer::Page(page), &**clock).await;
            result
        };
        let (conversation, serving) = (pin!(conversation), pin!(listener.serve(&**clock, inbox)));
        tokio::select! {
            result = conversation => result,
            never = serving => match never {},
        }
    }
}

/// The answer that was accepted, and the browser that waits for a page.
struct Answered {
    code: Result<AuthorizationCode, Error>,
    browser: Received,
}

struct Waiting<'a> {
    application: &'a Application,
    metadata: Arc<Metadata>,
    pending: PendingAuthorization,
    second: Option<AuthorizationRequest>,
    signer: Option<&'a dyn ProofSigner>,
    correlation_id: &'a LazyCorrelation,
}

impl Waiting<'_> {
    async fn answer(
        &mut self,
        opener: Opener<'_>,
        received: &mut mpsc::Receiver<Received>,
    ) -> Result<Answered, Error> {
        let url = self.pending.url().clone();
        let mut opening = pin!(opener.open(&url));
        let mut is_opened = false;
        loop {
            let browser = tokio::select! {
                // Beside the answer: a browser that is driven may return only when the last page is there.
                opened = &mut opening, if !is_opened => {
                    opened.map_err(InteractiveError::from)?;
                    is_opened = true;
                    continue;
                }
                browser = received.recv() => browser,
            };
            // The listener holds the other end for as long as this runs.
            let Some(browser) = browser else {
                return Err(InteractiveError::Cancelled.into());
            };
            let parameters = browser.parameters().expose();
            let judged = self
                .pending
                .accept(&self.application.authority, &self.metadata, parameters);
            let error = match judged {
                Ok(code) => {
                    return Ok(Answered {
                        code: Ok(code),
                        browser,
                    });
                }
                Err(error) => error,
            };
            if is_stray(&error) {
                tracing::debug!("an answer of another sign-in was refused; waiting goes on");
                browser.reply(Answer::Page(Page::of_another_sign_in()));
                continue;
            }
            match self.second.take() {
                Some(request) if asks_for_the_user(&error) => {
                    tracing::debug!("the session is not enough; asking the user");
                    let begun =
                        self.application
                            .begin_authorization_with(request, self.signer, self.correlation_id);
                    self.pending = match begun.await {
                        Ok(pending) => pending,
                        Err(error) => {
                            return Ok(Answered {
                                code: Err(error),
                                browser,
                            });
                        }
                    };
                    browser.reply(Answer::GoOn(self.pending.url().clone()));
                }
                _ => {
                    return Ok(Answered {
                        code: Err(error),
                        browser,
                    });
                }
            }
        }
    }
}

/// Whether it is not known whose answer this is. With the right state, it is the authority's, whatever else is wrong with it.
fn is_stray(error: &Error) -> bool {
    matches!(
        error,
        Error::AuthorizationResponse(
            AuthorizationResponseError::State | AuthorizationResponseError::Repeated
        )
    )
}

/// Whether `prompt=none` was refused because there is something to ask (OIDC Core section 3.1.2.6).
fn asks_for_the_user(error: &Error) -> bool {
    let Error::InteractionRequired(required) = error else {
        return false;
    };
    required.refusal().is_some_and(|refused| {
        matches!(
            refused.code(),
            "login_required" | "interaction_required" | "consent_required" | "account_selection_required"
        )
    })
}

/// Says whose session is meant by the ID token that the account has here. With `prompt=none` it should be there (OIDC Core section
/// 3.1.2.1), and there are issuers that refuse the request without. Microsoft's document the login hint instead, and B2C means
/// something else by it.
async fn with_id_token_hint(
    request: AuthorizationRequest,
    application: &Application,
    account: Option<&CachedAccount>,
) -> Result<AuthorizationRequest, Error> {
    let Some(account) = account.filter(|_| application.authority.kind() == AuthorityKind::Oidc) else {
        return Ok(request);
    };
    let id_tokens = application
        .cache
        .id_tokens(&account.partition, application.client.id())
        .await?;
    Ok(match id_tokens.first() {
        Some(id_token) => request.parameter(ID_TOKEN_HINT, id_token.secret.expose()),
        None => request,
    })
}

async fn redeem(
    application: &Application,
    request: TokenRequest,
    signer: Option<Arc<dyn ProofSigner>>,
    account: Option<&CachedAccount>,
    correlation_id: &LazyCorrelation,
) -> Result<AuthenticationResult, Error> {
    let request = request.context(application.context.clone());
    let correlation_id = correlation_id.draw(application)?;
    let endpoint = application.endpoint_with(&application.authority, signer).await?;
    let began = application.cache.clock().monotonic();
    let response = endpoint
        .send(request, correlation_id, application.time_limit)
        .await?;
    let elapsed = application.cache.clock().monotonic().saturating_sub(began);
    // Before anything is stored: the user chose freely in the browser.
    if account.is_some_and(|expected| expected.account.home_account_id != response.home_account_id()) {
        return Err(ReplyError::AnotherAccount.into());
    }
    application.store_sign_in(response, correlation_id, elapsed).await
}
