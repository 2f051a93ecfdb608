//! A word for whoever waits and cannot see what for.

use std::pin::pin;
use std::time::Duration;

use crate::answer::say;
use crate::session::Session;

/// Nobody wonders before that.
const PATIENCE: Duration = Duration::from_secs(3);

/// Does `work`, and says what it may be waiting for if that takes longer than people expect.
pub(crate) async fn patiently<F: Future>(session: &Session, work: F) -> F::Output {
    let mut work = pin!(work);
    let clock = session.clock();
    tokio::select! {
        result = &mut work => return result,
        () = clock.sleep(PATIENCE) => {}
    }
    let most = session.time_limits().acquire.as_secs();
    say(&format!(
        "waiting for the authority, or for another process whose refresh of this account is under way or lost its reply; \
         at most {most} seconds"
    ));
    work.await
}
