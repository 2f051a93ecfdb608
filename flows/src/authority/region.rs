//! Regional token endpoints of Entra ID: an application in an Azure region asks the authority in that region.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use cache_core::schema::environment;
use tokio::sync::OnceCell;
use url::Url;

use crate::error::ConfigurationError;
use crate::http::HttpRequest;
use crate::transport::Transport;

/// Where a virtual machine in Azure asks about itself. The address is link-local: the host answers it, no network.
const METADATA_SERVICE: &str = "http://169.254.169.254";
const LOCATION: &str = "metadata/instance/compute/location?api-version=2020-06-01&format=text";

/// How long the machine's own host may take. Outside Azure nobody answers, and a token request waits meanwhile.
const PATIENCE: Duration = Duration::from_secs(2);

const REGION_NAME: &str = "REGION_NAME";

/// The longest label of a host name (RFC 1035 section 2.3.4).
const LONGEST_LABEL: usize = 63;

/// An Azure region, for [`ClientBuilder::region`](crate::client::ClientBuilder::region).
///
/// ```
/// use flows::authority::Region;
///
/// # fn main() -> Result<(), flows::Error> {
/// let named = Region::named("westus2")?;
/// let wherever_this_runs = Region::from_environment().unwrap_or_else(|_| Region::discover());
/// # let _ = (named, wherever_this_runs); Ok(()) }
/// ```
#[derive(Clone)]
pub struct Region(Source);

#[derive(Clone)]
enum Source {
    Named(String),
    Discovered(Arc<MetadataService>),
}

struct MetadataService {
    base: String,
    /// Asked once: a machine does not move. Also a failure is remembered, as in MSAL, because asking costs each
    /// token request seconds where nobody answers.
    found: OnceCell<Option<String>>,
}

impl Region {
    /// The region of this name, such as `westus2`.
    ///
    /// # Errors
    /// [`ConfigurationError`] unless it consists of letters, digits and hyphens: it becomes a part of the host that
    /// is sent the client's credential.
    pub fn named(name: &str) -> Result<Self, ConfigurationError> {
        label(name).map(|name| Self(Source::Named(name))).ok_or_else(|| {
            ConfigurationError::new("a region is named by letters, digits and hyphens, such as `westus2`")
        })
    }

    /// The region that the variable `REGION_NAME` names, as Azure's platforms set it; `West US 2` is `westus2`.
    ///
    /// # Errors
    /// [`ConfigurationError`] when it is not set, or not a region's name.
    pub fn from_environment() -> Result<Self, ConfigurationError> {
        Self::from_variable(std::env::var(REGION_NAME).ok().as_deref())
    }

    fn from_variable(value: Option<&str>) -> Result<Self, ConfigurationError> {
        let value = value.unwrap_or_default().replace(' ', "");
        if value.is_empty() {
            return Err(ConfigurationError::new(format!(
                "the environment variable {REGION_NAME} is not set"
            )));
        }
        Self::named(&value)
    }

    /// The region of the virtual machine that this runs on, by asking its metadata service (IMDS) before the first
    /// token request, for at most two seconds. Without an answer the global endpoint is used from then on, with a
    /// warning in the log.
    #[must_use]
    pub fn discover() -> Self {
        Self::discover_at(METADATA_SERVICE)
    }

    /// As [`discover`](Self::discover), by asking another address, without a slash at its end.
    #[must_use]
    pub fn discover_at(base_url: impl Into<String>) -> Self {
        Self(Source::Discovered(Arc::new(MetadataService {
            base: base_url.into(),
            found: OnceCell::new(),
        })))
    }

    /// The name, if it can be had.
    ///
    /// # Cancellation safety
    /// Dropping the future abandons the question; the next caller asks anew.
    pub(crate) async fn name(&self, transport: &Transport) -> Option<&str> {
        match &self.0 {
            Source::Named(name) => Some(name),
            Source::Discovered(service) => {
                let found = service.found.get_or_init(|| service.ask(transport)).await;
                found.as_deref()
            }
        }
    }
}

impl MetadataService {
    async fn ask(&self, transport: &Transport) -> Option<String> {
        match self.location(transport).await {
            Ok(region) => Some(region),
            Err(why) => {
                tracing::warn!(
                    why,
                    "the region could not be discovered; the global endpoint is used"
                );
                None
            }
        }
    }

    async fn location(&self, transport: &Transport) -> Result<String, &'static str> {
        let url = Url::parse(&format!("{}/{LOCATION}", self.base)).map_err(|_| "the address is no URL")?;
        // The header keeps a page that is tricked into asking from getting an answer.
        let request = HttpRequest::get(url, PATIENCE)
            .for_platform()
            .header("metadata", "true".to_owned());
        let response = transport
            .http()
            .send(request)
            .await
            .map_err(|_| "the metadata service did not answer")?;
        if response.status != 200 {
            return Err("the metadata service refused");
        }
        std::str::from_utf8(response.body.expose())
            .ok()
            .and_then(|name| label(name.trim()))
            .ok_or("the metadata service did not name a region")
    }
}

impl fmt::Debug for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Source::Named(name) => write!(f, "Region({name})"),
            Source::Discovered(_) => f.write_str("Region(discovered)"),
        }
    }
}

/// The same endpoint in `region`; `None` where the host is not one of Microsoft's clouds, which alone have regions.
pub(crate) fn regional(endpoint: &Url, region: &str) -> Option<Url> {
    let host = endpoint.host_str()?;
    if !environment::is_microsoft(host) {
        return None;
    }
    // Every name of the public cloud has the same regions; those of other clouds keep their own name.
    let parent = match environment::same(host, "login.microsoftonline.com") {
        true => "login.microsoft.com",
        false => host,
    };
    let mut regional = endpoint.clone();
    regional.set_host(Some(&format!("{region}.{parent}"))).ok()?;
    Some(regional)
}

/// A label of a host name, in lower case. Anything else could end the host name and begin another.
fn label(name: &str) -> Option<String> {
    let is_label = (1..=LONGEST_LABEL).contains(&name.len())
        && !name.starts_with('-')
        && !name.ends_with('-')
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    is_label.then(|| name.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_is_a_label_of_a_host_name() {
        assert_eq!(
            format!("{:?}", Region::named("WestUS2").unwrap()),
            "Region(westus2)"
        );
        for name in [
            "",
            "-",
            "a-",
            "-a",
            "west us",
            "a.b",
            "a/b",
            "a@b",
            "a:1",
            "a#",
            "ä",
            "a\0",
            &"a".repeat(64),
        ] {
            assert!(Region::named(name).is_err(), "{name}");
        }
    }

    #[test]
    fn the_variable_may_hold_the_name_that_people_read() {
        let region = Region::from_variable(Some("West US 2")).unwrap();
        assert_eq!(format!("{region:?}"), "Region(westus2)");
        for value in [None, Some(""), Some(" "), Some("a.b")] {
            assert!(Region::from_variable(value).is_err(), "{value:?}");
        }
    }

    #[test]
    fn each_cloud_has_its_own_regional_hosts() {
        let of = |host: &str| {
            let endpoint = Url::parse(&format!("https://{host}/t/oauth2/v2.0/token")).unwrap();
            regional(&endpoint, "westus2").map(|url| url.to_string())
        };
        let public = Some("https://westus2.login.microsoft.com/t/oauth2/v2.0/token".to_owned());
        for host in [
            "login.microsoftonline.com",
            "login.windows.net",
            "login.microsoft.com",
            "sts.windows.net",
        ] {
            assert_eq!(of(host), public, "{host}");
        }
        assert_eq!(
            of("login.microsoftonline.us").as_deref(),
            Some("https://westus2.login.microsoftonline.us/t/oauth2/v2.0/token")
        );
        assert_eq!(of("127.0.0.1:8443"), None);
        assert_eq!(of("id.example"), None);
    }
}
