//! actix-web with routes that declare the access they require.

use std::{
    future::{Ready, pending, ready},
    sync::{Arc, mpsc},
    thread::{self, JoinHandle},
    time::Duration,
};

use actix_web::{
    App, Error, FromRequest, Handler, HttpRequest, Responder,
    body::MessageBody,
    dev::{ServerHandle, ServiceRequest, ServiceResponse},
    middleware::{Next, from_fn},
    rt::System,
    web::{self, Bytes, ServiceConfig},
};
use keyway::{
    Principal,
    http::{
        Routes,
        actix::{ActixHandler, Endpoint, any, get, post},
    },
};
use tokio::net::TcpListener;

use crate::{
    answers::Expected::{self, Continue, Missing, Ran, Server, TooLong},
    service::{CALLS, Seen, Service},
};

/// The responses that differ from the table, by the names of their rows.
pub(super) const OWN_ANSWERS: &[(&str, &[Expected])] = &[
    // actix-web decodes paths before it compares them. The guard is the same.
    ("the path, percent-encoded (HTTP/1.1)", &[Ran("/report for acme/reader (reporting)")]),
    ("the path, percent-encoded (HTTP/2)", &[Ran("/report for acme/reader (reporting)")]),
    // actix-web does not limit headers over HTTP/2.
    ("16 kB (HTTP/2)", &[TooLong]),
    ("16 kB of another scheme (HTTP/2)", &[Missing]),
    ("no host", &[Server(400)]),
    ("a length and chunks", &[Server(400)]),
    // actix-web responds also to a request after the last one.
    ("one without an end after a refused one", &[Missing, Ran("/any for acme/reader (reporting)")]),
    ("a body that is announced and refused", &[Continue, Missing]),
];

pub(super) async fn serve(service: Arc<Service>, listener: TcpListener) {
    let listener = listener.into_std().unwrap();
    let (sender, receiver) = mpsc::channel();
    let thread = thread::spawn(move || {
        System::new().block_on(async {
            let routes = routes(&service);
            // The only worker calls this. Its thread then serves all connections.
            let app = move || {
                if let Some(logs) = &service.logs {
                    logs.listen_to_this_thread();
                }
                let service = Arc::clone(&service);
                let log = from_fn(move |request: ServiceRequest, next: Next<_>| {
                    access_log(Arc::clone(&service), request, next)
                });
                App::new().configure(routes.clone()).wrap(log)
            };
            let server = actix_web::HttpServer::new(app).workers(1).disable_signals();
            // actix-web measures this from a time that it reads twice a second, and never closes a connection
            // whose deadline has passed by then. A shorter timeout would leave connections open forever.
            let server = server.client_disconnect_timeout(Duration::from_secs(2));
            let server = server.listen_auto_h2c(listener).unwrap().run();
            sender.send(server.handle()).unwrap();
            server.await.unwrap();
        });
    });
    let _stopping = Stopping(receiver.recv().unwrap(), Some(thread));
    pending::<()>().await;
}

/// Ends the server when its future is dropped.
struct Stopping(ServerHandle, Option<JoinHandle<()>>);

impl Drop for Stopping {
    fn drop(&mut self) {
        drop(self.0.stop(false));
        let _ = self.1.take().map(JoinHandle::join);
    }
}

async fn access_log<B: MessageBody>(
    service: Arc<Service>,
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    let under_way = service.enter();
    let line = format!("{} {}", request.method(), request.path());
    let response = next.call(request).await?;
    tracing::info!(target: "http::logs", "{line} {}", response.status());
    drop(under_way);
    Ok(response)
}

async fn all_fields<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    tracing::info!("{} {:?}", request.uri(), request.headers());
    next.call(request).await
}

fn routes(service: &Arc<Service>) -> impl Fn(&mut ServiceConfig) + Clone + Send + use<> {
    let (reads, calls) = (below(service, "", "GET"), below(service, CALLS, "POST"));
    move |config: &mut ServiceConfig| {
        reads(config);
        calls(config);
    }
}

/// Returns the routes below `prefix`, which `method` reads.
fn below(
    service: &Arc<Service>,
    prefix: &str,
    method: &'static str,
) -> impl Fn(&mut ServiceConfig) + Clone + Send + use<> {
    let at = |path: &str| format!("{prefix}{path}");
    let may_have_caller = |path| {
        let answer = handler(service, path);
        move |caller: Option<Principal>, request: HttpRequest, body: Bytes| -> Ready<String> {
            ready(answer(caller.as_ref(), &request, &body))
        }
    };
    let must_have_caller = |path| {
        let answer = handler(service, path);
        move |caller: Principal, request: HttpRequest, body: Bytes| -> Ready<String> {
            ready(answer(Some(&caller), &request, &body))
        }
    };
    // Each has a log inside its guard.
    let open = |path| {
        let handler = may_have_caller(path);
        ActixHandler::new(move || web::route().to(handler.clone()).wrap(from_fn(all_fields)))
    };
    let report = || {
        let handler = must_have_caller("/report");
        ActixHandler::new(move || web::route().to(handler.clone()).wrap(from_fn(all_fields)))
    };
    let machine = || {
        let handler = must_have_caller("/machines");
        ActixHandler::new(move || web::route().to(handler.clone()).wrap(from_fn(all_fields)))
    };
    let panicking = {
        let answer = handler(service, "/panic");
        move |caller: Principal, request: HttpRequest, body: Bytes| -> Ready<String> {
            let text = answer(Some(&caller), &request, &body);
            panic!("{request:#?} of {caller:?}: {text}")
        }
    };
    let guard = service.guard();
    let reported = Endpoint::new(method, report()).require(["reporting"]).touches_no("machine");
    let reported = match method {
        "POST" => reported,
        _ => reported.and("POST", report()).require(["operator.jobs"]).touches_no("machine"),
    };
    let routes = Routes::new(guard.clone())
        .route(&at("/report"), reported)
        .route(
            &at("/either"),
            Endpoint::new(method, open("/either"))
                .require_any(["reporting", "operator.read"])
                .touches_no("machine"),
        )
        .route(&at("/any"), Endpoint::new(method, open("/any")).any_key().touches_no("machine"))
        .route(&at("/every"), any(may_have_caller("/every")).any_key().touches_no("machine"))
        .route(
            &at("/optional"),
            Endpoint::new(method, open("/optional")).optional().touches_no("machine"),
        )
        .route(
            &at("/machines/{id}"),
            Endpoint::new(method, machine()).require(["reporting"]).resource("machine", "id"),
        )
        .route(&at("/public"), read(method, may_have_caller("/public")).public())
        .route(&at("/panic"), read(method, panicking).any_key().touches_no("machine"))
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
        Endpoint::new(method, open("/keyed")).any_key().touches_no("machine"),
    );
    let only = Routes::new(service.only_guard())
        .route(&at("/only"), Endpoint::new(method, open("/only")).any_key().touches_no("machine"));
    let kept = Routes::new(guard.keep_credential())
        .route(&at("/kept"), Endpoint::new(method, open("/kept")).any_key().touches_no("machine"));
    let (routes, keyed) = (routes.build().unwrap(), keyed.build().unwrap());
    let (only, kept) = (only.build().unwrap(), kept.build().unwrap());
    move |config: &mut ServiceConfig| {
        routes(config);
        keyed(config);
        only(config);
        kept(config);
    }
}

fn read<H, T>(method: &'static str, handler: H) -> Endpoint
where
    H: Handler<T, Output: Responder + 'static> + Send + Sync,
    T: FromRequest + 'static,
{
    if method == "POST" { post(handler) } else { get(handler) }
}

fn handler(
    service: &Arc<Service>,
    route: &'static str,
) -> impl Fn(Option<&Principal>, &HttpRequest, &[u8]) -> String + Clone + Send + Sync + 'static {
    let service = Arc::clone(service);
    move |caller, request, body| {
        let seen = Seen {
            caller,
            has_authorization: request.headers().contains_key("authorization"),
            has_key_field: request.headers().contains_key("x-api-key"),
            body,
        };
        service.answer(route, &seen)
    }
}
