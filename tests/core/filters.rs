//! Filters of keys, alone and together, and changes of exactly the keys that one has selected.

use core::time::Duration;
use std::{
    collections::BTreeSet,
    future::Future as _,
    pin::pin,
    task::{Context, Poll, Waker},
};

use crate::support::{DAY, World, block_on, catalog, overheard::RevealKnown as _, with_text};
use keyway::{
    ImportedKey, KeyEdit, KeyRecord, KeyState, KeyringError, NewKey, Policy, TenantKeys, Tier,
    grant::Grant,
    import::{ForeignDigest, ForeignFormat, ForeignHash},
    keyring::{BulkOutcome, Selection},
    record::{Exceptions, Labels, Owner, Suspension},
    store::{KeyFilter, KeyQuery, KeyStore, KeyUse},
};

fn owner(id: &str) -> Owner {
    id.parse().unwrap()
}

fn foreign() -> ForeignFormat {
    ForeignFormat::whole_token(ForeignHash::Sha256).lengths(43..=43).unwrap()
}

fn policy() -> Policy {
    Policy::new("mm", catalog(), [Tier::new("advanced", 2_000)]).unwrap()
}

fn world() -> World {
    World::with(policy(), |builder| builder.accept_imported(foreign()))
}

fn tenant(world: &World, id: &str) -> TenantKeys {
    block_on(world.keyring.create_empty_tenant(id, "advanced")).unwrap()
}

fn issue(keys: &TenantKeys, request: NewKey) -> KeyRecord {
    let issued = block_on(keys.issue(request)).unwrap();
    drop(issued.token.reveal_known());
    issued.key
}

fn named(keys: &TenantKeys, name: &str) -> KeyRecord {
    issue(keys, NewKey::named(name))
}

fn matching(filter: &KeyFilter) -> KeyQuery {
    KeyQuery::all().matching(filter.clone()).limit(KeyQuery::MAX_LIMIT)
}

fn names<'k>(keys: impl IntoIterator<Item = &'k KeyRecord>) -> Vec<String> {
    let mut names: Vec<_> = keys.into_iter().map(|key| key.name().to_owned()).collect();
    names.sort();
    names
}

fn listed(keys: &TenantKeys, filter: &KeyFilter) -> Vec<String> {
    let page = block_on(keys.list(&matching(filter))).unwrap();
    assert_eq!((page.next, page.broken.len()), (None, 0));
    names(&page.items)
}

/// Returns the names of all keys in pages of this length, which must be in order.
fn in_pages(keys: &TenantKeys, filter: &KeyFilter, limit: usize) -> Vec<String> {
    let mut query = matching(filter).limit(limit);
    let mut found: Vec<KeyRecord> = Vec::new();
    loop {
        let page = block_on(keys.list(&query)).unwrap();
        assert!(page.items.len() == limit || page.next.is_none());
        found.extend(page.items);
        let Some(next) = page.next else { break };
        query = query.after(next);
    }
    assert!(found.is_sorted_by_key(|key| (key.created_at(), key.id())));
    names(&found)
}

/// Returns the tenants and names of all keys of a walk.
fn walked(world: &World, filter: &KeyFilter) -> Vec<(String, String)> {
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = block_on(world.keyring.all_keys(filter, after.as_ref())).unwrap();
        assert!(page.broken.is_empty());
        let named = |key: &KeyRecord| (key.tenant().to_string(), key.name().to_owned());
        found.extend(page.items.iter().map(named));
        after = page.next;
        if after.is_none() {
            found.sort();
            return found;
        }
    }
}

// Conditions.

const LIFETIME: Duration = Duration::from_secs(20 * 86_400);

/// A condition of a filter. A key meets it if its number has the bit of the place in this list.
const CONDITIONS: [fn(&World, KeyFilter) -> KeyFilter; 7] = [
    |_, filter| filter.owner(owner("ann")),
    |_, filter| filter.created_by("Ada"),
    |_, filter| filter.label("team", "billing"),
    |world, filter| filter.expiring_before(world.after(LIFETIME)),
    |world, filter| filter.unused_since(world.now()),
    |_, filter| filter.imported(),
    |_, filter| filter.in_state("active").unwrap(),
];

fn name(number: usize) -> String {
    format!("key {number:03}")
}

/// Issues a key for each combination of the conditions.
fn every_combination(world: &World, tenant: &TenantKeys, seed: u8) {
    let mut used = Vec::new();
    for number in 0..1 << CONDITIONS.len() {
        let meets = |condition: usize| number & (1 << condition) != 0;
        let (actor, other) = if meets(1) { ("Ada", "Ada L.") } else { ("Ada L.", "Ada") };
        let team = if meets(2) { ("team", "billing") } else { ("billing", "team") };
        let labels = Labels::new([team, ("other", other)]).unwrap();
        let mut request = NewKey::named(name(number)).labels(labels);
        request = request.owner(owner(if meets(0) { "ann" } else { "anna" }));
        // A key without the condition ends exactly when the filter's time begins, or never.
        let end = 9 * DAY + LIFETIME;
        request = match (meets(3), meets(0)) {
            (true, _) => request.expires_at(world.after(end - Duration::from_millis(1))),
            (false, true) => request.expires_at(world.after(end)),
            (false, false) => request,
        };
        let keys = tenant.clone().acting_as(actor);
        let key = if meets(5) {
            let digest = [&[seed, u8::try_from(number).unwrap()][..], &[0; 30]].concat();
            let digest = ForeignDigest::from_bytes(&digest).unwrap();
            let imported = ImportedKey::new(&foreign(), digest, request).unwrap();
            block_on(keys.import(imported)).unwrap()
        } else {
            issue(&keys, request)
        };
        if !meets(4) {
            used.push(KeyUse { id: key.id(), at: world.after(9 * DAY) });
        }
        if !meets(6) {
            block_on(keys.disable(key.id())).unwrap();
        }
    }
    block_on(world.store.record_uses(&used, world.after(9 * DAY))).unwrap();
}

#[test]
fn conditions_select_the_keys_that_meet_all_of_them() {
    let world = world();
    let (acme, beta) = (tenant(&world, "acme"), tenant(&world, "beta"));
    every_combination(&world, &acme, 1);
    every_combination(&world, &beta, 2);
    world.clock.advance(9 * DAY);
    let all = 0..1_usize << CONDITIONS.len();
    for subset in all.clone() {
        let filter = CONDITIONS.iter().enumerate().fold(KeyFilter::all(), |filter, (at, add)| {
            if subset & (1 << at) == 0 { filter } else { add(&world, filter) }
        });
        let expected: Vec<_> =
            all.clone().filter(|number| number & subset == subset).map(name).collect();
        assert_eq!(listed(&acme, &filter), expected, "{filter:?}");
        if subset.count_ones() < 3 {
            for limit in [1, 3, 32] {
                assert_eq!(in_pages(&acme, &filter, limit), expected, "{filter:?}");
            }
            let of_both: Vec<_> = ["acme", "beta"]
                .iter()
                .flat_map(|id| expected.iter().map(|name| ((*id).to_owned(), name.clone())))
                .collect();
            assert_eq!(walked(&world, &filter), of_both, "{filter:?}");
            // A search narrows what the filter selects.
            let search = matching(&filter).containing("Y 12");
            let found = block_on(acme.list(&search)).unwrap().items;
            let expected: Vec<_> =
                expected.iter().filter(|name| name.contains("y 12")).cloned().collect();
            assert_eq!(names(&found), expected, "{filter:?}");
        }
    }
}

#[test]
fn a_filter_matches_values_exactly() {
    let world = world();
    let acme = tenant(&world, "acme");
    let labels = Labels::new([("team", "Billing"), ("empty", "")]).unwrap();
    issue(&acme.clone().acting_as("Ada"), NewKey::named("k").labels(labels).owner(owner("ann")));
    let all = KeyFilter::all;
    for filter in [
        all().label("team", "Billing"),
        all().label("empty", ""),
        all().created_by("Ada"),
        all().owner(owner("ann")),
    ] {
        assert_eq!(listed(&acme, &filter), ["k"], "{filter:?}");
    }
    for filter in [
        all().label("team", "billing"),
        all().label("team", "Bill"),
        all().label("team", ""),
        all().label("Team", "Billing"),
        all().label("none", ""),
        all().label("tea%", "%"),
        all().created_by("ada"),
        all().created_by(""),
        all().created_by("Ada "),
        all().owner(owner("Ann")),
        all().owner(owner("an")),
        all().owner(owner("ann%".replace('%', "_").as_str())),
    ] {
        assert_eq!(listed(&acme, &filter), [""; 0], "{filter:?}");
        assert_eq!(walked(&world, &filter).len(), 0, "{filter:?}");
    }
}

#[test]
fn second_value_of_a_condition_replaces_the_first() {
    let world = world();
    let acme = tenant(&world, "acme");
    let labels = Labels::new([("team", "billing"), ("zone", "eu")]).unwrap();
    issue(&acme.clone().acting_as("Ada"), NewKey::named("k").labels(labels).owner(owner("ann")));
    let all = KeyFilter::all;
    let state = |filter: KeyFilter, state| filter.in_state(state).unwrap();
    for (filter, is_found) in [
        (all().owner(owner("bob")).owner(owner("ann")), true),
        (all().owner(owner("ann")).owner(owner("bob")), false),
        (all().created_by("Bob").created_by("Ada"), true),
        (all().label("team", "none").label("zone", "eu"), true),
        (all().label("zone", "eu").label("team", "none"), false),
        (state(state(all(), "disabled"), "active"), true),
        // Of two times, the earlier one counts.
        (all().unused_since(world.after(DAY)).unused_since(world.now()), false),
        (all().unused_since(world.now()).unused_since(world.after(DAY)), false),
        (all().unused_since(world.after(DAY)).unused_since(world.after(2 * DAY)), true),
    ] {
        assert_eq!(listed(&acme, &filter).len(), usize::from(is_found), "{filter:?}");
    }
}

#[test]
fn state_filter_selects_the_keys_in_each_state() {
    let world = world();
    let acme = tenant(&world, "acme");
    let keys = ["active", "disabled", "suspended", "expired", "not_yet_valid", "owner_disabled"]
        .map(|state| issue(&acme, NewKey::named(state).owner(owner(state))));
    let edit = |key: &KeyRecord, edit| block_on(acme.edit(key.id(), 1, edit)).unwrap();
    block_on(acme.disable(keys[1].id())).unwrap();
    let ban = || Suspension::permanent("spam").unwrap();
    block_on(world.keyring.suspend_key(keys[2].id(), ban())).unwrap();
    edit(&keys[3], KeyEdit::new().expires_at(world.after(DAY)));
    edit(&keys[4], KeyEdit::new().not_before(world.after(2 * DAY)));
    block_on(acme.disable_owner(&owner("owner_disabled"))).unwrap();
    let beta = tenant(&world, "beta");
    named(&beta, "tenant_suspended");
    block_on(world.keyring.suspend_tenant(beta.id(), ban())).unwrap();
    // This node's policy does not have the tier of the third tenant.
    let tiers = [Tier::new("advanced", 2_000), Tier::new("gone", 2_000)];
    let other = Policy::new("mm", catalog(), tiers).unwrap();
    let other = world.another_node_with(other, |builder| builder);
    let gone = block_on(other.keyring.create_empty_tenant("gone", "gone")).unwrap();
    named(&gone, "unknown_tier");
    let gone = world.keyring.tenant(gone.id().clone());
    world.clock.advance(DAY);

    let of_tenants = [
        (
            &acme,
            &["active", "disabled", "suspended", "expired", "not_yet_valid", "owner_disabled"][..],
        ),
        (&beta, &["tenant_suspended"]),
        (&gone, &["unknown_tier"]),
    ];
    for (tenant, states) in of_tenants {
        for state in of_tenants.iter().flat_map(|(_, states)| *states) {
            let filter = KeyFilter::all().in_state(state).unwrap();
            let expected: Vec<&str> =
                states.iter().filter(|held| *held == state).copied().collect();
            assert_eq!(listed(tenant, &filter), expected, "{state}");
            let all: Vec<_> = walked(&world, &filter).into_iter().map(|(_, name)| name).collect();
            assert_eq!(all, [*state]);
            // A store that is asked directly does not know the tenant.
            let query = matching(&filter);
            assert!(block_on(world.store.memory().keys(tenant.id(), &query)).unwrap().is_empty());
        }
        for key in block_on(tenant.list(&KeyQuery::all())).unwrap().items {
            assert_eq!(block_on(tenant.state(&key)).unwrap().as_str(), key.name());
        }
    }
    for word in ["", "Active", "active ", "deleted", "OwnerDisabled"] {
        let refused = KeyFilter::all().in_state(word).unwrap_err().to_string();
        assert!(refused.starts_with("the state of the key"), "{refused}");
    }
}

#[test]
fn filter_by_end_follows_the_exceptions_of_the_tenant() {
    let world = world();
    let acme = tenant(&world, "acme");
    named(&acme, "k");
    let soon = KeyFilter::all().expiring_before(world.after(2 * DAY));
    let expired = KeyFilter::all().in_state("expired").unwrap();
    assert_eq!(listed(&acme, &soon), [""; 0]);
    let record = block_on(world.keyring.find_tenant(acme.id())).unwrap();
    let shorter = Exceptions::new().max_lifetime(DAY);
    block_on(world.keyring.set_exceptions(acme.id(), record.version(), shorter)).unwrap();
    assert_eq!(listed(&acme, &soon), ["k"]);
    assert_eq!(walked(&world, &soon).len(), 1);
    assert_eq!(listed(&acme, &expired), [""; 0]);
    world.clock.advance(DAY);
    assert_eq!(listed(&acme, &expired), ["k"]);
    assert_eq!(walked(&world, &expired).len(), 1);
}

#[test]
fn state_of_a_tampered_tenant_is_not_guessed() {
    let world = world();
    let acme = tenant(&world, "acme");
    named(&acme, "k");
    world.store.rewrite_tenants(|tenant| {
        Ok(crate::support::tenant_with_text(&tenant, "advanced", "advance!"))
    });
    let active = KeyFilter::all().in_state("active").unwrap();
    let refused = block_on(acme.list(&matching(&active)));
    assert!(matches!(refused, Err(KeyringError::Refused(_))), "{refused:?}");
    let page = block_on(world.keyring.all_keys(&active, None)).unwrap();
    assert_eq!((page.items.len(), page.broken.len()), (0, 1));
    // A filter that does not depend on the tenant lists the keys.
    assert_eq!(listed(&acme, &KeyFilter::all()), ["k"]);
    let nobody = world.keyring.tenant("nobody".parse().unwrap());
    assert_eq!(listed(&nobody, &active), [""; 0]);
}

#[test]
fn a_filtered_list_crosses_pages_of_the_store() {
    let world = world();
    let acme = tenant(&world, "acme");
    let total = KeyQuery::MAX_LIMIT + 7;
    for number in 0..total {
        let request = NewKey::named(format!("{number:04}"));
        let is_of_ann = number % 100 == 0 || number + 1 == total;
        issue(&acme, request.owner(owner(if is_of_ann { "ann" } else { "bob" })));
    }
    let of_ann = KeyFilter::all().owner(owner("ann"));
    let expected = listed(&acme, &of_ann);
    assert_eq!(expected.len(), 12);
    let active = of_ann.clone().in_state("active").unwrap();
    for filter in [&of_ann, &active] {
        for limit in [1, 5, 12, 13] {
            assert_eq!(in_pages(&acme, filter, limit), expected);
        }
        assert_eq!(walked(&world, filter).len(), 12);
    }
    let of_bob = KeyFilter::all().owner(owner("bob"));
    assert_eq!(in_pages(&acme, &of_bob, KeyQuery::MAX_LIMIT).len(), total - 12);
    let selected = block_on(acme.select(&KeyQuery::all().limit(3))).unwrap();
    assert_eq!((selected.keys.len(), selected.complete), (total, true));
}

// Changes of many keys.

/// Creates a tenant with four keys of ann and one of bob. The selection is that of ann.
fn selected() -> (World, TenantKeys, Selection) {
    let world = world();
    let acme = tenant(&world, "acme");
    for name in ["a1", "a2", "a3", "a4"] {
        issue(&acme, NewKey::named(name).owner(owner("ann")));
        world.clock.advance(Duration::from_millis(1));
    }
    issue(&acme, NewKey::named("b1").owner(owner("bob")));
    let selection =
        block_on(acme.select(&matching(&KeyFilter::all().owner(owner("ann"))))).unwrap();
    (world, acme, selection)
}

async fn change(
    keys: &TenantKeys,
    selection: &Selection,
    deletes: bool,
) -> Result<BulkOutcome, KeyringError> {
    if deletes { keys.delete_all(selection).await } else { keys.disable_all(selection).await }
}

fn all(keys: &TenantKeys) -> Vec<KeyRecord> {
    block_on(keys.list(&KeyQuery::all())).unwrap().items
}

fn enabled(keys: &TenantKeys) -> Vec<String> {
    names(all(keys).iter().filter(|key| key.enabled()))
}

#[test]
fn a_selection_shows_what_a_change_hits_and_changes_nothing() {
    let (world, acme, selection) = selected();
    let before = all(&acme);
    let (writes, events) = (world.store.writes(), world.audit.kinds().len());
    let again = block_on(acme.select(&KeyQuery::all().containing("a"))).unwrap();
    let shown: Vec<_> = selection.keys.iter().map(|key| (&*key.name, key.version)).collect();
    assert_eq!(shown, [("a1", 1), ("a2", 1), ("a3", 1), ("a4", 1)]);
    assert!(selection.complete && selection.broken.is_empty());
    // The position and the limit of the query are ignored.
    let cursor = keyway::store::KeyCursor::of(&before[2]);
    let of_ann = matching(&KeyFilter::all().owner(owner("ann"))).limit(1).after(cursor);
    assert_eq!(block_on(acme.select(&of_ann)).unwrap(), selection);
    assert!(again.keys.len() >= 4);
    assert_eq!((world.store.writes(), world.audit.kinds().len()), (writes, events));
    assert_eq!(all(&acme), before);
}

#[test]
fn a_change_of_a_selection_hits_exactly_its_keys() {
    let (world, acme, selection) = selected();
    world.audit.take_kinds();
    // A key that is issued after the selection is not in it.
    issue(&acme, NewKey::named("a5").owner(owner("ann")));
    let outcome = block_on(acme.disable_all(&selection)).unwrap();
    assert_eq!((outcome.done, outcome.changed_since.len()), (4, 0));
    assert!(outcome.error.is_none());
    assert_eq!(enabled(&acme), ["a5", "b1"]);
    let edits = world.audit.take_kinds();
    assert_eq!(edits.iter().filter(|kind| kind.starts_with("KeyEdited")).count(), 4);

    // They are other versions now, so the old selection deletes none of them.
    let outcome = block_on(acme.delete_all(&selection)).unwrap();
    assert_eq!((outcome.done, outcome.changed_since.len()), (0, 4));
    assert_eq!(all(&acme).len(), 6);
    let disabled = KeyFilter::all().in_state("disabled").unwrap();
    let selection = block_on(acme.select(&matching(&disabled))).unwrap();
    // A key that is disabled already is as requested, and nothing is written.
    let writes = world.store.writes();
    assert_eq!(block_on(acme.disable_all(&selection)).unwrap().done, 4);
    assert_eq!(world.store.writes(), writes);
    let outcome = block_on(acme.delete_all(&selection)).unwrap();
    assert_eq!((outcome.done, outcome.changed_since.len()), (4, 0));
    assert_eq!(names(&all(&acme)), ["a5", "b1"]);
    let outcome = block_on(acme.delete_all(&selection)).unwrap();
    assert_eq!((outcome.done, outcome.changed_since.len()), (0, 4));
}

#[test]
fn key_changed_since_its_selection_is_left_and_reported() {
    for deletes in [false, true] {
        let (_world, acme, selection) = selected();
        let id = |number: usize| selection.keys[number].id;
        block_on(acme.edit(id(0), 1, KeyEdit::new().name("renamed"))).unwrap();
        block_on(acme.edit(id(1), 1, KeyEdit::new().owner(owner("bob")))).unwrap();
        block_on(acme.delete(id(2))).unwrap();
        let outcome = block_on(change(&acme, &selection, deletes));
        let outcome = outcome.unwrap();
        assert_eq!((outcome.done, &*outcome.changed_since), (1, &[id(0), id(1), id(2)][..]));
        assert!(outcome.error.is_none());
        assert_eq!(enabled(&acme), ["a2", "b1", "renamed"]);
        assert_eq!(all(&acme).len(), if deletes { 3 } else { 4 });
    }
}

#[test]
fn a_key_changed_while_it_is_disabled_is_left_and_reported() {
    let (world, acme, selection) = selected();
    world.store.hold("update_key");
    let mut disabling = pin!(acme.disable_all(&selection));
    let mut context = Context::from_waker(Waker::noop());
    assert!(disabling.as_mut().poll(&mut context).is_pending());
    // Another node changes the first key before the write arrives.
    let other = world.another_node_with(policy(), |builder| builder);
    let elsewhere = other.keyring.tenant(acme.id().clone());
    let first = selection.keys[0].id;
    block_on(elsewhere.edit(first, 1, KeyEdit::new().name("new"))).unwrap();
    world.store.release("update_key");
    let outcome = block_on(disabling).unwrap();
    assert_eq!((outcome.done, outcome.changed_since), (3, vec![first]));
    assert_eq!(enabled(&acme), ["b1", "new"]);
}

/// Polls the change and pulls the plug of `method` once two keys are done.
fn interrupt(
    world: &World,
    method: &'static str,
    done: impl Fn() -> usize,
    change: impl Future<Output = Result<BulkOutcome, KeyringError>>,
) -> BulkOutcome {
    world.store.set_slow(true);
    let mut change = pin!(change);
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..1_000 {
        if let Poll::Ready(outcome) = change.as_mut().poll(&mut context) {
            world.store.set_slow(false);
            return outcome.unwrap();
        }
        if done() == 2 {
            world.store.fail(method);
        }
    }
    panic!("it hangs");
}

#[test]
fn an_error_ends_a_change_and_what_it_did_not_reach_stays() {
    for (method, deletes) in [("delete_key", true), ("update_key", false)] {
        let (world, acme, selection) = selected();
        // Counted beneath the faults.
        let beneath = || {
            let rows = block_on(world.store.memory().keys(acme.id(), &KeyQuery::all())).unwrap();
            let left = rows.into_iter().filter(|row| row.as_ref().is_ok_and(KeyRecord::enabled));
            5 - left.count()
        };
        let outcome = interrupt(&world, method, beneath, change(&acme, &selection, deletes));
        assert!(matches!(outcome.error, Some(KeyringError::Unavailable(_))), "{outcome:?}");
        assert_eq!((outcome.done, outcome.changed_since.len()), (2, 0), "{method}");
        assert_eq!(enabled(&acme), ["a3", "a4", "b1"], "{method}");
        // The same selection continues with the rest.
        world.store.heal(method);
        let rest = matching(&KeyFilter::all().owner(owner("ann")).in_state("active").unwrap());
        let selection = block_on(acme.select(&rest)).unwrap();
        assert_eq!(block_on(acme.disable_all(&selection)).unwrap().done, 2);
        assert_eq!(enabled(&acme), ["b1"]);
    }
}

#[test]
fn broken_rows_are_in_a_selection_and_are_not_changed() {
    let (world, acme, _) = selected();
    world
        .store
        .rewrite_keys(|key| Ok(if key.name() == "a2" { with_text(&key, "a2", "xx") } else { key }));
    let selection = block_on(acme.select(&KeyQuery::all())).unwrap();
    let named: BTreeSet<_> = selection.keys.iter().map(|key| &*key.name).collect();
    assert_eq!(named, BTreeSet::from(["a1", "a3", "a4", "b1"]));
    assert_eq!(selection.broken.len(), 1);
    // A key whose row breaks after the selection ends the change with that error.
    world.store.rewrite_nothing();
    let whole = block_on(acme.select(&KeyQuery::all().containing("a"))).unwrap();
    world
        .store
        .rewrite_keys(|key| Ok(if key.name() == "a2" { with_text(&key, "a2", "xx") } else { key }));
    let outcome = block_on(acme.disable_all(&whole)).unwrap();
    assert!(matches!(outcome.error, Some(KeyringError::Refused(_))), "{outcome:?}");
    assert_eq!(outcome.done, 1);
}

#[test]
fn a_selection_is_reached_by_handles_of_its_tenant_alone() {
    let (world, acme, selection) = selected();
    let beta = tenant(&world, "beta");
    named(&beta, "k");
    world.audit.take_kinds();
    assert!(matches!(block_on(beta.disable_all(&selection)), Err(KeyringError::NoKey)));
    assert!(matches!(block_on(beta.delete_all(&selection)), Err(KeyringError::NoKey)));
    let refused = world.audit.take_kinds();
    assert!(refused[0].starts_with("ChangeRefused { change: EditKey, refusal: NotFound"));
    assert!(refused[1].starts_with("ChangeRefused { change: DeleteKey, refusal: NotFound"));
    // A handle of another owner reaches none of the keys.
    let bob = acme.clone().owned_by(owner("bob"));
    for outcome in [block_on(bob.disable_all(&selection)), block_on(bob.delete_all(&selection))] {
        let outcome = outcome.unwrap();
        assert_eq!((outcome.done, outcome.changed_since.len()), (0, 4));
    }
    // A query for another owner selects nothing, not the handle's own keys.
    let of_ann = matching(&KeyFilter::all().owner(owner("ann")));
    assert!(block_on(bob.select(&of_ann)).unwrap().keys.is_empty());
    assert_eq!(enabled(&acme).len(), 5);
    // A granter without scopes may disable what it cannot grant.
    let none = Grant::unlimited(world.keyring.policy().catalog().none());
    let outcome = block_on(acme.granting_at_most(&none).disable_all(&selection)).unwrap();
    assert_eq!((outcome.done, outcome.error.is_none()), (4, true));
}

#[test]
fn words_of_states_are_those_of_keys() {
    let (world, acme, _) = selected();
    let key = &all(&acme)[0];
    let tenant = block_on(world.keyring.find_tenant(acme.id())).unwrap();
    let (policy, now) = (world.keyring.policy(), world.now());
    let state = KeyState::of(key, &tenant, policy, now).as_str();
    let filter = KeyFilter::all().in_state(state).unwrap();
    assert!(filter.matches_of(key, &tenant, policy, now) && !filter.matches(key));
}
