//! The list of all clauses, and the tests that are generated from it.

/// Passes the clauses of the contract to the macro in brackets, after the arguments in braces. This is the
/// only list of them.
#[doc(hidden)]
#[macro_export]
macro_rules! __store_clauses {
    ([$($then:tt)*] $($arguments:tt)*) => {
        $($then)*! {
            { $($arguments)* }
            round_trip::keys_come_back_whole
            round_trip::changed_keys_come_back_whole
            round_trip::tenants_come_back_whole
            round_trip::the_longest_texts_come_back
            round_trip::texts_come_back_as_they_were
            round_trip::the_ends_of_time_come_back
            round_trip::first_keys_come_back_whole
            identity::tenant_ids_differ_by_case
            identity::tenant_ids_keep_their_white_space
            identity::tenant_ids_keep_their_unicode_form
            identity::tenant_ids_are_taken_literally
            identity::tenant_ids_are_told_apart_by_their_last_byte
            identity::key_ids_differ_by_case
            uniqueness::a_taken_tenant_id_is_refused
            uniqueness::a_taken_key_id_is_refused
            uniqueness::a_tenant_is_not_left_without_its_first_key
            uniqueness::a_tenant_is_not_seen_before_its_first_key
            uniqueness::of_concurrent_inserts_of_a_tenant_one_is_done
            uniqueness::of_concurrent_inserts_of_a_key_one_is_done
            quota::the_limit_holds
            quota::the_limit_holds_under_concurrency
            quota::a_limit_of_zero_admits_no_key
            quota::the_largest_limit_admits_keys
            quota::a_tenant_above_its_limit_gets_no_key
            quota::no_limit_admits_keys
            quota::keys_count_in_every_state
            quota::a_deleted_key_makes_room
            quota::each_tenant_has_its_own_quota
            quota::an_insert_names_the_tenants_version
            quota::no_insert_outlives_the_tenants_version
            quota::an_insert_needs_its_tenant
            versions::a_key_update_names_its_version
            versions::a_tenant_update_names_its_version
            versions::of_concurrent_key_updates_one_is_done
            versions::of_concurrent_tenant_updates_one_is_done
            versions::an_update_of_an_unknown_record_creates_nothing
            versions::a_key_is_updated_under_its_own_tenant
            versions::an_update_keeps_the_last_use
            versions::an_update_leaves_the_others
            visibility::an_insert_is_seen_at_once
            visibility::a_key_update_is_seen_at_once
            visibility::a_tenant_update_is_seen_at_once
            visibility::a_use_is_seen_at_once
            visibility::many_lookups_are_like_single_ones
            visibility::a_lookup_is_one_snapshot
            visibility::a_lookup_beside_a_deletion_is_whole
            visibility::tenants_do_not_disturb_each_other
            deletion::a_deleted_key_is_gone
            deletion::a_deletion_names_its_version
            deletion::the_id_of_a_deleted_key_is_not_used_again
            deletion::the_ids_of_a_deleted_tenant_are_not_used_again
            deletion::a_deleted_tenant_takes_its_keys_along
            deletion::deleting_an_unknown_record_is_not_found
            deletion::a_key_is_deleted_under_its_own_tenant
            deletion::a_tenant_created_again_has_no_keys
            deletion::a_large_tenant_is_deleted_whole
            deletion::an_interrupted_deletion_of_a_tenant_goes_on
            deletion::a_tenant_created_again_after_an_interruption_has_no_keys
            deletion::of_concurrent_deletions_one_is_done
            deletion::no_key_outlives_its_tenant
            absence::an_empty_store_answers
            absence::a_tenant_without_keys_answers
            absence::a_key_is_read_under_its_own_tenant
            lists::keys_are_in_order_of_creation
            lists::keys_of_one_time_are_in_order_of_their_ids
            lists::tenants_are_in_order_of_their_bytes
            lists::a_page_holds_its_limit
            lists::keys_are_counted
            lists::keys_are_counted_up_to_a_bound
            pages::pages_hold_every_key_once
            pages::pages_hold_every_tenant_once
            pages::a_page_continues_behind_a_deleted_key
            pages::pages_stay_in_place_while_keys_come_and_go
            pages::a_page_continues_behind_any_place
            pages::a_page_continues_behind_a_deleted_tenant
            owners::keys_of_an_owner_are_listed_alone
            owners::pages_of_an_owner_hold_every_key_once
            owners::a_key_moves_with_its_owner
            owners::deleted_keys_leave_their_owner
            owners::owners_stay_with_their_tenant
            owners::conditions_select_keys
            owners::conditions_narrow_the_keys_of_an_owner
            search::search_finds_parts_of_name_masked_key_and_id
            search::search_folds_the_letters_a_to_z
            search::search_folds_nothing_else
            search::search_takes_everything_literally
            search::search_looks_at_nothing_else
            search::search_stays_with_its_tenant
            search::search_goes_on_behind_a_cursor
            last_use::the_last_use_is_the_latest
            last_use::uses_reach_both_ends_of_time
            last_use::a_use_of_the_future_is_replaced
            last_use::uses_of_unknown_keys_change_nothing
            last_use::a_large_batch_is_noted_whole
            last_use::an_empty_batch_is_done
            last_use::a_batch_spans_tenants
            last_use::a_use_is_no_new_version
            last_use::concurrent_uses_leave_the_latest
            marker::a_marker_comes_back_whole
            marker::a_marker_names_what_it_replaces
            marker::of_concurrent_markers_one_is_kept
            cancellation::a_dropped_insert_of_a_tenant_is_whole_or_nothing
            cancellation::a_dropped_insert_of_a_key_is_whole_or_nothing
            cancellation::a_dropped_update_of_a_tenant_is_whole_or_nothing
            cancellation::a_dropped_update_of_a_key_is_whole_or_nothing
            cancellation::a_dropped_deletion_of_a_key_is_whole_or_nothing
            cancellation::a_dropped_deletion_of_a_tenant_is_whole_or_nothing
            cancellation::a_dropped_batch_of_uses_is_whole_or_nothing
        }
    };
}

/// Like `__store_clauses`, for the clauses of a keyring.
#[doc(hidden)]
#[macro_export]
macro_rules! __cached_clauses {
    ([$($then:tt)*] $($arguments:tt)*) => {
        $($then)*! {
            { $($arguments)* }
            cached::a_switch_is_seen_at_once
            cached::a_deletion_is_seen_at_once
            cached::a_suspension_is_seen_at_once
            cached::narrower_scopes_are_seen_at_once
            cached::a_rotation_is_seen_at_once
            cached::a_first_use_ends_the_grace_period
            cached::a_tenants_suspension_is_seen_at_once
            cached::a_lower_tier_is_seen_at_once
            cached::a_tenant_created_again_inherits_nothing
            cached::other_nodes_follow_within_their_bound
            cached::other_nodes_that_ask_see_it_at_once
            cached::uses_arrive_with_a_flush
            cached::issuing_at_once_stays_within_the_quota
        }
    };
}

/// Like `__store_clauses`, for the clauses of events.
#[doc(hidden)]
#[macro_export]
macro_rules! __event_clauses {
    ([$($then:tt)*] $($arguments:tt)*) => {
        $($then)*! {
            { $($arguments)* }
            writes::a_change_stores_its_events
            writes::a_refused_change_stores_no_event
            writes::events_are_read_as_they_were_written
            writes::each_tenant_has_its_own_sequence
            writes::a_tenant_created_again_continues_its_sequence
            writes::concurrent_events_have_numbers_of_their_own
            writes::a_dropped_change_is_stored_with_its_events_or_not
            claims::events_are_claimed_in_order
            claims::events_without_a_tenant_are_claimed
            claims::an_empty_store_has_nothing_to_claim
            claims::a_claim_is_in_force_until_its_lease_ends
            claims::concurrent_claims_share_no_event
            claims::events_that_are_given_back_wait
            claims::an_older_claim_changes_nothing
            claims::delivered_events_stay_delivered
            claims::tenants_take_turns
            claims::a_dropped_claim_loses_no_event
            claims::undelivered_events_are_known
            reads::the_newest_events_come_first
            reads::events_of_a_key_are_those_of_its_tenant
            purges::a_purge_deletes_old_delivered_events
            purges::a_purge_leaves_no_gap
            purges::purged_events_are_not_claimed
            purges::a_large_purge_is_whole
        }
    };
}

/// Like `__store_clauses`, for the clauses of the limits.
#[doc(hidden)]
#[macro_export]
macro_rules! __limit_clauses {
    ([$($then:tt)*] $($arguments:tt)*) => {
        $($then)*! {
            { $($arguments)* }
            leases::leases_add_up
            leases::a_lease_stops_at_the_limit
            leases::a_lease_of_nothing_changes_nothing
            leases::a_lower_limit_takes_nothing_away
            leases::returned_units_are_leased_again
            leases::returns_stop_at_zero
            leases::the_largest_limit_holds
            leases::concurrent_leases_stay_within_the_limit
            leases::returns_beside_leases_are_counted
            leases::a_dropped_lease_is_whole_or_nothing
            windows::windows_and_tenants_are_apart
            windows::used_units_are_in_order
            windows::a_purge_deletes_what_has_ended
            windows::a_large_purge_is_whole
            windows::deleting_windows_leaves_other_tenants
            windows::windows_of_all_tenants_are_read_in_pages
        }
    };
}

/// Like `__store_clauses`, for the clauses of the usage.
#[doc(hidden)]
#[macro_export]
macro_rules! __usage_clauses {
    ([$($then:tt)*] $($arguments:tt)*) => {
        $($then)*! {
            { $($arguments)* }
            reads::usage_is_read_as_it_was_added
            reads::an_empty_store_has_no_usage
            reads::rows_are_in_order_of_the_day_then_of_the_key
            reads::keys_outside_the_list_are_left_out
            reads::usage_stays_with_its_tenant
            reads::both_ends_of_a_span_are_included
            reads::a_span_that_ends_before_it_begins_is_empty
            reads::rows_without_requests_are_left_out
            reads::a_tenant_sums_its_keys
            reads::a_month_sums_its_days
            reads::the_first_and_the_last_day_are_kept
            flushes::flushes_add_up
            flushes::a_repeated_flush_adds_nothing
            flushes::an_older_flush_adds_nothing
            flushes::each_node_has_its_own_numbers
            flushes::numbers_may_have_gaps
            flushes::an_empty_flush_has_a_number
            flushes::the_largest_flush_is_added_whole
            flushes::huge_counts_stay_at_the_largest
            flushes::concurrent_flushes_add_up
            flushes::of_concurrent_repeats_one_is_added
            flushes::a_dropped_flush_is_whole_or_nothing
            roll_ups::a_roll_up_keeps_the_counts
            roll_ups::a_roll_up_counts_its_rows
            roll_ups::late_days_are_added_to_their_month
            roll_ups::old_months_are_deleted
            roll_ups::nodes_are_kept_as_long_as_their_days
            roll_ups::a_large_roll_up_is_whole
            roll_ups::concurrent_roll_ups_keep_the_counts
            roll_ups::reads_beside_a_roll_up_see_every_count
            roll_ups::flushes_beside_a_roll_up_are_kept
            roll_ups::a_dropped_roll_up_loses_no_count
            roll_ups::deleting_usage_leaves_other_tenants
            roll_ups::usage_of_a_large_tenant_is_deleted_whole
            copies::rows_of_all_tenants_are_read_in_pages
            copies::rows_of_months_are_apart_from_their_days
            copies::raised_counts_are_the_larger_ones
            copies::a_large_raise_is_whole
        }
    };
}

/// Generates a module with one test per clause of a list. `run` runs the clause with a name on a store.
#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_module {
    (
        { $name:ident, $run:ident, $block_on:expr, $store:expr, $is_ignored:tt, $reason:literal }
        $($module:ident::$clause:ident)*
    ) => {
        #[allow(
            unused_imports,
            clippy::redundant_closure_call,
            clippy::wildcard_imports,
            reason = "the expressions of the application stand here unchanged"
        )]
        mod $name {
            use super::*;

            // All tests share this function, so the compiler sees the application's expressions once.
            fn __keyway_run_clause(clause: &'static str) {
                ($block_on)(async {
                    $crate::store::conformance::$run($store, clause).await;
                });
            }

            $(
                // The full path is needed, since the application may have imported another `test`.
                #[::core::prelude::v1::test]
                #[cfg_attr($is_ignored, ignore = $reason)]
                fn $clause() {
                    __keyway_run_clause(::core::stringify!($clause));
                }
            )*
        }
    };
}

/// Generates the modules of tests.
#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_modules {
    ($block_on:expr, $store:expr, $is_ignored:tt, $reason:literal) => {
        $crate::__store_clauses! {
            [$crate::__conformance_module]
            contract, __run_clause, $block_on, $store, $is_ignored, $reason
        }
        $crate::__cached_clauses! {
            [$crate::__conformance_module]
            cached, __run_cached_clause, $block_on, $store, $is_ignored, $reason
        }
    };
}

/// Tests a store against every clause of the [contract](crate::store), with one `#[test]` for each.
///
/// `store` is evaluated for each test and must return a fresh, empty store. It is an `async` block, or an
/// expression that may `.await`. `block_on` is any function or closure that runs a future, such as
/// `pollster::block_on` or `|test| tokio::runtime::Runtime::new().unwrap().block_on(test)`.
///
/// The tests are in the modules `contract` and `cached`, inside the module that invokes the macro. The
/// macro can therefore be invoked once per module. Both expressions may use everything that is in scope
/// there.
///
/// A store whose server is not on every machine ends the arguments with `ignore = "needs my server"`. All
/// tests are then `#[ignore]`d with that reason, and run with `cargo test -- --include-ignored`.
///
/// ```
/// mod memory {
///     use keyway::MemoryStore;
///
///     keyway::store_conformance!(block_on = pollster::block_on, store = MemoryStore::new());
/// }
/// # fn main() {}
/// ```
#[macro_export]
#[cfg_attr(docsrs, doc(cfg(feature = "conformance")))]
macro_rules! store_conformance {
    (block_on = $block_on:expr, store = async move $store:block $(, ignore = $reason:literal)? $(,)?) => {
        $crate::store_conformance! {
            block_on = $block_on, store = (async move $store).await $(, ignore = $reason)?
        }
    };
    (block_on = $block_on:expr, store = async $store:block $(, ignore = $reason:literal)? $(,)?) => {
        $crate::store_conformance! {
            block_on = $block_on, store = (async $store).await $(, ignore = $reason)?
        }
    };
    (block_on = $block_on:expr, store = $store:expr, ignore = $reason:literal $(,)?) => {
        $crate::__conformance_modules! { $block_on, $store, true, $reason }
    };
    (block_on = $block_on:expr, store = $store:expr $(,)?) => {
        $crate::__conformance_modules! { $block_on, $store, false, "" }
    };
}

/// Tests a store of usage against every clause of the contract of [`UsageStore`](crate::store::UsageStore), with one
/// `#[test]` for each, in the module `usage`. The arguments are those of [`store_conformance!`](crate::store_conformance).
///
/// ```
/// use keyway::MemoryStore;
///
/// keyway::usage_conformance!(block_on = pollster::block_on, store = MemoryStore::new());
/// # fn main() {}
/// ```
#[macro_export]
#[cfg_attr(docsrs, doc(cfg(feature = "conformance")))]
macro_rules! usage_conformance {
    (block_on = $block_on:expr, store = async move $store:block $(, ignore = $reason:literal)? $(,)?) => {
        $crate::usage_conformance! {
            block_on = $block_on, store = (async move $store).await $(, ignore = $reason)?
        }
    };
    (block_on = $block_on:expr, store = async $store:block $(, ignore = $reason:literal)? $(,)?) => {
        $crate::usage_conformance! {
            block_on = $block_on, store = (async $store).await $(, ignore = $reason)?
        }
    };
    (block_on = $block_on:expr, store = $store:expr, ignore = $reason:literal $(,)?) => {
        $crate::__usage_clauses! {
            [$crate::__conformance_module]
            usage, __run_usage_clause, $block_on, $store, true, $reason
        }
    };
    (block_on = $block_on:expr, store = $store:expr $(,)?) => {
        $crate::__usage_clauses! {
            [$crate::__conformance_module]
            usage, __run_usage_clause, $block_on, $store, false, ""
        }
    };
}

/// Tests a store of events against every clause of the contract of [`EventStore`](crate::store::EventStore), with one
/// `#[test]` for each, in the module `events`. The contract of keys is tested by
/// [`store_conformance!`](crate::store_conformance). The arguments are those of [`store_conformance!`](crate::store_conformance).
///
/// ```
/// use keyway::MemoryStore;
///
/// keyway::event_conformance!(block_on = pollster::block_on, store = MemoryStore::new());
/// # fn main() {}
/// ```
#[macro_export]
#[cfg_attr(docsrs, doc(cfg(feature = "conformance")))]
macro_rules! event_conformance {
    (block_on = $block_on:expr, store = async move $store:block $(, ignore = $reason:literal)? $(,)?) => {
        $crate::event_conformance! {
            block_on = $block_on, store = (async move $store).await $(, ignore = $reason)?
        }
    };
    (block_on = $block_on:expr, store = async $store:block $(, ignore = $reason:literal)? $(,)?) => {
        $crate::event_conformance! {
            block_on = $block_on, store = (async $store).await $(, ignore = $reason)?
        }
    };
    (block_on = $block_on:expr, store = $store:expr, ignore = $reason:literal $(,)?) => {
        $crate::__event_clauses! {
            [$crate::__conformance_module]
            events, __run_event_clause, $block_on, $store, true, $reason
        }
    };
    (block_on = $block_on:expr, store = $store:expr $(,)?) => {
        $crate::__event_clauses! {
            [$crate::__conformance_module]
            events, __run_event_clause, $block_on, $store, false, ""
        }
    };
}

/// Tests a store of limits against every clause of the contract of [`LimitStore`](crate::store::LimitStore), with one
/// `#[test]` for each, in the module `limits`. The arguments are those of [`store_conformance!`](crate::store_conformance).
///
/// ```
/// use keyway::MemoryStore;
///
/// keyway::limit_conformance!(block_on = pollster::block_on, store = MemoryStore::new());
/// # fn main() {}
/// ```
#[macro_export]
#[cfg_attr(docsrs, doc(cfg(feature = "conformance")))]
macro_rules! limit_conformance {
    (block_on = $block_on:expr, store = async move $store:block $(, ignore = $reason:literal)? $(,)?) => {
        $crate::limit_conformance! {
            block_on = $block_on, store = (async move $store).await $(, ignore = $reason)?
        }
    };
    (block_on = $block_on:expr, store = async $store:block $(, ignore = $reason:literal)? $(,)?) => {
        $crate::limit_conformance! {
            block_on = $block_on, store = (async $store).await $(, ignore = $reason)?
        }
    };
    (block_on = $block_on:expr, store = $store:expr, ignore = $reason:literal $(,)?) => {
        $crate::__limit_clauses! {
            [$crate::__conformance_module]
            limits, __run_limit_clause, $block_on, $store, true, $reason
        }
    };
    (block_on = $block_on:expr, store = $store:expr $(,)?) => {
        $crate::__limit_clauses! {
            [$crate::__conformance_module]
            limits, __run_limit_clause, $block_on, $store, false, ""
        }
    };
}
