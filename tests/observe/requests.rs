//! Observability of requests: one event and one count of each request, a span around its handler, and no part
//! of a secret.

use core::{convert::Infallible, fmt, time::Duration};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use ::http::{Request, Response};
use keyway::{
    GracePeriod, Guard, NewKey, Policy, Tier,
    http::{OwnKey, describe_metrics},
    rate::Rate,
    verifier::Freshness,
};
use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use tower::{Layer as _, ServiceExt as _, service_fn};
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
    span,
};
use tracing_subscriber::{
    Layer, Registry,
    layer::{Context, SubscriberExt as _},
    registry::{LookupSpan, Scope},
};

use crate::support::{World, block_on, catalog, give_up_after, overheard::RevealKnown as _, pause};

/// The logged events, in order.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<Entry>>>);

#[derive(Clone, Debug)]
struct Entry {
    target: &'static str,
    level: Level,
    fields: Values,
    /// The spans around the event, from the outermost: their names and fields.
    spans: Vec<(&'static str, Values)>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Values(BTreeMap<&'static str, String>);

impl Values {
    fn of<'v>(fields: impl IntoIterator<Item = (&'static str, &'v str)>) -> Self {
        Self(fields.into_iter().map(|(name, value)| (name, value.to_owned())).collect())
    }
}

impl Visit for Values {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        assert_eq!(self.0.insert(field.name(), format!("{value:?}")), None);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        assert_eq!(self.0.insert(field.name(), value.to_owned()), None);
    }
}

impl<S: Subscriber + for<'s> LookupSpan<'s>> Layer<S> for Log {
    fn on_new_span(
        &self,
        attributes: &span::Attributes<'_>,
        id: &span::Id,
        context: Context<'_, S>,
    ) {
        let mut fields = Values::default();
        attributes.record(&mut fields);
        context.span(id).unwrap().extensions_mut().insert(fields);
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Values::default();
        event.record(&mut fields);
        let scope = context.event_scope(event).into_iter().flat_map(Scope::from_root);
        let spans = scope
            .map(|span| (span.name(), span.extensions().get::<Values>().unwrap().clone()))
            .collect();
        let (target, level) = (event.metadata().target(), *event.metadata().level());
        self.0.lock().unwrap().push(Entry { target, level, fields, spans });
    }
}

/// Returns everything that is logged during `work`, at all levels and of all crates.
fn logged<T>(work: impl FnOnce() -> T) -> (T, Vec<Entry>) {
    let log = Log::default();
    let result = tracing::subscriber::with_default(Registry::default().with(log.clone()), work);
    let entries = log.0.lock().unwrap().clone();
    (result, entries)
}

/// Returns everything that is counted during `work`: the counters with their labels, the number of values in
/// the histogram, and the largest of them.
fn metered<T>(work: impl FnOnce() -> T) -> (T, BTreeMap<String, u64>, Vec<f64>) {
    let recorder = DebuggingRecorder::new();
    let result = metrics::with_local_recorder(&recorder, work);
    let mut counters = BTreeMap::new();
    let mut seconds = Vec::new();
    for (key, _, _, value) in recorder.snapshotter().snapshot().into_vec() {
        let key = key.key();
        let labels: Vec<_> =
            key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
        match (key.name(), value) {
            ("keyway_verification_seconds", DebugValue::Histogram(values)) => {
                assert_eq!(labels, [""; 0]);
                seconds = values.into_iter().map(|value| *value).collect();
            }
            (name, DebugValue::Counter(count)) => {
                counters.insert(format!("{name}{{{}}}", labels.join(",")), count);
            }
            other => panic!("{other:?} is nothing of guards"),
        }
    }
    (result, counters, seconds)
}

/// Tokens of tenants whose keys are in all the states that a request can meet.
struct Scene {
    world: World,
    guard: Guard,
    tokens: BTreeMap<&'static str, String>,
    ids: BTreeMap<&'static str, String>,
}

impl Scene {
    fn new() -> Self {
        let tiers = [
            Tier::new("slow", 9).rate(Rate { requests: 1, per_seconds: 3_600 }),
            Tier::new("advanced", 9),
        ];
        let policy = Policy::new("mm", catalog(), tiers).unwrap();
        let world = World::with(policy, |builder| builder);
        let guard = Guard::new(&world.keyring).require(["reporting"]).unwrap();
        let mut scene = Self { world, guard, tokens: BTreeMap::new(), ids: BTreeMap::new() };
        for name in ["active", "disabled", "deleted", "rotated"] {
            let held = scene.world.tenant_with_key(name);
            match name {
                "disabled" => drop(block_on(held.keys.disable(held.key.id())).unwrap()),
                "deleted" => block_on(held.keys.delete(held.key.id())).unwrap(),
                "rotated" => {
                    drop(block_on(held.keys.rotate(held.key.id(), 1, GracePeriod::None)).unwrap());
                }
                _ => {}
            }
            scene.put(name, &held.token);
        }
        for (name, tier, scope) in
            [("limited", "slow", "reporting"), ("powerless", "advanced", "operator.jobs")]
        {
            let request = NewKey::named("first").scopes([scope]);
            let created = block_on(scene.world.keyring.create_tenant_with(name, tier, request));
            let token = created.unwrap().1.token.reveal_known().to_string();
            scene.put(name, &token);
        }
        let limited = scene.tokens["limited"].clone();
        block_on(scene.guard.admit(&[("authorization", &*bearer(&limited))][..])).unwrap();

        let active = &scene.tokens["active"];
        let (rest, last) = active.split_at(active.len() - 1);
        let forged = format!("{rest}{}", if last == "A" { "B" } else { "A" });
        scene.tokens.insert("forged", forged);
        scene.tokens.insert("foreign", "sk_live_4eC39HqLyjWDarjtT1zdp7dc".into());
        scene.tokens.insert("unreadable", "Zq8Wv3, Xk7Lm2Np9Rt4".into());
        scene
    }

    fn put(&mut self, name: &'static str, token: &str) {
        self.tokens.insert(name, token.into());
        self.ids.insert(name, token["mm_live_".len()..][..16].into());
    }

    /// Returns the status of a request with the token of this name, or `None` if it is admitted.
    fn ask(&self, guard: &Guard, name: Option<&str>) -> Option<u16> {
        let value = name.map(|name| bearer(&self.tokens[name]));
        let fields: Vec<_> = value.iter().map(|value| ("authorization", &**value)).collect();
        block_on(guard.admit(&fields[..])).err().map(|answer| answer.status())
    }
}

fn bearer(token: &str) -> Vec<u8> {
    format!("Bearer {token}").into_bytes()
}

/// One request that leads to the named outcome.
struct Case {
    token: Option<&'static str>,
    status: Option<u16>,
    outcome: &'static str,
    level: Level,
    names_tenant: bool,
    names_key: bool,
    prepare: fn(&Scene) -> Guard,
}

fn cases() -> Vec<Case> {
    let case = |token, status, outcome, level, prepare| {
        let (names_tenant, names_key) = match outcome {
            "admitted" | "forbidden" | "limited" | "inactive" => (true, true),
            "tampered" | "unavailable" => (false, true),
            _ => (false, false),
        };
        Case { token, status, outcome, level, names_tenant, names_key, prepare }
    };
    let plain: fn(&Scene) -> Guard = |scene| scene.guard.clone();
    let fresh: fn(&Scene) -> Guard = |scene| scene.guard.freshness(Freshness::Now);
    let optional: fn(&Scene) -> Guard = |scene| scene.guard.optional();
    vec![
        case(Some("active"), None, "admitted", Level::DEBUG, plain),
        case(Some("active"), None, "admitted", Level::DEBUG, fresh),
        case(Some("active"), None, "admitted", Level::DEBUG, optional),
        case(None, None, "anonymous", Level::DEBUG, optional),
        case(None, Some(401), "missing", Level::DEBUG, plain),
        case(Some("unreadable"), Some(400), "invalid_request", Level::INFO, plain),
        case(Some("forged"), Some(401), "rejected", Level::INFO, plain),
        case(Some("foreign"), Some(401), "rejected", Level::INFO, optional),
        case(Some("deleted"), Some(401), "rejected", Level::INFO, plain),
        case(Some("rotated"), Some(401), "rejected", Level::INFO, plain),
        case(Some("disabled"), Some(401), "inactive", Level::INFO, plain),
        case(Some("disabled"), Some(401), "inactive", Level::INFO, fresh),
        case(Some("powerless"), Some(403), "forbidden", Level::INFO, plain),
        case(Some("powerless"), Some(403), "forbidden", Level::INFO, fresh),
        case(Some("limited"), Some(429), "limited", Level::INFO, plain),
        case(Some("limited"), Some(429), "limited", Level::INFO, fresh),
        case(Some("active"), Some(401), "tampered", Level::ERROR, |scene| {
            scene
                .world
                .store
                .rewrite_keys(|key| Ok(crate::support::with_text(&key, "reporting", "manager")));
            scene.guard.freshness(Freshness::Now)
        }),
        case(Some("active"), Some(503), "unavailable", Level::ERROR, |scene| {
            scene.world.store.set_down(true);
            scene.guard.freshness(Freshness::Now)
        }),
    ]
}

#[test]
fn every_request_is_one_event_and_one_count() {
    for case in cases() {
        let scene = Scene::new();
        // The first request meets an empty cache, the second one everything that can be cached.
        let guard = (case.prepare)(&scene);
        let outcome = case.outcome;
        for _ in 0..2 {
            let ask = || scene.ask(&guard, case.token);
            let ((status, entries), counters, seconds) = metered(|| logged(ask));
            assert_eq!(status, case.status, "{outcome}");

            assert_eq!(entries.len(), 1, "{outcome}: {entries:?}");
            let entry = &entries[0];
            assert_eq!((entry.target, entry.level), ("keyway", case.level), "{outcome}");
            let mut expected = Values::of([("outcome", outcome)]);
            let name = case.token.unwrap_or_default();
            if case.names_tenant {
                expected.0.insert("tenant", name.into());
            }
            if case.names_key {
                expected.0.insert("key", scene.ids[name].clone());
            }
            let mut fields = entry.fields.clone();
            let error = fields.0.remove("error");
            assert_eq!(fields, expected, "{outcome}");
            assert_eq!(error.is_some(), outcome == "unavailable", "{outcome}: {error:?}");
            assert_eq!(entry.spans, [], "{outcome}");

            let counter = format!("keyway_requests_total{{outcome={outcome}}}");
            assert_eq!(counters, BTreeMap::from([(counter, 1)]));
            assert_eq!(seconds.len(), 1, "{outcome}");
            assert!((0.0..60.0).contains(&seconds[0]), "{outcome}: {seconds:?}");
        }
    }
}

#[test]
fn own_key_endpoint_is_observed_like_a_guard() {
    let scene = Scene::new();
    let own_key = OwnKey::new(&scene.world.keyring, &scene.guard);
    let cases = [
        (Some("disabled"), 200, "admitted", true),
        (Some("forged"), 401, "rejected", false),
        (Some("deleted"), 401, "rejected", false),
        (Some("unreadable"), 400, "invalid_request", false),
        (None, 401, "missing", false),
    ];
    for (token, status, outcome, names_key) in cases {
        let value = token.map(|name| bearer(&scene.tokens[name]));
        let fields: Vec<_> = value.iter().map(|value| ("authorization", &**value)).collect();
        let ask = || block_on(own_key.describe(&fields[..])).status();
        let ((answered, events), counters, seconds) = metered(|| logged(ask));
        assert_eq!(answered, status, "{token:?}");
        let key = names_key.then(|| ("key", &*scene.ids[token.unwrap()]));
        let fields = Values::of([("outcome", outcome)].into_iter().chain(key));
        assert_eq!(events.iter().map(|event| &event.fields).collect::<Vec<_>>(), [&fields]);
        let counter = format!("keyway_requests_total{{outcome={outcome}}}");
        assert_eq!(counters, BTreeMap::from([(counter, 1)]));
        assert_eq!(seconds.len(), 1);
    }
}

#[test]
fn outage_event_holds_the_error_with_its_causes() {
    let scene = Scene::new();
    scene.world.store.set_down(true);
    let guard = scene.guard.freshness(Freshness::Now);
    let (_, entries) = logged(|| scene.ask(&guard, Some("active")));
    let told = &entries[0].fields.0["error"];

    let verified = scene.world.keyring.verify_as_of(&scene.tokens["active"], Freshness::Now);
    let error = block_on(verified).unwrap_err();
    assert_eq!(*told, crate::support::chain(&error)[1..].join(": "));
}

#[test]
fn the_time_to_the_verdict_includes_waiting_for_the_store() {
    let scene = Scene::new();
    let wait = Duration::from_millis(50);
    let guard = scene.guard.freshness(Freshness::Now);
    let ((), _, seconds) = metered(|| {
        let value = bearer(&scene.tokens["active"]);
        block_on(async {
            scene.world.store.hold("lookup");
            let fields = [("authorization", &*value)];
            let mut admission = core::pin::pin!(guard.admit(&fields[..]));
            assert!(give_up_after(1, admission.as_mut()).is_none());
            std::thread::sleep(wait);
            scene.world.store.release("lookup");
            admission.await.unwrap();
        });
    });
    assert!(seconds[0] >= wait.as_secs_f64(), "{seconds:?}");
}

#[test]
fn a_request_that_is_given_up_is_not_observed() {
    let scene = Scene::new();
    let guard = scene.guard.freshness(Freshness::Now);
    let give_up = || {
        let value = bearer(&scene.tokens["active"]);
        scene.world.store.hold("lookup");
        let fields = [("authorization", &*value)];
        assert!(give_up_after(1, guard.admit(&fields[..])).is_none());
    };
    let (((), entries), counters, seconds) = metered(|| logged(give_up));
    assert_eq!((entries.len(), counters.len(), seconds.len()), (0, 0, 0));
}

/// A handler that logs before and after it waits.
async fn handle(_: Request<()>) -> Result<Response<String>, Infallible> {
    tracing::info!(target: "handler", "before");
    pause().await;
    tracing::info!(target: "handler", "after");
    Ok(Response::new(String::new()))
}

#[test]
fn handler_logs_name_tenant_and_key() {
    let scene = Scene::new();
    // From here on the key is in the cache, so one of the requests below does not wait.
    assert_eq!(scene.ask(&scene.guard, Some("active")), None);
    let service = |freshness| {
        scene.guard.optional().freshness(freshness).layer(service_fn(|request| {
            // A service may do its work before it returns a future.
            tracing::info!(target: "handler", "call");
            handle(request)
        }))
    };
    for freshness in [Freshness::Cached, Freshness::Now] {
        for name in [Some("active"), None] {
            let mut request = Request::builder();
            if let Some(name) = name {
                request = request.header("authorization", bearer(&scene.tokens[name]));
            }
            let request = request.body(()).unwrap();
            let ((), entries) = logged(|| {
                let response = block_on(service(freshness).oneshot(request)).unwrap();
                assert_eq!(response.status(), 200);
                tracing::info!(target: "handler", "outside");
            });
            let expected: Vec<_> = name
                .map(|name| Values::of([("tenant", name), ("key", &scene.ids[name])]))
                .map(|fields| ("api_key", fields))
                .into_iter()
                .collect();
            let of_handler: Vec<_> =
                entries.iter().filter(|entry| entry.target == "handler").collect();
            let texts: Vec<_> =
                of_handler.iter().map(|entry| &*entry.fields.0["message"]).collect();
            assert_eq!(texts, ["call", "before", "after", "outside"]);
            for entry in &of_handler[..3] {
                assert_eq!(entry.spans, expected, "{entry:?}");
            }
            assert_eq!(of_handler[3].spans, []);
            assert_eq!(entries.len(), of_handler.len() + 1);
        }
    }
}

#[test]
fn requests_that_take_turns_keep_their_spans() {
    let scene = Scene::new();
    let service = scene.guard.layer(service_fn(handle));
    let other = scene.world.tenant_with_key("other");
    let request = |token: &str| {
        let request = Request::builder().header("authorization", bearer(token));
        service.clone().oneshot(request.body(()).unwrap())
    };
    let ((), entries) = logged(|| {
        block_on(async {
            let (mut one, mut two) =
                (Box::pin(request(&scene.tokens["active"])), Box::pin(request(&other.token)));
            // Each request is polled as far as its handler's `before`.
            assert!(give_up_after(1, one.as_mut()).is_none());
            assert!(give_up_after(1, two.as_mut()).is_none());
            two.await.unwrap();
            one.await.unwrap();
        });
    });
    let of_handler = entries.iter().filter(|entry| entry.target == "handler");
    let tenants: Vec<_> = of_handler
        .map(|entry| {
            assert_eq!(entry.spans.len(), 1, "{entry:?}");
            format!("{} {}", entry.fields.0["message"], entry.spans[0].1.0["tenant"])
        })
        .collect();
    assert_eq!(tenants, ["before active", "before other", "after other", "after active"]);
}

/// Returns the parts of 8 characters of a secret that are in a text.
fn leaks<'s>(secret: &'s str, text: &str) -> Vec<&'s str> {
    assert!(secret.is_ascii() && secret.len() >= 8);
    let windows = (0..=secret.len() - 8).map(|start| &secret[start..start + 8]);
    windows.filter(|window| text.contains(window)).collect()
}

#[test]
fn nothing_of_a_credential_is_logged_or_counted() {
    for case in cases() {
        let scene = Scene::new();
        let guard = (case.prepare)(&scene);
        let ask = || {
            scene.ask(&guard, case.token);
            // The same through the adapter, with an unrelated header.
            let mut request =
                Request::builder().uri("/canary-path").header("x-canary", "canary-field");
            if let Some(name) = case.token {
                request = request.header("authorization", bearer(&scene.tokens[name]));
            }
            let service = guard.layer(service_fn(handle));
            drop(block_on(service.oneshot(request.body(()).unwrap())));
        };
        let (((), entries), counters, _) = metered(|| logged(ask));
        assert!(entries.len() >= 2);
        let text = format!("{entries:?} {counters:?}");
        assert!(!text.contains("canary"), "{text}");

        let Some(name) = case.token else { continue };
        let token = &scene.tokens[name];
        // The id of a key is public, but it is not logged unless the caller has proven to hold the key.
        let secret = if case.names_key { &token["mm_live_".len() + 16..] } else { token };
        assert_eq!(leaks(secret, &text), [""; 0], "{}: {text}", case.outcome);
    }
}

#[test]
fn a_leak_is_noticed() {
    let scene = Scene::new();
    let token = &scene.tokens["active"];
    let part = &token[token.len() - 20..][..8];
    let ((), entries) = logged(|| tracing::trace!(target: "elsewhere", part, "a careless handler"));
    assert_eq!(leaks(token, &format!("{entries:?}")), [part]);
}

#[test]
fn the_metrics_are_described() {
    let recorder = DebuggingRecorder::new();
    metrics::with_local_recorder(&recorder, || {
        describe_metrics();
        metrics::counter!("keyway_requests_total", "outcome" => "admitted").increment(1);
        metrics::histogram!("keyway_verification_seconds").record(0.1);
    });
    let metrics = recorder.snapshotter().snapshot().into_vec();
    assert_eq!(metrics.len(), 2);
    for (key, unit, description, _) in metrics {
        assert!(unit.is_some() && description.is_some(), "{key:?} is not described");
    }
}
