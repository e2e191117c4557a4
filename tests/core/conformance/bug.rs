//! The bugs that a store may have, and the clauses that catch them.

/// A bug, and the names of the clauses that a store with this bug must fail.
pub(crate) type Control = (Bug, &'static [&'static str]);

/// Generates the list of bugs. The first clause of a bug is the one that is there for it. Further clauses
/// have no bug of their own.
macro_rules! bugs {
    ($($bug:ident => $($clause:ident),+;)*) => {
        /// A way in which a store violates the contract.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Bug {
            $($bug),*
        }

        /// The bugs that the clauses of the contract catch.
        pub(crate) const BUGS: &[Control] = controls! { $($bug => $($clause),+;)* };
    };
}

macro_rules! controls {
    ($($bug:ident => $($clause:ident),+;)*) => {
        &[$((Bug::$bug, &[$(stringify!($clause)),+])),*]
    };
}

bugs! {
    // Identity and round trip.
    FoldsTenantIds => tenant_ids_differ_by_case;
    TrimsTenantIds => tenant_ids_keep_their_white_space;
    NormalizesTenantIds => tenant_ids_keep_their_unicode_form;
    TakesTenantIdsForPatterns => tenant_ids_are_taken_literally;
    ShortensTenantIds => tenant_ids_are_told_apart_by_their_last_byte;
    FoldsKeyIds => key_ids_differ_by_case;
    ShortensNames => the_longest_texts_come_back, first_keys_come_back_whole;
    TrimsNames => texts_come_back_as_they_were;
    RoundsUsesToSeconds => the_ends_of_time_come_back;
    SkipsUpdatesThatKeepTheName => changed_keys_come_back_whole;
    SkipsUpdatesThatKeepTheTier => tenants_come_back_whole;
    DropsKeysWithLabels => keys_come_back_whole;
    // Inserts and quota.
    ReplacesTenants => a_taken_tenant_id_is_refused, of_concurrent_inserts_of_a_tenant_one_is_done;
    ReplacesKeys => a_taken_key_id_is_refused;
    InsertsTheTenantBeforeItsKeyIsChecked => a_tenant_is_not_left_without_its_first_key;
    InsertsTheTenantAndThenItsKey => a_tenant_is_not_seen_before_its_first_key;
    ChecksIdsFirst => of_concurrent_inserts_of_a_key_one_is_done;
    CountsFirst => the_limit_holds_under_concurrency;
    CountsEnabledKeys => keys_count_in_every_state;
    CountsEverybodysKeys => each_tenant_has_its_own_quota;
    CountsOnePage => keys_are_counted;
    CountsDeletedKeys => a_deleted_key_makes_room;
    AdmitsOneTooMany => the_limit_holds, a_limit_of_zero_admits_no_key;
    IsFullAtTheLimitAlone => a_tenant_above_its_limit_gets_no_key;
    ReadsTheLimitAsSigned => the_largest_limit_admits_keys;
    TakesNoLimitForZero => no_limit_admits_keys;
    CountsPastTheBound => keys_are_counted_up_to_a_bound;
    IgnoresTheTenantsVersion => an_insert_names_the_tenants_version;
    ChecksTheTenantsVersionFirst =>
        no_insert_outlives_the_tenants_version,
        no_key_outlives_its_tenant;
    InsertsForAnybody => an_insert_needs_its_tenant;
    SharesABuffer => tenants_do_not_disturb_each_other;
    // Updates.
    UpdatesKeysWithoutCompare => a_key_update_names_its_version;
    UpdatesTenantsWithoutCompare => a_tenant_update_names_its_version;
    ComparesFirst =>
        of_concurrent_key_updates_one_is_done,
        of_concurrent_tenant_updates_one_is_done;
    UpdatesAcrossTenants => a_key_is_updated_under_its_own_tenant;
    InsertsWhatItCannotUpdate => an_update_of_an_unknown_record_creates_nothing;
    SaysConflictForNothing => an_update_of_an_unknown_record_creates_nothing;
    LosesTheLastUse => an_update_keeps_the_last_use;
    CascadesTenantUpdates => an_update_leaves_the_others;
    // Deletion and absence.
    KeepsDeletedKeysReadable => a_deleted_key_is_gone;
    ReusesDeletedIds => the_id_of_a_deleted_key_is_not_used_again;
    ReusesIdsOfDeletedTenants => the_ids_of_a_deleted_tenant_are_not_used_again;
    DeletesAnyVersion => a_deletion_names_its_version;
    LeavesKeysOfDeletedTenants =>
        a_deleted_tenant_takes_its_keys_along,
        a_tenant_created_again_has_no_keys;
    DeletesOnePageOfKeys => a_deleted_tenant_takes_its_keys_along;
    DeletesOnePortionOfKeys => a_large_tenant_is_deleted_whole;
    ErasesKeysLater =>
        an_interrupted_deletion_of_a_tenant_goes_on,
        a_tenant_created_again_after_an_interruption_has_no_keys;
    DeletesAcrossTenants => a_key_is_deleted_under_its_own_tenant;
    DeletesNothingSilently => deleting_an_unknown_record_is_not_found;
    ChecksBeforeDeleting => of_concurrent_deletions_one_is_done;
    SaysUnavailableForNothing => an_empty_store_answers;
    FailsForUnknownTenants => an_empty_store_answers;
    ReadsKeysOfOtherTenants => a_key_is_read_under_its_own_tenant;
    // Lists.
    ListsInOrderOfIds => keys_are_in_order_of_creation;
    OrdersIdsByLanguage => keys_of_one_time_are_in_order_of_their_ids;
    OrdersTenantsByLanguage => tenants_are_in_order_of_their_bytes;
    IgnoresTheLimit => a_page_holds_its_limit;
    PagesByNumber => pages_stay_in_place_while_keys_come_and_go;
    PagesBeginAtTheCursor => pages_hold_every_tenant_once;
    PagesBehindTheTimeAlone => pages_hold_every_key_once;
    NeedsTheCursorsKey => a_page_continues_behind_a_deleted_key, a_page_continues_behind_any_place;
    NeedsTheCursorsTenant => a_page_continues_behind_a_deleted_tenant;
    // Filters.
    FoldsOwners => keys_of_an_owner_are_listed_alone;
    LimitsBeforeFiltering => pages_of_an_owner_hold_every_key_once;
    KeepsTheFirstOwner => a_key_moves_with_its_owner;
    ListsDeletedKeysOfOwners => deleted_keys_leave_their_owner;
    MixesOwnersOfTenants => owners_stay_with_their_tenant;
    IgnoresConditions => conditions_select_keys;
    FiltersByTheOwnerAlone => conditions_narrow_the_keys_of_an_owner;
    // Search.
    SearchesNamesAlone => search_finds_parts_of_name_masked_key_and_id;
    MindsCaseInSearch => search_folds_the_letters_a_to_z;
    FoldsAllLettersInSearch => search_folds_nothing_else;
    TakesSearchForPattern => search_takes_everything_literally;
    SearchesLabels => search_looks_at_nothing_else;
    SearchesEverybody => search_stays_with_its_tenant, a_tenant_without_keys_answers;
    LimitsBeforeSearching => search_goes_on_behind_a_cursor;
    // Last use.
    TakesTheUseReportedLast => the_last_use_is_the_latest;
    TakesTheFirstUseOfABatch => a_large_batch_is_noted_whole;
    FailsForUnknownUses => uses_of_unknown_keys_change_nothing;
    FailsForEmptyBatches => an_empty_batch_is_done;
    CutsBatches => a_large_batch_is_noted_whole;
    NotesUsesOfOneTenant => a_batch_spans_tenants;
    CountsUsesAsVersions => a_use_is_no_new_version;
    NotesUsesFromAnOldRead => concurrent_uses_leave_the_latest;
    IgnoresUsesBefore1970 => uses_reach_both_ends_of_time;
    KeepsUsesOfTheFuture => a_use_of_the_future_is_replaced;
    // Marker.
    ReplacesAnyMarker => a_marker_names_what_it_replaces, of_concurrent_markers_one_is_kept;
    ShortensMarkers => a_marker_comes_back_whole;
    // Visibility and atomicity.
    LooksUpInAnOldCopy => an_insert_is_seen_at_once;
    SortsManyLookups => many_lookups_are_like_single_ones;
    LeavesOutMissingLookups => many_lookups_are_like_single_ones;
    ListsFromAnOldCopy => a_key_update_is_seen_at_once;
    ReadsTenantsFromAnOldCopy => a_tenant_update_is_seen_at_once;
    BuffersUses => a_use_is_seen_at_once;
    ReadsTheTenantFirst => a_lookup_is_one_snapshot;
    ReadsTheKeyFirst => a_lookup_beside_a_deletion_is_whole;
    WritesASecondCopyLater =>
        a_dropped_insert_of_a_key_is_whole_or_nothing,
        a_dropped_insert_of_a_tenant_is_whole_or_nothing,
        a_dropped_update_of_a_tenant_is_whole_or_nothing,
        a_dropped_update_of_a_key_is_whole_or_nothing,
        a_dropped_deletion_of_a_key_is_whole_or_nothing;
    WritesHalvesOfBatches =>
        a_dropped_batch_of_uses_is_whole_or_nothing,
        a_dropped_deletion_of_a_tenant_is_whole_or_nothing;
}

/// The bugs that the clauses of a keyring catch, which has the store behind its cache.
pub(crate) const CACHED: &[Control] = controls! {
    SkipsUpdatesThatKeepTheName => a_switch_is_seen_at_once;
    SkipsUpdatesThatKeepTheTier =>
        a_tenants_suspension_is_seen_at_once,
        other_nodes_follow_within_their_bound,
        other_nodes_that_ask_see_it_at_once;
    KeepsDeletedKeysReadable => a_deletion_is_seen_at_once;
    LeavesKeysOfDeletedTenants => a_tenant_created_again_inherits_nothing;
    CountsFirst => issuing_at_once_stays_within_the_quota;
    CountsDeletedKeys => a_lower_tier_is_seen_at_once;
    BuffersUses => uses_arrive_with_a_flush;
    LooksUpInAnOldCopy =>
        a_switch_is_seen_at_once,
        a_suspension_is_seen_at_once,
        narrower_scopes_are_seen_at_once,
        a_rotation_is_seen_at_once,
        a_first_use_ends_the_grace_period;
};
