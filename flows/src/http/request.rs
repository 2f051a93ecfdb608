//! A request, and where it may go.

use std::fmt;
use std::time::Duration;

use cache_core::secret::{Secret, SecretBytes};
use url::Url;

use super::{
    Form, HttpError, HttpErrorKind, SentSecrets, host_and_port, is_allowed_url, is_loopback,
    is_platform_address,
};

/// The methods that the flows use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpMethod {
    /// Reads a document.
    Get,
    /// Posts a form.
    Post,
}

/// A request. Its header values and its body may be credentials, so all of them are secrets.
pub struct HttpRequest {
    /// The method.
    pub method: HttpMethod,
    /// Where to.
    pub url: Url,
    /// Header names in lower case, with their values.
    pub headers: Vec<(&'static str, Secret)>,
    /// The form to post, encoded as `application/x-www-form-urlencoded`.
    pub form: Option<SecretBytes>,
    /// How long the whole exchange may take.
    pub time_limit: Duration,
    reach: Reach,
    /// Those of the form, as they were before they were encoded.
    secrets: Vec<Secret>,
}

/// Where a request may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    /// Where [`is_allowed_url`] permits.
    Allowed,
    /// To the machine's own platform too, whose public contracts are plain HTTP to a link-local address.
    Platform,
}

impl HttpRequest {
    /// A GET of a JSON document.
    #[must_use]
    pub fn get(url: Url, time_limit: Duration) -> Self {
        Self {
            method: HttpMethod::Get,
            url,
            headers: vec![("accept", Secret::new("application/json"))],
            form: None,
            time_limit,
            reach: Reach::Allowed,
            secrets: Vec::new(),
        }
    }

    /// A POST of `form`, which expects JSON.
    #[must_use]
    pub fn post(url: Url, form: Form, time_limit: Duration) -> Self {
        let (form, secrets) = form.into_parts();
        Self {
            method: HttpMethod::Post,
            form: Some(form),
            secrets,
            ..Self::get(url, time_limit)
        }
    }

    /// Adds a header; `name` is in lower case.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl Into<Secret>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// What the request tells in confidence.
    pub(crate) fn secrets(&self) -> SentSecrets {
        SentSecrets::new(&self.secrets, &self.headers)
    }

    /// The same request, to the platform that the machine runs on: it may go to link-local addresses by plain HTTP too, and through
    /// no proxy at all.
    #[must_use]
    pub(crate) fn for_platform(mut self) -> Self {
        self.reach = Reach::Platform;
        self
    }

    /// Whether the request must not go through a proxy: it is meant for this machine, or for what the machine's platform
    /// tells it alone.
    #[must_use]
    pub fn must_be_direct(&self) -> bool {
        self.reach == Reach::Platform || is_loopback(&self.url)
    }

    /// Whether the request goes to a link-local address: nothing but the platform of this very host answers there, and at once.
    #[cfg(any(feature = "reqwest", test))]
    pub(crate) fn is_link_local(&self) -> bool {
        is_platform_address(&self.url)
    }

    /// Whether the URL may be used at all. Every [`HttpClient`](super::HttpClient) asks this before it opens a connection.
    ///
    /// # Errors
    /// [`HttpErrorKind::NotSent`] when [`is_allowed_url`] refuses the URL. A question to the machine's own platform, as a
    /// managed identity asks it, may go to `http://169.254.0.0/16` all the same: the instance metadata service is `169.254.169.254`, and
    /// App Service names others.
    pub fn check(&self) -> Result<(), HttpError> {
        if self.reach == Reach::Platform && is_platform_address(&self.url) {
            return Ok(());
        }
        is_allowed_url(&self.url)
            .map_err(|why| HttpError::new(HttpErrorKind::NotSent, &self.url, why.to_string()))
    }
}

impl fmt::Debug for HttpRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpRequest")
            .field("method", &self.method)
            .field("host", &host_and_port(&self.url))
            .field("time_limit", &self.time_limit)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_local_addresses_are_for_questions_to_the_platform_alone() {
        let get = |url: &str| HttpRequest::get(Url::parse(url).unwrap(), Duration::from_secs(1));
        for url in [
            "http://169.254.169.254/metadata",
            "http://169.254.169.254:80/",
            "http://0xa9fea9fe/",
            "http://169.254.129.2:8081/msi/token",
            "http://169.254.255.255/",
        ] {
            assert!(get(url).check().is_err(), "{url}");
            assert!(get(url).for_platform().check().is_ok(), "{url}");
        }
        for url in [
            "http://169.253.255.255/",
            "http://169.255.0.0/",
            "http://10.0.0.1/",
            "http://192.168.0.1/",
            "http://[fe80::1]/",
            "http://user@169.254.169.254/",
            "http://:p@169.254.129.2:8081/",
            "http://169.254.169.254.example/",
            "http://[::ffff:169.254.169.254]/",
            "http://login.example/",
            "ftp://169.254.169.254/",
        ] {
            assert!(get(url).for_platform().check().is_err(), "{url}");
        }
    }

    #[test]
    fn no_proxy_sees_a_managed_identity_or_loopback() {
        let get = |url: &str| HttpRequest::get(Url::parse(url).unwrap(), Duration::from_secs(1));
        assert!(get("http://localhost:1/").must_be_direct());
        assert!(!get("https://login.example/").must_be_direct());
        for url in [
            "http://169.254.169.254/",
            "http://169.254.129.2:8081/msi/token",
            "https://identity.example/",
        ] {
            assert!(get(url).for_platform().must_be_direct(), "{url}");
        }
        for (url, is_link_local) in [
            ("http://169.254.169.254/", true),
            ("http://169.254.129.2:8081/msi/token", true),
            ("http://127.0.0.1:40342/", false),
            ("https://169.254.169.254/", false),
            ("https://identity.example/", false),
        ] {
            assert_eq!(get(url).for_platform().is_link_local(), is_link_local, "{url}");
        }
    }
}
