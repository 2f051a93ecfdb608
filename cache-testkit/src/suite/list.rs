//! The list of all rules, from which both [`CASES`] and the tests of a backend are made.

use super::Case;
use super::{basic, capabilities, conditional, expiry, instances, race, scan, watch};

/// Calls the macro `$callback` with every rule: its module, its name and what it takes.
#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_cases {
    ($callback:ident $($argument:tt)*) => {
        $crate::$callback! {
            [$($argument)*]
            basic::missing_key_is_absent(store),
            basic::put_then_get(store),
            basic::overwrite_replaces(store),
            basic::empty_payload_is_a_record(store),
            basic::payload_is_untouched(store),
            basic::largest_payload_fits(store),
            basic::payload_beyond_the_limit_is_refused(store),
            basic::delete_removes(store),
            basic::unconditional_delete_is_idempotent(store),
            basic::relaxed_write_is_visible_at_once(store),
            basic::keys_are_exact(store),
            basic::long_key_is_whole_or_refused(store),
            conditional::create_writes_only_a_new_record(store),
            conditional::create_after_delete(store),
            conditional::update_needs_the_stored_version(store),
            conditional::update_of_a_missing_key_conflicts(store),
            conditional::delete_needs_the_stored_version(store),
            conditional::delete_of_a_missing_version_conflicts(store),
            conditional::version_never_recurs(store),
            conditional::version_never_recurs_after_delete(store),
            expiry::live_record_keeps_its_expiry(store, clock),
            expiry::expired_record_cannot_be_read(store, clock),
            expiry::expired_record_does_not_stop_a_create(store, clock),
            expiry::expired_record_cannot_be_updated(store, clock),
            expiry::expired_record_cannot_be_deleted_by_version(store, clock),
            expiry::expired_record_is_not_listed(store, clock),
            expiry::passed_expiry_replaces_the_record(store, clock),
            expiry::write_replaces_the_expiry(store, clock),
            expiry::conflict_leaves_the_expiry(store, clock),
            expiry::version_never_recurs_after_expiry(store, clock),
            scan::scan_lists_every_record_once(store),
            scan::scan_prefix_is_exact(store),
            scan::empty_prefix_lists_all(store),
            scan::deleted_record_is_not_listed(store),
            scan::scan_lists_what_stays_while_others_write(store),
            scan::dropped_scan_does_no_harm(store),
            watch::watch_is_there_when_promised(store),
            watch::watch_reports_puts(store, clock),
            watch::watch_reports_deletes(store, clock),
            watch::watch_reports_to_every_subscriber(store, clock),
            watch::watch_tells_of_a_gap(store, clock),
            watch::watch_reports_changes_by_others(first, second, clock),
            capabilities::capabilities_do_not_change(first, second),
            capabilities::limits_are_usable(store),
            instances::instances_see_each_others_writes(first, second),
            instances::instances_conflict_with_each_other(first, second),
            instances::records_outlive_their_instance(harness),
            race::counter_race(shared),
            race::counter_race_of_two_instances(both),
            race::one_create_wins(shared),
            race::one_delete_wins(shared),
            race::reads_are_whole(shared),
            race::dropped_write_is_whole_or_absent(store),
        }
    };
}

/// One `#[test]` for every rule of the [suite](crate::suite), each over its own harness.
///
/// The argument is an expression that makes a new [`Harness`](crate::suite::Harness) with empty records; it is
/// evaluated once in each test, outside any async runtime: what needs one belongs in `open`.
#[macro_export]
macro_rules! conformance_tests {
    ($harness:expr $(,)?) => {
        $crate::__conformance_cases!(__conformance_test $harness);
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_test {
    ([$harness:expr] $($module:ident::$name:ident($($argument:ident),*),)*) => {
        $(
            #[test]
            fn $name() {
                $crate::suite::test(stringify!($name), &$harness);
            }
        )*
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_list {
    ([] $($module:ident::$name:ident($($argument:ident),*),)*) => {
        &[$(
            Case {
                name: stringify!($name),
                run: |harness| Box::pin(async move { call!($module::$name, harness, $($argument),*) }),
            },
        )*]
    };
}

/// Opens what a rule takes and calls it.
macro_rules! call {
    ($module:ident::$name:ident, $harness:ident, harness) => {
        $module::$name($harness).await
    };
    ($module:ident::$name:ident, $harness:ident, store) => {
        $module::$name(&*$harness.open().await).await
    };
    ($module:ident::$name:ident, $harness:ident, shared) => {
        $module::$name($harness.open().await).await
    };
    ($module:ident::$name:ident, $harness:ident, both) => {
        $module::$name($harness.open().await, $harness.open().await).await
    };
    ($module:ident::$name:ident, $harness:ident, store, clock) => {
        $module::$name(&*$harness.open().await, $harness.clock()).await
    };
    ($module:ident::$name:ident, $harness:ident, first, second) => {
        $module::$name(&*$harness.open().await, &*$harness.open().await).await
    };
    ($module:ident::$name:ident, $harness:ident, first, second, clock) => {
        $module::$name(&*$harness.open().await, &*$harness.open().await, $harness.clock()).await
    };
}

/// Every rule of the suite.
pub const CASES: &[Case] = crate::__conformance_cases!(__conformance_list);
