//! What a request tells a server in confidence, kept out of what is shown of the reply.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cache_core::secret::Secret;
use url::form_urlencoded;
use zeroize::Zeroizing;

use crate::display_text::{display_text, legible};

/// The secrets of one request.
///
/// Servers are known to repeat what they refuse: "Invalid refresh token: 8xLOxBtZp8". Their words end up in errors, and errors in logs,
/// where a token that was refused to one client may still be good for another.
#[derive(Default)]
pub(crate) struct SentSecrets {
    /// As they were before the form was encoded.
    of_the_form: Vec<Secret>,
    /// Values of headers, as they were sent.
    of_the_headers: Vec<Secret>,
}

/// Shorter ones are not looked for: they would be found in words that have nothing to do with them.
const SHORTEST: usize = 6;

/// Headers whose values are credentials.
const CONFIDENTIAL: [&str; 4] = ["authorization", "dpop", "secret", "x-identity-header"];

const SHOWN_INSTEAD: &str = "[redacted]";

impl SentSecrets {
    pub(super) fn new(of_the_form: &[Secret], headers: &[(&'static str, Secret)]) -> Self {
        let credentials = headers.iter().filter(|(name, _)| CONFIDENTIAL.contains(name));
        Self {
            of_the_form: of_the_form.to_vec(),
            of_the_headers: credentials.map(|(_, value)| value.clone()).collect(),
        }
    }

    /// `text` of the server, made fit for people as all of it is, and without any of the secrets.
    pub(crate) fn display(&self, text: &str) -> String {
        // Only what is legible is compared: a character that nobody sees must not hide a secret. And all of it, because of one that is
        // cut off a part would be left.
        let mut shown = Zeroizing::new(legible(text));
        for secret in &self.spellings() {
            if shown.contains(secret.as_str()) {
                shown = Zeroizing::new(shown.replace(secret.as_str(), SHOWN_INSTEAD));
            }
        }
        display_text(&shown)
    }

    /// Whether one of the secrets is in `text`.
    pub(crate) fn are_in(&self, text: &str) -> bool {
        let mut spellings = self.spellings().into_iter();
        spellings.any(|secret| text.contains(secret.as_str()))
    }

    /// The ways in which a server may repeat them, the longest first: another may be a part of it. Only a refusal asks for them, so that
    /// other requests do not make them.
    fn spellings(&self) -> Vec<Zeroizing<String>> {
        let mut spellings = Vec::new();
        for secret in &self.of_the_form {
            spell(secret.expose(), &mut spellings);
        }
        for value in &self.of_the_headers {
            spell_credentials(value.expose(), &mut spellings);
        }
        spellings.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        spellings
    }
}

/// The value of a header: all of it, what follows the name of its scheme, and the password in that.
fn spell_credentials(value: &str, spellings: &mut Vec<Zeroizing<String>>) {
    spell(value, spellings);
    let Some((scheme, credentials)) = value.split_once(' ') else {
        return;
    };
    spell(credentials, spellings);
    if scheme.eq_ignore_ascii_case("basic")
        && let Ok(pair) = STANDARD.decode(credentials).map(Zeroizing::new)
        && let Some(colon) = pair.iter().position(|byte| *byte == b':')
    {
        // RFC 6749 section 2.3.1: both are encoded as in a form.
        for (password, _) in form_urlencoded::parse(&pair[colon + 1..]) {
            spell(&Zeroizing::new(password.into_owned()), spellings);
        }
    }
}

/// The secret, and as it is in a form.
fn spell(secret: &str, spellings: &mut Vec<Zeroizing<String>>) {
    if secret.len() < SHORTEST {
        return;
    }
    let encoded: Zeroizing<String> =
        Zeroizing::new(form_urlencoded::byte_serialize(secret.as_bytes()).collect());
    if *encoded != secret {
        spellings.push(encoded);
    }
    spellings.push(Zeroizing::new(secret.to_owned()));
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use url::Url;

    use super::super::{Form, HttpRequest};
    use super::*;

    fn request() -> HttpRequest {
        let mut form = Form::new();
        form.push("grant_type", "refresh_token");
        form.push_secret("refresh_token", &Secret::new("8xLOxBtZp8"));
        form.push_secret("assertion", &Secret::new("a+b/c=="));
        form.push_secret("password", &Secret::new("short"));
        let url = Url::parse("https://login.example/token").unwrap();
        // `client` and `p%ä +canary`.
        let basic = format!("Basic {}", STANDARD.encode("client:p%25%C3%A4+%2Bcanary"));
        HttpRequest::post(url, form, Duration::from_secs(1))
            .header("authorization", basic)
            .header("x-ms-client-request-id", "a-request-id".to_owned())
    }

    #[test]
    fn a_server_that_repeats_a_secret_is_not_repeated() {
        let sent = request().secrets();
        let display = |text: &str| sent.display(text);
        for (text, shown) in [
            (
                "Invalid refresh token: 8xLOxBtZp8",
                "Invalid refresh token: [redacted]",
            ),
            ("8xLOxBtZp8 8xLOxBtZp8", "[redacted] [redacted]"),
            ("8xLO\u{200b}xBtZp8", "[redacted]"),
            ("assertion=a%2Bb%2Fc%3D%3D", "assertion=[redacted]"),
            ("a+b/c== is no JWT", "[redacted] is no JWT"),
            ("p%ä +canary", "[redacted]"),
            ("wrong secret p%25%C3%A4+%2Bcanary", "wrong secret [redacted]"),
            ("short of time, a-request-id", "short of time, a-request-id"),
            ("\u{1b}[2J", "[2J"),
        ] {
            assert_eq!(display(text), shown);
        }
        let header = STANDARD.encode("client:p%25%C3%A4+%2Bcanary");
        assert_eq!(display(&format!("what is {header}?")), "what is [redacted]?");
        assert!(sent.are_in("{\"a\":\"8xLOxBtZp8\"}") && !sent.are_in("{}"));
    }

    #[test]
    fn no_part_of_a_secret_is_left_where_a_text_is_cut_off() {
        let sent = request().secrets();
        let text = format!("{}8xLOxBtZp8", "x".repeat(1_995));
        assert!(!sent.display(&text).contains("8x"));
    }
}
