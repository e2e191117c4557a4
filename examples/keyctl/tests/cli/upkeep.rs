//! Resealing with a new pepper, and deletion of expired keys.

use crate::support::World;

const NEXT: &str = "--pepper-file next --pepper-slot 1";

fn world() -> (World, String) {
    let world = World::new();
    world.file("next", "dGhlIG5leHQgcGVwcGVyIG9mIHRoZSB0ZXN0cyBvZiBrZXljdGwhISE=");
    let tenants = (1..=120).map(|number| format!(r#"{{"id":"tenant-{number:03}","tier":"lite"}}"#));
    let tenants: Vec<_> = tenants.collect();
    world.file("many.json", &format!(r#"{{"tenants":[{}]}}"#, tenants.join(",")));
    world.done("apply many.json");
    let (_, token) = world.issue("--tenant tenant-001 --name ERP");
    (world, token)
}

#[test]
fn reseal_shows_progress_and_leaves_nothing_to_do() {
    let (world, token) = world();
    let resealed = world.call(&format!("reseal --progress always --retiring 0=pepper {NEXT}"));
    assert_eq!(resealed.code, 0, "{}", resealed.err);
    assert!(resealed.out.contains("resealed 121 rows of 120 tenants"), "{}", resealed.out);
    let bars: Vec<_> = resealed.err.lines().collect();
    assert_eq!(bars.len(), 2, "{bars:?}");
    assert!(bars[0].contains("100 of 120") && bars[1].contains("120 of 120"), "{bars:?}");
    assert!(bars[0].contains("[#################################       ]"), "{bars:?}");

    let again = world.json(&format!("reseal --retiring 0=pepper {NEXT}"));
    assert_eq!((&again["tenants"], &again["changed"]), (&120.into(), &0.into()));
    // The old pepper is only needed for tokens from now on.
    let verified = world.call_with(&format!("token verify --retired 0=pepper {NEXT}"), &token);
    assert_eq!(verified.code, 0, "{}", verified.err);
    assert_eq!(world.lines(&format!("tenants list --retired 0=pepper {NEXT}")).len(), 120);
}

#[test]
fn reseal_continues_after_a_tenant() {
    let (world, _) = world();
    let line = format!("reseal --after tenant-100 --retiring 0=pepper {NEXT}");
    assert_eq!(world.json(&line)["changed"], 20);
    // Without resealing, the rows of the first tenants are not accepted with the new pepper alone.
    let listed = world.call(&format!("tenants list --json --retired 0=pepper {NEXT}"));
    assert_eq!((listed.code, listed.out.lines().count()), (1, 20));
}

#[test]
fn purge_deletes_keys_that_expired_before() {
    let world = World::new();
    world.done("tenants create acme --tier large");
    world.issue("--tenant acme --name Short --expires-in 1s");
    world.issue("--tenant acme --name Long --expires-in 1d");
    std::thread::sleep(std::time::Duration::from_millis(2_100));
    assert_eq!(world.json("purge --expired-for 1h --yes")["changed"], 0);
    assert_eq!(world.json("purge --expired-for 1s --yes")["changed"], 1);
    let left = world.lines("keys list");
    assert_eq!((left.len(), &left[0]["name"]), (1, &"Long".into()));
}
