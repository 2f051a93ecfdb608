//! Which cloud the Azure CLI is set to, and that cloud's endpoints: the only ones that tokens are sent to.

use super::ini::Ini;

/// The name of the cloud where none is set.
const DEFAULT: &str = "AzureCloud";

/// The clouds that the Azure CLI knows by itself (`azure.cli.core.cloud`): name, authority, resource manager, and the resource that its
/// tokens name.
const KNOWN: [[&str; 4]; 3] = [
    [
        DEFAULT,
        "https://login.microsoftonline.com",
        "https://management.azure.com/",
        "https://management.core.windows.net/",
    ],
    [
        "AzureChinaCloud",
        "https://login.chinacloudapi.cn",
        "https://management.chinacloudapi.cn",
        "https://management.core.chinacloudapi.cn/",
    ],
    [
        "AzureUSGovernment",
        "https://login.microsoftonline.us",
        "https://management.usgovcloudapi.net/",
        "https://management.core.usgovcloudapi.net/",
    ],
];

/// The cloud that the Azure CLI is set to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cloud {
    pub(crate) name: String,
    /// Who issues tokens: an address without a tenant.
    pub(crate) active_directory: String,
    /// Where the resource manager is.
    resource_manager: Option<String>,
    /// What the CLI calls it when it asks for a token.
    resource_id: Option<String>,
}

impl Cloud {
    /// The cloud that `config` names, or the variable AZURE_CLOUD_NAME in its place, as `clouds.config` and the CLI itself know it.
    ///
    /// # Errors
    /// That its endpoints are nowhere.
    pub(super) fn find(variable: Option<&str>, config: &Ini, clouds: &Ini) -> Result<Self, String> {
        let name = variable
            .filter(|name| !name.is_empty())
            .or_else(|| config.get("cloud", "name"))
            .unwrap_or(DEFAULT);
        let known = KNOWN.iter().find(|cloud| cloud[0] == name);
        let endpoint = |option: &str, index: usize| {
            let configured = clouds.get(name, option).map(str::to_owned);
            configured.or_else(|| known.map(|cloud| cloud[index].to_owned()))
        };
        let Some(active_directory) = endpoint("endpoint_active_directory", 1) else {
            return Err(format!(
                "the Azure CLI is set to the cloud {name}, whose endpoints are not in clouds.config"
            ));
        };
        Ok(Self {
            name: name.to_owned(),
            active_directory,
            resource_manager: endpoint("endpoint_resource_manager", 2),
            resource_id: endpoint("endpoint_active_directory_resource_id", 3),
        })
    }

    /// The scope under which the CLI keeps tokens for the resource manager, if `scope` is for that.
    ///
    /// The resource manager has two names, its address and the resource of the CLI, and takes tokens for either
    /// (`https://management.azure.com` and `https://management.core.windows.net/` in the public cloud).
    pub(crate) fn scope_of_resource_manager(&self, scope: &str) -> Option<String> {
        let asked = scope.strip_suffix("/.default")?.trim_end_matches('/');
        let resource_id = self.resource_id.as_deref()?;
        let is_meant = |name: &str| name.trim_end_matches('/').eq_ignore_ascii_case(asked);
        let names = [self.resource_manager.as_deref(), Some(resource_id)];
        let is_manager = names.into_iter().flatten().any(is_meant);
        // `https://m/` becomes `https://m//.default`, by which Entra knows the resource by its exact name.
        is_manager.then(|| format!("{resource_id}/.default"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLOUDS: &str = "\
[AzureCloud]
subscription = 11111111-1111-4111-8111-111111111111

[Loop]
endpoint_active_directory = https://127.0.0.1:8443
endpoint_resource_manager = https://127.0.0.1:8444
endpoint_active_directory_resource_id = https://management.azure.com/
endpoint_microsoft_graph_resource_id = https://graph.microsoft.com/
suffix_storage_endpoint = core.loop.test
profile = latest
";

    fn find(variable: Option<&str>, config: &str) -> Result<Cloud, String> {
        let clouds = Ini::parse(CLOUDS).unwrap();
        Cloud::find(variable, &Ini::parse(config).unwrap(), &clouds)
    }

    #[test]
    fn the_cloud_is_the_configured_one() {
        for config in [
            "",
            "[cloud]\nname = AzureCloud\n",
            "[core]\noutput = json\n[cloud]\nname =\n",
        ] {
            let cloud = find(None, config).unwrap();
            assert_eq!(cloud.active_directory, "https://login.microsoftonline.com");
        }
        let cloud = find(None, "[cloud]\nname = Loop\n").unwrap();
        assert_eq!(cloud.active_directory, "https://127.0.0.1:8443");
        assert_eq!(cloud.name, "Loop");
        let cloud = find(Some("AzureUSGovernment"), "[cloud]\nname = Loop\n").unwrap();
        assert_eq!(cloud.active_directory, "https://login.microsoftonline.us");
        assert!(find(Some("Elsewhere"), "").unwrap_err().contains("Elsewhere"));
        assert!(find(Some("loop"), "").is_err(), "as the Azure CLI compares them");
    }

    #[test]
    fn the_resource_manager_goes_by_two_names() {
        let public = find(None, "").unwrap();
        for scope in [
            "https://management.azure.com/.default",
            "https://management.azure.com//.default",
            "https://management.core.windows.net/.default",
            "https://management.core.windows.net//.default",
        ] {
            assert_eq!(
                public.scope_of_resource_manager(scope).unwrap(),
                "https://management.core.windows.net//.default"
            );
        }
        for scope in [
            "https://graph.microsoft.com/.default",
            "https://management.azure.com/user_impersonation",
            "https://management.azure.com.evil.test/.default",
            ".default",
            "",
        ] {
            assert_eq!(public.scope_of_resource_manager(scope), None, "{scope}");
        }
        let custom = find(Some("Loop"), "").unwrap();
        let mapped = custom.scope_of_resource_manager("https://127.0.0.1:8444/.default");
        assert_eq!(mapped.unwrap(), "https://management.azure.com//.default");
    }
}
