//! Headless Chromium, driven by chromedriver, with a profile of its own.
//!
//! ```no_run
//! use cache_testkit::chromium::Chromium;
//!
//! # async fn example() -> Result<(), cache_testkit::chromium::Error> {
//! let browser = Chromium::start().await?;
//! browser.open("http://127.0.0.1:3000/").await?;
//! browser.fill("#login", "alice").await?;
//! browser.click("#sign-in").await?;
//! browser.wait_for_text("Welcome").await?;
//! # Ok(()) }
//! ```
//!
//! Sessions and cookies last as long as the value, and certificates are not checked: the fake authority's is nobody's.

mod driver;
mod error;

use std::io::{Read, Write};
use std::time::Duration;

use fantoccini::elements::Element;
use fantoccini::wd::Capabilities;
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::json;
use tempfile::TempDir;

use self::driver::Driver;
pub use self::error::Error;

/// How long a page may take to show what a test looks for.
const PATIENCE: Duration = Duration::from_secs(20);

/// How often it is looked for.
const INTERVAL: Duration = Duration::from_millis(50);

/// How long a browser may take to close.
const END: Duration = Duration::from_secs(5);

/// Where distributions put the browser, and what they call it.
const PROGRAMS: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "chrome"];

/// A running browser. It ends, and its profile is deleted, when this is dropped, and with the test's own process.
#[derive(Debug)]
pub struct Chromium {
    web: Client,
    _session: Session,
    // In this order: the profile is deleted when nothing uses it any more.
    _driver: Driver,
    _profile: TempDir,
}

impl Chromium {
    /// Starts chromedriver on a free port, and a headless browser with a fresh profile.
    ///
    /// # Errors
    /// [`Error::NotInstalled`] when one of the programs is not on `PATH`, [`Error::NotReady`] when chromedriver does not
    /// come up, and [`Error::Browser`] when the browser does not.
    pub async fn start() -> Result<Self, Error> {
        let binary = PROGRAMS
            .into_iter()
            .find_map(driver::on_path)
            .ok_or(Error::NotInstalled { program: "chromium" })?;
        let profile = tempfile::tempdir().map_err(|source| Error::Profile { source })?;
        let driver = Driver::start().await?;
        let arguments = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--no-proxy-server",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            &format!("--user-data-dir={}", profile.path().display()),
        ];
        let mut capabilities = Capabilities::new();
        capabilities.insert("acceptInsecureCerts".to_owned(), true.into());
        let options = json!({ "binary": binary.display().to_string(), "args": arguments });
        capabilities.insert("goog:chromeOptions".to_owned(), options);
        // chromedriver is on loopback, so there is no TLS.
        let web = ClientBuilder::new(HttpConnector::new())
            .capabilities(capabilities)
            .connect(&driver.address())
            .await?;
        let id = web.session_id().await?.unwrap_or_default();
        Ok(Self {
            web,
            _session: Session {
                port: driver.port(),
                id,
            },
            _driver: driver,
            _profile: profile,
        })
    }

    /// Opens `url` and waits until the page is loaded.
    ///
    /// # Errors
    /// [`Error::Browser`] when it cannot be loaded.
    pub async fn open(&self, url: &str) -> Result<(), Error> {
        Ok(self.web.goto(url).await?)
    }

    /// Types `text` into the element that the CSS selector finds, as soon as there is one, in place of what stands there.
    ///
    /// # Errors
    /// [`Error::Missing`] when there is none after 20 seconds; [`Error::Browser`].
    pub async fn fill(&self, selector: &str, text: &str) -> Result<(), Error> {
        let element = self.element(selector).await?;
        element.clear().await?;
        Ok(element.send_keys(text).await?)
    }

    /// Clicks the element that the CSS selector finds, as soon as there is one.
    ///
    /// # Errors
    /// As [`fill`](Self::fill).
    pub async fn click(&self, selector: &str) -> Result<(), Error> {
        Ok(self.element(selector).await?.click().await?)
    }

    /// The visible text of the page.
    ///
    /// # Errors
    /// [`Error::Browser`].
    pub async fn text(&self) -> Result<String, Error> {
        Ok(self.web.find(Locator::Css("body")).await?.text().await?)
    }

    /// Waits until the page shows `text`, and returns all that it shows.
    ///
    /// # Errors
    /// [`Error::Missing`] when it does not within 20 seconds.
    pub async fn wait_for_text(&self, text: &str) -> Result<String, Error> {
        for _ in 0..attempts() {
            // A page that is being left has no body for a moment.
            if let Ok(shown) = self.text().await
                && shown.contains(text)
            {
                return Ok(shown);
            }
            pause().await;
        }
        Err(Error::Missing {
            what: text.to_owned(),
            shown: self.text().await.unwrap_or_default(),
        })
    }

    /// The value of a CSS property of the element, as the browser computed it.
    ///
    /// # Errors
    /// As [`fill`](Self::fill).
    pub async fn style(&self, selector: &str, property: &str) -> Result<String, Error> {
        Ok(self.element(selector).await?.css_value(property).await?)
    }

    /// What stands in the address bar.
    ///
    /// # Errors
    /// [`Error::Browser`] when the browser does not answer.
    pub async fn address(&self) -> Result<String, Error> {
        Ok(self.web.current_url().await?.into())
    }

    async fn element(&self, selector: &str) -> Result<Element, Error> {
        for _ in 0..attempts() {
            if let Ok(element) = self.web.find(Locator::Css(selector)).await {
                return Ok(element);
            }
            pause().await;
        }
        Err(Error::Missing {
            what: selector.to_owned(),
            shown: self.text().await.unwrap_or_default(),
        })
    }
}

/// The browser's session with chromedriver. Dropping it closes the browser and waits for that: chromedriver, when it ends,
/// does not always take a browser with it.
#[derive(Debug)]
struct Session {
    port: u16,
    id: String,
}

impl Drop for Session {
    fn drop(&mut self) {
        let Self { port, id } = self;
        let request =
            format!("DELETE /session/{id} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n");
        let end = || -> std::io::Result<()> {
            let mut stream = std::net::TcpStream::connect((std::net::Ipv4Addr::LOCALHOST, *port))?;
            stream.set_read_timeout(Some(END))?;
            stream.write_all(request.as_bytes())?;
            stream.read(&mut [0; 64]).map(drop)
        };
        // A browser that is gone already is what is wanted.
        let _ = end();
    }
}

fn attempts() -> u128 {
    PATIENCE.as_millis() / INTERVAL.as_millis()
}

#[expect(
    clippy::disallowed_methods,
    reason = "another process knows no injected clock"
)]
async fn pause() {
    tokio::time::sleep(INTERVAL).await;
}
