//! hyper's server with guarded services, without a router.

use std::{convert::Infallible, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Collected, Full, combinators::UnsyncBoxBody};
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use keyway::{
    Guard, Principal,
    http::PeerAddress,
    operations::{Needs, Operations},
};
use tokio::net::TcpListener;
use tower::{Layer, ServiceExt, service_fn, util::BoxCloneSyncService};

use crate::{
    logs::{AccessLog, all_fields},
    service::{CALLS, Seen, Service},
};

type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;
type Handler = BoxCloneSyncService<Request<Incoming>, Answer, Infallible>;
/// A path, the methods that it serves in the format of `Allow`, and the handler of each.
type Path = (&'static str, &'static str, Vec<(Option<Method>, Handler)>);

pub(super) async fn serve(service: Arc<Service>, listener: TcpListener) {
    let (paths, calls) = (Arc::new(paths(&service)), Arc::new(calls(&service)));
    let routes = service_fn(move |request: Request<Incoming>| {
        let (method, path) = (request.method(), request.uri().path());
        let call = calls.iter().find(|(other, _)| *other == path && method == Method::POST);
        let found = call.map(|(_, handler)| handler.clone());
        found.unwrap_or_else(|| find(&paths, method, path)).oneshot(request)
    });
    let routes = AccessLog(service).layer(routes);
    loop {
        let Ok((stream, peer)) = listener.accept().await else { return };
        let routes = routes.clone().map_request(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(PeerAddress(peer));
            request
        });
        let service = TowerToHyperService::new(routes);
        tokio::spawn(async move {
            let builder = auto::Builder::new(TokioExecutor::new());
            let _ = builder.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

fn paths(service: &Arc<Service>) -> Vec<Path> {
    let guard = service.guard();
    let one = |path, guard: Option<Guard>| -> Path {
        (path, "GET,HEAD", vec![(Some(Method::GET), handler(service, path, guard))])
    };
    let report = |method, scope| {
        let guard = guard.require([scope]).unwrap();
        (Some(method), handler(service, "/report", Some(guard)))
    };
    vec![
        (
            "/report",
            "GET,HEAD,POST",
            vec![report(Method::GET, "reporting"), report(Method::POST, "operator.jobs")],
        ),
        one("/either", Some(guard.require_any(["reporting", "operator.read"]).unwrap())),
        one("/any", Some(guard.clone())),
        ("/every", "", vec![(None, handler(service, "/every", Some(guard.clone())))]),
        machine(service, "/machines/press-1"),
        machine(service, "/machines/press-2"),
        one("/optional", Some(guard.optional())),
        one("/public", None),
        one("/keyed", Some(service.key_guard())),
        one("/only", Some(service.only_guard())),
        one("/kept", Some(guard.keep_credential())),
        one("/panic", Some(guard.clone())),
    ]
}

/// Returns the calls whose access is that of a table of operations. All others have a guard of their own.
fn calls(service: &Arc<Service>) -> Vec<(&'static str, Handler)> {
    let none = |needs: Needs| needs.touches_no("machine");
    let machine = || Needs::all(["reporting"]).handler_checks("machine");
    let declared = [
        ("/calls/report", none(Needs::all(["reporting"]))),
        ("/calls/either", none(Needs::any(["reporting", "operator.read"]))),
        ("/calls/any", none(Needs::any_key())),
        ("/calls/panic", none(Needs::any_key())),
        ("/calls/public", Needs::nothing()),
        ("/calls/machines/press-1", machine()),
        ("/calls/machines/press-2", machine()),
    ];
    let names = declared.each_ref().map(|(name, _)| *name);
    let operations = Operations::new(service.world.keyring.policy());
    let declare = |table: Operations, (name, needs)| table.operation(name, needs);
    let table = declared.into_iter().fold(operations, declare).build(names).unwrap();
    let guard = service.guard().operations(&table).unwrap();
    let call = |name: &'static str| {
        let path = name.trim_start_matches(CALLS);
        let handler = match path {
            path if path.starts_with("/machines") => check_machine(service, path),
            path => handler(service, path, None),
        };
        let guarded = guard.layer(all_fields().layer(handler));
        let guarded = guarded.map_response(|answer| answer.map(BodyExt::boxed_unsync));
        (name, BoxCloneSyncService::new(guarded))
    };
    names.map(call).into()
}

/// Returns the path of a machine. Without a router no guard knows the id, so the handler checks it.
fn machine(service: &Arc<Service>, path: &'static str) -> Path {
    let guard = service.guard().require(["reporting"]).unwrap().handler_checks("machine").unwrap();
    let guarded = guard.layer(all_fields().layer(check_machine(service, path)));
    let guarded = guarded.map_response(|answer| answer.map(BodyExt::boxed_unsync));
    (path, "GET,HEAD", vec![(Some(Method::GET), BoxCloneSyncService::new(guarded))])
}

/// Returns the handler of a machine, which refuses a caller as the guard does.
fn check_machine(service: &Arc<Service>, path: &'static str) -> Handler {
    let policy = service.world.keyring.policy();
    let (kind, any) =
        (policy.catalog().resource("machine").unwrap(), policy.catalog().require_none());
    let inner = handler(service, "/machines", None);
    let refusing = service.guard();
    BoxCloneSyncService::new(service_fn(move |request: Request<Incoming>| {
        let caller = request.extensions().get::<Principal>().unwrap();
        let id = path.trim_start_matches("/machines/");
        let refused = caller
            .permit(&any, &kind, id)
            .map_err(|outside| refusing.refuse(caller, outside))
            .err();
        let inner = inner.clone();
        async move {
            let Some(refused) = refused else { return inner.oneshot(request).await };
            let refused = refused.for_request(request.method().as_str(), request.headers());
            let mut response = Response::builder().status(refused.status());
            for (name, value) in refused.headers() {
                response = response.header(name, value);
            }
            Ok(response.body(Full::from(refused.into_body()).boxed_unsync()).unwrap())
        }
    }))
}

/// Returns the handler of a request, or a handler for missing paths and methods.
fn find(paths: &[Path], method: &Method, path: &str) -> Handler {
    let (method, path) = match path.strip_prefix(CALLS) {
        Some(path) if method == Method::POST => (&Method::GET, path),
        _ => (method, path),
    };
    let Some((_, allow, handlers)) = paths.iter().find(|(other, ..)| *other == path) else {
        return empty(StatusCode::NOT_FOUND, None);
    };
    let method = if method == Method::HEAD { &Method::GET } else { method };
    let is_it = |other: &&(Option<Method>, _)| other.0.as_ref().is_none_or(|other| other == method);
    let found = handlers.iter().find(is_it).map(|(_, handler)| handler.clone());
    found.unwrap_or_else(|| empty(StatusCode::METHOD_NOT_ALLOWED, Some(allow)))
}

fn empty(status: StatusCode, allow: Option<&'static str>) -> Handler {
    BoxCloneSyncService::new(service_fn(move |_| async move {
        let mut answer = Response::new(Full::default().boxed_unsync());
        *answer.status_mut() = status;
        let allow = allow.map(HeaderValue::from_static);
        answer.headers_mut().extend(allow.map(|allow| (header::ALLOW, allow)));
        Ok(answer)
    }))
}

fn handler(service: &Arc<Service>, route: &'static str, guard: Option<Guard>) -> Handler {
    let service = Arc::clone(service);
    let handler = service_fn(move |request: Request<Incoming>| {
        let service = Arc::clone(&service);
        async move {
            let (parts, body) = request.into_parts();
            let caller = parts.extensions.get::<Principal>();
            let has = |fields: &HeaderMap, name| fields.contains_key(name);
            let body = body.collect().await.map(Collected::to_bytes).unwrap_or_default();
            let text = service.answer(
                route,
                &Seen {
                    caller,
                    has_authorization: has(&parts.headers, "authorization"),
                    has_key_field: has(&parts.headers, "x-api-key"),
                    body: &body,
                },
            );
            assert_ne!(route, "/panic", "{parts:#?} of {caller:?}: {text}");
            // The guard omits the body in its own responses to `HEAD`. A handler must do the same.
            let text = if parts.method == Method::HEAD { String::new() } else { text };
            let response = Response::builder().header("content-type", "text/plain; charset=utf-8");
            Ok::<_, Infallible>(response.body(Full::new(Bytes::from(text))).unwrap())
        }
    });
    match guard {
        // The log is inside the guard.
        Some(guard) => {
            let guarded = guard.layer(all_fields().layer(handler));
            BoxCloneSyncService::new(
                guarded.map_response(|answer| answer.map(BodyExt::boxed_unsync)),
            )
        }
        None => BoxCloneSyncService::new(
            handler.map_response(|answer| answer.map(BodyExt::boxed_unsync)),
        ),
    }
}
