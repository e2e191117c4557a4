//! Streams behind a guard end when the key no longer meets what each guard around the handler required.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, mpsc},
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use crate::support::{Held, World, block_on, policy};
use axum::{
    Router,
    body::Body,
    http::{Request, StatusCode},
    response::Sse,
    response::sse::Event,
    routing::{self, MethodRouter},
};
use futures_util::{StreamExt, stream};
use http_body_util::BodyExt;
use keyway::{
    Guard, KeyEdit, Principal, VerifyError,
    grant::OutsideGrant,
    http::{Routes, axum::get},
    verifier::{Ended, Freshness},
};
use tower::ServiceExt;

struct Tell(mpsc::Sender<()>);

impl Wake for Tell {
    fn wake(self: Arc<Self>) {
        let _ = self.0.send(());
    }
}

/// Returns the end of the stream, or `None` if it is open after `wait`.
fn end(ended: &mut Pin<Box<Ended>>, wait: Duration) -> Option<VerifyError> {
    let (sender, wakes) = mpsc::channel();
    let tells = Waker::from(Arc::new(Tell(sender)));
    loop {
        if let Poll::Ready(error) = ended.as_mut().poll(&mut Context::from_waker(&tells)) {
            return Some(error);
        }
        if wakes.recv_timeout(wait).is_err() {
            return None;
        }
    }
}

const SOON: Duration = Duration::from_secs(10);
const SOME_LOOKS: Duration = Duration::from_millis(400);

fn edit(held: &Held, scopes: &[&str]) {
    let key = block_on(held.keys.find(held.key.id())).unwrap();
    let edit = KeyEdit::new().scopes(scopes.iter().copied());
    block_on(held.keys.edit(key.id(), key.version(), edit)).unwrap();
}

/// Sends a request through `router`, whose handler returns its caller here.
fn caller_through(router: impl FnOnce(MethodRouter) -> Router, token: &str) -> Principal {
    let (sender, callers) = mpsc::sync_channel(1);
    let handler = routing::get(async move |caller: Principal| {
        sender.send(caller).unwrap();
    });
    let request = Request::get("/").header("authorization", format!("Bearer {token}"));
    let response = router(handler).oneshot(request.body(Body::empty()).unwrap());
    assert_eq!(block_on(response).unwrap().status(), StatusCode::OK);
    callers.recv().unwrap()
}

#[test]
fn stream_ends_with_the_scope_of_any_guard_around_it() {
    let world = World::new();
    let guard = |scopes: &[&str]| world.keyring.require(scopes.iter().copied()).unwrap();
    let any = Guard::new(&world.keyring);
    let fresh = guard(&["reporting"]).freshness(Freshness::Now);
    let kept = vec![fresh, guard(&["manager"]).keep_credential()];
    let cases: [(&str, Vec<Guard>, &[&str], bool); 7] = [
        ("outer guard that keeps the credential", kept, &["reporting"], true),
        ("any key", vec![any.clone()], &[], false),
        ("one guard", vec![guard(&["reporting"])], &["manager"], true),
        ("one guard keeps its scope", vec![guard(&["reporting"])], &["reporting"], false),
        ("inner guard", vec![guard(&["reporting"]), any.clone()], &["manager"], true),
        ("outer guard", vec![guard(&["manager"]), guard(&["reporting"])], &["manager"], true),
        ("any of two", vec![any.require_any(["erp", "manager"]).unwrap()], &["manager"], false),
    ];
    for (number, (name, guards, left, ends)) in cases.into_iter().enumerate() {
        let held = world.tenant_with_key(&format!("tenant-{number}"));
        edit(&held, &["reporting", "manager"]);
        let around = |handler| {
            let router = Router::new().route("/", handler);
            guards.into_iter().fold(router, Router::layer)
        };
        let mut ended = Box::pin(caller_through(around, &held.token).ended());
        assert!(end(&mut ended, Duration::ZERO).is_none(), "{name}");
        edit(&held, left);
        let error = end(&mut ended, if ends { SOON } else { SOME_LOOKS });
        assert_eq!(error.is_some(), ends, "{name}: {error:?}");
        let lacks = |error| matches!(error, VerifyError::Forbidden(OutsideGrant::Scope(_)));
        assert!(error.is_none_or(lacks), "{name}");
        block_on(held.keys.delete(held.key.id())).unwrap();
        assert!(end(&mut ended, SOON).is_some(), "{name}");
    }
}

#[test]
fn stream_of_another_environment_ends_with_its_own_store() {
    let live = World::new();
    let test = World::with(policy(), |builder| builder.environment("test"));
    let held = test.tenant_with_key("acme");
    let guard = live.keyring.require(["reporting"]).unwrap().also(&test.keyring).unwrap();
    let around = |handler| Router::new().route("/", handler).layer(guard);
    let mut ended = Box::pin(caller_through(around, &held.token).ended());
    assert!(end(&mut ended, SOME_LOOKS).is_none());
    edit(&held, &["manager"]);
    assert!(matches!(end(&mut ended, SOON), Some(VerifyError::Forbidden(_))));
}

#[test]
fn server_sent_events_end_when_the_key_is_deleted() {
    async fn events(
        caller: Principal,
    ) -> Sse<impl stream::Stream<Item = Result<Event, std::io::Error>>> {
        let readings = stream::iter(0..2).chain(stream::pending());
        let events = readings.map(|number| Ok(Event::default().data(number.to_string())));
        let ended = caller.ended();
        Sse::new(events.take_until(ended))
    }
    let world = World::new();
    let held = world.tenant_with_key("acme");
    let events = get(events).require(["reporting"]);
    let router: Router = Routes::new(&world.keyring).route("/events", events).build().unwrap();
    let request = Request::get("/events").header("authorization", format!("Bearer {}", held.token));
    let response = block_on(router.oneshot(request.body(Body::empty()).unwrap())).unwrap();
    let mut body = response.into_body();
    for number in 0..2 {
        let frame = block_on(body.frame()).unwrap().unwrap().into_data().unwrap();
        assert_eq!(frame, format!("data: {number}\n\n"));
    }
    block_on(held.keys.delete(held.key.id())).unwrap();
    // Without the end of the key this would wait forever.
    assert!(block_on(body.frame()).is_none());
}
