//! What the endpoint of a platform answers that gives programs identities.

use flows::client::ManagedIdentityClient;
use flows::managed_identity::{ManagedIdentityEnvironment, ManagedIdentityId};
use serde_json::json;

use crate::canned::{Canned, reply};
use crate::scene::{LIMIT, Scene, block_on};
use crate::shown::check_error;
use crate::{Outcome, Target};

/// The target.
pub const TARGET: Target = Target {
    name: "managed_identity",
    title: "replies of the endpoints of managed identities (instance metadata, App Service, Azure ML, Cloud Shell, Azure Arc)",
    run,
    seeds,
    max_len: 4096,
};

const SECRET: &str = "header-of-the-platform";
const PLATFORMS: u8 = 5;

/// What a platform leaves for programs to find its endpoint by.
fn environment(platform: u8) -> ManagedIdentityEnvironment {
    let variables: &[(&str, &str)] = match platform {
        0 => &[],
        1 => &[
            ("IDENTITY_ENDPOINT", "http://127.0.0.1:41741/msi/token"),
            ("IDENTITY_HEADER", SECRET),
        ],
        2 => &[
            ("MSI_ENDPOINT", "http://127.0.0.1:46808/MSI/auth"),
            ("MSI_SECRET", SECRET),
        ],
        3 => &[("MSI_ENDPOINT", "http://127.0.0.1:50342/oauth2/token")],
        _ => &[
            (
                "IDENTITY_ENDPOINT",
                "http://127.0.0.1:40342/metadata/identity/oauth2/token",
            ),
            ("IMDS_ENDPOINT", "http://127.0.0.1:40342"),
        ],
    };
    let value = |asked: &str| {
        let found = variables.iter().find(|(name, _)| *name == asked);
        found.map(|(_, value)| (*value).to_owned())
    };
    // No agent has left a key here.
    ManagedIdentityEnvironment::of(value).arc_key_folder("/nowhere")
}

/// Has a platform answer with the bytes: first which, then the reply.
///
/// # Panics
/// When anybody but the platform is asked, or an error would steer a terminal or shows the platform's secret.
pub fn run(data: &[u8]) -> Outcome {
    let Some((&which, data)) = data.split_first() else {
        return Outcome::Refused;
    };
    let canned = Canned::read(data);
    let obtained = block_on(async {
        let scene = Scene::new();
        let cache = scene.cache_in_clear();
        let client = ManagedIdentityClient::builder(ManagedIdentityId::SystemAssigned, cache.clone())
            .environment(environment(which % PLATFORMS))
            .transport(canned.transport())
            .build()
            .expect("an environment that makes sense");
        let obtained = client
            .acquire_token_for_managed_identity("https://vault.azure.net")
            .await;
        cache.shutdown(LIMIT).await;
        obtained
    });
    for url in canned.asked() {
        let host = url.host_str().unwrap_or_default();
        assert!(
            ["169.254.169.254", "127.0.0.1"].contains(&host),
            "{host} was asked for a token"
        );
    }
    match obtained {
        Ok(result) => {
            assert!(!result.access_token().is_empty());
            Outcome::Taken
        }
        Err(error) => {
            // The others were told none, so the word would be their own.
            check_error(
                &error,
                if matches!(which % PLATFORMS, 1 | 2) {
                    &[SECRET]
                } else {
                    &[]
                },
            );
            Outcome::Refused
        }
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let now = cache_testkit::clock::ManualClock::START.to_seconds().0;
    let granted = json!({
        "access_token": "at", "expires_in": "86400", "expires_on": (now + 86_400).to_string(), "not_before": now.to_string(),
        "resource": "https://vault.azure.net", "token_type": "Bearer", "client_id": "x",
    });
    let mut seeds = Vec::new();
    for platform in 0..PLATFORMS {
        let reply = reply(0, "content-type: application/json", &granted.to_string());
        seeds.push([&[platform], &reply[..]].concat());
    }
    let refused = json!({ "error": "invalid_request", "error_description": "\u{1b}[31mno" }).to_string();
    let repeating =
        json!({ "error": "invalid_header", "error_description": format!("wrong header: {SECRET}") })
            .to_string();
    for platform in [1, 2] {
        seeds.push([&[platform], &reply(4, "", &repeating)[..]].concat());
    }
    let failed = json!({ "statusCode": 500, "message": "no identity", "correlationId": "1" }).to_string();
    let challenge = "www-authenticate: Basic realm=/var/opt/azcmagent/tokens/1.key";
    seeds.push([&[0], &reply(4, "", &refused)[..]].concat());
    seeds.push([&[1], &reply(9, "", &failed)[..]].concat());
    seeds.push([&[4], &reply(5, challenge, "")[..]].concat());
    seeds.push(
        [
            &[4],
            &reply(5, "www-authenticate: Basic realm=/etc/shadow", "")[..],
        ]
        .concat(),
    );
    seeds.push([&[0], &reply(8, "retry-after: 1", "")[..]].concat());
    seeds
}
