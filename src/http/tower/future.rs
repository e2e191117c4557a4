//! The future of a guarded service.

use alloc::boxed::Box;
use core::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::{HeaderName, HeaderValue, Method, Request, Response};
use pin_project_lite::pin_project;
use tower_service::Service;

use super::body::{GuardedBody, to_response, without_body};
use crate::http::{Admission, Answer, Guard, guard::Rest};

pin_project! {
    /// The answer of a [`Guarded`](super::Guarded) service.
    ///
    /// If it is dropped while a key is verified, the service is never called, and nothing is left behind.
    #[must_use = "futures do nothing unless polled"]
    pub struct GuardedFuture<S: Service<Request<B>>, B> {
        #[pin]
        state: State<S, B, S::Future>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<S, B, F> {
        // The key is not in the cache.
        Waiting { rest: Rest, held: Option<Box<Held<S, B>>> },
        Calling { #[pin] future: F, admission: Admission },
        Refused { answer: Option<Answer>, is_head: bool },
    }
}

/// What waits for the key.
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

    /// `is_head` if the request was a `HEAD`.
    pub(super) fn refused(answer: Answer, is_head: bool) -> Self {
        Self { state: State::Refused { answer: Some(answer), is_head } }
    }

    /// `service` is ready.
    pub(super) fn waiting(rest: Rest, guard: Guard, request: Request<B>, service: S) -> Self {
        let held = Some(Box::new(Held { guard, request, service }));
        Self { state: State::Waiting { rest, held } }
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
                    // Polled again after it was ready, which nobody may do.
                    None => return Poll::Pending,
                },
                StateProjection::Waiting { rest, held } => {
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
                            let is_head = held.request.method() == Method::HEAD;
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
    for (name, value) in admission.fields() {
        if let Ok(value) = HeaderValue::try_from(value) {
            response.headers_mut().insert(HeaderName::from_static(name), value);
        }
    }
    response
}

impl<S: Service<Request<B>>, B> fmt::Debug for GuardedFuture<S, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuardedFuture").finish_non_exhaustive()
    }
}
