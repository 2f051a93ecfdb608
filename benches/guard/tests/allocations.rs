//! How many times a hit allocates. This counts in the thread of the test, so everything happens in that.

use std::sync::Arc;

use allocation_counter::{AllocationInfo, measure};
use guard::{Fixture, USERS, probes};

/// Counts the allocations of `hit` for every user, and fails when one of them is none.
fn counted<T>(mut hit: impl FnMut(usize) -> Option<T>) -> AllocationInfo {
    let mut hits = 0;
    let allocations = measure(|| {
        for user in 0..USERS {
            hits += usize::from(hit(user).is_some());
        }
    });
    assert_eq!(hits, USERS, "not all of them were hits");
    allocations
}

#[test]
fn hits_in_memory_allocate_nothing_beyond_what_they_return() {
    let fixture = Fixture::new().unwrap();
    let _entered = fixture.runtime.enter();

    let peeked = counted(|_| probes::peek(&fixture.prepared));
    assert_eq!(peeked.count_total, 0, "a prepared request: {peeked:?}");

    let found = counted(|user| {
        let account = &fixture.accounts[user].account;
        probes::find(&fixture.cache, &fixture.authority, &account.home_account_id)
    });
    assert_eq!(found.count_total, 0, "a find: {found:?}");

    let acquired = counted(|user| {
        let (request, call) = (Arc::clone(&fixture.requests[user]), Arc::clone(&fixture.call));
        probes::acquire(&fixture.cache, request, call)
    });
    assert_eq!(acquired.count_total, 0, "an acquisition: {acquired:?}");

    let silent = counted(|user| probes::silent(&fixture.client, &fixture.accounts[user]));
    assert_eq!(silent.count_total, 0, "a silent acquisition: {silent:?}");
}
