//! Which resource a scope belongs to, and what follows from it for lookups and commits.
//!
//! Entra names a resource inside the scope: `api://app/read` is `read` at `api://app`, `https://x//.default` is
//! everything at `https://x/`, and a word without a slash belongs to Microsoft Graph. A token is for one resource, so
//! scopes of different resources never stand for one another, whatever a reply or a row says.

use super::{AuthorityKind, ScopeSet, ScopesRef, environment};

/// Microsoft Graph's application ID, the same in every cloud.
const GRAPH_ID: &str = "00000003-0000-0000-c000-000000000000";

/// Microsoft Graph by cloud: a host of the cloud, and the resource that a scope without one belongs to.
const GRAPH: &[(&str, &str)] = &[
    ("login.microsoftonline.com", "https://graph.microsoft.com"),
    ("login.microsoftonline.us", "https://graph.microsoft.us"),
    (
        "login.partner.microsoftonline.cn",
        "https://microsoftgraph.chinacloudapi.cn",
    ),
    ("login.microsoftonline.de", "https://graph.microsoft.de"),
];

/// How scopes compare at one authority.
///
/// ```
/// use cache_core::schema::{AuthorityKind, ScopeRules, ScopeSet};
///
/// let rules = ScopeRules::of(AuthorityKind::Entra, "login.microsoftonline.com");
/// let cached = ScopeSet::parse("https://graph.microsoft.com/User.Read");
/// assert!(rules.serve(&cached, &ScopeSet::parse("User.Read")));
/// assert!(!rules.serve(&cached, &ScopeSet::parse("api://x/User.Read")));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct ScopeRules {
    kind: AuthorityKind,
    graph: Option<&'static str>,
}

impl ScopeRules {
    /// The rules of an authority of `kind` at the host `environment`.
    #[must_use]
    pub fn of(kind: AuthorityKind, environment: &str) -> Self {
        Self {
            kind,
            graph: if kind.has_graph() {
                graph(environment)
            } else {
                None
            },
        }
    }

    /// Whether a token for `cached` serves a request for `requested`: each scope is there, in its short or its long form, and
    /// a request that names no resource gets no other resource's token than Graph's.
    #[must_use]
    pub fn serve(self, cached: &ScopeSet, requested: &ScopeSet) -> bool {
        if !requested.permissions().any(|_| true) {
            // `openid` alone is Graph's; every set covers it, also that of another resource.
            return cached.covers(requested, self.kind.scopes_ignore_case())
                && (!self.kind.has_graph()
                    || cached.permissions().all(|word| self.resource(word).is_none()));
        }
        cached.covers(requested, self.kind.scopes_ignore_case())
            || self.graph.is_some()
                && cached.may_cover(requested)
                && requested
                    .words()
                    .all(|word| cached.words().any(|granted| self.same(granted, word)))
    }

    /// As [`serve`](Self::serve), of scopes that are not taken apart.
    pub(super) fn serve_words(self, cached: ScopesRef<'_>, requested: &ScopeSet) -> bool {
        let ignore_case = self.kind.scopes_ignore_case();
        if !requested.has_permissions() {
            let mut permissions = cached.words().filter(|word| !ScopeSet::is_sign_in_scope(word));
            return cached.covers(requested, ignore_case)
                && (!self.kind.has_graph() || permissions.all(|word| self.resource(word).is_none()));
        }
        cached.covers(requested, ignore_case)
            || self.graph.is_some()
                && requested
                    .words()
                    .all(|word| cached.granted().any(|granted| self.same(granted, word)))
    }

    /// The rules by which scopes are named at `environment`, if it has a Graph, whatever the kind of authority.
    pub(super) fn of_names(environment: &str) -> Self {
        Self::of(AuthorityKind::Entra, environment)
    }

    /// The form that the long and the short form of a scope share.
    pub(super) fn shortest(self, scope: &str) -> &str {
        self.short(scope)
    }

    /// Whether any of the scopes names a resource other than Graph.
    pub(super) fn names_resource(self, scopes: &ScopeSet) -> bool {
        scopes.permissions().any(|word| self.resource(word).is_some())
    }

    /// What a token is good for that a request for `requested` brought with a reply that names `replied`.
    ///
    /// - Scopes of a resource that the request did not name are dropped, and a bare word in the reply to a request for one
    ///   resource is that resource's: as it stands it would be Graph's.
    /// - The reply may name a resource in another form (`api://` before a GUID, a slash at the end). The form of the
    ///   request takes its place, so that the same request finds the token.
    /// - `.default` means whatever the resource grants, so a granted request has it, whether the reply says so (as Entra's does)
    ///   or not. MSAL looks for it in the same place.
    ///
    /// From a generic issuer the reply is taken as it is: its scopes are only words.
    #[must_use]
    pub fn granted(self, requested: &ScopeSet, replied: &ScopeSet) -> ScopeSet {
        if self.kind == AuthorityKind::Oidc {
            return replied.clone();
        }
        let mut resources: Vec<Option<&str>> = Vec::new();
        for resource in requested.permissions().map(|word| self.resource(word)) {
            if !resources.iter().any(|known| same_resource(*known, resource)) {
                resources.push(resource);
            }
        }
        if resources.is_empty() {
            resources.push(None);
        }
        let mut granted: Vec<String> = Vec::new();
        for word in replied.as_str().split(' ').filter(|word| !word.is_empty()) {
            // Elsewhere than at Entra a bare word is nobody's in particular, and so is what was asked for by one.
            let is_anybodys =
                || !self.kind.has_graph() && (!word.contains('/') || resources.iter().all(Option::is_none));
            if ScopeSet::is_sign_in_scope(word) || is_anybodys() {
                granted.push(word.to_owned());
            } else if !word.contains('/')
                && let [Some(resource)] = resources[..]
            {
                granted.push(format!("{resource}/{word}"));
            } else if let Some(asked) = resources
                .iter()
                .find(|asked| is_related(**asked, self.resource(word)))
            {
                granted.push(match asked {
                    // The other form may be another resource's name elsewhere, so only the request's own goes into the row.
                    Some(resource) if !same_resource(*asked, self.resource(word)) => {
                        format!("{resource}/{}", name_of(word))
                    }
                    _ => word.to_owned(),
                });
            }
        }
        for word in requested.permissions() {
            let name = name_of(word);
            let has_it = name.eq_ignore_ascii_case(".default")
                || granted.iter().any(|granted| {
                    name_of(granted).eq_ignore_ascii_case(name)
                        && is_related(self.resource(word), self.resource(granted))
                });
            let is_there = granted.iter().any(|granted| self.same(granted, word));
            if has_it && !is_there {
                granted.push(word.to_owned());
            }
        }
        ScopeSet::of(granted)
    }

    /// The resource that `scope` names; `None` for Graph's, and for a plain word.
    fn resource(self, scope: &str) -> Option<&str> {
        let scope = self.short(scope);
        let slash = scope.rfind('/')?;
        match scope.find("://") {
            Some(scheme) if slash <= scheme + 2 => Some(scope),
            _ => Some(&scope[..slash]),
        }
    }

    fn same(self, one: &str, two: &str) -> bool {
        self.short(one).eq_ignore_ascii_case(self.short(two))
    }

    /// A scope of Graph without its resource; any other as it is.
    fn short(self, scope: &str) -> &str {
        let Some(graph) = self.graph else { return scope };
        [graph, GRAPH_ID]
            .into_iter()
            .find_map(|resource| {
                let start = scope.get(..resource.len())?;
                let name = scope[resource.len()..].strip_prefix('/')?;
                // `https://graph…//x` is of the resource with a slash at its end, which is another audience.
                (start.eq_ignore_ascii_case(resource) && !name.is_empty() && !name.contains('/'))
                    .then_some(name)
            })
            .unwrap_or(scope)
    }
}

/// Graph of the cloud that `environment` belongs to. Only of built-in clouds it is known; a loopback authority is a
/// test's, which plays the public cloud.
fn graph(environment: &str) -> Option<&'static str> {
    // What most authorities are, without the copy that a group is.
    if environment == GRAPH[0].0 {
        return Some(GRAPH[0].1);
    }
    let group = environment::group(environment);
    let group = match group.as_str() {
        "127.0.0.1" | "localhost" | "[::1]" => "login.microsoftonline.com",
        group => group,
    };
    GRAPH
        .iter()
        .find(|(host, _)| *host == group || (*host == GRAPH[0].0 && group.ends_with(".ciamlogin.com")))
        .map(|(_, graph)| *graph)
}

/// A scope of any cloud's Graph without its resource; any other as it is. Of what is the same scope at one authority it makes the
/// same, so it may come before a comparison there, and not in its place.
pub(super) fn without_graph(scope: &str) -> &str {
    let Some((resource, name)) = scope.rsplit_once('/') else {
        return scope;
    };
    let is_it = |graph: &str| resource.eq_ignore_ascii_case(graph);
    if GRAPH.iter().any(|(_, graph)| is_it(graph)) || is_it(GRAPH_ID) {
        return name;
    }
    scope
}

fn name_of(scope: &str) -> &str {
    scope.rsplit('/').next().unwrap_or(scope)
}

fn same_resource(one: Option<&str>, two: Option<&str>) -> bool {
    match (one, two) {
        (Some(one), Some(two)) => one.eq_ignore_ascii_case(two),
        (one, two) => one.is_none() && two.is_none(),
    }
}

/// Whether two names are how one application may be named in a request and in its reply.
fn is_related(one: Option<&str>, two: Option<&str>) -> bool {
    fn bare(resource: &str) -> &str {
        let resource = resource.strip_suffix('/').unwrap_or(resource);
        match resource.get(..6) {
            Some(scheme) if scheme.eq_ignore_ascii_case("api://") => &resource[6..],
            _ => resource,
        }
    }
    same_resource(one.map(bare), two.map(bare))
}

#[cfg(test)]
mod tests;
