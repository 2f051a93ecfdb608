//! Sets of scopes, normalised once so that the subset test is fast.

use std::cmp::Ordering;
use std::fmt;

use super::scope_rules::without_graph;

/// Scopes that say what the *reply* should contain rather than what the access token is for. They are ignored
/// on both sides of a lookup, as in MSAL.
const RESERVED: [&str; 3] = ["openid", "profile", "offline_access"];

/// A set of scopes (RFC 6749 section 3.3): space-separated words whose order means nothing.
///
/// The text is kept as it was given, because MSAL caches show it; comparisons use a sorted view of it.
///
/// ```
/// use cache_core::schema::ScopeSet;
///
/// let cached = ScopeSet::parse("openid profile User.Read Mail.Read");
/// assert!(cached.covers(&ScopeSet::parse("mail.read"), true));
/// assert!(!cached.covers(&ScopeSet::parse("mail.read"), false));
/// assert!(!cached.covers(&ScopeSet::parse("Mail.Send"), true));
/// ```
#[derive(Clone, Default)]
pub struct ScopeSet {
    text: Box<str>,
    /// Byte ranges of the distinct words that are not reserved, sorted without regard to case and then exactly.
    words: Box<[(u32, u32)]>,
    /// Two bits a word, the same for all forms of a scope: most misses are decided by one comparison.
    mask: u64,
}

impl ScopeSet {
    /// The set of the words of `text`, which any white space may separate.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        Self::of(text.split_whitespace())
    }

    /// The set of `scopes`; each may itself hold several words.
    pub fn of<I>(scopes: I) -> Self
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        let mut text = String::new();
        for scope in scopes {
            for word in scope.as_ref().split_whitespace() {
                if !text.is_empty() {
                    text.push(' ');
                }
                text.push_str(word);
            }
        }
        let mut words = Vec::new();
        let mut mask = 0;
        let mut start = 0;
        for word in text.split(' ').filter(|word| !word.is_empty()) {
            let end = start + word.len();
            if !is_reserved(word) {
                // A text beyond 4 GiB cannot be a scope; its tail is then not matched, which only costs a miss.
                if let (Ok(start), Ok(end)) = (u32::try_from(start), u32::try_from(end)) {
                    words.push((start, end));
                    mask |= bits(word);
                }
            }
            start = end + 1;
        }
        let word = |range: &(u32, u32)| &text[range.0 as usize..range.1 as usize];
        words.sort_unstable_by(|a, b| compare(word(a), word(b)));
        words.dedup_by(|a, b| word(a) == word(b));
        Self {
            words: words.into(),
            text: text.into(),
            mask,
        }
    }

    /// Everything that `resource` grants: its `.default` scope at Entra. A slash at the resource's end is part of its name, so
    /// another one follows: `https://x/` has the scope `https://x//.default`.
    ///
    /// ```
    /// use cache_core::schema::ScopeSet;
    ///
    /// assert_eq!(ScopeSet::default_of("https://x/").as_str(), "https://x//.default");
    /// assert_eq!(ScopeSet::default_of("api://x").as_str(), "api://x/.default");
    /// ```
    #[must_use]
    pub fn default_of(resource: &str) -> Self {
        Self::of([format!("{resource}/.default")])
    }

    /// The words as they were given, joined by single spaces.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The words that are not reserved, each once, sorted.
    pub fn words(&self) -> impl ExactSizeIterator<Item = &str> {
        self.words.iter().map(|range| self.word(*range))
    }

    /// Whether nothing is asked for beyond `openid`, `profile` and `offline_access`.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// Whether the text contains `scope` exactly, reserved scopes included.
    #[must_use]
    pub fn contains(&self, scope: &str) -> bool {
        self.text.split(' ').any(|word| word == scope)
    }

    /// Whether a token for these scopes serves a request for `requested`.
    #[must_use]
    pub fn covers(&self, requested: &Self, ignore_case: bool) -> bool {
        if !self.may_cover(requested) {
            return false;
        }
        requested.words().all(|word| self.has(word, ignore_case))
    }

    /// Whether the two sets have a permission in common, without regard to case. `email` is none: Entra grants it beside every
    /// resource's scopes.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self.mask & other.mask != 0 && other.permissions().any(|word| self.has(word, true))
    }

    /// Whether the two sets hold the same words, in any order.
    #[must_use]
    pub fn is_same_set(&self, other: &Self, ignore_case: bool) -> bool {
        self.covers(other, ignore_case) && other.covers(self, ignore_case)
    }

    /// What is asked of a resource: the words that are not about the sign-in.
    pub(super) fn permissions(&self) -> impl Iterator<Item = &str> {
        self.words().filter(|word| !Self::is_sign_in_scope(word))
    }

    /// Whether `scope` is about the sign-in (OIDC Core section 5.4), not about a resource.
    pub(super) fn is_sign_in_scope(scope: &str) -> bool {
        is_reserved(scope) || scope.eq_ignore_ascii_case("email")
    }

    /// Whether anything is asked of a resource.
    pub(super) fn has_permissions(&self) -> bool {
        self.permissions().next().is_some()
    }

    /// The mask of [`ScopesRef`](super::ScopesRef::mask).
    pub(super) fn folded_mask(&self) -> u32 {
        fold(self.mask)
    }

    /// `false` when [`covers`](Self::covers) cannot be true, whatever the form in which a scope names its resource.
    pub(super) fn may_cover(&self, requested: &Self) -> bool {
        requested.mask & !self.mask == 0
    }

    /// The sorted lower-case words joined by spaces: equal for sets that are equal without regard to case.
    #[must_use]
    pub fn normalised(&self) -> String {
        let mut words: Vec<_> = self.words().map(str::to_ascii_lowercase).collect();
        words.dedup();
        words.join(" ")
    }

    fn word(&self, range: (u32, u32)) -> &str {
        &self.text[range.0 as usize..range.1 as usize]
    }

    fn has(&self, word: &str, ignore_case: bool) -> bool {
        let first = self
            .words
            .partition_point(|range| compare_folded(self.word(*range), word) == Ordering::Less);
        self.words[first..]
            .iter()
            .map(|range| self.word(*range))
            .take_while(|candidate| candidate.eq_ignore_ascii_case(word))
            .any(|candidate| ignore_case || candidate == word)
    }
}

/// The folded mask of scopes that are not taken apart.
pub(super) fn folded_mask_of<'a>(words: impl Iterator<Item = &'a str>) -> u32 {
    fold(words.fold(0, |mask, word| mask | bits(word)))
}

fn fold(mask: u64) -> u32 {
    let [a, b, c, d, e, f, g, h] = mask.to_le_bytes();
    u32::from_le_bytes([a | e, b | f, c | g, d | h])
}

pub(super) fn is_reserved(word: &str) -> bool {
    RESERVED
        .iter()
        .any(|reserved| reserved.eq_ignore_ascii_case(word))
}

fn compare(a: &str, b: &str) -> Ordering {
    compare_folded(a, b).then_with(|| a.cmp(b))
}

fn compare_folded(a: &str, b: &str) -> Ordering {
    let fold = |byte: u8| byte.to_ascii_lowercase();
    a.bytes().map(fold).cmp(b.bytes().map(fold))
}

/// A hash of the word onto 64 bits, of which at most two are set. A scope of Graph has the same in its short and in its long form.
fn bits(word: &str) -> u64 {
    let hash = folded_hash(without_graph(word));
    1 << (hash >> 58) | 1 << (hash >> 52 & 63)
}

/// A fast hash of a word, whatever the case of its letters. Words that differ may have the same.
pub(super) fn folded_hash(word: &str) -> u64 {
    /// What tells a lower-case letter from its upper-case one.
    const LOWER: u64 = u64::from_le_bytes([b' '; 8]);
    let bytes = word.as_bytes();
    let mut hash = mixed(bytes.len() as u64);
    let (chunks, rest) = bytes.as_chunks::<8>();
    for chunk in chunks {
        hash = mixed(hash ^ (u64::from_le_bytes(*chunk) | LOWER));
    }
    if !rest.is_empty() {
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        hash = mixed(hash ^ (u64::from_le_bytes(last) | LOWER));
    }
    hash
}

/// Spreads every bit over the upper half.
pub(super) fn mixed(bits: u64) -> u64 {
    let bits = (bits ^ 0x2545_f491_4f6c_dd1d).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits ^ bits >> 32
}

/// The same words in the same order and case.
impl PartialEq for ScopeSet {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for ScopeSet {}

impl fmt::Display for ScopeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for ScopeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reserved_scopes_are_ignored_on_both_sides() {
        let cached = ScopeSet::parse("User.Read");
        assert!(cached.covers(&ScopeSet::parse("openid profile offline_access user.read"), true));
        assert!(ScopeSet::parse("openid").is_empty());
        assert!(!cached.covers(&ScopeSet::parse("email"), true));
    }

    #[test]
    fn case_matters_only_where_the_issuer_says_so() {
        let cached = ScopeSet::parse("api:Read api:read");
        assert!(cached.covers(&ScopeSet::parse("api:read"), false));
        assert!(!cached.covers(&ScopeSet::parse("API:read"), false));
        assert!(cached.covers(&ScopeSet::parse("API:read"), true));
        assert_eq!(cached.words().len(), 2);
    }

    proptest! {
        #[test]
        fn covers_is_the_subset_relation(
            cached in proptest::collection::vec("[abAB]{1,3}", 0..8),
            requested in proptest::collection::vec("[abAB]{1,3}", 0..4),
        ) {
            let (left, right) = (ScopeSet::of(&cached), ScopeSet::of(&requested));
            let exact = requested.iter().all(|word| cached.contains(word));
            let folded = requested.iter().all(|word| cached.iter().any(|c| c.eq_ignore_ascii_case(word)));
            prop_assert_eq!(left.covers(&right, false), exact);
            prop_assert_eq!(left.covers(&right, true), folded);
        }
    }
}
