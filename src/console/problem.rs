//! The problem types of the console (RFC 9457).
//!
//! What is not done is answered with a body of type `application/problem+json`. Its `type` is a link to one of
//! the headings below, which stay as they are: programs branch on what stands behind the `#`. `title`,
//! `status` and `detail` are always there. `field` is the member of the body, or the parameter, that is at
//! fault, where there is one. No value of a request is repeated.
//!
//! ```json
//! {
//!   "type": "https://docs.rs/keyway/latest/keyway/console/problem/index.html#invalid-field",
//!   "title": "A value cannot be taken",
//!   "status": 422,
//!   "detail": "the name of the key has 10000 characters, and at most 100 are allowed",
//!   "field": "name"
//! }
//! ```
//!
//! # Invalid field
//!
//! Status 422. The value of `field` cannot be taken.
//!
//! # Unreadable body
//!
//! Status 400. The body is not JSON, or lacks a member, or has one that is not known or is of another type.
//!
//! # Unsupported media type
//!
//! Status 415. The body is not `application/json`.
//!
//! # Body too large
//!
//! Status 413. The body has more than 64 KiB.
//!
//! # Quota exceeded
//!
//! Status 409. The tenant holds as many keys as its tier allows, or more: `held`, `allowed` and `tier`.
//!
//! # Above granter
//!
//! Status 422. Whoever asks cannot pass on the scopes in `scopes`, since they do not have them.
//!
//! # Above tier
//!
//! Status 422. The tier of the tenant does not allow the scopes in `scopes`.
//!
//! # Changed
//!
//! Status 412. It is no longer the version that `If-Match` names, or somebody else was faster. Read it again.
//!
//! # Precondition required
//!
//! Status 428. The request needs `If-Match` with the version that it is to change.
//!
//! # Key expired
//!
//! Status 409. The key has expired, and a new secret of it would have, too. Give it another expiry first.
//!
//! # Idempotency key required
//!
//! Status 400. The request needs `Idempotency-Key`, 1 to 255 visible ASCII characters, made up anew for each
//! thing that is wanted and sent again with each repetition.
//!
//! # Idempotency key reused
//!
//! Status 422. The key that was made for this `Idempotency-Key` is another one than is asked for now.
//!
//! # Already issued
//!
//! Status 410. The key that was made for this `Idempotency-Key` has been deleted since. There is no second
//! one.
//!
//! # Not found
//!
//! Status 404. There is no such thing, or not for whoever asks.
//!
//! # Method not allowed
//!
//! Status 405. `Allow` names the methods that there are.
//!
//! # Cross site
//!
//! Status 403. A browser sent the request for a page of another origin.
//!
//! # API key not allowed
//!
//! Status 403. The request presents an API key, and API keys cannot manage keys here.
//!
//! # Signed out
//!
//! Status 409. `Keyway-Tenant` names another tenant than that of whoever is signed in by now.
//!
//! # Unavailable
//!
//! Status 503. The store did not answer, so nobody knows whether it was done. Try again after `Retry-After`.
//!
//! # Fault
//!
//! Status 500. The service is at fault, and its operator has to look.

use alloc::{
    borrow::Cow,
    boxed::Box,
    string::{String, ToString},
    vec::Vec,
};

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::scope::Scope;

/// What stands before the name of a type.
const BASE: &str = "https://docs.rs/keyway/latest/keyway/console/problem/index.html#";

/// How long a client waits before it asks again, in seconds.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");

/// Why something was not done.
#[derive(Debug)]
pub(super) struct Problem(Box<ProblemView>);

/// Why something was not done.
#[derive(Debug, Default, Serialize, ToSchema)]
#[schema(as = Problem)]
pub(super) struct ProblemView {
    /// A link to the description of the type; branch on what stands behind its `#`.
    #[serde(rename = "type", serialize_with = "link")]
    #[schema(value_type = String, format = "uri")]
    kind: &'static str,
    title: &'static str,
    status: u16,
    detail: Cow<'static, str>,
    /// The member of the body, or the parameter, that is at fault.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    field: Option<Cow<'static, str>>,
    /// How many keys the tenant holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    held: Option<u32>,
    /// How many its tier allows.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    allowed: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    tier: Option<String>,
    /// The scopes that cannot be granted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    scopes: Option<Vec<String>>,
}

macro_rules! types {
    ($($name:ident: $status:literal $kind:literal $title:literal $detail:literal;)*) => {
        $(
            pub(super) fn $name() -> Self {
                Self(Box::new(ProblemView {
                    kind: $kind,
                    title: $title,
                    status: $status,
                    detail: Cow::Borrowed($detail),
                    ..ProblemView::default()
                }))
            }
        )*
    };
}

impl Problem {
    types! {
        invalid: 422 "invalid-field" "A value cannot be taken" "";
        unreadable: 400 "unreadable-body" "The body cannot be read" "the body is not JSON";
        media_type: 415 "unsupported-media-type" "The body is of another type"
            "send the body as `application/json`";
        too_large: 413 "body-too-large" "The body is too large" "the body has more than 64 KiB";
        quota: 409 "quota-exceeded" "The tenant cannot hold another key" "";
        granter: 422 "above-granter" "Scopes that you cannot pass on" "";
        above_tier: 422 "above-tier" "Scopes that the tier does not allow" "";
        changed: 412 "changed" "It has changed in the meantime"
            "somebody else has changed it since it was read; read it again";
        precondition_required: 428 "precondition-required" "The version is missing"
            "send the version that is to be changed as `If-Match`";
        key_expired: 409 "key-expired" "The key has expired"
            "extend the expiry of the key before it gets a new secret";
        idempotency_key_required: 400 "idempotency-key-required" "The idempotency key is missing"
            "send `Idempotency-Key`, 1 to 255 visible ASCII characters";
        idempotency_key_reused: 422 "idempotency-key-reused" "The idempotency key is of another request"
            "what was made for this `Idempotency-Key` is not what is asked for now";
        already_issued: 410 "already-issued" "The key has been deleted"
            "the key that was made for this `Idempotency-Key` has been deleted since";
        not_found: 404 "not-found" "There is no such thing" "there is nothing of this name here";
        method_not_allowed: 405 "method-not-allowed" "The method is not allowed"
            "`Allow` names the methods that there are";
        cross_site: 403 "cross-site" "The request comes from another site"
            "only the console's own page may ask for this in a browser";
        api_key_not_allowed: 403 "api-key-not-allowed" "API keys cannot manage keys"
            "sign in to manage keys, without an API key in the request";
        signed_out: 409 "signed-out" "Somebody else has signed in"
            "the request is for another tenant than that of whoever is signed in by now";
        unavailable: 503 "unavailable" "Temporarily unavailable"
            "the keys cannot be reached at present";
        fault: 500 "fault" "The service is at fault" "the operator of the service has to look at this";
    }

    /// The value of `field` is wrong, as `detail` says.
    pub(super) fn invalid_field(field: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self::invalid().with_field(field).with_detail(detail)
    }

    pub(super) fn with_field(mut self, field: impl Into<Cow<'static, str>>) -> Self {
        self.0.field = Some(field.into());
        self
    }

    pub(super) fn with_detail(mut self, detail: impl Into<Cow<'static, str>>) -> Self {
        self.0.detail = detail.into();
        self
    }

    pub(super) fn with_scopes(mut self, scopes: &[Scope]) -> Self {
        self.0.scopes = Some(scopes.iter().map(ToString::to_string).collect());
        self.with_field("scopes")
    }

    pub(super) fn with_quota(mut self, held: u32, allowed: u32, tier: String) -> Self {
        let problem = &mut *self.0;
        (problem.held, problem.allowed) = (Some(held), Some(allowed));
        problem.tier = Some(tier);
        self
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        // Nothing in it fails to be written.
        let body = serde_json::to_string(&self.0).unwrap_or_default();
        let mut response = Response::new(Body::from(body));
        let status = StatusCode::from_u16(self.0.status);
        *response.status_mut() = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let fields = response.headers_mut();
        let kind = HeaderValue::from_static("application/problem+json");
        fields.insert(header::CONTENT_TYPE, kind);
        if self.0.status == 503 {
            fields.insert(header::RETRY_AFTER, RETRY_AFTER);
        }
        response
    }
}

fn link<S: serde::Serializer>(kind: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{BASE}{kind}"))
}
