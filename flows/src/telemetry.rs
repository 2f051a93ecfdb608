//! What a client tells Microsoft's authorities about itself, if it is asked to.

use crate::error::ConfigurationError;
use crate::http::HttpRequest;

/// An application's name and version, for the headers by which Microsoft's sign-in logs tell applications apart.
///
/// It is sent only by those who ask for it; see [`ClientBuilder::telemetry`](crate::client::ClientBuilder::telemetry).
///
/// ```
/// use flows::Telemetry;
///
/// assert!(Telemetry::new("my-tool", "1.0").is_ok());
/// assert!(Telemetry::new("my-tool", "1.0\r\nx-injected: 1").is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Telemetry {
    application_name: String,
    application_version: String,
}

impl Telemetry {
    /// For the application `name` in this `version`.
    ///
    /// # Errors
    /// [`ConfigurationError`] when one of them is empty or has anything but visible ASCII and spaces in it.
    pub fn new(name: impl Into<String>, version: impl Into<String>) -> Result<Self, ConfigurationError> {
        let telemetry = Self {
            application_name: name.into(),
            application_version: version.into(),
        };
        for text in [&telemetry.application_name, &telemetry.application_version] {
            if text.trim().is_empty() || !text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) {
                return Err(ConfigurationError::new(
                    "the application's name and version for telemetry must be visible ASCII, as they go into headers",
                ));
            }
        }
        Ok(telemetry)
    }

    pub(crate) fn add_to(&self, request: HttpRequest) -> HttpRequest {
        request
            .header("x-app-name", self.application_name.clone())
            .header("x-app-ver", self.application_version.clone())
            .header("x-client-sku", "tokenkeep".to_owned())
            .header("x-client-ver", env!("CARGO_PKG_VERSION").to_owned())
            .header("x-client-os", std::env::consts::OS.to_owned())
    }
}
