//! The future of a guarded service.

use alloc::{boxed::Box, rc::Rc};
use core::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use actix_web::{
    HttpResponse,
    body::EitherBody,
    dev::{Service, ServiceRequest, ServiceResponse},
    http::header::{self, HeaderName, HeaderValue},
};
use pin_project_lite::pin_project;

use crate::http::{Admission, Guard, Response, guard::PendingAdmission};

pin_project! {
    /// The future of a [`Guarded`](super::Guarded) service.
    ///
    /// If it is dropped while a key is verified, the service is never called and no state remains.
    #[must_use = "futures do nothing unless polled"]
    pub struct GuardedFuture<S: Service<ServiceRequest>> {
        #[pin]
        state: State<S, S::Future>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<S, F> {
        // The key is not in the cache, so verification reads the store.
        Waiting { rest: PendingAdmission, held: Option<Box<Held<S>>> },
        Calling { #[pin] future: F, admission: Admission },
        Refused { refused: Option<Box<(ServiceRequest, Response)>> },
    }
}

/// The request and the service, held while the key is verified.
struct Held<S> {
    guard: Guard,
    request: ServiceRequest,
    service: Rc<S>,
}

impl<S: Service<ServiceRequest>> GuardedFuture<S> {
    pub(super) fn calling(future: S::Future, admission: Admission) -> Self {
        Self { state: State::Calling { future, admission } }
    }

    pub(super) fn refused(request: ServiceRequest, answer: Response) -> Self {
        Self { state: State::refused(request, answer) }
    }

    pub(super) fn waiting(
        rest: PendingAdmission,
        guard: Guard,
        request: ServiceRequest,
        service: Rc<S>,
    ) -> Self {
        let held = Some(Box::new(Held { guard, request, service }));
        Self { state: State::Waiting { rest, held } }
    }
}

impl<S, F> State<S, F> {
    fn refused(request: ServiceRequest, answer: Response) -> Self {
        Self::Refused { refused: Some(Box::new((request, answer))) }
    }
}

impl<S, B> Future for GuardedFuture<S>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>>,
{
    type Output = Result<ServiceResponse<EitherBody<B>>, S::Error>;

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
                StateProjection::Refused { refused } => match refused.take() {
                    Some(refused) => {
                        let (request, answer) = *refused;
                        let response = request.into_response(HttpResponse::from(answer));
                        return Poll::Ready(Ok(response.map_into_right_body()));
                    }
                    // Polled again after completion, which the contract of futures does not allow.
                    None => return Poll::Pending,
                },
                StateProjection::Waiting { rest, held } => {
                    let result = ready!(rest.as_mut().poll(context));
                    match (result, held.take()) {
                        (Ok(mut admission), Some(held)) => {
                            let Held { guard, request, service } = *held;
                            let request = guard.pass_on(request, &mut admission);
                            let entered = admission.enter_span();
                            let future = service.call(request);
                            drop(entered);
                            State::Calling { future, admission }
                        }
                        (Err(answer), Some(held)) => {
                            let Held { request, .. } = *held;
                            let method = request.method().as_str();
                            let answer = answer.for_request(method, request.headers());
                            State::refused(request, answer)
                        }
                        (_, None) => return Poll::Pending,
                    }
                }
            };
            state.set(next);
        }
    }
}

fn finish<B>(
    response: ServiceResponse<B>,
    admission: &Admission,
) -> ServiceResponse<EitherBody<B>> {
    let mut response = response.map_into_left_body();
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

impl<S: Service<ServiceRequest>> fmt::Debug for GuardedFuture<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuardedFuture").finish_non_exhaustive()
    }
}
