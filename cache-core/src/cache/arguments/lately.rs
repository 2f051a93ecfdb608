//! What each thread asked lately: threads ask the same of many users, and what was compared need not be hashed.

use std::cell::Cell;
use std::sync::Arc;

use super::{Arguments, KeptQuery, Scopes, ends};

const PLACES: usize = 8;

thread_local! {
    /// A few queries, each in the place that a little of it says.
    static LATELY: [Cell<Option<Arc<KeptQuery>>>; PLACES] = const { [const { Cell::new(None) }; PLACES] };
}

/// What a thread knows of a query. Taken out of its place, because that counts no references; to be put back.
pub(crate) struct Lately {
    query: Option<Arc<KeptQuery>>,
    is_it: bool,
    place: usize,
}

impl Lately {
    /// The query that the thread knows to be that of the arguments, byte for byte.
    #[inline(always)]
    pub(crate) fn query(&self) -> Option<&Arc<KeptQuery>> {
        match &self.query {
            Some(query) if self.is_it => Some(query),
            _ => None,
        }
    }

    #[inline(always)]
    pub(crate) fn put_back(self) {
        if let Some(query) = self.query {
            // A thread that ends knows nothing any more.
            let _ = LATELY.try_with(|lately| lately[self.place].set(Some(query)));
        }
    }
}

impl Arguments<'_> {
    /// What this thread knows of the query, and the hash.
    #[inline(always)]
    pub(crate) fn look_up_lately(&self) -> (Lately, u64) {
        let place = self.place();
        let query = LATELY.try_with(|lately| lately[place].take()).unwrap_or_default();
        let (is_it, hash) = match &query {
            Some(query) if query.is_of(self) => (true, query.hash),
            _ => (false, self.query.hash()),
        };
        (Lately { query, is_it, place }, self.hash_with(hash))
    }

    /// Has this thread know that `query` is that of the arguments.
    #[cold]
    pub(crate) fn know(&self, query: &Arc<KeptQuery>) {
        let _ = LATELY.try_with(|lately| lately[self.place()].set(Some(Arc::clone(query))));
    }

    #[inline(always)]
    fn place(&self) -> usize {
        let client = ends(self.query.usual[1]);
        let scope = match self.query.scopes {
            Scopes::Each(words) => words.last().copied().unwrap_or_default(),
            Scopes::Joined(text) => text,
        };
        let mixed = (client ^ ends(scope.as_bytes())).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed >> 61) as usize % PLACES
    }
}
