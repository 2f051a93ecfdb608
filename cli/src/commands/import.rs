//! `import`: takes the rows of an MSAL cache file in.

use std::io::Read;
use std::path::Path;

use cache_core::cache::{CacheError, ImportReport};
use cache_core::codec::msal::RowOrigin;
use cache_core::schema::{AuthorityIdentity, AuthorityKind};
use cache_core::secret::SecretBytes;
use flows::authority::Authority;
use serde_json::json;
use zeroize::Zeroizing;

use crate::answer::Answer;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::session::{Missing, Session, Stdin};

/// A cache file of this size would hold some hundred thousand tokens.
const MAX_BYTES: u64 = 256 << 20;

/// Takes the file in as it is: nothing in it is swept, joined or trusted.
pub(crate) async fn run(session: &Session, file: &Path) -> Result<Answer, Failure> {
    let configured = session
        .options
        .authority
        .is_some()
        .then(|| session.authority())
        .transpose()?;
    let is_stdin = file == Path::new("-");
    let json = read(file)?;
    let stdin = if is_stdin { Stdin::Taken } else { Stdin::Free };
    let cache = session.cache(Missing::Create, stdin).await?;
    let report = cache
        .import(json.expose(), &|origin| identity(configured.as_ref(), origin))
        .await
        .map_err(|error| match error {
            CacheError::Codec(_) => Failure::new("not_a_cache_file", Exit::Usage, error)
                .next("give an MSAL cache file (unified JSON); nothing was changed"),
            error => error.into(),
        })?;
    Ok(answer(&report))
}

/// Which authority a row belongs to: the configured one where the row is of its host, else what the row says
/// itself.
///
/// A file does not say which issuer a host belongs to unless the row names it, so only the configuration can
/// tell rows of B2C, External ID and most OpenID providers.
fn identity(configured: Option<&Authority>, origin: &RowOrigin<'_>) -> AuthorityIdentity {
    if let Some(authority) = configured {
        let same_issuer = match (authority.kind(), origin.issuer) {
            (AuthorityKind::Oidc, Some(issuer)) => issuer == authority.url(),
            _ => true,
        };
        let is = |environment: &str| environment.eq_ignore_ascii_case(origin.environment);
        // MSAL Python writes the host without its port.
        let host = authority
            .environment()
            .rsplit_once(':')
            .map_or(authority.environment(), |(host, _)| host);
        if same_issuer && (is(authority.environment()) || is(host)) {
            return authority.identity();
        }
    }
    origin.default_identity()
}

fn answer(report: &ImportReport) -> Answer {
    let unread: Vec<_> = report.unread.iter().map(ToString::to_string).collect();
    let object = json!({
        "accounts": report.accounts,
        "id_tokens": report.id_tokens,
        "access_tokens": report.access_tokens,
        "refresh_tokens": report.refresh_tokens,
        "app_metadata": report.app_metadata,
        "partitions": report.partitions,
        "unread": unread,
    });
    let mut text = format!(
        "imported {} accounts, {} ID tokens, {} access tokens, {} refresh tokens and {} rows of application metadata",
        report.accounts, report.id_tokens, report.access_tokens, report.refresh_tokens, report.app_metadata
    );
    for row in &unread {
        text.push_str(&format!("\nkept, but used by nobody: {row}"));
    }
    if report.refresh_tokens > 0 {
        text.push_str(
            "\nwhere refresh tokens rotate, use them here or in the other program, not in both: each would sign the other out",
        );
    }
    Answer::new(object, text)
}

fn read(file: &Path) -> Result<SecretBytes, Failure> {
    let failed = |error| Failure::file("read", file, error).into_usage();
    if file == Path::new("-") {
        return read_all(std::io::stdin().lock(), 0).map_err(failed);
    }
    let opened = std::fs::File::open(file).map_err(failed)?;
    let length = opened.metadata().map_err(failed)?.len();
    read_all(opened, length).map_err(failed)
}

/// Reads to the end. Buffers that were outgrown held tokens, so they are wiped.
fn read_all(mut input: impl Read, expected: u64) -> std::io::Result<SecretBytes> {
    let too_long = || std::io::Error::other(format!("it is longer than {MAX_BYTES} bytes"));
    if expected > MAX_BYTES {
        return Err(too_long());
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(
        usize::try_from(expected).unwrap_or(0).max(1 << 16) + 1,
    ));
    let mut chunk = Zeroizing::new([0; 1 << 14]);
    loop {
        let read = match input.read(chunk.as_mut_slice()) {
            Ok(0) => return Ok(SecretBytes::new(std::mem::take(&mut *bytes))),
            Ok(read) => read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if bytes.len() + read > usize::try_from(MAX_BYTES).unwrap_or(usize::MAX) {
            return Err(too_long());
        }
        if bytes.capacity() - bytes.len() < read {
            let mut larger = Vec::with_capacity(bytes.capacity() * 2);
            larger.extend_from_slice(&bytes);
            bytes = Zeroizing::new(larger);
        }
        bytes.extend_from_slice(&chunk[..read]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin<'a>(environment: &'a str, issuer: Option<&'a str>) -> RowOrigin<'a> {
        RowOrigin {
            environment,
            authority_type: None,
            issuer,
        }
    }

    #[test]
    fn the_configuration_claims_rows_of_its_host_and_issuer_only() {
        let issuer = "https://id.example.org:8443/staff";
        let authority = Authority::oidc(issuer).unwrap();
        let of = |origin: RowOrigin<'_>| identity(Some(&authority), &origin);
        assert_eq!(of(origin("id.example.org:8443", None)), authority.identity());
        assert_eq!(of(origin("ID.example.org", Some(issuer))), authority.identity());
        let other = origin("id.example.org:8443", Some("https://id.example.org:8443/guests"));
        assert_ne!(of(other), authority.identity());
        assert_ne!(of(origin("evil.example.org", None)), authority.identity());
    }

    #[test]
    fn input_of_any_length_is_read() {
        for length in [0, 1, 1 << 14, (1 << 17) + 3] {
            let bytes = vec![7; length];
            assert_eq!(read_all(bytes.as_slice(), 0).unwrap().expose(), bytes);
        }
    }
}
