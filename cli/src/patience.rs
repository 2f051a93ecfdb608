//! A word for whoever waits and cannot see what for.

use std::pin::pin;
use std::time::Duration;

use crate::session::Session;

/// Does `work`, and says the `word` once if that takes longer than `patience`.
pub(crate) async fn patiently<F: Future>(
    session: &Session,
    patience: Duration,
    word: impl FnOnce(),
    work: F,
) -> F::Output {
    let mut work = pin!(work);
    let clock = session.clock();
    tokio::select! {
        result = &mut work => return result,
        () = clock.sleep(patience) => {}
    }
    word();
    work.await
}
