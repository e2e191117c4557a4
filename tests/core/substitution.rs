//! A record that a store returns in the place of another is never accepted, by any method.

use crate::support::{DAY, Held, World, block_on, policy, tenant_id};
use keyway::{
    GracePeriod, KeyEdit, KeyRecord, Keyring, LeakResponse, NewKey,
    record::{Suspension, TenantRecord},
    store::{KeyFilter, KeyQuery, KeyStore},
    verifier::Freshness,
};

/// The record that a store returns in the place of the requested one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lie {
    /// Another tenant's key.
    KeyOfAnother,
    /// Another key of the same tenant.
    Sibling,
    /// Another tenant.
    Tenant,
    /// Another tenant's key, together with that tenant.
    Both,
}

struct Victims {
    world: World,
    acme: Held,
    sibling: KeyRecord,
    beta: Held,
    beta_record: TenantRecord,
}

impl Victims {
    fn new() -> Self {
        let world = World::new();
        let acme = world.tenant_with_key("acme");
        let sibling = block_on(acme.keys.issue(NewKey::named("sibling"))).unwrap().key;
        let beta = world.tenant_with_key("beta");
        let beta_record = block_on(world.store.memory().tenant(beta.keys.id())).unwrap().unwrap();
        Self { world, acme, sibling, beta, beta_record }
    }

    fn lie(&self, lie: Lie) {
        let store = &self.world.store;
        let key = match lie {
            Lie::KeyOfAnother | Lie::Both => Some(self.beta.key.clone()),
            Lie::Sibling => Some(self.sibling.clone()),
            Lie::Tenant => None,
        };
        if let Some(other) = key {
            store.rewrite_keys(move |_| Ok(other.clone()));
        }
        if matches!(lie, Lie::Tenant | Lie::Both) {
            let other = self.beta_record.clone();
            store.rewrite_tenants(move |_| Ok(other.clone()));
        }
    }
}

/// Requests the key or tenant of `acme`. Returns the ids of the returned records, or the error.
type Ask = fn(&Keyring, &Held) -> Result<String, String>;

fn told<T: core::fmt::Debug, E: core::fmt::Debug>(result: Result<T, E>) -> Result<String, String> {
    result.map(|given| format!("{given:?}")).map_err(|error| format!("{error:?}"))
}

fn ban() -> Suspension {
    Suspension::permanent("spam").unwrap()
}

/// Every method that reads records, and whether it reads a key and a tenant.
const METHODS: [(&str, bool, bool, Ask); 25] = [
    ("verify", true, true, |ring, held| told(block_on(ring.verify(&held.token)))),
    ("verify fresh", true, true, |ring, held| {
        told(block_on(ring.verify_as_of(&held.token, Freshness::Now)))
    }),
    ("find", true, false, |_, held| told(block_on(held.keys.find(held.key.id())))),
    ("find by token", true, false, |_, held| told(block_on(held.keys.find_by_token(&held.token)))),
    ("list", true, false, |_, held| told(block_on(held.keys.list(&KeyQuery::all())))),
    ("search", true, false, |_, held| told(block_on(held.keys.search("first")))),
    ("search a token", true, false, |_, held| told(block_on(held.keys.search(&held.token)))),
    ("state", false, true, |_, held| told(block_on(held.keys.state(&held.key)))),
    ("quota", false, true, |_, held| told(block_on(held.keys.quota()))),
    ("issue", false, true, |_, held| {
        told(block_on(held.keys.issue(NewKey::named("n"))).map(|issued| issued.key))
    }),
    ("edit", true, true, |_, held| {
        told(block_on(held.keys.edit(held.key.id(), 1, KeyEdit::new().name("x"))))
    }),
    ("enable", true, true, |_, held| told(block_on(held.keys.disable(held.key.id())))),
    ("rotate", true, false, |_, held| {
        let rotated = block_on(held.keys.rotate(held.key.id(), 1, GracePeriod::None));
        told(rotated.map(|issued| issued.key))
    }),
    ("describe", true, true, |ring, held| told(block_on(ring.describe(&held.token)))),
    ("revoke", true, false, |ring, held| told(block_on(ring.revoke(&held.token)))),
    ("report leak", true, false, |ring, held| {
        told(block_on(ring.report_leak(&held.token, "seen", LeakResponse::Suspend)))
    }),
    ("find key", true, true, |ring, held| told(block_on(ring.find_key(held.key.id())))),
    ("suspend key", true, true, |ring, held| {
        told(block_on(ring.suspend_key(held.key.id(), ban())))
    }),
    ("resume key", true, true, |ring, held| told(block_on(ring.resume_key(held.key.id())))),
    ("find tenant", false, true, |ring, held| told(block_on(ring.find_tenant(held.keys.id())))),
    ("set tier", false, true, |ring, held| {
        told(block_on(ring.set_tier(held.keys.id(), "advanced")))
    }),
    ("suspend tenant", false, true, |ring, held| {
        told(block_on(ring.suspend_tenant(held.keys.id(), ban())))
    }),
    ("resume tenant", false, true, |ring, held| told(block_on(ring.resume_tenant(held.keys.id())))),
    ("all keys", true, false, |ring, _| told(block_on(ring.all_keys(&KeyFilter::all(), None)))),
    ("purge", true, false, |ring, _| {
        told(block_on(ring.purge_expired(DAY, None, |_| {})).map(|done| done.changed))
    }),
];

#[test]
fn a_record_in_the_place_of_another_is_never_believed() {
    for (name, reads_key, reads_tenant, ask) in METHODS {
        for lie in [Lie::KeyOfAnother, Lie::Sibling, Lie::Tenant, Lie::Both] {
            let concerns = match lie {
                Lie::KeyOfAnother | Lie::Sibling => reads_key,
                Lie::Tenant => reads_tenant,
                Lie::Both => reads_key || reads_tenant,
            };
            // A list may contain any key of its tenant, so a sibling is not a substitution in a list.
            let is_list = ["list", "search", "all keys", "purge"].contains(&name);
            if !concerns || is_list && lie == Lie::Sibling {
                continue;
            }
            let victims = Victims::new();
            victims.lie(lie);
            let writes = victims.world.store.writes();
            let outcome = ask(&victims.world.keyring, &victims.acme);
            let what = format!("{name} with {lie:?}: {outcome:?}");
            let other = victims.beta.key.id().to_string();
            let shown = outcome.as_ref().map_or("", String::as_str);
            if is_list || name == "search a token" {
                let items = shown.split("broken:").next().unwrap();
                // `all_keys` may show the other key under its own tenant.
                let may_show = name == "all keys";
                assert!(may_show || !items.contains(&other), "{what}");
                assert!(!items.contains("sibling"), "{what}");
                let is_page = ["list", "search", "all keys"].contains(&name);
                assert!(!is_page || shown.contains("Misplaced"), "{what}");
            } else {
                assert!(outcome.is_err(), "{what}");
            }
            assert_eq!(victims.world.store.writes(), writes, "{what}");
            // Other records are unchanged.
            victims.world.store.rewrite_nothing();
            let beta = block_on(victims.beta.keys.find(victims.beta.key.id())).unwrap();
            assert_eq!(beta, victims.beta.key, "{what}");
        }
    }
}

/// The control: with an honest store every method succeeds.
#[test]
fn the_same_calls_are_done_by_an_honest_store() {
    for (name, _, _, ask) in METHODS {
        let victims = Victims::new();
        let outcome = ask(&victims.world.keyring, &victims.acme);
        assert!(outcome.is_ok(), "{name}: {outcome:?}");
    }
}

#[test]
fn a_verifier_believes_no_record_in_the_place_of_another() {
    for lie in [Lie::KeyOfAnother, Lie::Sibling, Lie::Tenant, Lie::Both] {
        for freshness in [Freshness::Cached, Freshness::Now] {
            let victims = Victims::new();
            let node = victims.world.verifier(|builder| builder);
            victims.lie(lie);
            let verified = block_on(node.verify_as_of(&victims.acme.token, freshness));
            assert!(verified.is_err(), "{lie:?} {freshness:?}");
            victims.world.store.rewrite_nothing();
            let verified = block_on(node.verify_as_of(&victims.acme.token, Freshness::Now));
            assert_eq!(verified.unwrap().tenant(), "acme");
        }
    }
}

#[test]
fn walk_over_repeating_pages_ends() {
    let victims = Victims::new();
    for number in 0..5 {
        let id = format!("more {number}");
        block_on(victims.world.keyring.create_empty_tenant(&id, "lite")).unwrap();
    }
    // The same row again and again, on every page.
    victims.lie(Lie::Both);
    let page = block_on(victims.world.keyring.all_keys(&KeyFilter::all(), None)).unwrap();
    assert_eq!(page.next, None);
    let done = block_on(victims.world.keyring.reseal(None, |_| {})).unwrap();
    assert!(done.tenants < 20);
    let page = block_on(victims.world.keyring.tenants(None, 2)).unwrap();
    assert_eq!(page.next, None);
    assert!(page.items.iter().all(|tenant| *tenant.id() == tenant_id("beta")));
    assert!(policy().tier("lite").is_some());
}
