//! The logs that applications write: everything at `TRACE`, an access log outside the guard, and a log with
//! all headers inside it.

use std::{
    cell::RefCell,
    convert::Infallible,
    io,
    pin::Pin,
    sync::{Arc, Mutex, Once},
    task::{Context, Poll},
};

use http::{Request, Response};
use tower::{Layer, Service as TowerService};
use tower_http::{
    classify::{ServerErrorsAsFailures, SharedClassifier},
    trace::{DefaultMakeSpan, DefaultOnRequest, DefaultOnResponse, TraceLayer},
};
use tracing::Level;
use tracing_subscriber::{
    Layer as _,
    filter::dynamic_filter_fn,
    fmt::{self, MakeWriter},
    layer::SubscriberExt,
    registry,
};

use crate::service::Service;

/// Everything that was logged. Clones share it.
#[derive(Clone, Default)]
pub struct Logs(Arc<Mutex<Vec<u8>>>);

thread_local! {
    /// The log that records this thread.
    static LISTENER: RefCell<Option<Logs>> = const { RefCell::new(None) };
}

impl Logs {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }

    /// Records everything that this thread logs, of every crate and at every level.
    pub fn listen_to_this_thread(&self) {
        LISTENER.set(Some(self.clone()));
    }
}

/// Prepares this process for recording.
///
/// All threads share one subscriber, because each call site caches the interest of the first subscriber that
/// it meets.
pub fn prepare() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let is_heard = dynamic_filter_fn(|_, _| LISTENER.with_borrow(Option::is_some));
        let layer = fmt::layer().with_ansi(false).with_writer(Ear).with_filter(is_heard);
        tracing::subscriber::set_global_default(registry().with(layer)).unwrap();
    });
}

struct Ear;

impl MakeWriter<'_> for Ear {
    type Writer = Logs;

    fn make_writer(&self) -> Logs {
        LISTENER.with_borrow(|listener| listener.clone().unwrap_or_default())
    }
}

impl io::Write for Logs {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Returns the log inside the guard, with the address and every header.
pub fn all_fields() -> TraceLayer<SharedClassifier<ServerErrorsAsFailures>> {
    TraceLayer::new_for_http()
        .make_span_with(DefaultMakeSpan::new().level(Level::INFO).include_headers(true))
        .on_request(DefaultOnRequest::new().level(Level::INFO))
        .on_response(DefaultOnResponse::new().level(Level::INFO).include_headers(true))
}

/// The outermost layer. It writes the method, the path and the status of each request, and counts the
/// requests in progress.
#[derive(Clone)]
pub struct AccessLog(pub Arc<Service>);

#[derive(Clone)]
pub struct Logged<S> {
    service: Arc<Service>,
    inner: S,
}

impl<S> Layer<S> for AccessLog {
    type Service = Logged<S>;

    fn layer(&self, inner: S) -> Logged<S> {
        Logged { service: Arc::clone(&self.0), inner }
    }
}

impl<S, B, R> TowerService<Request<B>> for Logged<S>
where
    S: TowerService<Request<B>, Response = Response<R>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<R>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<R>, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let under_way = self.service.enter();
        let line = format!("{} {}", request.method(), request.uri().path());
        let answer = self.inner.call(request);
        Box::pin(async move {
            let response = answer.await?;
            tracing::info!("{line} {}", response.status());
            drop(under_way);
            Ok(response)
        })
    }
}
