//! The system's browser, with a way out if it does not open.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use flows::browser::{Browser, SystemBrowser};
use flows::error::BrowserError;
use url::Url;

use crate::answer::say;
use crate::patience::patiently;
use crate::session::Session;

/// How long a browser takes to open, and then some.
const PATIENCE: Duration = Duration::from_secs(10);

/// Opens the system's browser, and remembers the address: an opener that does nothing reports success all the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct ShownBrowser(Arc<OnceLock<Url>>);

impl ShownBrowser {
    /// Does `work`, and shows the address if nobody has signed in after a while. Not at once: it names its sign-in, and standard
    /// error may be kept in a log.
    pub(crate) async fn show_later<F: Future>(&self, session: &Session, work: F) -> F::Output {
        let show = || {
            if let Some(url) = self.0.get() {
                say(&format!(
                    "If no browser opened, open this address on this machine:\n{url}"
                ));
            }
        };
        patiently(session, PATIENCE, show, work).await
    }
}

#[async_trait]
impl Browser for ShownBrowser {
    async fn open(&self, url: &Url) -> Result<(), BrowserError> {
        say("Sign in in the browser that opens now. Ctrl-C ends it.");
        SystemBrowser.open(url).await?;
        let _ = self.0.set(url.clone());
        Ok(())
    }
}
