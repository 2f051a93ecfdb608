//! Opening the browser in which a user signs in.
//!
//! [`SystemBrowser`] is the default. A program with a window of its own, or one that shows the address and lets the
//! user open it, brings its own [`Browser`], or just a closure:
//! [`on_url`](crate::client::AcquireTokenInteractive::on_url).

use std::fmt;

use async_trait::async_trait;
use url::Url;

/// Opens a URL where the user can sign in.
///
/// # Contract
/// - The URL belongs to one sign-in, names its user perhaps, and is nobody else's business: do not log it.
/// - Returning `Ok` means that somebody may see the page. The answer comes to the listener, not through here.
///
/// # Cancellation safety
/// A future that is dropped may or may not have opened the page.
///
/// ```
/// use async_trait::async_trait;
/// use flows::browser::Browser;
/// use flows::error::BrowserError;
/// use url::Url;
///
/// /// Shows the address, and lets the user open it.
/// #[derive(Debug)]
/// struct Shown;
///
/// #[async_trait]
/// impl Browser for Shown {
///     async fn open(&self, url: &Url) -> Result<(), BrowserError> {
///         if url.scheme() != "https" {
///             return Err(BrowserError::new(url, "it would be shown to everybody on the network"));
///         }
///         println!("open {url}");
///         Ok(())
///     }
/// }
/// ```
#[async_trait]
pub trait Browser: fmt::Debug + Send + Sync {
    /// Opens `url`.
    ///
    /// # Errors
    /// [`BrowserError`] when it certainly did not open.
    async fn open(&self, url: &Url) -> Result<(), BrowserError>;
}

/// The user's own browser, as the system knows it. On Linux, `BROWSER` names another.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemBrowser;

#[async_trait]
impl Browser for SystemBrowser {
    async fn open(&self, url: &Url) -> Result<(), BrowserError> {
        if !has_display() {
            return Err(BrowserError::new(url, "this session has no display"));
        }
        let text = url.to_string();
        // A browser in the terminal keeps its caller until it is closed.
        let opened = tokio::task::spawn_blocking(move || {
            let mut options = webbrowser::BrowserOptions::new();
            // What a browser prints would be mixed into the program's own output.
            options.with_suppress_output(true);
            webbrowser::open_browser_with_options(webbrowser::Browser::Default, &text, &options)
        })
        .await;
        match opened {
            Ok(Ok(())) => Ok(()),
            Ok(Err(source)) => Err(BrowserError::new(url, "the system opened none").with_source(source)),
            Err(source) => Err(BrowserError::new(url, "the system opened none").with_source(source)),
        }
    }
}

/// Whether anybody would see a browser. Without this, the system's opener may start one in the terminal, and take it over.
#[cfg(all(unix, not(target_os = "macos")))]
fn has_display() -> bool {
    // The last one is Windows' own subsystem, where Windows opens the page.
    ["DISPLAY", "WAYLAND_DISPLAY", "BROWSER", "WSL_DISTRO_NAME"]
        .iter()
        .any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()))
}

#[cfg(not(all(unix, not(target_os = "macos"))))]
fn has_display() -> bool {
    true
}

/// No browser could be opened.
pub struct BrowserError {
    url: Url,
    reason: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl BrowserError {
    /// `url` was not opened, because of `reason`, which is part of a sentence.
    #[must_use]
    pub fn new(url: &Url, reason: impl Into<String>) -> Self {
        Self {
            url: url.clone(),
            reason: reason.into(),
            source: None,
        }
    }

    /// Adds the cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The URL that was to be opened. The sign-in that it belongs to has ended, so it serves to see what was asked and not to
    /// sign in. It may name the user.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.url
    }
}

impl fmt::Display for BrowserError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "no browser could be opened, because {}; sign in by device code instead, or show the address to the user",
            self.reason
        )
    }
}

impl fmt::Debug for BrowserError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BrowserError")
            .field("reason", &self.reason)
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}

impl std::error::Error for BrowserError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
