//! Every action of the console is an audit event with its actor, tenant and key.

use serde_json::Value;

use crate::{
    client::{Client, console, mount},
    routes::{Route, routes},
    support::{Event, Recorder, World, block_on, policy},
};

/// Each action, and the kind of its audit event.
const ACTIONS: [(&str, &str, &str); 15] = [
    ("POST", "/api/keys", "KeyIssued"),
    ("PATCH", "/api/keys/{id}", "KeyEdited"),
    ("POST", "/api/keys/{id}/rotate", "KeyRotated"),
    ("POST", "/api/keys/disable", "KeyEdited"),
    ("POST", "/api/keys/delete", "KeyDeleted"),
    ("PUT", "/api/owners/{owner}/disabled", "OwnerDisabled"),
    ("DELETE", "/api/owners/{owner}/disabled", "OwnerEnabled"),
    ("PUT", "/api/tenants/{tenant}/tier", "TierChanged"),
    ("PUT", "/api/tenants/{tenant}/exceptions", "ExceptionsChanged"),
    ("PUT", "/api/tenants/{tenant}/suspension", "TenantSuspended"),
    ("DELETE", "/api/tenants/{tenant}/suspension", "TenantResumed"),
    ("PUT", "/api/tenants/{tenant}/keys/{id}/suspension", "KeySuspended"),
    ("DELETE", "/api/tenants/{tenant}/keys/{id}/suspension", "KeyResumed"),
    ("POST", "/api/leaks", "LeakReported"),
    ("DELETE", "/api/keys/{id}", "KeyDeleted"),
];

/// The operations that change nothing, beside those with `GET`.
const READS: [&str; 2] = ["/api/keys/search", "/api/tenants/{tenant}/exceptions/preview"];

/// Whether the body of `route` names keys.
fn names_keys(route: &Route) -> bool {
    route.body.contains("keys\": [")
}

struct Place {
    client: Client,
    recorder: Recorder,
    world: World,
    id: String,
    token: String,
}

impl Place {
    fn new() -> Self {
        let recorder = Recorder::default();
        let world = World::with(policy(), |builder| builder.audit(recorder.clone()));
        block_on(world.keyring.create_empty_tenant("acme", "lite")).unwrap();
        let client = Client::of(mount(console(&world.keyring)));
        let (id, token) = client.key("acme", "a");
        let reason = keyway::record::Suspension::permanent("before").unwrap();
        let tenant = "acme".parse().unwrap();
        block_on(world.keyring.suspend_tenant(&tenant, reason.clone())).unwrap();
        block_on(world.keyring.suspend_key(id.parse().unwrap(), reason)).unwrap();
        Self { client, recorder, world, id, token }
    }

    fn version(&self, route: &Route) -> String {
        let is_of_key = route.path.contains("{id}") || names_keys(route);
        let path = if is_of_key {
            format!("/api/tenants/acme/keys?limit=1&id={}", self.id)
        } else {
            "/api/tenants/acme".into()
        };
        let body = self.client.get("operator", &path).json();
        let version = if is_of_key { &body["items"][0] } else { &body };
        version["version"].to_string()
    }

    fn act(&self, route: &Route) -> Vec<Event> {
        if route.path == "/api/keys" {
            // The tier allows one key.
            let tenant = self.world.keyring.tenant("acme".parse().unwrap());
            block_on(tenant.delete(self.id.parse().unwrap())).unwrap();
        }
        if (route.method, route.path) == ("DELETE", "/api/owners/{owner}/disabled") {
            let tenant = self.world.keyring.tenant("acme".parse().unwrap());
            block_on(tenant.disable_owner(&"ann".parse().unwrap())).unwrap();
        }
        let version = self.version(route);
        drop(self.recorder.take_kinds());
        let who = if route.role == "operator" { "operator" } else { "acme" };
        let path = route
            .path
            .replace("{owner}", "ann")
            .replace("{tenant}", "acme")
            .replace("{id}", &self.id);
        let ask = self.client.ask(who, route.method, &path).field("idempotency-key", "k");
        let ask = ask.field("if-match", &format!("\"{version}\""));
        let answer = match route.body {
            "" => ask.send(),
            body if names_keys(route) => {
                let version = format!("\"version\": {version}");
                let body = body.replace("A000000000000000", &self.id);
                let body = body.replace("\"version\": 1", &version);
                ask.json(&serde_json::from_str(&body).unwrap()).send()
            }
            body => {
                let mut body = serde_json::from_str::<Value>(body).unwrap();
                if body.get("token").is_some() {
                    body["token"] = self.token.clone().into();
                }
                ask.json(&body).send()
            }
        };
        assert!(answer.status < 300, "{} {path}: {}", route.method, answer.text);
        self.recorder.events()
    }
}

#[test]
fn every_action_names_actor_tenant_and_key() {
    let mut seen = Vec::new();
    for route in routes().iter().filter(|route| route.method != "GET") {
        if READS.contains(&route.path) {
            continue;
        }
        let place = Place::new();
        let events = place.act(route);
        let name = format!("{} {}", route.method, route.path);
        let (_, _, kind) = ACTIONS
            .iter()
            .find(|(method, path, _)| (*method, *path) == (route.method, route.path))
            .unwrap_or_else(|| panic!("{name} is in no audit table"));
        let of_kind = events.iter().filter(|event| event.kind.starts_with(kind));
        assert_eq!(of_kind.count(), 1, "{name}: {events:?}");
        for event in &events {
            let actor = if route.role == "operator" { "olga" } else { "anna" };
            assert_eq!((&*event.actor, event.tenant.as_deref()), (actor, Some("acme")), "{name}");
            if route.path.contains("{id}") || route.path == "/api/leaks" || names_keys(route) {
                assert_eq!(event.key.as_deref(), Some(&*place.id), "{name}");
            } else if route.path == "/api/keys" {
                assert!(event.key.is_some(), "{name}");
            }
        }
        seen.push(*kind);
    }
    assert_eq!(seen.len(), ACTIONS.len());
}

/// A change that the console itself refuses (wrong version, missing key or tenant) is an audit event, like
/// one that the keyring refuses.
#[test]
fn refused_change_names_actor_tenant_and_key() {
    for route in routes().iter().filter(|route| route.method != "GET") {
        // An owner need not have keys, and has no version.
        let is_of_owner = route.path.contains("{owner}");
        if READS.contains(&route.path) || !route.path.contains('{') || is_of_owner {
            continue;
        }
        let place = Place::new();
        block_on(place.world.keyring.create_empty_tenant("globex", "lite")).unwrap();
        let name = format!("{} {}", route.method, route.path);
        let (actor, is_operator) =
            if route.role == "operator" { ("olga", true) } else { ("anna", false) };
        // A wrong version, and a key or a tenant that does not exist.
        let elsewhere = if is_operator { "nobody" } else { "globex" };
        for (tenant, if_match, refusal) in
            [("acme", "\"77\"", "Conflict"), (elsewhere, "\"1\"", "NotFound")]
        {
            drop(place.recorder.take_kinds());
            let who = if is_operator { "operator" } else { tenant };
            let path = route
                .path
                .replace("{owner}", "ann")
                .replace("{tenant}", tenant)
                .replace("{id}", &place.id);
            let ask = place.client.ask(who, route.method, &path).field("idempotency-key", "k");
            let ask = ask.field("if-match", if_match);
            let answer = match route.body {
                "" => ask.send(),
                body => ask.json(&serde_json::from_str::<Value>(body).unwrap()).send(),
            };
            assert!(matches!(answer.status, 404 | 412), "{name}: {}", answer.text);
            let events = place.recorder.events();
            let [event] = &events[..] else { panic!("{name} {if_match}: {events:?}") };
            let is_refused = event.kind.starts_with("ChangeRefused")
                && event.kind.contains(&format!("refusal: {refusal}"));
            assert!(is_refused, "{name}: {event:?}");
            assert_eq!((&*event.actor, event.tenant.as_deref()), (actor, Some(tenant)), "{name}");
            let key = route.path.contains("{id}").then_some(&*place.id);
            assert_eq!(event.key.as_deref(), key, "{name}");
        }
    }
}
