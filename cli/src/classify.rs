//! From the errors of the libraries to kinds and exit codes.
//!
//! A script needs to tell a changed record from a lost key, so each check of the seal has a kind of its own.

use cache_core::cache::CacheError;
use cache_core::codec::CodecError;
use cache_core::seal::{KeySourceError, SealError};
use cache_core::store::StoreError;
use cache_core::store::error::{ErrorKind, Operation};
use flows::error::InteractiveError;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::keychain_failure;

impl From<flows::Error> for Failure {
    fn from(error: flows::Error) -> Self {
        use flows::Error as E;
        // Before the cache's own word for it, which is that nobody could be reached.
        if error.client_assertion().is_some() {
            return Self::new("client_assertion", Exit::Usage, error)
                .next("check --client-assertion-file, and whoever writes that file");
        }
        // The same: nothing was sent, because of something that the caller can change.
        if is_configuration(&error) {
            return Self::new("usage", Exit::Usage, error);
        }
        let (kind, exit) = match error {
            E::Cache(error) => return error.into(),
            E::InteractionRequired(error) => return interaction_required(*error),
            E::Configuration(error) => return Self::new("usage", Exit::Usage, error),
            E::Session(error) => return Self::new("session", Exit::Usage, error),
            E::Random(_) => ("random", Exit::Other),
            E::Authority(error) => return refused(error.code().to_owned(), error),
            E::DeviceCode(_) => ("device_code", Exit::Authority),
            E::Interactive(error) => return interactive(error),
            E::IdToken(_) => ("id_token", Exit::Authority),
            E::Discovery(_) => ("discovery", Exit::Authority),
            E::ManagedIdentity(_) => ("managed_identity", Exit::Authority),
            E::Http(error) => return unreachable(error),
            _ => ("authority", Exit::Authority),
        };
        Self::new(kind, exit, error)
    }
}

/// Whether a mistake of configuration is the cause, found only when a request was made.
fn is_configuration(error: &flows::Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if matches!(error.downcast_ref(), Some(flows::Error::Configuration(_))) {
            return true;
        }
        // A transparent error is skipped by `source`.
        cause = match error.downcast_ref() {
            Some(flows::Error::Cache(error)) => Some(error),
            _ => error.source(),
        };
    }
    false
}

impl From<CacheError> for Failure {
    fn from(error: CacheError) -> Self {
        use CacheError as E;
        let (kind, exit) = match &error {
            E::Seal(cause) => {
                let (kind, record) = of_seal(cause);
                let exit = if kind == "random" {
                    Exit::Other
                } else {
                    Exit::Storage
                };
                return with_record(Self::new(kind, exit, error.clone()), record, cause);
            }
            E::Store(cause) => {
                let next = next_for_store(cause);
                return with_next(Self::new(of_store(cause), Exit::Storage, error), next);
            }
            E::Codec(cause) => (of_codec(cause), Exit::Storage),
            E::WrongPartition { key } => {
                let key = key.clone();
                return Self::new("wrong_partition", Exit::Storage, error).about_record(key);
            }
            E::UnknownCodec { key, .. } => {
                let key = key.clone();
                return Self::new("unsupported_format", Exit::Storage, error).about_record(key);
            }
            E::PartitionTooLarge { .. } => ("too_large", Exit::Storage),
            E::Contended { .. } => ("contended", Exit::Storage),
            E::NotPersisted(_) => ("not_persisted", Exit::Storage),
            E::InteractionRequired(_) => return interaction_required(error),
            E::Refused(refusal) => return refused(refusal.error.clone(), error),
            E::Unreachable(_) => return unreachable(error),
            E::OutcomeUnknown(_) => ("outcome_unknown", Exit::Authority),
            E::TimedOut => ("timed_out", Exit::Authority),
            E::NoAccessToken => ("authority", Exit::Authority),
            E::Strategy(_) | E::Unsupported(_) => ("usage", Exit::Usage),
            _ => ("internal", Exit::Other),
        };
        Self::new(kind, exit, error)
    }
}

impl From<SealError> for Failure {
    fn from(error: SealError) -> Self {
        CacheError::from(error).into()
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let next = next_for_store(&error);
        with_next(Self::new(of_store(&error), Exit::Storage, error), next)
    }
}

fn interaction_required(error: impl std::error::Error + Send + Sync + 'static) -> Failure {
    Failure::new("interaction_required", Exit::InteractionRequired, error)
        .next(
            "sign in with `tokenkeep login browser`, or `login device-code` where there is no browser, with the same --authority \
             and --client-id",
        )
}

fn interactive(error: InteractiveError) -> Failure {
    match error {
        InteractiveError::TimedOut(_) => Failure::new("timed_out", Exit::InteractionRequired, error)
            .next("--timeout gives more time; if no browser opened, use --no-browser or `tokenkeep login device-code`"),
        InteractiveError::Cancelled => Failure::new("interrupted", Exit::Interrupted, error),
        InteractiveError::Browser(_) => Failure::new("no_browser", Exit::InteractionRequired, error)
            .next("use `tokenkeep login device-code`, or --no-browser, which prints the address"),
        _ => Failure::new("no_port", Exit::Other, error),
    }
}

/// What to do about a refusal that no sign-in mends (RFC 6749 section 5.2).
fn refused(code: String, error: impl std::error::Error + Send + Sync + 'static) -> Failure {
    let failure = Failure::new("refused", Exit::Authority, error);
    match code.as_str() {
        "invalid_client" => {
            failure.next("check --client-id, and the secret, certificate or assertion that goes with it")
        }
        "invalid_grant" => failure.next(
            "check what was given: the user name and password, or the assertion, may be wrong or expired",
        ),
        "unauthorized_client" | "unsupported_grant_type" => failure.next(
            "this application may not sign in this way; have it registered for that, or use another `login`",
        ),
        "invalid_scope" => {
            failure.next("check --scope; the authority does not know it, or not for this application")
        }
        "access_denied" => {
            failure.next("the user or an administrator declined; ask for fewer scopes, or again")
        }
        _ => failure,
    }
}

fn unreachable(error: impl std::error::Error + Send + Sync + 'static) -> Failure {
    Failure::new("unreachable", Exit::Authority, error).next(
        "check the network and --authority; a private certificate authority needs --ca-cert; \
         `tokenkeep doctor --online` looks closer",
    )
}

fn with_record(failure: Failure, record: Option<String>, cause: &SealError) -> Failure {
    match record {
        Some(record) => failure.about_record(record),
        None => with_next(failure, next_for(cause)),
    }
}

fn with_next(failure: Failure, next: Option<impl Into<String>>) -> Failure {
    match next {
        Some(next) => failure.next(next),
        None => failure,
    }
}

/// What to do about a store that does not serve. What is particular to a backend, its own error says.
fn next_for_store(error: &StoreError) -> Option<&'static str> {
    if let Some(next) = keychain_failure::find(error).and_then(keychain_failure::next) {
        return Some(next);
    }
    if error.is_outcome_unknown() && error.operation() != Operation::Open {
        return Some("run it again: what was stored is found then; `tokenkeep doctor` looks closer");
    }
    match error.kind() {
        ErrorKind::Unavailable | ErrorKind::Timeout => {
            Some("try again later; `tokenkeep doctor` looks closer")
        }
        ErrorKind::PermissionDenied => Some("let this user in; `tokenkeep doctor` looks closer"),
        ErrorKind::Full => Some("make room, and run it again; what is there already can be read"),
        ErrorKind::ReadOnly => Some(
            "make it writable; of replicated servers name the primary, or those that find it (redis-sentinel://)",
        ),
        _ => None,
    }
}

/// What to do about a key or a key ring that cannot be had.
fn next_for(cause: &SealError) -> Option<String> {
    const START_ANEW: &str =
        "`tokenkeep quarantine --all` moves everything aside, and everybody must sign in again";
    match cause {
        SealError::KeySource(cause) => match next_for_key(cause) {
            Some(next) => Some(next),
            None => Some(format!(
                "give the --key that the cache was made with; if it is lost for good, {START_ANEW}"
            )),
        },
        SealError::WrongKeySource { .. } => Some(format!(
            "give the --key that the cache was made with; if it is lost for good, {START_ANEW}"
        )),
        SealError::Store(cause) => next_for_store(cause).map(str::to_owned),
        SealError::RingMissing { .. } | SealError::RingUnreadable { .. } => Some(format!(
            "restore the database from a copy, if the --key is the right one; if there is no copy, {START_ANEW}"
        )),
        _ => None,
    }
}

/// What to do about a key that is there but out of reach, so that nobody gives it up for lost.
fn next_for_key(cause: &KeySourceError) -> Option<String> {
    if let Some(next) = keychain_failure::find(cause).and_then(keychain_failure::next) {
        return Some(next.to_owned());
    }
    match cause {
        KeySourceError::Insecure { path, .. } => Some(format!(
            "the key must be a regular file of yours that nobody else can use (`chmod 600` the file), in a folder that \
             nobody else can write (`chmod 700` the folder); look at {}",
            path.display()
        )),
        KeySourceError::Io { path, source, .. } => Some(match source.kind() {
            std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory => format!(
                "check --key; a folder is made by `mkdir -p -m 700` (here: {})",
                path.display()
            ),
            _ => format!(
                "check --key, and who may read and write {} (`ls -ld`, `chmod`)",
                path.display()
            ),
        }),
        KeySourceError::Mismatch { .. } => Some(
            "give a --key of the kind that the cache was made with; `tokenkeep keys rewrap` changes to another".to_owned(),
        ),
        KeySourceError::Unsupported { .. } => Some("give another kind of --key".to_owned()),
        _ => None,
    }
}

/// The kind, and the record that is to blame.
pub(crate) fn of_seal(error: &SealError) -> (&'static str, Option<String>) {
    use SealError as E;
    let record = |key: &cache_core::store::StoreKey| Some(key.as_str().to_owned());
    match error {
        E::NotSealed { key, .. } => ("not_sealed", record(key)),
        E::WrongLength { key, .. } => ("wrong_length", record(key)),
        E::PlaintextRecord { key } => ("plaintext_record", record(key)),
        E::SealedRecord { key } => ("sealed_record", record(key)),
        E::UnsupportedFormat { key, .. } => ("unsupported_format", record(key)),
        E::UnknownKey { key, .. } => ("unknown_key", record(key)),
        E::WrongKey { key, .. } => ("wrong_key", record(key)),
        E::WrongLocation { key } => ("wrong_location", record(key)),
        E::Tampered { key } => ("tampered", record(key)),
        E::RolledBack { key, .. } => ("rolled_back", record(key)),
        E::RingMissing { .. } => ("ring_missing", None),
        E::RingRolledBack { .. } => ("ring_rolled_back", None),
        E::RingUnreadable { .. } => ("ring_unreadable", None),
        E::WrongKeySource { .. } => ("wrong_key_source", None),
        E::KeySource(cause) => {
            let keychain = keychain_failure::find(cause).map(keychain_failure::word);
            (keychain.unwrap_or("key_source"), None)
        }
        E::Ring(_) => ("ring", None),
        E::Store(cause) => (of_store(cause), None),
        E::Contended { .. } => ("contended", None),
        E::Random(_) => ("random", None),
        _ => ("seal", None),
    }
}

fn of_store(error: &StoreError) -> &'static str {
    if let Some(keychain) = keychain_failure::find(error) {
        return keychain_failure::word(keychain);
    }
    match error.kind() {
        ErrorKind::Corrupt => "store_corrupt",
        ErrorKind::NewerSchema => "store_newer_schema",
        ErrorKind::PermissionDenied => "store_permission_denied",
        ErrorKind::Full => "store_full",
        ErrorKind::ReadOnly => "store_read_only",
        ErrorKind::Unavailable | ErrorKind::Timeout => "store_unavailable",
        _ => "store",
    }
}

fn of_codec(error: &CodecError) -> &'static str {
    match error {
        CodecError::NewerSchema { .. } => "unsupported_format",
        _ => "undecodable_record",
    }
}

/// The kind of a record that could not be read, without its failure.
pub(crate) fn of_unreadable(error: &CacheError) -> &'static str {
    match error {
        CacheError::Seal(cause) => of_seal(cause).0,
        CacheError::Codec(cause) => of_codec(cause),
        CacheError::WrongPartition { .. } => "wrong_partition",
        CacheError::UnknownCodec { .. } => "unsupported_format",
        _ => "unreadable",
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use cache_core::cache::CallOutcome;
    use flows::authority::Region;

    use super::*;

    #[test]
    fn a_mistake_that_is_found_when_a_request_is_made_is_still_one_of_usage() {
        let mistake = || flows::Error::Configuration(Region::named("no region").unwrap_err());
        let CallOutcome::NotSent(cause) = mistake().into_call_outcome() else {
            panic!("nothing was sent")
        };
        let by_the_cache = CacheError::Unreachable(Arc::new(cause));
        for error in [mistake(), by_the_cache.into()] {
            let failure = Failure::from(error);
            assert_eq!((failure.kind, failure.exit), ("usage", Exit::Usage));
        }
        let other = CacheError::Unreachable(Arc::new(cache_core::cache::CallError::new("no network")));
        assert_eq!(Failure::from(flows::Error::from(other)).kind, "unreachable");
    }
}
