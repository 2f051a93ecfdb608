//! The scopes that a caller asks for, as they were given.

use std::fmt;

use arrayvec::{ArrayString, ArrayVec};
use cache_core::schema::ScopeSet;

/// How long a text of scopes may be to be kept in place: four of Entra's with their resources.
const IN_PLACE: usize = 180;
/// How many scopes it may have.
const MOST: usize = 11;

/// Scopes that are not taken apart before that is needed: what memory has is found by their text.
#[derive(Clone)]
pub(super) enum AskedScopes {
    InPlace {
        /// With a space between any two.
        text: ArrayString<IN_PLACE>,
        /// Where each scope ends in the text.
        ends: ArrayVec<u8, MOST>,
    },
    Long(String),
}

impl AskedScopes {
    /// `scopes` with a space between any two, as [`ScopeSet`] writes them.
    pub(super) fn of<I>(scopes: I) -> Self
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        let mut asked = Self::InPlace {
            text: ArrayString::new(),
            ends: ArrayVec::new(),
        };
        for scope in scopes {
            asked.push(scope.as_ref());
        }
        asked
    }

    pub(super) fn as_str(&self) -> &str {
        match self {
            Self::InPlace { text, .. } => text,
            Self::Long(text) => text,
        }
    }

    pub(super) fn to_set(&self) -> ScopeSet {
        ScopeSet::parse(self.as_str())
    }

    /// Each scope as it was given; `None` where there are more than usual.
    pub(super) fn each(&self) -> Option<ArrayVec<&str, MOST>> {
        let Self::InPlace { text, ends } = self else {
            return None;
        };
        let mut start = 0;
        let scope = |end: &u8| {
            let scope = text.get(start..usize::from(*end));
            start = usize::from(*end) + 1;
            scope
        };
        ends.iter().map(scope).collect()
    }

    fn push(&mut self, scope: &str) {
        if scope.is_empty() {
            return;
        }
        let separator = if self.as_str().is_empty() { "" } else { " " };
        if let Self::InPlace { text, ends } = self {
            let end = text.len() + separator.len() + scope.len();
            if let Ok(end) = u8::try_from(end)
                && usize::from(end) <= IN_PLACE
                && ends.try_push(end).is_ok()
            {
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
        let long = "x".repeat(100);
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
            let each = asked.each().map(|each| each.to_vec());
            assert!(each.is_none_or(|each| each == scopes));
        }
        assert!(AskedScopes::of(["User.Read", "openid"]).each().is_some());
        assert!(AskedScopes::of([&long, &long]).each().is_none());
        assert!(AskedScopes::of(["a"; 12]).each().is_none());
        assert_eq!(
            AskedScopes::of(["  a ", "b  c"]).to_set(),
            ScopeSet::of(["a", "b", "c"])
        );
    }
}
