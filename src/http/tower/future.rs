//! The future of a guarded service.

use alloc::boxed::Box;
use core::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};
use std::sync::{Mutex, PoisonError};

use http::{HeaderName, HeaderValue, Method, Request, Response, header};
use pin_project_lite::pin_project;
use tower_service::Service;

use super::body::{GuardedBody, to_response, without_body};
use crate::http::{Admission, Guard, Response as KeywayResponse, guard::PendingAdmission};

pin_project! {
    /// The future of a [`Guarded`](super::Guarded) service.
    ///
    /// If it is dropped while a key is verified, the service is never called and no state remains.
    #[must_use = "futures do nothing unless polled"]
    pub struct GuardedFuture<S: Service<Request<B>>, B> {
        #[pin]
        state: State<S, B, S::Future>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<S, B, F> {
        // The key is not in the cache, so verification reads the store. The lock is never taken. `Mutex`
        // makes the future `Sync`, because `PendingAdmission` is only `Send`.
        Waiting { rest: Mutex<PendingAdmission>, held: Option<Box<Held<S, B>>> },
        Calling { #[pin] future: F, admission: Admission },
        Refused { answer: Option<KeywayResponse>, is_head: bool },
    }
}

/// The request and the service, held while the key is verified.
struct Held<S, B> {
    guard: Guard,
    request: Request<B>,
    service: S,
}

impl<S: Service<Request<B>>, B> GuardedFuture<S, B> {
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "a future is large, and each move of it takes time")]
    pub(super) fn calling(future: S::Future, admission: Admission) -> Self {
        Self { state: State::Calling { future, admission } }
    }

    /// Refuses the request. `is_head` is true for a `HEAD` request.
    pub(super) fn refused(answer: KeywayResponse, is_head: bool) -> Self {
        Self { state: State::Refused { answer: Some(answer), is_head } }
    }

    /// Waits for the key. `service` must be ready.
    pub(super) fn waiting(
        rest: PendingAdmission,
        guard: Guard,
        request: Request<B>,
        service: S,
    ) -> Self {
        let held = Some(Box::new(Held { guard, request, service }));
        Self { state: State::Waiting { rest: Mutex::new(rest), held } }
    }
}

impl<S, B, R> Future for GuardedFuture<S, B>
where
    S: Service<Request<B>, Response = Response<R>>,
{
    type Output = Result<Response<GuardedBody<R>>, S::Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            let next = match state.as_mut().project() {
                StateProjection::Calling { future, admission } => {
                    let entered = admission.enter_span();
                    let response = future.poll(context);
                    drop(entered);
                    let response = ready!(response)?;
                    return Poll::Ready(Ok(finish(response, admission)));
                }
                StateProjection::Refused { answer, is_head } => match answer.take() {
                    Some(answer) if *is_head => return Poll::Ready(Ok(without_body(answer))),
                    Some(answer) => return Poll::Ready(Ok(to_response(answer))),
                    // Polled again after completion, which the contract of futures does not allow.
                    None => return Poll::Pending,
                },
                StateProjection::Waiting { rest, held } => {
                    let rest = rest.get_mut().unwrap_or_else(PoisonError::into_inner);
                    match (ready!(rest.as_mut().poll(context)), held.take()) {
                        (Ok(mut admission), Some(held)) => {
                            let Held { guard, mut request, mut service } = *held;
                            guard.pass(&mut request, &mut admission);
                            let entered = admission.enter_span();
                            let future = service.call(request);
                            drop(entered);
                            State::Calling { future, admission }
                        }
                        (Err(answer), Some(held)) => {
                            let request = &held.request;
                            let is_head = request.method() == Method::HEAD;
                            let method = request.method().as_str();
                            let answer = answer.for_request(method, request.headers());
                            State::Refused { answer: Some(answer), is_head }
                        }
                        (_, None) => return Poll::Pending,
                    }
                }
            };
            state.set(next);
        }
    }
}

fn finish<R>(response: Response<R>, admission: &Admission) -> Response<GuardedBody<R>> {
    let mut response = response.map(GuardedBody::of_service);
    for (name, value) in admission.headers() {
        let (name, Ok(value)) = (HeaderName::from_static(name), HeaderValue::try_from(value))
        else {
            continue;
        };
        if name == header::VARY {
            response.headers_mut().append(name, value);
        } else {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

impl<S: Service<Request<B>>, B> fmt::Debug for GuardedFuture<S, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuardedFuture").finish_non_exhaustive()
    }
}
