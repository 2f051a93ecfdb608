//! The operating system's keychain: which one it is, and whether it can be used.

use super::Check;
use crate::exit::Exit;
use crate::failure::one_line;
use crate::key_source;
use crate::keychain_failure;
use crate::keychain_name::KeychainName;

/// Looks at the keychain. Nobody is asked to unlock it. That there is none is no problem where another key is named for that.
pub(super) async fn examined(name: Option<&KeychainName>, has_other: bool) -> Check {
    const NAME: &str = "keychain";
    let report = key_source::keychain(name).examine().await;
    let shown = one_line(&report.to_string());
    let Some(problem) = &report.problem else {
        return Check::good(NAME, shown);
    };
    if has_other && !report.is_present() {
        let detail = format!("{shown}; a cache that is made now takes the other key");
        return Check::warning(NAME, detail);
    }
    let next = keychain_failure::next(problem.kind()).unwrap_or("see the documentation of the keychain");
    Check::problem(NAME, Exit::Storage, format!("{shown} next: {next}"))
}
