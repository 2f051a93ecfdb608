//! The text form of keys and certificates (RFC 7468), decoded into memory that is wiped.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

const BEGIN: &str = "-----BEGIN ";
const DASHES: &str = "-----";

/// One section: what it holds, and its content.
pub(super) struct Section<'a> {
    pub(super) label: &'a str,
    pub(super) der: Zeroizing<Vec<u8>>,
}

/// Why a text is not PEM. It repeats nothing of the text, which may be a private key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotPem {
    /// A section has no end, or not the one that its beginning announces.
    Unfinished,
    /// A section is encrypted.
    Encrypted,
    /// A section is not base64.
    Encoding,
}

impl NotPem {
    pub(super) fn message(self) -> &'static str {
        match self {
            Self::Unfinished => "it is cut off: a BEGIN line has no END line",
            Self::Encrypted => {
                "it is encrypted; decrypt it first (`openssl pkey`), and let only this program read it"
            }
            Self::Encoding => "it is not base64 between its BEGIN and END lines",
        }
    }
}

/// The sections of `text`, in order. What stands between them is ignored, as RFC 7468 section 2 has it.
pub(super) fn sections(text: &str) -> Result<Vec<Section<'_>>, NotPem> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((_, begun)) = rest.split_once(BEGIN) {
        let (label, after) = begun.split_once(DASHES).ok_or(NotPem::Unfinished)?;
        let end = Zeroizing::new(format!("-----END {label}-----"));
        let (body, after) = after.split_once(end.as_str()).ok_or(NotPem::Unfinished)?;
        found.push(Section {
            label,
            der: decode(label, body)?,
        });
        rest = after;
    }
    Ok(found)
}

fn decode(label: &str, body: &str) -> Result<Zeroizing<Vec<u8>>, NotPem> {
    // The older form says so in a header instead of the label: `Proc-Type: 4,ENCRYPTED` (RFC 1421).
    if label.starts_with("ENCRYPTED") || body.contains("Proc-Type:") {
        return Err(NotPem::Encrypted);
    }
    let mut encoded = Zeroizing::new(Vec::with_capacity(body.len()));
    encoded.extend(body.bytes().filter(|byte| !byte.is_ascii_whitespace()));
    // Sized for the whole, so that no part of a key is left behind where a buffer grew.
    let mut der = Zeroizing::new(vec![0; encoded.len() / 4 * 3 + 3]);
    let length = STANDARD
        .decode_slice(&*encoded, &mut der)
        .map_err(|_| NotPem::Encoding)?;
    der.truncate(length);
    Ok(der)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(text: &str) -> Result<Vec<(String, Vec<u8>)>, NotPem> {
        let sections = sections(text)?;
        Ok(sections
            .iter()
            .map(|section| (section.label.to_owned(), section.der.to_vec()))
            .collect())
    }

    #[test]
    fn sections_are_found_between_other_text() {
        let text = "subject=x\n-----BEGIN A KEY-----\r\nAQID\r\nBA==\r\n-----END A KEY-----\nnote\n\
                    -----BEGIN B-----\nBQ==\n-----END B-----";
        let expected = vec![("A KEY".to_owned(), vec![1, 2, 3, 4]), ("B".to_owned(), vec![5])];
        assert_eq!(labels(text), Ok(expected));
        assert_eq!(labels("no PEM at all"), Ok(Vec::new()));
    }

    #[test]
    fn damaged_sections_are_told_apart() {
        for (text, expected) in [
            ("-----BEGIN A", NotPem::Unfinished),
            ("-----BEGIN A-----\nAQID", NotPem::Unfinished),
            ("-----BEGIN A-----\nAQID\n-----END B-----", NotPem::Unfinished),
            ("-----BEGIN A-----\nA?ID\n-----END A-----", NotPem::Encoding),
            (
                "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAQID\n-----END ENCRYPTED PRIVATE KEY-----",
                NotPem::Encrypted,
            ),
            (
                "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAQID\n-----END RSA PRIVATE KEY-----",
                NotPem::Encrypted,
            ),
        ] {
            assert_eq!(labels(text), Err(expected), "{text}");
        }
    }
}
