//! `client_info`: how Entra names the home account in a token reply.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cache_core::secret::{Secret, SecretBytes};

use crate::error::ReplyError;
use crate::response::Fields;

/// The account's identifier at home and its home tenant. They stay the same in every tenant where the user is a
/// guest, unlike the ID token's `oid` and `tid`.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct ClientInfo {
    uid: String,
    utid: String,
}

impl ClientInfo {
    /// Decodes the base64url of a JSON object with `uid` and `utid`.
    pub(crate) fn decode(text: &Secret) -> Result<Self, ReplyError> {
        let bytes = URL_SAFE_NO_PAD
            .decode(text.expose().trim_end_matches('='))
            .map_err(|_| ReplyError::ClientInfo)?;
        let fields = Fields::parse(&SecretBytes::new(bytes)).ok_or(ReplyError::ClientInfo)?;
        match (fields.text("uid"), fields.text("utid")) {
            (Some(uid), Some(utid)) => Ok(Self {
                uid: uid.to_owned(),
                utid: utid.to_owned(),
            }),
            _ => Err(ReplyError::ClientInfo),
        }
    }

    pub(crate) fn home_account_id(&self) -> String {
        format!("{}.{}", self.uid, self.utid)
    }

    pub(crate) fn uid(&self) -> &str {
        &self.uid
    }

    pub(crate) fn home_tenant(&self) -> &str {
        &self.utid
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(json: &str) -> Result<String, ReplyError> {
        ClientInfo::decode(&Secret::new(URL_SAFE_NO_PAD.encode(json))).map(|info| info.home_account_id())
    }

    #[test]
    fn both_parts_are_needed() {
        assert_eq!(
            decode(r#"{"uid":"u-b2c_1_susi","utid":"t","x":1}"#).unwrap(),
            "u-b2c_1_susi.t"
        );
        for json in [
            "",
            "{}",
            "[]",
            r#"{"uid":"u"}"#,
            r#"{"uid":"","utid":"t"}"#,
            r#"{"uid":1,"utid":2}"#,
        ] {
            assert_eq!(decode(json), Err(ReplyError::ClientInfo), "{json}");
        }
        assert!(ClientInfo::decode(&Secret::new("not base64!")).is_err());
    }

    #[test]
    fn padding_is_tolerated() {
        let padded = base64::engine::general_purpose::URL_SAFE.encode(r#"{"uid":"u","utid":"t1"}"#);
        assert!(padded.ends_with('='));
        assert!(ClientInfo::decode(&Secret::new(padded)).is_ok());
    }
}
