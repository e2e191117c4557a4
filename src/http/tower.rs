//! The guard as a middleware of tower: for hyper, tonic, axum and everything else that speaks it.
//!
//! [`Guard`] is the layer. The handler finds its caller in the extensions of the request, and its answer
//! goes on as it is:
//!
//! ```
//! # use keyway::{keyring::Keyring, pepper::Pepper, policy::Policy, store::MemoryStore};
//! use core::convert::Infallible;
//! use http::{Request, Response};
//! use keyway::decision::Principal;
//! use tower::{Layer, ServiceExt, service_fn};
//!
//! # pollster::block_on(async {
//! # let policy: Policy = serde_json::from_str(r#"{
//! #     "issuer": "mm",
//! #     "scopes": [{ "name": "reporting", "description": "Read reports" }]
//! # }"#)?;
//! # let keyring = Keyring::builder(policy, Pepper::from_bytes(&[7; 32])?)
//! #     .environment("live")
//! #     .store(MemoryStore::new())
//! #     .build()?;
//! let report = service_fn(async |request: Request<String>| {
//!     let caller = request.extensions().get::<Principal>().unwrap();
//!     Ok::<_, Infallible>(Response::new(format!("reports of {}", caller.tenant())))
//! });
//! let service = keyring.require(["reporting"])?.layer(report);
//!
//! let response = service.oneshot(Request::new(String::new())).await?;
//! assert_eq!(response.status(), 401);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```

mod body;
mod future;

use core::task::{Context, Poll};

use http::{HeaderMap, HeaderValue, Method, Request, Response, header};
use tower_layer::Layer;
use tower_service::Service;

#[cfg(feature = "axum")]
pub(super) use self::body::to_response;
pub use self::{body::GuardedBody, future::GuardedFuture};
use super::{Admission, Fields, Guard, credential, guard::Progress};
use crate::decision::Principal;

impl Fields for HeaderMap {
    fn values<'f>(&'f self, name: &str) -> impl Iterator<Item = &'f [u8]> {
        let values = match name {
            credential::AUTHORIZATION => self.get_all(header::AUTHORIZATION),
            name => self.get_all(name),
        };
        values.into_iter().map(HeaderValue::as_bytes)
    }
}

impl<S> Layer<S> for Guard {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Guarded<S> {
        Guarded { guard: self.clone(), inner }
    }
}

/// A service behind a [`Guard`]. It admits a request by its key, or answers in place of the service.
#[derive(Clone, Debug)]
pub struct Guarded<S> {
    guard: Guard,
    inner: S,
}

impl<S, B, R> Service<Request<B>> for Guarded<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
{
    type Response = Response<GuardedBody<R>>;
    type Error = S::Error;
    type Future = GuardedFuture<S, B>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let known = || request.extensions().get::<Principal>().cloned();
        match self.guard.begin(request.headers(), known) {
            Progress::Done(Ok(mut admission)) => {
                self.guard.pass(&mut request, &mut admission);
                let entered = admission.enter_span();
                let future = self.inner.call(request);
                drop(entered);
                GuardedFuture::calling(future, admission)
            }
            Progress::Done(Err(answer)) => {
                GuardedFuture::refused(answer, request.method() == Method::HEAD)
            }
            Progress::Wait(rest) => {
                // The one that is ready goes along, as the contract of services has it.
                let clone = self.inner.clone();
                let service = core::mem::replace(&mut self.inner, clone);
                GuardedFuture::waiting(rest, self.guard.clone(), request, service)
            }
        }
    }
}

impl Guard {
    /// Makes of the request what the service behind the guard sees, with the caller in it.
    fn pass<B>(&self, request: &mut Request<B>, admission: &mut Admission) {
        match self.field_to_remove(admission) {
            Some(credential::AUTHORIZATION) => {
                request.headers_mut().remove(header::AUTHORIZATION);
            }
            Some(name) => {
                request.headers_mut().remove(name);
            }
            None => {}
        }
        // What was there is of another guard, or of nobody.
        match admission.take_principal() {
            Some(principal) => drop(request.extensions_mut().insert(principal)),
            None => drop(request.extensions_mut().remove::<Principal>()),
        }
    }
}
