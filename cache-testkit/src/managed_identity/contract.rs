//! What each platform demands of a request, and how it refuses one.

use serde_json::{Value, json};

use super::{Asked, CLIENT_ID, OBJECT_ID, Platform, RESOURCE_ID, SECRET};

/// The path of the platform's endpoint.
pub(super) fn path(platform: &Platform) -> &'static str {
    match platform {
        Platform::AppService => "/msi/token",
        Platform::AzureMl => "/MSI/auth",
        Platform::CloudShell => "/oauth2/token",
        Platform::ServiceFabric | Platform::AzureArc { .. } | Platform::Imds => {
            "/metadata/identity/oauth2/token"
        }
    }
}

/// Why a request is refused.
pub(super) struct Refusal {
    pub(super) status: u16,
    code: &'static str,
    message: String,
}

impl Refusal {
    fn new(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
        }
    }

    /// The body, in the platform's own format.
    pub(super) fn body(&self, platform: &Platform) -> Value {
        body(platform, self.status, self.code, &self.message)
    }
}

/// An error's body in the platform's own format.
pub(super) fn body(platform: &Platform, status: u16, code: &str, message: &str) -> Value {
    match platform {
        Platform::Imds | Platform::AzureArc { .. } => json!({ "error": code, "error_description": message }),
        Platform::AppService | Platform::AzureMl => {
            json!({ "statusCode": status, "message": format!("{code}: {message}"), "correlationId": "correlation-1" })
        }
        Platform::ServiceFabric | Platform::CloudShell => {
            json!({ "error": { "correlationId": "correlation-1", "code": code, "message": message } })
        }
    }
}

/// Whose token is asked for, if everything is right. The key of Azure Arc is not looked at here.
pub(super) fn identity(platform: &Platform, asked: &Asked) -> Result<&'static str, Refusal> {
    if asked.path != path(platform) {
        return Err(Refusal::new(404, "not_found", "no such path"));
    }
    let method = if *platform == Platform::CloudShell {
        "POST"
    } else {
        "GET"
    };
    if asked.method != method {
        return Err(Refusal::new(405, "method_not_allowed", format!("use {method}")));
    }
    let (header, value) = match platform {
        Platform::Imds | Platform::AzureArc { .. } | Platform::CloudShell => ("metadata", "true"),
        Platform::AppService => ("x-identity-header", SECRET),
        Platform::ServiceFabric | Platform::AzureMl => ("secret", SECRET),
    };
    if asked.header(header) != Some(value) {
        let status = if value == SECRET { 401 } else { 400 };
        return Err(Refusal::new(
            status,
            "invalid_request",
            format!("the header {header} is not right"),
        ));
    }
    if asked.header("x-forwarded-for").is_some() {
        return Err(Refusal::new(
            400,
            "invalid_request",
            "a proxy has seen the request",
        ));
    }
    let version = match platform {
        Platform::Imds => Some("2018-02-01"),
        Platform::AppService => Some("2019-08-01"),
        Platform::AzureMl => Some("2017-09-01"),
        Platform::AzureArc { .. } => Some("2019-11-01"),
        Platform::ServiceFabric => Some("2019-07-01-preview"),
        Platform::CloudShell => None,
    };
    if asked.parameter("api-version") != version {
        return Err(Refusal::new(
            400,
            "invalid_request",
            "the api-version is not right",
        ));
    }
    if asked
        .parameter("resource")
        .is_none_or(|resource| !resource.starts_with("https://"))
    {
        return Err(Refusal::new(400, "invalid_resource", "there is no such resource"));
    }
    chosen(platform, asked)
}

fn chosen(platform: &Platform, asked: &Asked) -> Result<&'static str, Refusal> {
    let names: &[(&str, &str)] = match platform {
        Platform::Imds => &[
            ("client_id", CLIENT_ID),
            ("object_id", OBJECT_ID),
            ("msi_res_id", RESOURCE_ID),
        ],
        Platform::AppService => &[
            ("client_id", CLIENT_ID),
            ("object_id", OBJECT_ID),
            ("mi_res_id", RESOURCE_ID),
        ],
        Platform::AzureMl => &[("clientid", CLIENT_ID)],
        Platform::ServiceFabric | Platform::CloudShell | Platform::AzureArc { .. } => &[],
    };
    let mut identity = "system";
    for (name, value) in &asked.parameters {
        if asked.parameters.iter().filter(|(other, _)| other == name).count() > 1 {
            return Err(Refusal::new(
                400,
                "invalid_request",
                format!("{name} is there twice"),
            ));
        }
        match names.iter().find(|(known, _)| known == name) {
            Some((_, id)) if id == value => identity = "user",
            Some(_) => return Err(Refusal::new(400, "invalid_request", "Identity not found")),
            None if matches!(name.as_str(), "api-version" | "resource") => {}
            None if name == "token_sha256_to_refresh" && *platform == Platform::ServiceFabric => {}
            None => {
                return Err(Refusal::new(
                    400,
                    "invalid_request",
                    format!("unknown parameter {name}"),
                ));
            }
        }
    }
    Ok(identity)
}
