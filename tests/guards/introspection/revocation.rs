//! The revocation endpoint.

use keyway::VerifyError;

use super::{Asked, Seen, Service, issue, one_response::inactive_bodies, reporting, tenant};
use crate::support::{HOUR, World, block_on, with_text};

/// Returns the response to every token that is invalid afterwards.
fn done() -> Seen {
    (200, vec![("cache-control".into(), "no-store".into())], String::new())
}

#[test]
fn revoked_key_is_deleted_and_reported_to_the_audit() {
    let service = Service::new();
    let token = issue(&tenant(&service.world, "acme"), reporting());
    service.described(&format!("token={token}"));
    service.world.audit.take_kinds();
    // Through axum, and then twice for a token of no key any more.
    assert_eq!(service.revoke(&token), done());
    let kinds = service.world.audit.take_kinds();
    assert_eq!(kinds, ["KeyRevoked", "Rejected(Unknown)", "Rejected(Unknown)"]);
    let verified = block_on(service.world.keyring.verify(&token));
    assert!(matches!(verified, Err(VerifyError::Rejected)), "{verified:?}");
}

#[test]
fn every_adapter_deletes() {
    let service = Service::new();
    let keys = tenant(&service.world, "acme");
    for door in [Service::directly, Service::through_axum, Service::through_actix] {
        let token = issue(&keys, reporting());
        let body = format!("token={token}&token_type_hint=refresh_token");
        let asked = Asked::to("/revoke").key(&service.revoker).form(body);
        assert_eq!(door(&service, &asked), done());
        assert!(block_on(service.world.keyring.verify(&token)).is_err());
    }
}

#[test]
fn token_that_is_invalid_already_gets_the_same_response() {
    let service = Service::new();
    let bodies = inactive_bodies(&service.world);
    for (why, body) in bodies.iter().chain(&bodies) {
        let asked = Asked::to("/revoke").key(&service.revoker).form(body.as_str());
        assert_eq!(service.ask(&asked), done(), "{why}");
    }
}

#[test]
fn outage_does_not_claim_that_a_key_is_revoked() {
    let service = Service::new();
    let token = issue(&tenant(&service.world, "acme"), reporting());
    service.revoke("made_up");
    let fails = |service: &Service| {
        let (status, fields, _) = service.revoke(&token);
        assert_eq!(status, 503);
        assert!(fields.iter().any(|(name, _)| name == "retry-after"), "{fields:?}");
    };
    service.world.store.set_down(true);
    fails(&service);
    service.world.store.set_down(false);
    service.world.store.fail("delete_key");
    fails(&service);
    service.world.store.heal("delete_key");
    service.world.clock.advance(HOUR);
    assert!(block_on(service.world.keyring.verify(&token)).is_ok());
    // A record that was tampered with is refused everywhere, but it still exists.
    service.world.store.rewrite_keys(|key| {
        Ok(if key.name() == "ERP sync" { with_text(&key, "ERP sync", "ERP link") } else { key })
    });
    fails(&service);
    service.world.store.rewrite_nothing();
    assert_eq!(service.revoke(&token), done());
    assert!(block_on(service.world.keyring.verify(&token)).is_err());
}

#[test]
fn own_tenant_only_spares_keys_of_other_tenants() {
    let service = Service::with(|made| made, |made| made.own_tenant_only());
    let acme = issue(&tenant(&service.world, "acme"), reporting());
    assert_eq!(service.revoke(&acme), done());
    assert!(block_on(service.world.keyring.verify(&acme)).is_ok());
    assert_eq!(service.revoke("made_up"), done());
    assert_eq!(service.revoke(&service.introspector), done());
    assert!(block_on(service.world.keyring.verify(&service.introspector)).is_err());
}

#[test]
fn own_tenant_of_another_keyring_is_not_the_same() {
    let service = Service::new();
    let other = Service::new();
    let guard = other.world.keyring.require(["revoke"]).unwrap();
    let keyring = &service.world.keyring;
    let revocation = keyway::http::Revocation::new(keyring, &guard).unwrap();
    let other = Service { revocation: revocation.own_tenant_only(), ..other };
    assert_eq!(other.revoke(&service.introspector), done());
    assert!(block_on(keyring.verify(&service.introspector)).is_ok());
}

#[test]
fn routes_of_another_keyring_refuse_each_request() {
    let service = Service::new();
    let another = World::with(super::policy(), |builder| builder);
    let guard = keyway::Guard::new(&another.keyring);
    let theirs = issue(&tenant(&another, "services"), reporting().scopes(["introspect"]));
    let service = Service { guard, ..service };
    let asked = Asked::to("/introspect").form("token=a");
    for key in [&theirs, &service.introspector] {
        let asked = asked.clone().key(key);
        assert_eq!(service.through_axum(&asked).0, 401);
        assert_eq!(service.through_actix(&asked).0, 401);
    }
}
