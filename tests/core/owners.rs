//! Owners: a handle of one owner reaches the keys of that owner alone, and a disabled owner's keys cannot be used.

use core::pin::Pin;
use std::{
    future::Future,
    pin::pin,
    task::{Context, Waker},
};

use crate::support::{
    MAX_STALENESS, World, block_on, catalog, overheard::RevealKnown as _, tenant_id,
};
use keyway::{
    ChangeError, GracePeriod, ImportedKey, KeyEdit, KeyRecord, KeyState, KeyringError, NewKey,
    Policy, Principal, TenantKeys, Tier, VerifyError,
    grant::Grant,
    import::{ForeignDigest, ForeignFormat, ForeignHash},
    record::{Labels, Owner, TenantRecord},
    store::{KeyFilter, KeyQuery},
};
use sha2::{Digest as _, Sha256};

const OPAQUE: &str = "q7Yx0vFz-2mKp9_LrT4wNcB6sHd8eGuA3jVtPoXiMn5";

fn owner(id: &str) -> Owner {
    id.parse().unwrap()
}

fn foreign() -> ForeignFormat {
    ForeignFormat::whole_token(ForeignHash::Sha256).lengths(43..=43).unwrap()
}

fn imported(token: &str, request: NewKey) -> ImportedKey {
    let digest = ForeignDigest::from_bytes(&Sha256::digest(token)).unwrap();
    ImportedKey::new(&foreign(), digest, request).unwrap()
}

fn policy() -> Policy {
    Policy::new("mm", catalog(), [Tier::new("advanced", 50)]).unwrap()
}

fn world() -> World {
    World::with(policy(), |builder| builder.accept_imported(foreign()))
}

fn another_node(world: &World) -> World {
    world.another_node_with(policy(), |builder| builder.accept_imported(foreign()))
}

fn acme(world: &World) -> TenantKeys {
    block_on(world.keyring.create_empty_tenant("acme", "advanced")).unwrap()
}

/// A key of the tenant and its token.
struct Key {
    key: KeyRecord,
    token: String,
}

fn issue(keys: &TenantKeys, request: NewKey) -> Key {
    let issued = block_on(keys.issue(request)).unwrap();
    Key { key: issued.key, token: issued.token.reveal_known().to_string() }
}

fn issue_for(keys: &TenantKeys, id: &str, name: &str) -> Key {
    issue(keys, NewKey::named(name).scopes(["reporting"]).owner(owner(id)))
}

fn verify(world: &World, token: &str) -> Result<Principal, VerifyError> {
    block_on(world.keyring.verify(token))
}

fn state(world: &World, token: &str) -> KeyState {
    match verify(world, token) {
        Ok(_) => KeyState::Active,
        Err(VerifyError::Inactive(state)) => state,
        Err(error) => panic!("{error}"),
    }
}

fn names(keys: &[KeyRecord]) -> Vec<&str> {
    let mut names: Vec<_> = keys.iter().map(KeyRecord::name).collect();
    names.sort_unstable();
    names
}

fn refusal<T>(done: Result<T, KeyringError>) -> ChangeError {
    match done.map(drop).unwrap_err() {
        KeyringError::Refused(refused) => refused,
        error => panic!("{error}"),
    }
}

fn of(id: &str) -> KeyQuery {
    KeyQuery::all().matching(KeyFilter::all().owner(owner(id)))
}

// A handle of one owner.

type Attempt = for<'a> fn(&'a TenantKeys, &'a Key) -> Pin<Box<dyn Future<Output = bool> + 'a>>;

fn is_told<T>(result: Result<T, KeyringError>) -> bool {
    !matches!(result, Err(KeyringError::NoKey))
}

async fn finds(keys: &TenantKeys, text: &str) -> bool {
    let page = keys.search(text).await.unwrap();
    !page.items.is_empty() || page.next.is_some()
}

async fn lists(keys: &TenantKeys, query: KeyQuery) -> bool {
    let page = keys.list(&query).await.unwrap();
    !page.items.is_empty() || page.next.is_some()
}

/// Every operation of a handle on a key. Each returns whether it revealed or changed anything.
const ATTEMPTS: [(&str, Attempt); 20] = [
    ("find", |keys, aim| Box::pin(async { is_told(keys.find(aim.key.id()).await) })),
    ("find by token", |keys, aim| {
        Box::pin(async { is_told(keys.find_by_token(&aim.token).await) })
    }),
    ("list", |keys, _| Box::pin(lists(keys, KeyQuery::all()))),
    ("list the owner's", |keys, aim| {
        Box::pin(async {
            let of_owner = KeyFilter::all().owner(aim.key.owner().unwrap().clone());
            lists(keys, KeyQuery::all().matching(of_owner)).await
        })
    }),
    ("list by a label", |keys, _| {
        let labeled = KeyFilter::all().label("team", "billing");
        Box::pin(lists(keys, KeyQuery::all().matching(labeled)))
    }),
    ("list a small page", |keys, _| Box::pin(lists(keys, KeyQuery::all().limit(1)))),
    ("search its id", |keys, aim| Box::pin(async { finds(keys, aim.key.id().as_str()).await })),
    ("search its masked key", |keys, aim| Box::pin(finds(keys, aim.key.masked()))),
    ("search its name", |keys, aim| Box::pin(finds(keys, aim.key.name()))),
    ("search its token", |keys, aim| Box::pin(finds(keys, &aim.token))),
    ("state", |keys, aim| Box::pin(async { is_told(keys.state(&aim.key).await) })),
    ("rename", |keys, aim| {
        Box::pin(async {
            let edit = KeyEdit::new().name("mine");
            is_told(keys.edit(aim.key.id(), aim.key.version(), edit).await)
        })
    }),
    ("take over", |keys, aim| {
        Box::pin(async {
            let edit = KeyEdit::new().owner(owner("bob"));
            is_told(keys.edit(aim.key.id(), aim.key.version(), edit).await)
        })
    }),
    ("enable", |keys, aim| Box::pin(async { is_told(keys.enable(aim.key.id()).await) })),
    ("disable", |keys, aim| Box::pin(async { is_told(keys.disable(aim.key.id()).await) })),
    ("rotate", |keys, aim| {
        Box::pin(async {
            let rotated = keys.rotate(aim.key.id(), aim.key.version(), GracePeriod::None);
            is_told(rotated.await)
        })
    }),
    ("rotate another version", |keys, aim| {
        Box::pin(async { is_told(keys.rotate(aim.key.id(), 77, GracePeriod::None).await) })
    }),
    ("delete", |keys, aim| Box::pin(async { is_told(keys.delete(aim.key.id()).await) })),
    ("delete a version", |keys, aim| {
        Box::pin(async { is_told(keys.delete_version(aim.key.id(), aim.key.version()).await) })
    }),
    ("select", |keys, _| {
        Box::pin(async {
            let selected = keys.select(&KeyQuery::all()).await.unwrap();
            !selected.keys.is_empty() || !selected.complete
        })
    }),
];

/// Returns a key of ann with everything that an attempt aims at.
fn key_of_ann(acme: &TenantKeys) -> Key {
    let labels = Labels::new([("team", "billing")]).unwrap();
    issue(acme, NewKey::named("nightly").labels(labels).owner(owner("ann")))
}

#[test]
fn no_operation_of_another_owner_reaches_a_key() {
    for (name, attempt) in ATTEMPTS {
        let world = world();
        let acme = acme(&world);
        let aim = key_of_ann(&acme);
        for handle in [
            acme.clone().owned_by(owner("bob")),
            // The case and a space make another owner.
            acme.clone().owned_by(owner("Ann")),
            // Two owners leave nothing, in either order.
            acme.clone().owned_by(owner("ann")).owned_by(owner("bob")),
            acme.clone().owned_by(owner("bob")).owned_by(owner("ann")),
        ] {
            assert!(!block_on(attempt(&handle, &aim)), "{name}");
        }
        assert_eq!(block_on(acme.find(aim.key.id())).unwrap(), aim.key, "{name}");
        assert!(verify(&world, &aim.token).is_ok(), "{name}");
    }
}

/// The control: each attempt reaches the key through the handles that may see it.
#[test]
fn every_operation_of_its_owner_reaches_a_key() {
    for (name, attempt) in ATTEMPTS {
        for is_owner in [true, false] {
            let world = world();
            let acme = acme(&world);
            let aim = key_of_ann(&acme);
            let ann = acme.clone().owned_by(owner("ann")).owned_by(owner("ann"));
            assert!(block_on(attempt(if is_owner { &ann } else { &acme }, &aim)), "{name}");
        }
    }
}

#[test]
fn owners_handle_sees_only_the_owners_keys() {
    let world = world();
    let acme = acme(&world);
    for (id, name) in [("ann", "a-1"), ("bob", "b-1"), ("ann", "a-2"), ("bob", "b-2")] {
        issue_for(&acme, id, name);
    }
    issue(&acme, NewKey::named("c-none"));
    let ann = acme.clone().owned_by(owner("ann"));
    let list = |keys: &TenantKeys, query| {
        let page = block_on(keys.list(&query)).unwrap();
        names(&page.items).join(" ")
    };
    assert_eq!(list(&ann, KeyQuery::all()), "a-1 a-2");
    assert_eq!(list(&acme, KeyQuery::all()), "a-1 a-2 b-1 b-2 c-none");
    assert_eq!(list(&acme, of("bob")), "b-1 b-2");
    assert_eq!(list(&ann, of("ann")), "a-1 a-2");
    assert_eq!(list(&ann, of("bob")), "");
    assert_eq!(list(&ann, KeyQuery::all().containing("-2")), "a-2");
    assert_eq!(names(&block_on(ann.search("")).unwrap().items), ["a-1", "a-2"]);
    // The quota is still that of the tenant.
    assert_eq!(block_on(ann.quota()).unwrap().held, 5);

    let (mut found, mut query) = (Vec::new(), KeyQuery::all().limit(1));
    loop {
        let page = block_on(ann.list(&query)).unwrap();
        found.extend(page.items);
        let Some(next) = page.next else { break };
        query = query.after(next);
    }
    assert_eq!(names(&found), ["a-1", "a-2"]);
}

#[test]
fn owners_handle_makes_keys_for_its_owner_alone() {
    let world = world();
    let acme = acme(&world);
    let ann = acme.clone().owned_by(owner("ann"));
    for request in [NewKey::named("k"), NewKey::named("k").owner(owner("ann"))] {
        assert_eq!(issue(&ann, request).key.owner(), Some(&owner("ann")));
    }
    let import =
        |keys: &TenantKeys, token: &str, request| block_on(keys.import(imported(token, request)));
    let key = import(&ann, OPAQUE, NewKey::named("k")).unwrap();
    assert_eq!(key.owner(), Some(&owner("ann")));
    assert_eq!(verify(&world, OPAQUE).unwrap().owner(), Some(&owner("ann")));
    assert_eq!(block_on(ann.search(OPAQUE)).unwrap().items, std::slice::from_ref(&key));
    let bob = acme.clone().owned_by(owner("bob"));
    assert!(block_on(bob.search(OPAQUE)).unwrap().items.is_empty());

    let is_other = |refused: ChangeError, own: &str| matches!(refused, ChangeError::OtherOwner(other) if other == owner(own));
    let for_bob = || NewKey::named("k").owner(owner("bob"));
    let other = "R".repeat(43);
    assert!(is_other(refusal(block_on(ann.issue(for_bob()))), "ann"));
    assert!(is_other(refusal(import(&ann, &other, for_bob())), "ann"));
    // A handle of two owners makes no key at all.
    let neither = ann.clone().owned_by(owner("bob"));
    for request in [NewKey::named("k"), NewKey::named("k").owner(owner("ann")), for_bob()] {
        refusal(block_on(neither.issue(request.clone())));
        refusal(import(&neither, &other, request));
    }
    // No edit gives a key away, and one that keeps the owner is done.
    for away in [KeyEdit::new().owner(owner("bob")), KeyEdit::new().owner(None)] {
        assert!(is_other(refusal(block_on(ann.edit(key.id(), 1, away))), "ann"));
    }
    block_on(ann.edit(key.id(), 1, KeyEdit::new().owner(owner("ann")))).unwrap();
    assert_eq!(block_on(acme.quota()).unwrap().held, 3);
}

#[test]
fn repeated_import_by_another_owner_changes_nothing() {
    let world = world();
    let acme = acme(&world);
    let ann = acme.clone().owned_by(owner("ann"));
    let key = block_on(ann.import(imported(OPAQUE, NewKey::named("k")))).unwrap();
    world.clock.advance(MAX_STALENESS);
    let again = || imported(OPAQUE, NewKey::named("k")).last_used(world.now());
    let bob = acme.clone().owned_by(owner("bob"));
    let refused = block_on(bob.import(again()));
    assert!(matches!(refused, Err(KeyringError::AlreadyImported(_))), "{refused:?}");
    assert_eq!(block_on(acme.find(key.id())).unwrap().last_used(), None);
    // The owner's own repetition completes the import.
    assert!(block_on(ann.import(again())).is_err());
    assert!(block_on(acme.find(key.id())).unwrap().last_used().is_some());
}

#[test]
fn key_given_to_another_owner_leaves_the_first_handle_at_once() {
    let world = world();
    let acme = acme(&world);
    let (ann, bob) = (acme.clone().owned_by(owner("ann")), acme.clone().owned_by(owner("bob")));
    let Key { key, token } = issue_for(&acme, "ann", "k");
    let other = another_node(&world);
    let ann_elsewhere = other.keyring.tenant(tenant_id("acme")).owned_by(owner("ann"));
    assert_eq!(verify(&world, &token).unwrap().owner(), Some(&owner("ann")));

    let given = block_on(acme.edit(key.id(), 1, KeyEdit::new().owner(owner("bob")))).unwrap();
    assert_eq!(verify(&world, &token).unwrap().owner(), Some(&owner("bob")));
    for handle in [&ann, &ann_elsewhere] {
        assert!(!is_told(block_on(handle.find(key.id()))));
        assert!(!is_told(block_on(handle.edit(key.id(), 1, KeyEdit::new().name("n")))));
        assert!(!is_told(block_on(handle.delete_version(key.id(), 1))));
        assert!(block_on(handle.search(&token)).unwrap().items.is_empty());
        assert!(block_on(handle.list(&KeyQuery::all())).unwrap().items.is_empty());
    }
    assert_eq!(block_on(bob.find(key.id())).unwrap(), given);
    assert_eq!(block_on(bob.search(&token)).unwrap().items, std::slice::from_ref(&given));
    let none = block_on(acme.edit(key.id(), 2, KeyEdit::new().owner(None))).unwrap();
    assert_eq!((none.owner(), is_told(block_on(bob.find(key.id())))), (None, false));
}

#[test]
fn deletion_that_races_with_a_move_to_another_owner_fails() {
    for version in [None, Some(1)] {
        let world = world();
        let acme = acme(&world);
        let ann = acme.clone().owned_by(owner("ann"));
        let Key { key, token } = issue_for(&acme, "ann", "k");
        world.store.hold("delete_key");
        let mut deletion = pin!(async {
            match version {
                None => ann.delete(key.id()).await,
                Some(version) => ann.delete_version(key.id(), version).await,
            }
        });
        let mut context = Context::from_waker(Waker::noop());
        assert!(deletion.as_mut().poll(&mut context).is_pending());
        block_on(acme.edit(key.id(), 1, KeyEdit::new().owner(owner("bob")))).unwrap();
        world.store.release("delete_key");
        let refused = block_on(deletion).unwrap_err();
        let is_expected = match version {
            None => matches!(refused, KeyringError::NoKey),
            Some(_) => matches!(refused, KeyringError::Conflict),
        };
        assert!(is_expected, "{refused}");
        assert!(verify(&world, &token).is_ok());
    }
}

#[test]
fn deletion_by_the_owner_survives_another_change_of_the_key() {
    let world = world();
    let acme = acme(&world);
    let ann = acme.clone().owned_by(owner("ann"));
    let Key { key, .. } = issue_for(&acme, "ann", "k");
    world.store.hold("delete_key");
    let mut deletion = pin!(ann.delete(key.id()));
    let mut context = Context::from_waker(Waker::noop());
    assert!(deletion.as_mut().poll(&mut context).is_pending());
    block_on(acme.edit(key.id(), 1, KeyEdit::new().name("n"))).unwrap();
    world.store.release("delete_key");
    block_on(deletion).unwrap();
    assert!(!is_told(block_on(acme.find(key.id()))));
}

// Disabled owners.

#[test]
fn keys_of_a_disabled_owner_stop_on_every_node() {
    let world = world();
    let acme = acme(&world);
    let (a1, a2) = (issue_for(&acme, "ann", "a1"), issue_for(&acme, "ann", "a2"));
    let others = [issue_for(&acme, "bob", "b"), issue(&acme, NewKey::named("none"))];
    let beta = block_on(world.keyring.create_empty_tenant("beta", "advanced")).unwrap();
    let namesake = issue_for(&beta, "ann", "another ann");
    let caching = another_node(&world);
    for token in [&a1.token, &a2.token] {
        assert!(verify(&world, token).is_ok() && verify(&caching, token).is_ok());
    }
    let writes = world.store.writes();
    let tenant = block_on(acme.disable_owner(&owner("ann"))).unwrap();
    assert_eq!(tenant.disabled_owners(), [owner("ann")]);
    assert_eq!(world.store.writes(), writes + 1);

    for token in [&a1.token, &a2.token] {
        assert_eq!(state(&world, token), KeyState::OwnerDisabled);
        assert_eq!(state(&another_node(&world), token), KeyState::OwnerDisabled);
        // A node without a feed follows within its bound.
        assert_eq!(state(&caching, token), KeyState::Active);
    }
    caching.clock.advance(MAX_STALENESS);
    for Key { token, key } in [&a1, &a2] {
        assert_eq!(state(&caching, token), KeyState::OwnerDisabled);
        assert_eq!(block_on(acme.state(key)).unwrap(), KeyState::OwnerDisabled);
        let described = block_on(world.keyring.describe(token)).unwrap();
        assert_eq!(described.state, KeyState::OwnerDisabled);
    }
    for Key { token, .. } in others.iter().chain([&namesake]) {
        assert_eq!(state(&world, token), KeyState::Active);
    }

    // A repetition writes nothing.
    let writes = world.store.writes();
    assert_eq!(block_on(acme.disable_owner(&owner("ann"))).unwrap(), tenant);
    assert_eq!(world.store.writes(), writes);
    block_on(acme.enable_owner(&owner("ann"))).unwrap();
    assert_eq!(state(&world, &a1.token), KeyState::Active);
    assert_eq!(state(&world, &a2.token), KeyState::Active);
}

#[test]
fn new_keys_for_a_disabled_owner_are_refused() {
    let world = world();
    let acme = acme(&world);
    block_on(acme.disable_owner(&owner("ann"))).unwrap();
    let ann = acme.clone().owned_by(owner("ann"));
    let for_ann = || NewKey::named("k").owner(owner("ann"));
    for refused in [
        refusal(block_on(acme.issue(for_ann()))),
        refusal(block_on(ann.issue(NewKey::named("k")))),
        refusal(block_on(acme.import(imported(OPAQUE, for_ann())))),
        refusal(block_on(ann.import(imported(OPAQUE, NewKey::named("k"))))),
    ] {
        assert_eq!(refused.to_string(), "the owner `ann` is disabled");
    }
    issue_for(&acme, "bob", "k");
    // A key that is given to the owner stops with that.
    let given = issue_for(&acme, "bob", "k");
    let give = |version, id| {
        let edit = KeyEdit::new().owner(owner(id));
        block_on(acme.edit(given.key.id(), version, edit)).unwrap();
    };
    give(1, "ann");
    assert_eq!(state(&world, &given.token), KeyState::OwnerDisabled);
    give(2, "bob");
    assert_eq!(state(&world, &given.token), KeyState::Active);
    block_on(acme.enable_owner(&owner("ann"))).unwrap();
    issue_for(&acme, "ann", "k");
}

/// An owner is disabled between the read of the tenant and the insert of a key.
#[test]
fn key_issued_while_its_owner_is_disabled_is_refused() {
    let world = world();
    let acme = acme(&world);
    world.store.hold("insert_key");
    let mut issuing = pin!(acme.issue(NewKey::named("k").owner(owner("ann"))));
    let mut context = Context::from_waker(Waker::noop());
    assert!(issuing.as_mut().poll(&mut context).is_pending());
    block_on(acme.disable_owner(&owner("ann"))).unwrap();
    world.store.release("insert_key");
    assert!(matches!(refusal(block_on(issuing)), ChangeError::OwnerDisabled(_)));
    assert_eq!(block_on(acme.quota()).unwrap().held, 0);
}

#[test]
fn enabled_owner_finds_each_key_in_its_own_state() {
    let world = world();
    let acme = acme(&world);
    let keys = ["active", "disabled", "suspended", "expired", "later"]
        .map(|name| issue_for(&acme, "ann", name));
    let edit = |key: &Key, edit| block_on(acme.edit(key.key.id(), 1, edit)).unwrap();
    block_on(acme.disable(keys[1].key.id())).unwrap();
    let ban = keyway::record::Suspension::permanent("spam").unwrap();
    block_on(world.keyring.suspend_key(keys[2].key.id(), ban)).unwrap();
    edit(&keys[3], KeyEdit::new().expires_at(world.after(MAX_STALENESS)));
    edit(&keys[4], KeyEdit::new().not_before(world.after(100 * MAX_STALENESS)));
    world.clock.advance(MAX_STALENESS);
    let states = || keys.each_ref().map(|key| state(&world, &key.token).as_str());
    let before = states();
    assert_eq!(before, ["active", "disabled", "suspended", "expired", "not_yet_valid"]);
    let records = || block_on(acme.list(&KeyQuery::all())).unwrap().items;
    let stored = records();

    block_on(acme.disable_owner(&owner("ann"))).unwrap();
    // A suspension by an operator comes first.
    let all = "owner_disabled";
    assert_eq!(states(), [all, all, "suspended", all, all]);
    // No key was lost or changed, and the keys can still be managed.
    assert_eq!(records(), stored);
    block_on(acme.edit(keys[0].key.id(), 1, KeyEdit::new().name("renamed"))).unwrap();
    drop(block_on(acme.rotate(keys[0].key.id(), 2, GracePeriod::default())).unwrap());
    block_on(acme.enable(keys[0].key.id())).unwrap();
    assert_eq!(states()[0], all);

    block_on(acme.enable_owner(&owner("ann"))).unwrap();
    assert_eq!(states(), before);
}

#[test]
fn no_more_than_a_thousand_owners_are_disabled() {
    let world = world();
    let acme = acme(&world);
    let id = |number: usize| owner(&format!("owner {number:04}"));
    for number in 0..TenantRecord::MAX_DISABLED_OWNERS {
        // In an order that is not that of their names.
        block_on(acme.disable_owner(&id(number * 7 % 1_000))).unwrap();
    }
    let tenant = block_on(world.keyring.find_tenant(acme.id())).unwrap();
    assert_eq!(tenant.disabled_owners().len(), 1_000);
    assert!(tenant.disabled_owners().is_sorted());
    let refused = refusal(block_on(acme.disable_owner(&owner("one more"))));
    assert!(matches!(refused, ChangeError::TooManyDisabledOwners), "{refused}");
    assert_eq!(refused.to_string(), "1000 owners are disabled; no more are possible");
    // One of them is disabled already.
    block_on(acme.disable_owner(&id(500))).unwrap();
    block_on(acme.enable_owner(&id(500))).unwrap();
    block_on(acme.disable_owner(&owner("one more"))).unwrap();
    let key = issue_for(&acme, "owner 0500", "k");
    assert_eq!(state(&world, &key.token), KeyState::Active);
    let refused = refusal(block_on(acme.issue(NewKey::named("k").owner(id(999)))));
    assert!(matches!(refused, ChangeError::OwnerDisabled(_)), "{refused}");
}

#[test]
fn limited_handles_cannot_enable_an_owner() {
    let world = world();
    let acme = acme(&world);
    let ann = acme.clone().owned_by(owner("ann"));
    let all = Grant::unlimited(world.keyring.policy().catalog().all());
    let reader = world.keyring.policy().catalog().set(["reporting"]).unwrap();
    let granter = acme.clone().granting_at_most(&Grant::unlimited(reader));
    let key = issue_for(&acme, "ann", "k");
    for other in [owner("ann"), owner("bob")] {
        assert!(matches!(
            refusal(block_on(ann.disable_owner(&other))),
            ChangeError::OtherOwner(own) if own == owner("ann")
        ));
    }
    // To disable takes nothing that the granter would have to have.
    block_on(granter.disable_owner(&owner("ann"))).unwrap();
    assert!(matches!(
        refusal(block_on(granter.enable_owner(&owner("ann")))),
        ChangeError::OwnerAboveGranter(above) if above == owner("ann")
    ));
    for handle in [ann.clone(), ann.clone().owned_by(owner("bob")), ann.granting_at_most(&all)] {
        let refused = refusal(block_on(handle.enable_owner(&owner("ann"))));
        assert!(matches!(refused, ChangeError::OtherOwner(_)), "{refused}");
    }
    assert_eq!(state(&world, &key.token), KeyState::OwnerDisabled);
    // A granter of everything covers all keys of the owner.
    block_on(acme.granting_at_most(&all).enable_owner(&owner("ann"))).unwrap();
    assert_eq!(state(&world, &key.token), KeyState::Active);
    let unknown = world.keyring.tenant(tenant_id("nobody"));
    let done = block_on(unknown.disable_owner(&owner("ann")));
    assert!(matches!(done, Err(KeyringError::NoTenant(_))), "{done:?}");
}

#[test]
fn switches_of_an_owner_survive_other_changes_of_the_tenant() {
    let world = world();
    let acme = acme(&world);
    world.store.hold("update_tenant");
    let ann = owner("ann");
    let mut disabling = pin!(acme.disable_owner(&ann));
    let mut context = Context::from_waker(Waker::noop());
    assert!(disabling.as_mut().poll(&mut context).is_pending());
    let other = another_node(&world);
    let elsewhere = other.keyring.tenant(tenant_id("acme"));
    block_on(elsewhere.disable_owner(&owner("bob"))).unwrap();
    world.store.release("update_tenant");
    let tenant = block_on(disabling).unwrap();
    assert_eq!(tenant.disabled_owners(), [owner("ann"), owner("bob")]);
    // Other changes of the tenant leave its owners.
    block_on(world.keyring.set_tier(acme.id(), "advanced")).unwrap();
    let ban = keyway::record::Suspension::permanent("unpaid").unwrap();
    block_on(world.keyring.suspend_tenant(acme.id(), ban)).unwrap();
    block_on(world.keyring.resume_tenant(acme.id())).unwrap();
    let tenant = block_on(world.keyring.find_tenant(acme.id())).unwrap();
    assert_eq!(tenant.disabled_owners().len(), 2);
}

#[test]
fn switches_of_an_owner_are_audit_events() {
    let world = world();
    let acme = acme(&world).acting_as("ops");
    world.audit.take_kinds();
    block_on(acme.disable_owner(&owner("ann"))).unwrap();
    block_on(acme.disable_owner(&owner("ann"))).unwrap();
    refusal(block_on(acme.clone().owned_by(owner("ann")).enable_owner(&owner("ann"))));
    refusal(block_on(acme.clone().owned_by(owner("bob")).disable_owner(&owner("ann"))));
    block_on(acme.enable_owner(&owner("ann"))).unwrap();
    let events = world.audit.events();
    assert!(events.iter().all(|event| {
        (&*event.actor, event.tenant.as_deref(), &event.key) == ("ops", Some("acme"), &None)
    }));
    let kinds = world.audit.take_kinds();
    assert_eq!(kinds[0], "OwnerDisabled { owner: \"ann\" }");
    assert!(kinds[1].starts_with("ChangeRefused { change: EnableOwner, refusal: NotAllowed"));
    assert!(kinds[2].starts_with("ChangeRefused { change: DisableOwner, refusal: NotAllowed"));
    assert_eq!(kinds[3..], ["OwnerEnabled { owner: \"ann\" }"]);
}

// The owner of a caller.

#[test]
fn caller_carries_its_owner_and_the_applications_attributes() {
    let world = world();
    let acme = acme(&world);
    let attributes = Labels::new([("plan", "gold")]).unwrap();
    let labels = Labels::new([("plan", "free")]).unwrap();
    let request = NewKey::named("k").owner(owner("ann")).attributes(attributes.clone());
    let Key { key, token } = issue(&acme, request.labels(labels.clone()));
    let carried = |labels: &Labels, attributes: &Labels| {
        let caller = verify(&world, &token).unwrap();
        assert_eq!(caller.owner(), Some(&owner("ann")));
        assert_eq!((caller.labels(), caller.attributes()), (labels, attributes));
    };
    carried(&labels, &attributes);
    // A change of the labels, a rotation or another edit leaves the attributes.
    let other = Labels::new([("plan", "gold"), ("region", "eu")]).unwrap();
    block_on(acme.edit(key.id(), 1, KeyEdit::new().labels(other.clone()))).unwrap();
    carried(&other, &attributes);
    block_on(acme.edit(key.id(), 2, KeyEdit::new().labels(Labels::default()))).unwrap();
    carried(&Labels::default(), &attributes);
    drop(block_on(acme.rotate(key.id(), 3, GracePeriod::default())).unwrap());
    carried(&Labels::default(), &attributes);
    block_on(acme.edit(key.id(), 4, KeyEdit::new().attributes(other.clone()))).unwrap();
    carried(&Labels::default(), &other);

    let plain = issue(&acme, NewKey::named("k").labels(labels));
    let caller = verify(&world, &plain.token).unwrap();
    assert_eq!((caller.owner(), caller.attributes()), (None, &Labels::default()));
}
