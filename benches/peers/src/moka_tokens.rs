//! What a program has that keeps its tokens itself: a `moka` cache from text to text.

use cache_core::time::{Clock, SystemClock, UnixMillis};
use moka::sync::Cache;

/// Tokens by user (or client) and scopes.
pub(crate) struct MokaTokens(Cache<String, Kept>);

#[derive(Clone)]
struct Kept {
    access_token: String,
    expires_on: UnixMillis,
}

impl MokaTokens {
    pub(crate) fn new(capacity: usize) -> Self {
        Self(Cache::new(capacity as u64 * 2))
    }

    pub(crate) fn insert(
        &self,
        owner: &str,
        scopes: &[String],
        access_token: String,
        expires_on: UnixMillis,
    ) {
        let kept = Kept {
            access_token,
            expires_on,
        };
        self.0.insert(key(owner, scopes), kept);
    }

    pub(crate) fn get(&self, owner: &str, scopes: &[String]) -> Option<String> {
        let kept = self.0.get(&key(owner, scopes))?;
        (kept.expires_on > SystemClock.now()).then_some(kept.access_token)
    }
}

fn key(owner: &str, scopes: &[String]) -> String {
    format!("{owner}|{}", scopes.join(" "))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn only_what_has_not_expired_is_found() {
        let (tokens, scopes) = (MokaTokens::new(2), ["a".to_owned(), "b".to_owned()]);
        let now = SystemClock.now();
        tokens.insert(
            "u",
            &scopes,
            "new".into(),
            now.saturating_add(Duration::from_secs(60)),
        );
        tokens.insert("v", &scopes, "old".into(), now);
        assert_eq!(tokens.get("u", &scopes).as_deref(), Some("new"));
        assert_eq!(tokens.get("v", &scopes), None);
        assert_eq!(tokens.get("u", &scopes[..1]), None);
    }
}
