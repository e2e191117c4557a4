//! axum with routes that declare the access they require.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Router,
    handler::Handler,
    http::{HeaderMap, request::Parts},
    routing,
};
use bytes::Bytes;
use keyway::{
    Principal,
    http::{
        Routes,
        axum::{Endpoint, any, get, post},
    },
};
use tokio::net::TcpListener;

use crate::{
    logs::{AccessLog, all_fields},
    service::{CALLS, Seen, Service},
};

pub(super) async fn serve(service: Arc<Service>, listener: TcpListener) {
    let router = router(&service).layer(AccessLog(service));
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, service).await.unwrap();
}

fn router(service: &Arc<Service>) -> Router {
    routes(service, "", "GET").merge(routes(service, CALLS, "POST"))
}

/// Returns the routes below `prefix`, which `method` reads.
fn routes(service: &Arc<Service>, prefix: &str, method: &'static str) -> Router {
    let at = |path: &str| format!("{prefix}{path}");
    let may_have_caller = |path| {
        let answer = handler(service, path);
        async move |caller: Option<Principal>, fields: HeaderMap, body: Bytes| {
            answer(caller.as_ref(), &fields, &body)
        }
    };
    let reads_no_caller = |path| {
        let answer = handler(service, path);
        async move |fields: HeaderMap, body: Bytes| answer(None, &fields, &body)
    };
    let must_have_caller = |path| {
        let answer = handler(service, path);
        async move |caller: Principal, fields: HeaderMap, body: Bytes| {
            answer(Some(&caller), &fields, &body)
        }
    };
    let panicking = {
        let answer = handler(service, "/panic");
        async move |caller: Principal, parts: Parts, body: Bytes| {
            let text = answer(Some(&caller), &parts.headers, &body);
            assert!(text.is_empty(), "{parts:#?} of {caller:?}: {text}");
        }
    };
    let guard = service.guard();
    let report = logged(method, must_have_caller("/report"));
    let report = report.require(["reporting"]).touches_no("machine");
    let report = match method {
        "POST" => report,
        _ => report
            .and("POST", routing::post(must_have_caller("/report")).route_layer(all_fields()))
            .require(["operator.jobs"])
            .touches_no("machine"),
    };
    let routes = Routes::new(guard.clone())
        .route(&at("/report"), report)
        .route(
            &at("/either"),
            logged(method, may_have_caller("/either"))
                .require_any(["reporting", "operator.read"])
                .touches_no("machine"),
        )
        .route(&at("/any"), logged(method, may_have_caller("/any")).any_key().touches_no("machine"))
        .route(&at("/every"), any(may_have_caller("/every")).any_key().touches_no("machine"))
        .route(
            &at("/optional"),
            logged(method, may_have_caller("/optional")).optional().touches_no("machine"),
        )
        .route(
            &at("/machines/{id}"),
            logged(method, must_have_caller("/machines"))
                .require(["reporting"])
                .resource("machine", "id"),
        )
        .route(&at("/public"), read(method, reads_no_caller("/public")).public())
        .route(&at("/panic"), logged(method, panicking).any_key().touches_no("machine"))
        .route(&at("/unguarded"), read(method, must_have_caller("/unguarded")).public())
        .route(
            &at("/unguarded/optional"),
            read(method, may_have_caller("/unguarded/optional")).public(),
        )
        .route(
            &at("/optional/caller"),
            read(method, must_have_caller("/optional/caller")).optional().touches_no("machine"),
        );
    let keyed = Routes::new(service.key_guard()).route(
        &at("/keyed"),
        logged(method, may_have_caller("/keyed")).any_key().touches_no("machine"),
    );
    let only = Routes::new(service.only_guard()).route(
        &at("/only"),
        logged(method, may_have_caller("/only")).any_key().touches_no("machine"),
    );
    let kept = Routes::new(guard.keep_credential()).route(
        &at("/kept"),
        logged(method, may_have_caller("/kept")).any_key().touches_no("machine"),
    );
    [keyed, only, kept]
        .into_iter()
        .fold(routes.build().unwrap(), |router, routes| router.merge(routes.build().unwrap()))
}

/// Returns an endpoint with a log inside its guard. With `layer`, the log would also see requests of other
/// methods, to which axum responds with 405 before any guard runs.
fn logged<T: 'static>(method: &'static str, handler: impl Handler<T, ()>) -> Endpoint {
    let handler = if method == "POST" { routing::post(handler) } else { routing::get(handler) };
    Endpoint::new(method, handler.route_layer(all_fields()))
}

fn read<T: 'static>(method: &'static str, handler: impl Handler<T, ()>) -> Endpoint {
    if method == "POST" { post(handler) } else { get(handler) }
}

fn handler(
    service: &Arc<Service>,
    route: &'static str,
) -> impl Fn(Option<&Principal>, &HeaderMap, &[u8]) -> String + Clone + Send + Sync + 'static {
    let service = Arc::clone(service);
    move |caller, fields, body| {
        let seen = Seen {
            caller,
            has_authorization: fields.contains_key("authorization"),
            has_key_field: fields.contains_key("x-api-key"),
            body,
        };
        service.answer(route, &seen)
    }
}
