//! Scopes, read as Entra reads them: sign-in scopes on one side, permissions of one resource on the other.

use super::refusal::Refusal;

/// The application ID of Microsoft Graph, which scopes without a resource belong to.
const GRAPH: &str = "00000003-0000-0000-c000-000000000000";

/// The scopes of one request.
#[derive(Clone, Debug, Default)]
pub(super) struct RequestedScopes {
    /// Permissions of the resource, as they were written.
    pub(super) permissions: Vec<String>,
    pub(super) openid: bool,
    pub(super) profile: bool,
    pub(super) email: bool,
    pub(super) offline_access: bool,
}

impl RequestedScopes {
    pub(super) fn parse<'a>(scopes: impl IntoIterator<Item = &'a str>) -> Result<Self, Refusal> {
        let mut requested = Self::default();
        for scope in scopes {
            match scope {
                "openid" => requested.openid = true,
                "profile" => requested.profile = true,
                "email" => requested.email = true,
                "offline_access" => requested.offline_access = true,
                _ if requested.permissions.iter().any(|earlier| earlier == scope) => {}
                _ => requested.permissions.push(scope.to_owned()),
            }
        }
        let resource = requested.resource();
        if requested
            .permissions
            .iter()
            .any(|scope| resource_of(scope) != resource)
        {
            let text = "Provided value for the input parameter scope is not valid because it contains more \
                        than one resource.";
            return Err(Refusal::invalid_request(28_000, text));
        }
        Ok(requested)
    }

    /// What the access token is for: `aud`.
    pub(super) fn resource(&self) -> &str {
        self.permissions.first().map_or(GRAPH, |scope| resource_of(scope))
    }

    /// The claim `scp`: permissions without their resource.
    pub(super) fn scp(&self) -> String {
        let names = self.permissions.iter().map(|scope| match scope.rfind('/') {
            Some(slash) if scope.contains("://") => &scope[slash + 1..],
            _ => scope,
        });
        let names: Vec<&str> = names.collect();
        if names.is_empty() {
            "openid profile email".to_owned()
        } else {
            names.join(" ")
        }
    }

    /// The `scope` of the answer: what was granted. Entra adds the sign-in scopes and leaves
    /// `offline_access` out.
    pub(super) fn granted(&self) -> String {
        let mut granted = self.permissions.clone();
        let signs_in = [
            (self.email || self.openid, "email"),
            (self.openid, "openid"),
            (self.profile || self.openid, "profile"),
        ];
        granted.extend(
            signs_in
                .into_iter()
                .filter(|(there, _)| *there)
                .map(|(_, scope)| scope.to_owned()),
        );
        granted.join(" ")
    }

    /// Everything that was asked for, to be remembered with a code or a refresh token.
    pub(super) fn all(&self) -> Vec<String> {
        let mut all = self.permissions.clone();
        let signs_in = [
            (self.openid, "openid"),
            (self.profile, "profile"),
            (self.email, "email"),
            (self.offline_access, "offline_access"),
        ];
        all.extend(
            signs_in
                .into_iter()
                .filter(|(there, _)| *there)
                .map(|(_, scope)| scope.to_owned()),
        );
        all
    }
}

/// `api://app/read` belongs to `api://app`, `https://host/x.y` to `https://host`, `Mail.Read` to Graph.
fn resource_of(scope: &str) -> &str {
    match (scope.find("://"), scope.rfind('/')) {
        (Some(scheme), Some(slash)) if slash > scheme + 2 => match &scope[..slash] {
            "https://graph.microsoft.com" => GRAPH,
            resource => resource,
        },
        // `{application ID}/.default`, the short form for an application without an identifier URI.
        (None, Some(slash)) => &scope[..slash],
        _ => GRAPH,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_name_one_resource() {
        let requested = RequestedScopes::parse(["api://app/read", "openid", "offline_access"]).unwrap();
        assert_eq!(requested.resource(), "api://app");
        assert_eq!(requested.scp(), "read");
        assert_eq!(requested.granted(), "api://app/read email openid profile");
        assert_eq!(RequestedScopes::parse(["User.Read"]).unwrap().resource(), GRAPH);
        assert_eq!(
            RequestedScopes::parse(["api://app/read", "User.Read"])
                .unwrap_err()
                .code,
            28_000
        );
    }
}
