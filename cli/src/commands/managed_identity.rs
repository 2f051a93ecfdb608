//! Tokens of managed identities, for `login` and `token`.

use flows::AuthenticationResult;
use flows::client::ManagedIdentityClient;
use flows::managed_identity::ManagedIdentityId;

use crate::failure::Failure;
use crate::session::{Missing, Session, Stdin};

/// The identity's token for the resource that `--scope` names. It needs neither an authority nor a client ID.
pub(super) async fn acquire(
    session: &Session,
    identity: ManagedIdentityId,
    force_refresh: bool,
) -> Result<AuthenticationResult, Failure> {
    let scopes = session.scopes()?;
    let [resource] = &scopes[..] else {
        return Err(Failure::usage(
            "a managed identity's token is for one resource; name one with --scope",
        ));
    };
    if session.options.account.is_some() {
        return Err(Failure::usage(
            "--account (or TOKENKEEP_ACCOUNT) names a user, and a managed identity is none; leave one of them out",
        ));
    }
    let http = session.http()?;
    let cache = session.cache(Missing::Create, Stdin::Free).await?.clone();
    let client = ManagedIdentityClient::builder(identity, cache)
        .http(http)
        .build()?;
    tracing::debug!(source = %client.source(), "asking for a managed identity");
    let acquisition = client.acquire_token_for_managed_identity(resource);
    acquisition.force_refresh(force_refresh).await.map_err(|error| {
        let failure = Failure::from(error);
        match failure.kind {
            "unreachable" | "outcome_unknown" => failure.next(
                "check that Azure gives this machine or service a managed identity; elsewhere nobody answers",
            ),
            _ => failure,
        }
    })
}
