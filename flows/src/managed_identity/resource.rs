//! What a token is for: endpoints of managed identities take resources, not scopes.

use cache_core::schema::ScopeSet;

use crate::error::ConfigurationError;

/// A resource, such as `https://vault.azure.net`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Resource(String);

impl Resource {
    /// From a resource, or from its scope `…/.default`. Only that suffix goes: a resource may itself end in a slash.
    pub(crate) fn parse(text: &str) -> Result<Self, ConfigurationError> {
        let resource = text.strip_suffix("/.default").unwrap_or(text);
        if resource.is_empty() || resource.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(ConfigurationError::new(
                "a managed identity's token is for one resource, such as https://vault.azure.net",
            ));
        }
        Ok(Self(resource.to_owned()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn scopes(&self) -> ScopeSet {
        ScopeSet::parse(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_is_taken_for_its_resource() {
        for (text, resource) in [
            ("https://vault.azure.net", "https://vault.azure.net"),
            ("https://vault.azure.net/.default", "https://vault.azure.net"),
            (
                "https://management.core.windows.net//.default",
                "https://management.core.windows.net/",
            ),
            ("api://app", "api://app"),
        ] {
            assert_eq!(Resource::parse(text).unwrap().as_str(), resource);
        }
        for bad in ["", "/.default", "https://a https://b", "a\nb"] {
            assert!(Resource::parse(bad).is_err(), "{bad:?}");
        }
    }
}
