//! Which clause is there for which bug, and what else the bug breaks.

use crate::bug::Bug::{self, *};

/// What a bug has to break.
pub(crate) struct Control {
    pub(crate) bug: Bug,
    /// The clause that is there for it.
    pub(crate) named: &'static str,
    pub(crate) others: Others,
}

/// What else a bug breaks.
pub(crate) enum Others {
    /// These clauses and no others.
    Only(&'static [&'static str]),
    /// Much: every clause that reads in that way.
    Many,
}

macro_rules! controls {
    ($group:ident $($bug:ident => $named:ident $(and $first:ident $(, $other:ident)*)?;)*) => {
        pub(crate) const $group: &[Control] = &[$(Control {
            bug: $bug,
            named: stringify!($named),
            others: controls!(@others $($first $($other)*)?),
        }),*];
    };
    (@others many) => { Others::Many };
    (@others $($other:ident)*) => { Others::Only(&[$(stringify!($other)),*]) };
}

/// All bugs.
pub(crate) const ALL: [&[Control]; 8] = [
    IDENTITY_AND_ROUND_TRIP,
    INSERTS_AND_QUOTA,
    UPDATES,
    DELETION_AND_ABSENCE,
    LISTS,
    SEARCH,
    LAST_USE,
    VISIBILITY_AND_ATOMICITY,
];

controls! {
    IDENTITY_AND_ROUND_TRIP
    FoldsTenantIds => tenant_ids_differ_by_case and
        tenant_ids_keep_their_unicode_form, tenants_are_in_order_of_their_bytes;
    TrimsTenantIds => tenant_ids_keep_their_white_space;
    NormalizesTenantIds => tenant_ids_keep_their_unicode_form and
        texts_come_back_as_they_were, tenants_are_in_order_of_their_bytes;
    TakesTenantIdsForPatterns => tenant_ids_are_taken_literally and
        tenants_are_in_order_of_their_bytes;
    ShortensTenantIds => tenant_ids_are_told_apart_by_their_last_byte;
    FoldsKeyIds => key_ids_differ_by_case and
        keys_of_one_time_are_in_order_of_their_ids;
    ShortensNames => the_longest_texts_come_back and
        first_keys_come_back_whole;
    TrimsNames => texts_come_back_as_they_were;
    RoundsUsesToSeconds => the_ends_of_time_come_back and
        tenants_do_not_disturb_each_other, the_last_use_is_the_latest, uses_reach_both_ends_of_time,
        uses_of_unknown_keys_change_nothing, a_large_batch_is_noted_whole, a_batch_spans_tenants,
        a_use_is_no_new_version, concurrent_uses_leave_the_latest,
        a_dropped_update_of_a_key_is_whole_or_nothing, a_dropped_batch_of_uses_is_whole_or_nothing;
    SkipsUpdatesThatKeepTheName => changed_keys_come_back_whole and
        the_longest_texts_come_back, the_ends_of_time_come_back, an_update_keeps_the_last_use,
        a_look_up_is_one_snapshot;
    SkipsUpdatesThatKeepTheTier => tenants_come_back_whole and
        the_longest_texts_come_back, texts_come_back_as_they_were, the_ends_of_time_come_back,
        tenant_ids_differ_by_case, tenant_ids_keep_their_white_space,
        tenant_ids_keep_their_unicode_form, tenant_ids_are_taken_literally,
        tenant_ids_are_told_apart_by_their_last_byte, an_insert_names_the_tenants_version,
        a_tenant_update_names_its_version, of_concurrent_tenant_updates_one_is_done,
        an_update_leaves_the_others, a_tenant_update_is_seen_at_once, a_look_up_is_one_snapshot,
        tenants_do_not_disturb_each_other, a_dropped_update_of_a_tenant_is_whole_or_nothing;
    DropsKeysWithLabels => keys_come_back_whole and
        changed_keys_come_back_whole, the_longest_texts_come_back, texts_come_back_as_they_were;
}

controls! {
    INSERTS_AND_QUOTA
    ReplacesTenants => a_taken_tenant_id_is_refused and
        of_concurrent_inserts_of_a_tenant_one_is_done;
    ReplacesKeys => a_taken_key_id_is_refused and
        a_tenant_is_not_left_without_its_first_key, of_concurrent_inserts_of_a_key_one_is_done;
    InsertsTheTenantBeforeItsKeyIsChecked => a_tenant_is_not_left_without_its_first_key and
        the_id_of_a_deleted_key_is_not_used_again, the_ids_of_a_deleted_tenant_are_not_used_again;
    InsertsTheTenantAndThenItsKey => a_tenant_is_not_seen_before_its_first_key and
        a_dropped_insert_of_a_tenant_is_whole_or_nothing;
    ChecksIdsFirst => of_concurrent_inserts_of_a_key_one_is_done and
        of_concurrent_inserts_of_a_tenant_one_is_done;
    CountsFirst => the_limit_holds_under_concurrency and
        each_tenant_has_its_own_quota;
    CountsEnabledKeys => keys_count_in_every_state;
    CountsEverybodysKeys => each_tenant_has_its_own_quota and
        tenant_ids_differ_by_case, tenant_ids_keep_their_white_space,
        tenant_ids_keep_their_unicode_form, tenant_ids_are_taken_literally,
        tenant_ids_are_told_apart_by_their_last_byte, a_taken_key_id_is_refused,
        a_tenant_is_not_seen_before_its_first_key, of_concurrent_inserts_of_a_key_one_is_done,
        the_limit_holds_under_concurrency, a_key_is_updated_under_its_own_tenant,
        an_update_leaves_the_others, an_insert_is_seen_at_once, tenants_do_not_disturb_each_other,
        a_deleted_tenant_takes_its_keys_along, a_tenant_without_keys_answers,
        a_key_is_read_under_its_own_tenant, a_dropped_insert_of_a_tenant_is_whole_or_nothing,
        a_dropped_insert_of_a_key_is_whole_or_nothing;
    CountsOnePage => keys_are_counted;
    CountsDeletedKeys => a_deleted_key_makes_room and
        tenants_do_not_disturb_each_other, a_deleted_key_is_gone,
        a_deleted_tenant_takes_its_keys_along, a_tenant_made_anew_has_no_keys,
        no_key_outlives_its_tenant, keys_are_counted, uses_of_unknown_keys_change_nothing,
        a_dropped_deletion_of_a_key_is_whole_or_nothing,
        a_dropped_deletion_of_a_tenant_is_whole_or_nothing;
    AdmitsOneTooMany => the_limit_holds and
        the_limit_holds_under_concurrency, a_limit_of_zero_admits_no_key,
        a_tenant_above_its_limit_gets_no_key, keys_count_in_every_state, a_deleted_key_makes_room,
        each_tenant_has_its_own_quota;
    IsFullAtTheLimitAlone => a_tenant_above_its_limit_gets_no_key;
    ReadsTheLimitAsSigned => the_largest_limit_admits_keys;
    IgnoresTheTenantsVersion => an_insert_names_the_tenants_version;
    ChecksTheTenantsVersionFirst => no_insert_outlives_the_tenants_version and
        no_key_outlives_its_tenant;
    InsertsForAnybody => an_insert_needs_its_tenant and
        a_tenant_is_not_left_without_its_first_key;
    SharesABuffer => tenants_do_not_disturb_each_other and
        of_concurrent_inserts_of_a_key_one_is_done, each_tenant_has_its_own_quota,
        no_key_outlives_its_tenant;
}

controls! {
    UPDATES
    UpdatesKeysWithoutCompare => a_key_update_names_its_version and
        of_concurrent_key_updates_one_is_done;
    UpdatesTenantsWithoutCompare => a_tenant_update_names_its_version and
        of_concurrent_tenant_updates_one_is_done;
    ComparesFirst => of_concurrent_key_updates_one_is_done and
        of_concurrent_tenant_updates_one_is_done;
    UpdatesAcrossTenants => a_key_is_updated_under_its_own_tenant;
    InsertsWhatItCannotUpdate => an_update_makes_nothing and
        a_deleted_key_is_gone, a_deleted_tenant_takes_its_keys_along;
    SaysConflictForNothing => an_update_makes_nothing and
        a_key_is_updated_under_its_own_tenant, a_deleted_key_is_gone,
        a_deleted_tenant_takes_its_keys_along;
    LosesTheLastUse => an_update_keeps_the_last_use and
        a_use_is_no_new_version, concurrent_uses_leave_the_latest;
    CascadesTenantUpdates => an_update_leaves_the_others and
        tenant_ids_differ_by_case, tenant_ids_keep_their_white_space,
        tenant_ids_keep_their_unicode_form, tenant_ids_are_taken_literally,
        tenant_ids_are_told_apart_by_their_last_byte, no_insert_outlives_the_tenants_version,
        a_tenant_update_is_seen_at_once, a_look_up_is_one_snapshot,
        tenants_do_not_disturb_each_other, a_dropped_update_of_a_tenant_is_whole_or_nothing;
}

controls! {
    DELETION_AND_ABSENCE
    KeepsDeletedKeysReadable => a_deleted_key_is_gone and
        key_ids_differ_by_case, tenants_do_not_disturb_each_other,
        the_id_of_a_deleted_key_is_not_used_again, the_ids_of_a_deleted_tenant_are_not_used_again,
        of_concurrent_deletions_one_is_done, uses_of_unknown_keys_change_nothing,
        a_dropped_deletion_of_a_key_is_whole_or_nothing;
    ReusesDeletedIds => the_id_of_a_deleted_key_is_not_used_again and
        the_ids_of_a_deleted_tenant_are_not_used_again;
    ReusesIdsOfDeletedTenants => the_ids_of_a_deleted_tenant_are_not_used_again;
    LeavesKeysOfDeletedTenants => a_deleted_tenant_takes_its_keys_along and
        tenant_ids_differ_by_case, tenant_ids_keep_their_white_space,
        tenant_ids_keep_their_unicode_form, tenant_ids_are_taken_literally,
        tenant_ids_are_told_apart_by_their_last_byte, a_look_up_beside_a_deletion_is_whole,
        tenants_do_not_disturb_each_other, the_ids_of_a_deleted_tenant_are_not_used_again,
        a_tenant_made_anew_has_no_keys, no_key_outlives_its_tenant,
        a_dropped_deletion_of_a_tenant_is_whole_or_nothing;
    DeletesOnePageOfKeys => a_deleted_tenant_takes_its_keys_along;
    DeletesAcrossTenants => a_key_is_deleted_under_its_own_tenant;
    DeletesNothingSilently => deleting_nothing_is_said and
        key_ids_differ_by_case, a_deleted_key_is_gone, a_deleted_tenant_takes_its_keys_along,
        a_key_is_deleted_under_its_own_tenant, of_concurrent_deletions_one_is_done;
    ChecksBeforeDeleting => of_concurrent_deletions_one_is_done;
    SaysUnavailableForNothing => an_empty_store_answers and many;
    FailsForUnknownTenants => an_empty_store_answers and
        tenant_ids_differ_by_case, tenant_ids_keep_their_white_space,
        tenant_ids_keep_their_unicode_form, tenant_ids_are_taken_literally,
        tenant_ids_are_told_apart_by_their_last_byte, an_insert_needs_its_tenant,
        a_look_up_beside_a_deletion_is_whole, tenants_do_not_disturb_each_other,
        a_deleted_tenant_takes_its_keys_along, a_key_is_read_under_its_own_tenant,
        a_dropped_insert_of_a_tenant_is_whole_or_nothing,
        a_dropped_deletion_of_a_tenant_is_whole_or_nothing;
    ReadsKeysOfOtherTenants => a_key_is_read_under_its_own_tenant and
        a_key_is_updated_under_its_own_tenant;
}

controls! {
    LISTS
    ListsInOrderOfIds => keys_are_in_order_of_creation and
        pages_hold_every_key_once, a_page_continues_behind_a_deleted_key,
        pages_stay_in_place_while_keys_come_and_go, a_page_continues_behind_any_place,
        search_goes_on_behind_a_cursor;
    OrdersIdsByLanguage => keys_of_one_time_are_in_order_of_their_ids and
        pages_hold_every_key_once;
    OrdersTenantsByLanguage => tenants_are_in_order_of_their_bytes;
    IgnoresTheLimit => a_page_holds_its_limit and
        pages_stay_in_place_while_keys_come_and_go, search_goes_on_behind_a_cursor;
    PagesByNumber => pages_stay_in_place_while_keys_come_and_go and
        a_page_continues_behind_any_place;
    PagesBeginAtTheCursor => pages_hold_every_tenant_once and
        a_tenant_without_keys_answers, pages_hold_every_key_once,
        pages_stay_in_place_while_keys_come_and_go, a_page_continues_behind_any_place,
        search_goes_on_behind_a_cursor;
    PagesBehindTheTimeAlone => pages_hold_every_key_once and
        a_page_continues_behind_a_deleted_key, a_page_continues_behind_any_place,
        search_goes_on_behind_a_cursor;
    NeedsTheCursorsKey => a_page_continues_behind_a_deleted_key and
        a_page_continues_behind_any_place;
    NeedsTheCursorsTenant => a_page_continues_behind_a_deleted_tenant;
}

controls! {
    SEARCH
    SearchesNamesAlone => search_finds_parts_of_name_hint_and_id and
        search_folds_the_letters_a_to_z;
    MindsCaseInSearch => search_folds_the_letters_a_to_z;
    FoldsAllLettersInSearch => search_folds_nothing_else;
    TakesSearchForPattern => search_takes_everything_literally;
    SearchesLabels => search_looks_at_nothing_else;
    SearchesEverybody => search_stays_with_its_tenant and
        a_tenant_without_keys_answers;
    LimitsBeforeSearching => search_goes_on_behind_a_cursor;
}

controls! {
    LAST_USE
    TakesTheUseReportedLast => the_last_use_is_the_latest and
        uses_reach_both_ends_of_time, a_large_batch_is_noted_whole,
        concurrent_uses_leave_the_latest;
    TakesTheFirstUseOfABatch => a_large_batch_is_noted_whole;
    FailsForUnknownUses => uses_of_unknown_keys_change_nothing and
        a_deleted_key_is_gone, an_empty_store_answers, a_large_batch_is_noted_whole;
    FailsForEmptyBatches => an_empty_batch_is_done;
    CutsBatches => a_large_batch_is_noted_whole;
    NotesUsesOfOneTenant => a_batch_spans_tenants;
    CountsUsesAsVersions => a_use_is_no_new_version and
        an_update_keeps_the_last_use, concurrent_uses_leave_the_latest,
        a_dropped_update_of_a_key_is_whole_or_nothing;
    NotesUsesFromAnOldRead => concurrent_uses_leave_the_latest and
        a_large_batch_is_noted_whole;
    IgnoresUsesBefore1970 => uses_reach_both_ends_of_time and
        the_ends_of_time_come_back;
}

controls! {
    VISIBILITY_AND_ATOMICITY
    LooksUpInAnOldCopy => an_insert_is_seen_at_once and many;
    ListsFromAnOldCopy => a_key_update_is_seen_at_once and many;
    ReadsTenantsFromAnOldCopy => a_tenant_update_is_seen_at_once and
        tenants_come_back_whole, the_longest_texts_come_back, texts_come_back_as_they_were,
        the_ends_of_time_come_back, tenant_ids_differ_by_case, tenant_ids_keep_their_white_space,
        tenant_ids_keep_their_unicode_form, tenant_ids_are_taken_literally,
        tenant_ids_are_told_apart_by_their_last_byte, a_tenant_update_names_its_version,
        an_insert_is_seen_at_once, a_deleted_tenant_takes_its_keys_along,
        a_tenant_made_anew_has_no_keys, a_dropped_insert_of_a_tenant_is_whole_or_nothing,
        a_dropped_update_of_a_tenant_is_whole_or_nothing,
        a_dropped_deletion_of_a_tenant_is_whole_or_nothing;
    BuffersUses => a_use_is_seen_at_once and
        the_ends_of_time_come_back, the_last_use_is_the_latest, uses_reach_both_ends_of_time,
        uses_of_unknown_keys_change_nothing, a_large_batch_is_noted_whole, a_batch_spans_tenants,
        a_use_is_no_new_version, a_dropped_update_of_a_key_is_whole_or_nothing,
        a_dropped_batch_of_uses_is_whole_or_nothing;
    ReadsTheTenantFirst => a_look_up_is_one_snapshot;
    ReadsTheKeyFirst => a_look_up_beside_a_deletion_is_whole and
        a_look_up_is_one_snapshot;
    WritesASecondCopyLater => a_dropped_insert_of_a_key_is_whole_or_nothing and
        a_tenant_is_not_seen_before_its_first_key, a_dropped_insert_of_a_tenant_is_whole_or_nothing,
        a_dropped_update_of_a_tenant_is_whole_or_nothing,
        a_dropped_update_of_a_key_is_whole_or_nothing,
        a_dropped_deletion_of_a_key_is_whole_or_nothing,
        a_dropped_deletion_of_a_tenant_is_whole_or_nothing,
        a_dropped_batch_of_uses_is_whole_or_nothing;
    WritesHalvesOfBatches => a_dropped_batch_of_uses_is_whole_or_nothing and
        a_dropped_deletion_of_a_tenant_is_whole_or_nothing;
}

// What some of them break on a keyring with the store behind its cache.
controls! {
    CACHED
    SkipsUpdatesThatKeepTheName => a_switch_is_seen_at_once and
        a_suspension_is_seen_at_once, narrower_scopes_are_seen_at_once, a_rotation_is_seen_at_once,
        a_first_use_ends_the_overlap, other_nodes_follow_within_their_bound,
        other_nodes_that_ask_see_it_at_once;
    SkipsUpdatesThatKeepTheTier => a_tenants_suspension_is_seen_at_once and
        other_nodes_follow_within_their_bound, other_nodes_that_ask_see_it_at_once;
    KeepsDeletedKeysReadable => a_deletion_is_seen_at_once and
        other_nodes_follow_within_their_bound, other_nodes_that_ask_see_it_at_once;
    LeavesKeysOfDeletedTenants => a_tenant_made_anew_inherits_nothing and
        other_nodes_follow_within_their_bound, other_nodes_that_ask_see_it_at_once;
    CountsFirst => issuing_at_once_stays_within_the_quota;
    CountsDeletedKeys => a_lower_tier_is_seen_at_once;
    BuffersUses => uses_arrive_with_a_flush;
    LooksUpInAnOldCopy => a_switch_is_seen_at_once and
        a_deletion_is_seen_at_once, a_suspension_is_seen_at_once, narrower_scopes_are_seen_at_once,
        a_rotation_is_seen_at_once, a_first_use_ends_the_overlap,
        a_tenants_suspension_is_seen_at_once, a_lower_tier_is_seen_at_once,
        a_tenant_made_anew_inherits_nothing, other_nodes_follow_within_their_bound,
        other_nodes_that_ask_see_it_at_once;
}
