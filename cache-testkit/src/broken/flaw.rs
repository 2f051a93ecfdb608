//! The ways in which a store is broken.

macro_rules! flaws {
    ($($(#[$doc:meta])* $flaw:ident is caught by $($rule:ident)+;)*) => {
        /// How a store breaks the contract. Most of these were found in published backends.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum Flaw {
            $($(#[$doc])* $flaw,)*
        }

        impl Flaw {
            /// Every flaw.
            pub const ALL: &[Self] = &[$(Self::$flaw,)*];

            /// The names of the rules of the suite that catch this flaw.
            #[must_use]
            pub fn caught_by(self) -> &'static [&'static str] {
                match self {
                    $(Self::$flaw => &[$(stringify!($rule)),+],)*
                }
            }
        }
    };
}

flaws! {
    /// A key without a record reads as an empty record.
    MissingIsEmpty is caught by missing_key_is_absent;
    /// A write returns success and does nothing.
    AcknowledgesWithoutWriting is caught by put_then_get;
    /// An overwrite leaves the record that is there.
    OverwriteKeepsTheFirst is caught by overwrite_replaces;
    /// An empty payload removes the record.
    EmptyPayloadDeletes is caught by empty_payload_is_a_record;
    /// The payload goes through a text type.
    PayloadIsText is caught by payload_is_untouched;
    /// Payloads half as long as promised are refused.
    PromisesTooMuch is caught by largest_payload_fits;
    /// A payload that is too long is cut without a word.
    CutsThePayload is caught by payload_beyond_the_limit_is_refused;
    /// A payload that is too long is refused after the old record was removed.
    RefusesAfterDeleting is caught by payload_beyond_the_limit_is_refused;
    /// A delete returns success and does nothing.
    DeleteDoesNothing is caught by delete_removes;
    /// A delete takes every key that starts like its own.
    DeletesByPrefix is caught by delete_removes;
    /// A delete of a missing key is an error.
    DeleteOfMissingFails is caught by unconditional_delete_is_idempotent;
    /// A relaxed write is not visible until somebody flushes, which nobody does.
    RelaxedIsNotVisible is caught by relaxed_write_is_visible_at_once;
    /// Keys that differ by case are one, as in a table with the wrong collation.
    KeysIgnoreCase is caught by keys_are_exact;
    /// A key is cut at 255 bytes, as in a column of that width.
    KeysAreCut is caught by long_key_is_whole_or_refused;
    /// `Create` overwrites.
    IgnoresCreate is caught by create_writes_only_a_new_record;
    /// A deleted record still stops a create.
    TombstoneStopsCreate is caught by create_after_delete;
    /// `Update` writes over any version.
    IgnoresUpdateVersion is caught by update_needs_the_stored_version;
    /// `Update` of a key that was never written creates it.
    UpdateIsUpsert is caught by update_of_a_missing_key_conflicts;
    /// `Update` with the version of a deleted record brings it back.
    UpdateResurrects is caught by update_of_a_missing_key_conflicts;
    /// A delete removes any version.
    IgnoresDeleteVersion is caught by delete_needs_the_stored_version;
    /// A delete with a version of a missing key is success.
    DeleteOfMissingVersionSucceeds is caught by delete_of_a_missing_version_conflicts;
    /// The version is a hash of the payload, although the capabilities say that it is unique.
    VersionIsContentHash is caught by version_never_recurs;
    /// Versions count the writes of a row, and start again when the row was deleted.
    VersionRestartsAfterDelete is caught by version_never_recurs_after_delete;
    /// Versions count the writes of a row, and start again when the row expired.
    VersionRestartsAfterExpiry is caught by version_never_recurs_after_expiry;
    /// The expiry is kept in whole seconds.
    RoundsTheExpiry is caught by live_record_keeps_its_expiry;
    /// The expiry is not kept at all.
    IgnoresExpiry is caught by expired_record_cannot_be_read;
    /// A record lives on in the very moment of its expiry.
    ExpiresTooLate is caught by expired_record_cannot_be_read;
    /// An expired record still stops a create.
    ExpiredStopsCreate is caught by expired_record_does_not_stop_a_create;
    /// An expired record can be updated.
    ExpiredCanBeUpdated is caught by expired_record_cannot_be_updated;
    /// An expired record can be deleted by its version.
    ExpiredCanBeDeleted is caught by expired_record_cannot_be_deleted_by_version;
    /// A scan lists expired records.
    ScanListsExpired is caught by expired_record_is_not_listed;
    /// A write whose expiry has passed is taken for no write.
    PassedExpiryIsNoWrite is caught by passed_expiry_replaces_the_record;
    /// A write over a record keeps the old expiry.
    KeepsTheOldExpiry is caught by write_replaces_the_expiry;
    /// A write that conflicts sets its expiry all the same.
    ConflictSetsTheExpiry is caught by conflict_leaves_the_expiry;
    /// A scan ends after the first hundred records.
    ScanStopsAfterAPage is caught by scan_lists_every_record_once;
    /// A scan reads its prefix as a pattern of SQL's LIKE.
    PrefixIsAPattern is caught by scan_prefix_is_exact;
    /// A scan of the empty prefix lists nothing.
    EmptyPrefixListsNothing is caught by empty_prefix_lists_all;
    /// A scan lists deleted records.
    ScanListsDeleted is caught by deleted_record_is_not_listed;
    /// A scan finds its place again by counting records, which others move.
    ScanCountsRecords is caught by scan_lists_what_stays_while_others_write;
    /// A scan that is dropped before its end keeps its connection, of which there are ten.
    DroppedScanLeaks is caught by dropped_scan_does_no_harm;
    /// The capabilities promise a watch that is not there.
    PromisesAWatch is caught by watch_is_there_when_promised;
    /// Puts are not reported.
    WatchDropsPuts is caught by watch_reports_puts;
    /// A put is reported with the version that it replaced.
    WatchReportsOldVersions is caught by watch_reports_puts;
    /// Deletes are not reported.
    WatchDropsDeletes is caught by watch_reports_deletes;
    /// Only the newest subscriber hears of changes.
    WatchHasOneSubscriber is caught by watch_reports_to_every_subscriber;
    /// A subscriber that fell behind is not told so.
    WatchHidesGaps is caught by watch_tells_of_a_gap;
    /// Changes by other instances are not reported.
    WatchIsLocal is caught by watch_reports_changes_by_others;
    /// The capabilities change with the first write.
    CapabilitiesChange is caught by capabilities_do_not_change;
    /// No token fits into a record.
    LimitIsUseless is caught by limits_are_usable;
    /// An instance answers reads from its own memory for ever.
    ReadsAreCached is caught by instances_see_each_others_writes;
    /// An instance compares versions with the one that it wrote last.
    ComparesOwnVersions is caught by instances_conflict_with_each_other;
    /// Closing an instance loses what was written.
    ClosingLosesRecords is caught by records_outlive_their_instance;
    /// A condition is checked first and the write done later.
    ChecksThenWrites is caught by counter_race counter_race_of_two_instances one_create_wins one_delete_wins;
    /// The lock that makes a conditional write atomic belongs to the instance.
    LocksPerInstance is caught by counter_race_of_two_instances;
    /// A write that is dropped before its end keeps its connection, of which there are ten.
    DroppedWriteLeaks is caught by dropped_write_is_whole_or_absent;
    /// A write that is dropped before its end has stored the key and not the payload.
    DroppedWriteIsCut is caught by dropped_write_is_whole_or_absent;
    /// The payload and the version are written one after the other.
    TearsWrites is caught by reads_are_whole;
}
