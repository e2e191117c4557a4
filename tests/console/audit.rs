//! Every action of the console is an audit event with its actor, tenant and key.

use serde_json::Value;

use crate::{
    client::{Client, console, mount},
    routes::{Route, routes},
    support::{Event, Recorder, World, block_on, policy},
};

/// Each action, and the kind of its audit event.
const ACTIONS: [(&str, &str, &str); 10] = [
    ("POST", "/api/keys", "KeyIssued"),
    ("PATCH", "/api/keys/{id}", "KeyEdited"),
    ("POST", "/api/keys/{id}/rotate", "KeyRotated"),
    ("PUT", "/api/tenants/{tenant}/tier", "TierChanged"),
    ("PUT", "/api/tenants/{tenant}/suspension", "TenantSuspended"),
    ("DELETE", "/api/tenants/{tenant}/suspension", "TenantResumed"),
    ("PUT", "/api/tenants/{tenant}/keys/{id}/suspension", "KeySuspended"),
    ("DELETE", "/api/tenants/{tenant}/keys/{id}/suspension", "KeyResumed"),
    ("POST", "/api/leaks", "LeakReported"),
    ("DELETE", "/api/keys/{id}", "KeyDeleted"),
];

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
        let path = if route.path.contains("{id}") {
            format!("/api/tenants/acme/keys?limit=1&id={}", self.id)
        } else {
            "/api/tenants/acme".into()
        };
        let body = self.client.get("operator", &path).json();
        let version = if route.path.contains("{id}") { &body["items"][0] } else { &body };
        format!("\"{}\"", version["version"])
    }

    fn act(&self, route: &Route) -> Vec<Event> {
        if route.path == "/api/keys" {
            // The tier allows one key.
            let tenant = self.world.keyring.tenant("acme".parse().unwrap());
            block_on(tenant.delete(self.id.parse().unwrap())).unwrap();
        }
        let version = self.version(route);
        drop(self.recorder.take_kinds());
        let who = if route.role == "operator" { "operator" } else { "acme" };
        let path = route.path.replace("{tenant}", "acme").replace("{id}", &self.id);
        let ask = self.client.ask(who, route.method, &path).field("idempotency-key", "k");
        let ask = ask.field("if-match", &version);
        let answer = match route.body {
            "" => ask.send(),
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
    let reads = ["/api/keys/search"];
    let mut seen = Vec::new();
    for route in routes().iter().filter(|route| route.method != "GET") {
        if reads.contains(&route.path) {
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
            if route.path.contains("{id}") || route.path == "/api/leaks" {
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
        if route.path.starts_with("/api/keys/search") || !route.path.contains('{') {
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
            let path = route.path.replace("{tenant}", tenant).replace("{id}", &place.id);
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
