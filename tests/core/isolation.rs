//! A tenant's handle never reaches another tenant's key.

use core::pin::Pin;
use std::future::Future;

use crate::support::{HOUR, Held, World, block_on, overheard::RevealKnown as _, tenant_id};
use keyway::{
    GracePeriod, KeyEdit, KeyRecord, KeyringError, NewKey, TenantKeys,
    record::RecordError,
    store::{KeyCursor, KeyQuery},
};

/// Whether an operation revealed or did anything about the key that it was aimed at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    Nothing,
    Something,
}

type Attempt = for<'a> fn(&'a TenantKeys, &'a Held) -> Pin<Box<dyn Future<Output = Reach> + 'a>>;

/// Every operation of a tenant's handle on a key, by its id, its token, its name or its position.
const ATTEMPTS: [(&str, Attempt); 17] = [
    ("find", |keys, aim| Box::pin(async { told(keys.find(aim.key.id()).await) })),
    ("find by token", |keys, aim| Box::pin(async { told(keys.find_by_token(&aim.token).await) })),
    ("list", |keys, aim| {
        Box::pin(async { listed(&keys.list(&KeyQuery::all()).await.unwrap().items, aim) })
    }),
    ("list behind the place before it", |keys, aim| {
        Box::pin(async {
            let before = KeyCursor { created_at: keyway::Timestamp::MIN, id: aim.key.id() };
            let page = keys.list(&KeyQuery::all().after(before)).await.unwrap();
            listed(&page.items, aim)
        })
    }),
    ("search its id", |keys, aim| {
        Box::pin(async { searched(keys, aim.key.id().as_str(), aim).await })
    }),
    ("search its masked key", |keys, aim| {
        Box::pin(async { searched(keys, aim.key.masked(), aim).await })
    }),
    ("search its name", |keys, aim| Box::pin(async { searched(keys, aim.key.name(), aim).await })),
    ("search its token", |keys, aim| Box::pin(async { searched(keys, &aim.token, aim).await })),
    ("rename", |keys, aim| {
        Box::pin(async { edited(keys, aim, KeyEdit::new().name("mine")).await })
    }),
    ("change its scopes", |keys, aim| {
        Box::pin(async { edited(keys, aim, KeyEdit::new().scopes(["manager"])).await })
    }),
    ("change its expiry", |keys, aim| {
        Box::pin(async {
            let end = aim.key.created_at().checked_add(HOUR);
            edited(keys, aim, KeyEdit::new().expires_at(end)).await
        })
    }),
    ("edit nothing", |keys, aim| Box::pin(async { edited(keys, aim, KeyEdit::new()).await })),
    ("disable", |keys, aim| Box::pin(async { told(keys.disable(aim.key.id()).await) })),
    ("enable", |keys, aim| Box::pin(async { told(keys.enable(aim.key.id()).await) })),
    ("rotate", |keys, aim| {
        Box::pin(async {
            let rotated = keys.rotate(aim.key.id(), aim.key.version(), GracePeriod::None);
            told(rotated.await)
        })
    }),
    ("rotate at a version that it does not have", |keys, aim| {
        Box::pin(async {
            match keys.rotate(aim.key.id(), 77, GracePeriod::None).await {
                Err(KeyringError::NoKey) => Reach::Nothing,
                _ => Reach::Something,
            }
        })
    }),
    ("delete", |keys, aim| Box::pin(async { told(keys.delete(aim.key.id()).await) })),
];

/// Any result except "there is no such key" reveals something.
fn told<T>(result: Result<T, KeyringError>) -> Reach {
    match result {
        Err(KeyringError::NoKey) => Reach::Nothing,
        _ => Reach::Something,
    }
}

fn listed(keys: &[KeyRecord], aim: &Held) -> Reach {
    if keys.iter().any(|key| key.id() == aim.key.id()) { Reach::Something } else { Reach::Nothing }
}

async fn searched(keys: &TenantKeys, text: &str, aim: &Held) -> Reach {
    listed(&keys.search(text).await.unwrap().items, aim)
}

async fn edited(keys: &TenantKeys, aim: &Held, edit: KeyEdit) -> Reach {
    told(keys.edit(aim.key.id(), aim.key.version(), edit).await)
}

#[test]
fn nothing_that_one_tenant_tries_reaches_the_key_of_another() {
    for (name, attempt) in ATTEMPTS {
        let world = World::new();
        let victim = world.tenant_with_key("acme");
        let intruder = world.tenant_with_key("globex");
        let reach = block_on(attempt(&intruder.keys, &victim));
        assert_eq!(reach, Reach::Nothing, "{name}");

        let stored = block_on(victim.keys.find(victim.key.id())).unwrap();
        assert_eq!(stored, victim.key, "{name} changed it");
        assert!(block_on(world.keyring.verify(&victim.token)).is_ok(), "{name} ended it");
    }
}

#[test]
fn owner_reaches_the_key_with_every_attempt() {
    for (name, attempt) in ATTEMPTS {
        let world = World::new();
        let owner = world.tenant_with_key("acme");
        let reach = block_on(attempt(&owner.keys, &owner));
        assert_eq!(reach, Reach::Something, "{name}");
    }
}

#[test]
fn tenant_id_differing_in_case_space_or_form_is_another_tenant() {
    for (name, attempt) in ATTEMPTS {
        let world = World::new();
        let victim = world.tenant_with_key("café");
        for id in ["Café", "ca fé", "café café", "cafe\u{301}", "caf", "café*", "_afé"] {
            world.tenant_with_key(id);
            let handle = world.keyring.tenant(tenant_id(id));
            let reach = block_on(attempt(&handle, &victim));
            assert_eq!(reach, Reach::Nothing, "{name} as {id:?}");
        }
    }
}

#[test]
fn a_handle_of_a_tenant_that_does_not_exist_reaches_nothing() {
    for (name, attempt) in ATTEMPTS {
        let world = World::new();
        let victim = world.tenant_with_key("acme");
        let nobody = world.keyring.tenant(tenant_id("nobody"));
        assert_eq!(block_on(attempt(&nobody, &victim)), Reach::Nothing, "{name}");
    }
}

#[test]
fn a_key_is_issued_to_the_tenant_of_the_handle() {
    let world = World::new();
    let acme = world.tenant_with_key("acme");
    let globex = world.tenant_with_key("globex");
    let issued = block_on(globex.keys.issue(NewKey::named("second"))).unwrap();
    let token = issued.token.reveal_known();
    let caller = block_on(world.keyring.verify(&*token)).unwrap();
    assert_eq!(caller.tenant(), "globex");
    let keys = block_on(acme.keys.list(&KeyQuery::all())).unwrap().items;
    assert_eq!(keys, [acme.key]);
}

#[test]
fn one_tenants_full_quota_leaves_the_others_alone() {
    let world = World::new();
    let acme = world.tenant_with_key("acme");
    let globex = world.tenant_with_key("globex");
    for _ in 0..4 {
        drop(block_on(acme.keys.issue(NewKey::named("more"))).unwrap());
    }
    let sixth = block_on(acme.keys.issue(NewKey::named("a sixth")));
    assert!(matches!(sixth, Err(KeyringError::QuotaExceeded { .. })));
    assert!(block_on(globex.keys.issue(NewKey::named("second"))).is_ok());
}

#[test]
fn suspending_or_deleting_one_tenant_leaves_the_others_alone() {
    let world = World::new();
    let acme = world.tenant_with_key("acme");
    let globex = world.tenant_with_key("globex");
    let works = |held: &Held| block_on(world.keyring.verify(&held.token)).is_ok();
    assert!(works(&acme) && works(&globex));

    let ban = keyway::record::Suspension::permanent("unpaid").unwrap();
    block_on(world.keyring.suspend_tenant(acme.keys.id(), ban)).unwrap();
    assert!(!works(&acme) && works(&globex));
    block_on(world.keyring.delete_tenant(acme.keys.id())).unwrap();
    assert!(!works(&acme) && works(&globex));
}

#[test]
fn store_returning_another_tenants_key_is_not_believed() {
    let world = World::new();
    let acme = world.tenant_with_key("acme");
    let globex = world.tenant_with_key("globex");
    let theirs = acme.key.clone();
    world.store.rewrite_keys(move |_| Ok(theirs.clone()));

    let found = block_on(globex.keys.find(globex.key.id()));
    assert!(matches!(found, Err(KeyringError::NoKey)), "{found:?}");
    let listed = block_on(globex.keys.list(&KeyQuery::all())).unwrap();
    assert_eq!((listed.items.len(), listed.broken.len()), (0, 1), "{listed:?}");
    assert_eq!(listed.broken[0].problem(), &RecordError::Misplaced);
    world.store.rewrite_nothing();
    assert!(block_on(globex.keys.find(globex.key.id())).is_ok());
}

#[test]
fn key_moved_to_another_tenant_in_the_store_is_not_believed() {
    let world = World::new();
    let acme = world.tenant_with_key("acme");
    let evil = world.tenant_with_key("evil");
    let moved = crate::support::with_text(&acme.key, "acme", "evil");
    world.store.rewrite_keys(move |_| Ok(moved.clone()));

    let listed = block_on(evil.keys.list(&KeyQuery::all())).unwrap();
    assert_eq!((listed.items.len(), listed.broken.len()), (0, 1), "{listed:?}");
    assert_eq!(listed.broken[0].problem(), &RecordError::Tampered);
    assert!(block_on(world.keyring.verify(&acme.token)).is_err());
    world.store.rewrite_nothing();
    let listed = block_on(evil.keys.list(&KeyQuery::all())).unwrap();
    assert_eq!((listed.items.len(), listed.broken.len()), (1, 0), "{listed:?}");
    assert!(block_on(world.keyring.verify(&acme.token)).is_ok());
}
