//! One response for everything that is not the token of a key that may be used.

use keyway::{
    GracePeriod, NewKey,
    grant::{Networks, Resources},
    record::Suspension,
};

use super::{Asked, Service, inactive, issue, reporting, tenant};
use crate::support::{HOUR, World, block_on, overheard::RevealKnown as _, with_text};

/// Returns a body for each reason why a token is inactive.
pub(super) fn inactive_bodies(world: &World) -> Vec<(&'static str, String)> {
    let mut bodies = Vec::new();
    let ban = || Suspension::permanent("fraud").unwrap();
    let held = |id: &str, request: NewKey| {
        let keys = tenant(world, id);
        let issued = block_on(keys.issue(request)).unwrap();
        let token = issued.token.reveal_known().to_string();
        (keys, issued.key.id(), token)
    };
    let mut add = |why, token: &str| bodies.push((why, format!("token={token}")));

    add("malformed", "made_up");
    add("not text", "%ff%00%0a");
    add("of another system", "ghp_0123456789abcdefghijABCDEFGHIJ012345");
    add("too long", &"x".repeat(5_000));
    let (keys, id, token) = held("t-forged", reporting());
    let last = if token.ends_with('A') { "B" } else { "A" };
    add("forged", &format!("{}{last}", &token[..token.len() - 1]));
    add("cut off", &token[..token.len() - 1]);
    add("with a space", &format!("{token}+"));
    add("twice", &format!("{token}%2C{token}"));
    add("of another environment", &token.replace("mm_live_", "mm_test_"));
    add("of another issuer", &token.replace("mm_live_", "nn_live_"));
    drop(block_on(keys.rotate(id, 1, GracePeriod::None)).unwrap());
    add("superseded", &token);
    let elsewhere = World::with(super::policy(), |builder| builder);
    let unknown = issue(&tenant(&elsewhere, "t-unknown"), reporting());
    add("unknown", &unknown);
    let (keys, id, token) = held("t-deleted", reporting());
    block_on(keys.delete(id)).unwrap();
    add("deleted", &token);
    let (keys, id, token) = held("t-disabled", reporting());
    block_on(keys.disable(id)).unwrap();
    add("disabled", &token);
    let (_, id, token) = held("t-suspended", reporting());
    block_on(world.keyring.suspend_key(id, ban())).unwrap();
    add("suspended", &token);
    let (keys, _, token) = held("t-banned", reporting());
    block_on(world.keyring.suspend_tenant(keys.id(), ban())).unwrap();
    add("of a suspended tenant", &token);
    let (keys, _, token) = held("t-owned", reporting().owner("ann".parse().unwrap()));
    block_on(keys.disable_owner(&"ann".parse().unwrap())).unwrap();
    add("of a disabled owner", &token);
    let (.., token) = held("t-early", reporting().not_before(world.after(24 * HOUR)));
    add("not valid yet", &token);
    let (.., token) = held("t-expired", reporting().expires_at(world.after(HOUR)));
    add("expired", &token);
    let office = Networks::only(["192.0.2.0/24"]).unwrap();
    let (.., token) = held("t-office", reporting().networks(office));
    add("of an unknown network", &token);
    add("of another network", &format!("{token}&keyway_client_address=198.51.100.1"));
    let mill = Resources::only(["mill-1"]).unwrap();
    let (.., token) = held("t-mill", reporting().resources("machine", mill));
    add("of unchecked resources", &token);
    world.clock.advance(HOUR);
    bodies
}

#[test]
fn everything_that_is_not_a_live_key_gets_the_same_bytes() {
    let service = Service::new();
    let bodies = inactive_bodies(&service.world);
    assert_eq!(bodies.len(), 22);
    // Twice, since the second time much of it is cached.
    for (why, body) in bodies.iter().chain(&bodies) {
        assert_eq!(service.introspect(body.as_str()), inactive(), "{why}");
    }
    // The control: a key that differs only in being active.
    let live = issue(&tenant(&service.world, "acme"), reporting());
    service.described(&format!("token={live}"));
}

#[test]
fn tampered_record_is_inactive_and_reported_to_the_audit() {
    let service = Service::new();
    let token = issue(&tenant(&service.world, "acme"), reporting());
    service.introspect("token=made_up");
    service.world.store.rewrite_keys(|key| {
        Ok(if key.name() == "ERP sync" { with_text(&key, "ERP sync", "ERP link") } else { key })
    });
    service.world.audit.take_kinds();
    assert_eq!(service.introspect(format!("token={token}")), inactive());
    assert_eq!(service.world.audit.take_kinds(), ["Tampered"; 3]);
}

#[test]
fn outage_is_never_reported_as_an_inactive_key() {
    let service = Service::new();
    let keys = tenant(&service.world, "acme");
    let token = issue(&keys, reporting());
    // The key of the resource server is in the cache.
    service.introspect("token=made_up");
    service.world.store.set_down(true);
    let (status, fields, body) = service.introspect(format!("token={token}"));
    assert_eq!(status, 503);
    assert!(fields.contains(&("retry-after".into(), "1".into())), "{fields:?}");
    assert!(fields.contains(&("cache-control".into(), "no-store".into())));
    assert!(!body.contains("active"), "{body}");
    // A token that was not minted here is refused without the store.
    assert_eq!(service.introspect("token=made_up"), inactive());
    // The resource server's own key cannot be verified either.
    let asked = Asked::to("/introspect").key(&service.revoker).form(format!("token={token}"));
    assert_eq!(service.ask(&asked).0, 503);
    service.world.store.set_down(false);
    service.world.clock.advance(HOUR);
    service.described(&format!("token={token}"));
}

#[test]
fn made_up_tokens_never_reach_the_store() {
    let service = Service::new();
    service.introspect("token=made_up");
    let calls = service.world.store.all_calls();
    for (why, body) in inactive_bodies(&World::with(super::policy(), |builder| builder)) {
        if ["malformed", "not text", "of another system", "too long", "forged"].contains(&why) {
            service.introspect(body);
        }
    }
    assert_eq!(service.world.store.all_calls(), calls);
    // The control: one that was minted here and deleted does.
    let keys = tenant(&service.world, "acme");
    let issued = block_on(keys.issue(reporting())).unwrap();
    block_on(keys.delete(issued.key.id())).unwrap();
    let calls = service.world.store.calls("lookup");
    service.introspect(format!("token={}", *issued.token.reveal_known()));
    assert!(service.world.store.calls("lookup") > calls);
}
