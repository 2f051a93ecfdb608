//! An authority whose every secret is a canary.

use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use cache_core::cache::{AuthorityCall, CallError, CallOutcome, Redemption};
use cache_core::schema::TokenResponse;
use cache_core::secret::Secret;

/// How it answers.
#[derive(Clone, Copy, Debug)]
pub(super) enum Reply {
    Granted,
    Lost,
    NotSent,
    OtherUser,
}

/// A request to it.
pub(super) struct Call {
    pub(super) reply: Reply,
    pub(super) granted: Mutex<Option<TokenResponse>>,
}

#[async_trait]
impl AuthorityCall for Call {
    async fn prepare(&self, _time_limit: Duration) -> Result<(), CallError> {
        Ok(())
    }

    async fn redeem(&self, _redemption: Redemption) -> CallOutcome {
        let granted = self.granted.lock().ok().and_then(|mut granted| granted.take());
        match (self.reply, granted) {
            (Reply::Granted, Some(granted)) => CallOutcome::Granted(Box::new(granted)),
            (Reply::OtherUser, Some(mut granted)) => {
                if let Some(account) = &mut granted.account {
                    account.home_account_id = "mallory".to_owned();
                }
                CallOutcome::Granted(Box::new(granted))
            }
            (Reply::NotSent, _) => CallOutcome::NotSent(CallError::new("there is no network")),
            _ => CallOutcome::OutcomeUnknown(CallError::new("the reply was lost")),
        }
    }

    async fn discard(&self, _refresh_token: Secret, _time_limit: Duration) {}
}
