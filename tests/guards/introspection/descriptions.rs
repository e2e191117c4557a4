//! The response for an active key.

use keyway::{
    GracePeriod, NewKey,
    grant::{Networks, Resources},
    record::Labels,
    verifier::Freshness,
};
use serde_json::json;

use super::{INACTIVE, Service, inactive, issue, reporting, tenant};
use crate::support::{DAY, HOUR, block_on, overheard::RevealKnown as _};

#[test]
fn active_key_is_described_by_defined_members_only() {
    let service = Service::new();
    let acme = tenant(&service.world, "acme");
    let request = reporting()
        .expires_at(service.world.after(HOUR))
        .owner("ann".parse().unwrap())
        .labels(Labels::new([("team", "blue")]).unwrap())
        .attributes(Labels::new([("plan", "gold")]).unwrap());
    let issued = block_on(acme.issue(request)).unwrap();
    let token = issued.token.reveal_known();
    let described = service.described(&format!("token={}", *token));
    let expires_at = service.world.after(HOUR).as_millis() / 1_000;
    assert_eq!(
        described,
        json!({
            "active": true,
            "scope": "reporting",
            "client_id": "acme",
            "sub": "acme",
            "token_type": "Bearer",
            "exp": expires_at,
            "iss": "mm",
            "jti": issued.key.id().as_str(),
            "keyway_owner": "ann",
            "keyway_attributes": { "plan": "gold" },
        })
    );
}

#[test]
fn members_without_a_value_are_left_out() {
    let service = Service::new();
    let token = issue(&tenant(&service.world, "acme"), reporting());
    let described = service.described(&format!("token={token}"));
    let members: Vec<_> = described.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(members, ["active", "client_id", "iss", "jti", "scope", "sub", "token_type"]);
}

#[test]
fn scopes_are_the_effective_ones_with_all_that_they_imply() {
    let service = Service::new();
    let keys = tenant(&service.world, "acme");
    let both = ["erp", "operator"];
    let key = NewKey::named("both").scopes(both);
    let key = key.resources("machine", Resources::All).resources("site", Resources::All);
    let token = issue(&keys, key);
    let scope = |service: &Service| service.described(&format!("token={token}"))["scope"].clone();
    assert_eq!(scope(&service), "erp operator operator.jobs operator.read reporting");
    // The tier withholds what is above its ceiling.
    block_on(service.world.keyring.set_tier(keys.id(), "lite")).unwrap();
    assert_eq!(scope(&service), "erp operator.read reporting");
}

#[test]
fn key_is_found_whatever_the_hint_and_other_parameters_are() {
    let service = Service::new();
    let token = issue(&tenant(&service.world, "acme"), reporting());
    for rest in [
        "&token_type_hint=access_token",
        "&token_type_hint=refresh_token",
        "&token_type_hint=made_up",
        "&token_type_hint=",
        "&resource=a&resource=b",
        "&%zz=a",
        "&&=&",
    ] {
        service.described(&format!("token={token}{rest}"));
        service.described(&format!("{}&token={token}", rest.trim_start_matches('&')));
    }
    // Some clients escape each byte.
    let escaped: Vec<_> = token.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let escaped = escaped.concat();
    service.described(&format!("token={escaped}"));
}

#[test]
fn old_secret_ends_with_its_grace_period() {
    let service = Service::new();
    let keys = tenant(&service.world, "acme");
    let issued = block_on(keys.issue(reporting().expires_at(service.world.after(DAY)))).unwrap();
    let old = issued.token.reveal_known();
    let rotated = block_on(keys.rotate(issued.key.id(), 1, GracePeriod::For(HOUR))).unwrap();
    let new = rotated.token.reveal_known();
    let expiry = |token: &str| service.described(&format!("token={token}"))["exp"].clone();
    let seconds = |time: keyway::Timestamp| time.as_millis() / 1_000;
    assert_eq!(expiry(&new), seconds(service.world.after(DAY)));
    assert_eq!(expiry(&old), seconds(service.world.after(HOUR)));
    service.world.clock.advance(HOUR);
    assert_eq!(service.introspect(format!("token={}", *old)), inactive());
    service.described(&format!("token={}", *new));
}

#[test]
fn introspection_is_a_use_of_the_key() {
    let service = Service::new();
    let keys = tenant(&service.world, "acme");
    let issued = block_on(keys.issue(reporting())).unwrap();
    let old = issued.token.reveal_known();
    let rotated = block_on(keys.rotate(issued.key.id(), 1, GracePeriod::UntilFirstUse)).unwrap();
    service.described(&format!("token={}", *old));
    service.described(&format!("token={}", *rotated.token.reveal_known()));
    // The first use of the new secret has ended the old one.
    assert_eq!(service.introspect(format!("token={}", *old)), inactive());
    block_on(service.world.keyring.flush_uses()).unwrap();
    let key = block_on(keys.find(issued.key.id())).unwrap();
    assert!(key.last_used().is_some());
}

#[test]
fn key_of_some_resources_needs_a_server_that_checks_them() {
    let service = Service::new();
    let keys = tenant(&service.world, "acme");
    let mills = Resources::only(["mill-1", "mill-2"]).unwrap();
    let key = |name| NewKey::named(name).scopes(["reporting"]);
    let one = issue(
        &keys,
        key("one").resources("machine", mills.clone()).resources("site", Resources::All),
    );
    let both = issue(&keys, key("both").resources("machine", mills));
    let introspect = |token: &str, kinds: &str| {
        service.introspect(format!("token={token}&keyway_resource_kinds={kinds}"))
    };
    for (token, kinds) in [
        (&one, ""),
        (&one, "site"),
        (&one, "Machine"),
        (&one, "machines"),
        (&one, "machine,site"),
        (&both, "machine"),
        (&both, "site"),
    ] {
        assert_eq!(introspect(token, kinds), inactive(), "{kinds}");
    }
    assert_eq!(service.introspect(format!("token={one}")), inactive());
    let limits = |token: &str, kinds: &str| {
        let body = format!("token={token}&keyway_resource_kinds={kinds}");
        service.described(&body)["keyway_resources"].clone()
    };
    let expected = json!({ "machine": ["mill-1", "mill-2"], "site": "all" });
    assert_eq!(limits(&one, "machine"), expected);
    assert_eq!(limits(&one, "site+made_up%20machine"), expected);
    assert_eq!(
        limits(&both, "machine+site"),
        json!({ "machine": ["mill-1", "mill-2"], "site": [] })
    );
    // The reason is in the audit trail, and nowhere else.
    service.world.audit.take_kinds();
    introspect(&one, "site");
    let kinds = service.world.audit.take_kinds();
    assert_eq!(kinds, [r#"OtherResource { kind: "machine" }"#; 3]);
}

#[test]
fn key_of_a_network_needs_the_address_of_its_client() {
    let service = Service::new();
    let keys = tenant(&service.world, "acme");
    let office = Networks::only(["192.0.2.0/24", "2001:db8::/32"]).unwrap();
    let token = issue(&keys, reporting().networks(office));
    let body = |address: &str| format!("token={token}&keyway_client_address={address}");
    assert_eq!(service.introspect(format!("token={token}")), inactive());
    for outside in ["", "198.51.100.1", "%3a%3a1"] {
        assert_eq!(service.introspect(body(outside)), inactive(), "{outside}");
    }
    for inside in ["192.0.2.7", "2001:db8::1", "2001%3Adb8%3A%3A1", "::ffff:192.0.2.7"] {
        let networks = &service.described(&body(inside))["keyway_networks"];
        assert_eq!(*networks, json!(["192.0.2.0/24", "2001:db8::/32"]));
    }
    // An address does not matter for other keys.
    let free = issue(&keys, reporting());
    service.described(&format!("token={free}&keyway_client_address=198.51.100.1"));
}

#[test]
fn own_tenant_only_hides_keys_of_other_tenants() {
    let service = Service::with(|made| made.own_tenant_only(), |made| made);
    let acme = issue(&tenant(&service.world, "acme"), reporting());
    assert_eq!(service.introspect(format!("token={acme}")), inactive());
    let services = service.world.keyring.tenant("services".parse().unwrap());
    let own = issue(&services, reporting());
    service.described(&format!("token={own}"));
    // A guard of another keyring knows other tenants, even if their ids are the same.
    let other = Service::new();
    let guard = other.world.keyring.require(["introspect"]).unwrap();
    let of_others = keyway::http::Introspection::new(&service.world.keyring, &guard);
    let other = Service { introspection: of_others.unwrap(), ..other };
    let body = format!("token={own}");
    assert_eq!(other.described(&body)["client_id"], "services");
    let introspection = other.introspection.own_tenant_only();
    let other = Service { introspection, ..other };
    assert_eq!(other.introspect(body).2, INACTIVE);
}

#[test]
fn freshness_now_reads_the_store() {
    let service = Service::with(|made| made.freshness(Freshness::Now), |made| made);
    let keys = tenant(&service.world, "acme");
    let issued = block_on(keys.issue(reporting())).unwrap();
    let body = format!("token={}", *issued.token.reveal_known());
    service.described(&body);
    // Another node changes the key.
    let node = service.world.another_node_with(super::policy(), |builder| builder);
    block_on(node.keyring.tenant(keys.id().clone()).disable(issued.key.id())).unwrap();
    assert_eq!(service.introspect(body), inactive());
}

#[test]
fn limited_key_of_the_server_itself_may_introspect() {
    let service = Service::new();
    let services = service.world.keyring.tenant("services".parse().unwrap());
    let limited = issue(&services, NewKey::named("narrow").scopes(["introspect"]));
    let acme = issue(&tenant(&service.world, "acme"), reporting());
    let service = Service { introspector: limited, ..service };
    service.described(&format!("token={acme}"));
}
