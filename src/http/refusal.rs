//! The reason of a refusal, for applications with error bodies of their own.

use alloc::{borrow::Cow, sync::Arc};
use core::fmt;

use super::problem::Problem;
#[cfg(feature = "children")]
use crate::keyring::OwnChildError;
use crate::{keyring::KeyringError, scope::Requirement, verifier::VerifyError};

/// The reason why a request was refused. Cheap to clone.
///
/// Each refusal of a [`Guard`](super::Guard), of an extractor and of [`OwnKey`](super::OwnKey), but not a status 404 or
/// 405 without a body, has one:
/// [`Response::refusal`](super::Response::refusal). The adapters put it into the extensions of the framework's
/// response. An application can thus replace the body by its own error format. Status and headers stay as they
/// are, with challenges and `Retry-After`. Responses to admitted requests have no refusal.
///
/// A gRPC client reads no body. So the examples replace only bodies of type `application/problem+json`.
///
/// With axum, a layer around all routes replaces the body:
///
/// ```
/// # #[cfg(feature = "axum")] {
/// # use keyway::{Keyring, MemoryStore, Pepper, Policy};
/// use axum::{Router, body::Body, middleware::map_response, response::Response, routing::get};
/// use http::{HeaderValue, Request, header};
/// use keyway::http::Refusal;
/// use tower::ServiceExt;
///
/// async fn own_errors(mut response: Response) -> Response {
///     let kind = response.headers().get(header::CONTENT_TYPE);
///     let is_problem = kind.is_some_and(|kind| kind == "application/problem+json");
///     let Some(refusal) = response.extensions().get::<Refusal>().filter(|_| is_problem) else {
///         return response;
///     };
///     let error = serde_json::json!({ "code": refusal.name(), "message": refusal.detail() });
///     *response.body_mut() = Body::from(error.to_string());
///     let headers = response.headers_mut();
///     headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
///     // The length of the problem, which a response to `HEAD` names.
///     headers.remove(header::CONTENT_LENGTH);
///     response
/// }
///
/// # pollster::block_on(async {
/// # let policy: Policy = serde_json::from_str(r#"{
/// #     "issuer": "mm",
/// #     "scopes": [{ "name": "reporting", "description": "Read reports" }]
/// # }"#)?;
/// # let keyring = Keyring::builder(policy, Pepper::from_bytes(&[7; 32])?)
/// #     .environment("live")
/// #     .store(MemoryStore::new())
/// #     .build()?;
/// let guard = keyring.require(["reporting"])?;
/// let reports = get(async || "reports").layer(guard);
/// let app = Router::new().route("/reports", reports).layer(map_response(own_errors));
///
/// let response = app.oneshot(Request::get("/reports").body(Body::empty())?).await?;
/// assert_eq!(response.status(), 401);
/// assert_eq!(response.headers()["www-authenticate"], "Bearer realm=\"mm\"");
/// let body = axum::body::to_bytes(response.into_body(), 1_000).await?;
/// assert!(body.starts_with(br#"{"code":"missing-credential","message":"send the API key"#));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// # }
/// ```
///
/// With actix-web, a middleware does so:
///
/// ```
/// # #[cfg(feature = "actix")] {
/// # use keyway::{Keyring, MemoryStore, Pepper, Policy};
/// use actix_web::{
///     App, Error,
///     body::{BoxBody, MessageBody},
///     dev::{ServiceRequest, ServiceResponse},
///     http::header::{CONTENT_TYPE, HeaderValue},
///     middleware::{Next, from_fn},
///     test::{TestRequest, call_service, init_service, read_body},
///     web,
/// };
/// use keyway::http::Refusal;
///
/// async fn own_errors(
///     request: ServiceRequest,
///     next: Next<impl MessageBody + 'static>,
/// ) -> Result<ServiceResponse<BoxBody>, Error> {
///     let response = next.call(request).await?.map_into_boxed_body();
///     let kind = response.headers().get(CONTENT_TYPE);
///     let is_problem = kind.is_some_and(|kind| kind == "application/problem+json");
///     let refusal = response.response().extensions().get::<Refusal>().cloned();
///     let Some(refusal) = refusal.filter(|_| is_problem) else {
///         return Ok(response);
///     };
///     let error = serde_json::json!({ "code": refusal.name(), "message": refusal.detail() });
///     Ok(response.map_body(|head, _| {
///         head.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
///         BoxBody::new(error.to_string())
///     }))
/// }
///
/// # actix_web::rt::System::new().block_on(async {
/// # let policy: Policy = serde_json::from_str(r#"{
/// #     "issuer": "mm",
/// #     "scopes": [{ "name": "reporting", "description": "Read reports" }]
/// # }"#)?;
/// # let keyring = Keyring::builder(policy, Pepper::from_bytes(&[7; 32])?)
/// #     .environment("live")
/// #     .store(MemoryStore::new())
/// #     .build()?;
/// let guard = keyring.require(["reporting"])?;
/// let reports = web::resource("/reports").get(async || "reports").wrap(guard);
/// let app = init_service(App::new().service(reports).wrap(from_fn(own_errors))).await;
///
/// let response = call_service(&app, TestRequest::with_uri("/reports").to_request()).await;
/// assert_eq!(response.status(), 401);
/// assert_eq!(response.headers().get("www-authenticate").unwrap(), "Bearer realm=\"mm\"");
/// let body = read_body(response).await;
/// assert!(body.starts_with(br#"{"code":"missing-credential","message":"send the API key"#));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// # }
/// ```
#[derive(Clone)]
pub struct Refusal(Arc<Inner>);

struct Inner {
    status: u16,
    name: &'static str,
    detail: Cow<'static, str>,
    reason: Reason,
    requirement: Option<Requirement>,
}

/// The reason of a [`Refusal`], for code that branches on it.
///
/// It is for the application. [`Refusal::detail`] is for the client, which must not learn everything: a record
/// that was tampered with looks like an invalid token to it.
#[derive(Debug)]
#[non_exhaustive]
pub enum Reason {
    /// The key was not verified, or may not do what the request asks for.
    Verify(VerifyError),
    /// The path of the request is [no operation](super::Guard::operations) of the service.
    #[cfg(feature = "tower")]
    UnknownOperation,
    /// The handler reads the caller, and its route has no guard. This is a mistake of the service.
    Unguarded,
    /// The holder presented a secret from before the last rotation, which cannot rotate the key.
    PreviousSecret,
    /// A [gateway](super::Gateway) asks about a method and path that no declared route has.
    Undeclared,
    /// A [gateway](super::Gateway) asks about a request that two servers could read differently.
    Ambiguous,
    /// The holder's key cannot get a new secret now.
    Change(KeyringError),
    /// The holder has got no child of its key.
    #[cfg(feature = "children")]
    Child(OwnChildError),
    /// The body of a request for a child cannot be read, or a member of it is not accepted.
    #[cfg(feature = "children")]
    InvalidBody,
}

impl Refusal {
    /// Creates the refusal that `problem` describes.
    pub(super) fn new(
        problem: &Problem,
        reason: Reason,
        requirement: Option<&Requirement>,
    ) -> Self {
        Self(Arc::new(Inner {
            status: problem.status(),
            name: problem.name(),
            detail: problem.text(),
            reason,
            requirement: requirement.cloned(),
        }))
    }

    /// Returns the HTTP status of the refusal: 400, 401, 403, 404, 409, 413, 415, 422, 429, 500 or 503.
    ///
    /// The status of the response differs from it if a gRPC client or a [gateway](super::ForwardAuth) reads
    /// the response.
    pub fn status(&self) -> u16 {
        self.0.status
    }

    /// Returns the name of the problem type, such as `insufficient-scope`. The [list](super::problem) of names
    /// is stable.
    pub fn name(&self) -> &'static str {
        self.0.name
    }

    /// Returns the sentence that explains the refusal to the client. It repeats no part of the request.
    pub fn detail(&self) -> &str {
        &self.0.detail
    }

    /// Returns the reason, for the application.
    pub fn reason(&self) -> &Reason {
        &self.0.reason
    }

    /// Returns the scopes that the route requires. `None` if they did not matter: the credential cannot be read,
    /// the path is no operation, or the route has no guard.
    pub fn requirement(&self) -> Option<&Requirement> {
        self.0.requirement.as_ref()
    }
}

impl fmt::Debug for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { status, name, detail, reason, requirement } = &*self.0;
        f.debug_struct("Refusal")
            .field("status", status)
            .field("name", name)
            .field("detail", detail)
            .field("reason", reason)
            .field("requirement", requirement)
            .finish()
    }
}
