//! In what B2C and AD FS differ from Entra: addresses, issuer, and how they name a user.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::signing::Claims;
use super::state::Core;
use super::tenant::Subject;

/// The kind of authority that a path leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Entra, and External ID, whose paths are the same.
    Entra,
    /// Azure AD B2C, at one of its policies.
    B2c { policy: String },
    /// Active Directory Federation Services.
    Adfs,
}

impl Kind {
    /// An endpoint's path below the prefix, by its last word.
    pub(super) fn path(&self, last: &str) -> String {
        match self {
            Self::Adfs if last == "keys" => "discovery/keys".to_owned(),
            Self::Adfs => format!("oauth2/{last}"),
            _ if last == "keys" => "discovery/v2.0/keys".to_owned(),
            _ => format!("oauth2/v2.0/{last}"),
        }
    }

    /// The issuer, where `tenant` is as it stands in issuers. B2C's ends with a slash and does not name the policy.
    pub(super) fn issuer(&self, core: &Core, tenant: &str) -> String {
        let base = &core.base_url;
        match self {
            Self::Entra => format!("{base}/{tenant}/v2.0"),
            Self::B2c { .. } => format!("{base}/{tenant}/v2.0/"),
            Self::Adfs => format!("{base}/adfs"),
        }
    }

    /// Makes the claims of a user's ID token those that this kind of authority sends.
    pub(super) fn adapt_id_token(&self, core: &Core, subject: &Subject<'_>, claims: &mut Claims) {
        claims.insert("iss".to_owned(), self.issuer(core, &subject.tenant).into());
        match self {
            Self::Entra => {}
            Self::B2c { policy } => {
                claims.remove("tid");
                claims.remove("preferred_username");
                claims.insert("sub".to_owned(), subject.object_id.clone().into());
                claims.insert("tfp".to_owned(), policy.as_str().into());
                claims.insert("emails".to_owned(), json!([subject.user.username]));
                claims.insert("ver".to_owned(), "1.0".into());
            }
            Self::Adfs => {
                for name in ["tid", "oid", "ver", "preferred_username", "email"] {
                    claims.remove(name);
                }
                claims.insert("upn".to_owned(), subject.user.username.as_str().into());
                claims.insert("unique_name".to_owned(), subject.user.username.as_str().into());
            }
        }
    }

    /// `client_info`: base64url of JSON with the home account's `uid` and `utid`. B2C's `uid` names the policy; AD FS has none.
    pub(super) fn client_info(&self, subject: &Subject<'_>) -> Option<String> {
        let user = subject.user;
        let uid = match self {
            Self::Entra => user.object_id.clone(),
            Self::B2c { policy } => format!("{}-{policy}", subject.object_id),
            Self::Adfs => return None,
        };
        let info: Value = json!({ "uid": uid, "utid": user.home_tenant });
        Some(URL_SAFE_NO_PAD.encode(info.to_string()))
    }
}
