//! The scopes that a caller asks for, as they were given.

use std::fmt;

use arrayvec::ArrayString;
use cache_core::schema::ScopeSet;

/// How long a text of scopes may be to be kept in place: two of Entra's with their resources, and the three about the sign-in.
const IN_PLACE: usize = 116;

/// Scopes that are not taken apart before that is needed: what memory has is found by their text.
#[derive(Clone)]
pub(super) enum AskedScopes {
    InPlace(ArrayString<IN_PLACE>),
    Long(String),
}

impl AskedScopes {
    /// `scopes` with a space between any two, as [`ScopeSet`] writes them.
    pub(super) fn of<I>(scopes: I) -> Self
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        let mut text = Self::InPlace(ArrayString::new());
        for scope in scopes {
            text.push(scope.as_ref());
        }
        text
    }

    pub(super) fn as_str(&self) -> &str {
        match self {
            Self::InPlace(text) => text,
            Self::Long(text) => text,
        }
    }

    pub(super) fn to_set(&self) -> ScopeSet {
        ScopeSet::parse(self.as_str())
    }

    fn push(&mut self, scope: &str) {
        let separator = if self.as_str().is_empty() { "" } else { " " };
        if let Self::InPlace(text) = self {
            if text.len() + separator.len() + scope.len() <= text.capacity() {
                text.push_str(separator);
                text.push_str(scope);
                return;
            }
            *self = Self::Long(text.as_str().to_owned());
        }
        if let Self::Long(text) = self {
            text.push_str(separator);
            text.push_str(scope);
        }
    }
}

impl fmt::Debug for AskedScopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_that_of_the_set() {
        let long = "x".repeat(70);
        for scopes in [
            &[][..],
            &["User.Read"],
            &["User.Read", "openid", "Mail.Read"],
            &[&long, "a", &long, "b"],
        ] {
            let asked = AskedScopes::of(scopes);
            let set = ScopeSet::of(scopes);
            assert_eq!(asked.as_str(), set.as_str());
            assert_eq!(asked.to_set(), set);
        }
        assert_eq!(AskedScopes::of(["  a ", "b  c"]).to_set(), ScopeSet::of(["a", "b", "c"]));
    }
}
