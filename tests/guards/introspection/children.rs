//! Introspection and revocation of children.

use keyway::{
    KeyEdit, NewKey,
    children::{ChildMinter, NewChild},
    grant::Resources,
    http::Introspection,
};
use serde_json::json;

use super::{Asked, Service, inactive, invalid_request, json_fields, reporting, tenant};
use crate::{
    children_audit::child_id,
    support::{DAY, HOUR, block_on, overheard::RevealKnown as _},
};

fn accepting() -> Service {
    Service::with(|made| made.accepts_children(), |made| made)
}

/// A key that may have children.
struct Parent {
    keys: keyway::TenantKeys,
    id: keyway::KeyId,
    token: String,
    minter: ChildMinter,
}

impl Parent {
    fn of(service: &Service, request: NewKey) -> Self {
        let keys = tenant(&service.world, "acme");
        let issued = block_on(keys.issue(request.children(true))).unwrap();
        let prefix = issued.child_prefix().unwrap().to_owned();
        let token = issued.token.reveal_known().to_string();
        let minter = ChildMinter::new(&token, &prefix).unwrap();
        Self { keys, id: issued.key.id(), token, minter }
    }

    fn child(&self, service: &Service, request: &NewChild) -> String {
        self.minter.mint_at(request, service.world.now()).unwrap().reveal_known().to_string()
    }
}

fn an_hour(service: &Service) -> NewChild {
    NewChild::until(service.world.after(HOUR))
}

#[test]
fn child_is_inactive_unless_the_endpoint_accepts_children() {
    let service = Service::new();
    let parent = Parent::of(&service, reporting());
    let child = parent.child(&service, &an_hour(&service));
    service.world.audit.take_kinds();
    let body = format!("token={child}&keyway_checks_audience=true");
    assert_eq!(service.introspect(&*body), inactive());
    let events = service.world.audit.events();
    assert_eq!(events.len(), 3);
    for event in events {
        assert_eq!(event.kind, "OtherAudience");
        assert_eq!(event.key.as_deref(), Some(parent.id.as_str()));
        assert_eq!(event.child, Some(child_id(&child)));
    }
    // The control: the key is active, and so is the child where children are accepted.
    service.described(&format!("token={}", parent.token));
    let introspection: Introspection = service.introspection.accepts_children();
    Service { introspection, ..service }.described(&body);
}

#[test]
fn active_child_is_described_by_what_it_may_do() {
    let service = accepting();
    let request = NewKey::named("ERP").scopes(["erp", "operator.read"]);
    let request = request.resources("machine", Resources::All).resources("site", Resources::All);
    let parent = Parent::of(&service, request.expires_at(service.world.after(DAY)));
    let child = an_hour(&service).scopes(["reporting"]).unwrap();
    let child = parent.child(&service, &child);
    let end = service.world.after(HOUR).as_millis() / 1_000;
    assert_eq!(
        service.described(&format!("token={child}")),
        json!({
            "active": true,
            "scope": "reporting",
            "client_id": "acme",
            "sub": "acme",
            "token_type": "Bearer",
            "exp": end,
            "iss": "mm",
            "jti": parent.id.as_str(),
            "keyway_child": child_id(&child),
        })
    );
    let own = service.described(&format!("token={}", parent.token));
    assert_eq!(own["scope"], "erp operator.read reporting");
    assert_eq!(own["exp"], service.world.after(DAY).as_millis() / 1_000);
    assert!(own.get("keyway_child").is_none() && own.get("aud").is_none());
}

#[test]
fn child_with_an_audience_needs_a_server_that_checks_it() {
    let service = accepting();
    let parent = Parent::of(&service, reporting());
    let request = an_hour(&service).route("GET /events").unwrap().host("api").unwrap();
    let child = parent.child(&service, &request);
    service.world.audit.take_kinds();
    for rest in ["", "&keyway_checks_audience=", "&keyway_checks_audience=false"] {
        assert_eq!(service.introspect(format!("token={child}{rest}")), inactive(), "{rest}");
    }
    let events = service.world.audit.events();
    assert_eq!(events.len(), 9);
    for event in events {
        assert_eq!((&*event.kind, event.child), ("OtherAudience", Some(child_id(&child))));
    }
    let described = service.described(&format!("token={child}&keyway_checks_audience=true"));
    assert_eq!(described["aud"], json!(["host:api", "route:GET /events"]));
    for value in ["TRUE", "1", "yes", "%ff"] {
        let answer = service.introspect(format!("token={child}&keyway_checks_audience={value}"));
        let why = "the parameter keyway_checks_audience cannot be read";
        assert_eq!(answer, invalid_request(400, why), "{value}");
    }
    // The control: a child without an audience needs nobody who checks it.
    let free = parent.child(&service, &an_hour(&service));
    assert!(service.described(&format!("token={free}")).get("aud").is_none());
}

#[test]
fn child_of_some_resources_needs_a_server_that_checks_them() {
    let service = accepting();
    let parent = Parent::of(&service, reporting());
    let mill = Resources::only(["mill-1"]).unwrap();
    let request = an_hour(&service).resources("machine", mill).unwrap();
    let request = request.resources("site", Resources::All).unwrap();
    let child = parent.child(&service, &request);
    assert_eq!(service.introspect(format!("token={child}")), inactive());
    let described = service.described(&format!("token={child}&keyway_resource_kinds=machine"));
    assert_eq!(described["keyway_resources"], json!({ "machine": ["mill-1"], "site": "all" }));
}

#[test]
fn child_is_inactive_when_it_or_its_key_has_ended() {
    let service = accepting();
    let parent = Parent::of(&service, reporting());
    let (short, long) = (
        parent.child(&service, &an_hour(&service)),
        parent.child(&service, &NewChild::until(service.world.after(2 * HOUR))),
    );
    let is_active = |child: &str| service.introspect(format!("token={child}")) != inactive();
    assert!(is_active(&short) && is_active(&long));
    let last = if long.ends_with('A') { "B" } else { "A" };
    assert!(!is_active(&format!("{}{last}", &long[..long.len() - 1])));
    service.world.clock.advance(HOUR);
    assert!(!is_active(&short) && is_active(&long));
    let version = block_on(parent.keys.find(parent.id)).unwrap().version();
    block_on(parent.keys.edit(parent.id, version, KeyEdit::new().children(false))).unwrap();
    assert!(!is_active(&long));
    service.described(&format!("token={}", parent.token));
}

#[test]
fn revocation_of_a_child_is_refused_and_ends_nothing() {
    for service in [Service::new(), accepting()] {
        let parent = Parent::of(&service, reporting());
        let child = parent.child(&service, &an_hour(&service));
        let reads = service.world.store.calls("lookup");
        service.world.audit.take_kinds();
        let (status, fields, body) = service.revoke(&child);
        assert_eq!((status, fields), (400, json_fields()));
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(body["error"], "unsupported_token_type");
        let events = service.world.audit.events();
        assert_eq!(events.len(), 3);
        for event in events {
            assert!(event.kind.contains("change: RevokeKey, refusal: NotAllowed"), "{event:?}");
            assert_eq!(event.key.as_deref(), Some(parent.id.as_str()));
            assert_eq!(event.child, Some(child_id(&child)));
        }
        // Only the key of the program is read.
        assert!(service.world.store.calls("lookup") <= reads + 1);
        // A child that has ended is of the same type. One whose prefix was never given out belongs to no key.
        service.world.clock.advance(2 * HOUR);
        assert_eq!(service.revoke(&child).0, 400);
        let tag = child.find('~').unwrap() - 1;
        let other = if child.as_bytes()[tag] == b'A' { "B" } else { "A" };
        let foreign = [&child[..tag], other, &child[tag + 1..]].concat();
        assert_eq!(service.revoke(&foreign).0, 200);
        assert!(block_on(service.world.keyring.verify(&parent.token)).is_ok());
        // The key of the program may be no child either.
        let asked = Asked::to("/revoke").key(&child).form(format!("token={}", parent.token));
        assert_eq!(service.ask(&asked).0, 401);
        // The control: the key ends.
        assert_eq!(service.revoke(&parent.token).0, 200);
        assert!(block_on(service.world.keyring.verify(&parent.token)).is_err());
    }
}
