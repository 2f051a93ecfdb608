//! `import`: takes the rows of an MSAL cache file in.

use std::io::Read;
use std::path::Path;

use cache_core::cache::{CacheError, ImportReport};
use cache_core::secret::SecretBytes;
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
        .import(json.expose(), &|origin| match &configured {
            Some(authority) => authority.identify(origin),
            None => origin.default_identity(),
        })
        .await
        .map_err(|error| match error {
            CacheError::Codec(cause) => {
                let name = if is_stdin {
                    "standard input".to_owned()
                } else {
                    file.display().to_string()
                };
                let message = format!("{name} is not a cache file that can be read");
                Failure::caused("not_a_cache_file", Exit::Usage, message, cause)
                    .next("give an MSAL cache file (unified JSON); nothing was changed")
            }
            error => error.into(),
        })?;
    Ok(answer(&report))
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

    #[test]
    fn input_of_any_length_is_read() {
        for length in [0, 1, 1 << 14, (1 << 17) + 3] {
            let bytes = vec![7; length];
            assert_eq!(read_all(bytes.as_slice(), 0).unwrap().expose(), bytes);
        }
    }
}
