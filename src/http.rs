//! API keys over HTTP: finds the credential in a request and turns the outcome into a response.
//!
//! This module does not depend on a web framework. A [`Guard`] reads the headers of a request. It either
//! admits the request or returns the [`Response`] that RFC 6750 and RFC 9457 ask for. Adapters connect it to
//! frameworks:
//!
//! | framework | feature | protection of a route |
//! |---|---|---|
//! | axum | `axum` | `get(report).layer(keyring.require(["reporting"])?)`, or [`Routes`] for all of them |
//! | any tower stack: hyper, tonic | `tower` | the same [`Guard`], which is a `tower::Layer` |
//! | actix-web | `actix` | `.wrap(keyring.require(["reporting"])?)`, or [`Routes`] |
//! | any other | `http` | [`Guard::admit`] |
//!
//! | outcome | status | header |
//! |---|--:|---|
//! | no credential | 401 | `WWW-Authenticate: Bearer realm="…"` |
//! | more than one, or one that cannot be read | 400 | `… error="invalid_request"` |
//! | malformed, foreign, forged, unknown, wrong secret | 401 | `… error="invalid_token"`, one body for all |
//! | proven, but disabled, suspended, expired, not yet valid | 401 | `… error="invalid_token"`, and the body names the state |
//! | proven, but a scope is missing | 403 | `… error="insufficient_scope", scope="…"` |
//! | over a rate or an allowance | 429 | `Retry-After`, `RateLimit`, `RateLimit-Policy` |
//! | the key cannot be verified at present | 503 | `Retry-After` |
//!
//! Two endpoints need no guard. [`OwnKey`] lets the holder of a key read, delete and, if the
//! application permits it, rotate it.
//! [`leak`](https://docs.rs/keyway/latest/keyway/http/leak/index.html) (feature `leak-reports`) receives
//! reports of keys that were found in public.
//!
//! Programs in other languages ask two endpoints about the keys that they are sent: [`Introspection`] (RFC 7662) and
//! [`Revocation`] (RFC 7009). See the [guide](crate::guide::introspection).
//!
//! Bodies are problem details ([`problem`]). A body never repeats any part of the request. If a guard takes
//! keys from a header of its own, its challenges name that header. A gRPC request gets the same refusal as a
//! [gRPC status](Response::for_request). A gateway that asks before it forwards a request gets the statuses
//! that it [understands](ForwardAuth). [`Gateway`] is the endpoint for such gateways. An application that has an error
//! format of its own finds the reason of each refusal in the [extensions](Refusal) of the response.
//!
//! # Observability
//!
//! Every request through a guard has one outcome: `admitted`, `anonymous` (admitted without a key),
//! `alternative` (admitted with [another credential](Alternative)), `missing`, `invalid_request`, `rejected`, `inactive`, `forbidden`, `limited`, `tampered` or `unavailable`.
//! A request that is dropped before its verdict, for example because the client hangs up, has none.
//!
//! With the feature `tracing`, each outcome is logged as one event with the target `keyway`:
//!
//! | field | |
//! |---|---|
//! | `outcome` | as above |
//! | `tenant` | the tenant of the key: for `admitted`, `forbidden`, `limited` and `inactive` |
//! | `key` | the id of the key: for those, and for `tampered` and `unavailable` if the token names it |
//! | `error` | for `unavailable`: the error of the store, and its causes |
//!
//! A handler that reads a caller on a route without a guard causes another event, of level `ERROR` and with
//! the outcome `unguarded`.
//!
//! `admitted`, `anonymous`, `alternative` and `missing` have level `DEBUG`, `tampered` and `unavailable` have `ERROR`, and
//! all others have `INFO`. With the adapters for frameworks, the handler of an admitted request runs in a
//! span `api_key` of level `INFO` with `tenant` and `key`, so that everything it logs names them. The span
//! ends with the handler, before a streamed body. A filter by target must enable `keyway=info` for the span.
//! Neither events nor spans hold any part of a secret.
//!
//! With the feature `metrics`, the application's recorder receives:
//!
//! | metric | | labels |
//! |---|---|---|
//! | `keyway_requests_total` | counter | `outcome`, as above |
//! | `keyway_verification_seconds` | histogram of the time to the verdict, waiting for the store included | |
//!
//! Neither metric has a label for tenants or keys. A metrics system keeps a series for each value of a label
//! permanently, and the number of keys is not bounded. The events show which key or tenant causes many
//! `limited` outcomes. `keyway::http::describe_metrics` registers help texts and units.

mod access;
mod admission;
mod alternative;
mod client_address;
mod credential;
mod error_responses;
mod forward_auth;
mod gateway;
mod grpc;
pub(crate) mod guard;
mod incoming;
mod introspection;
#[cfg(any(feature = "children", feature = "console"))]
pub(crate) mod json_request;
#[cfg(feature = "leak-reports")]
pub mod leak;
mod observe;
#[cfg(feature = "openapi")]
pub mod openapi;
mod own_key;
#[cfg(any(feature = "actix", feature = "axum"))]
mod probe;
pub mod problem;
mod query;
mod refusal;
mod resource_rules;
mod response;
#[cfg(feature = "axum")]
mod routed;
mod routes;
#[cfg(any(feature = "children", feature = "console", feature = "leak-reports"))]
pub(crate) mod secret_json;
#[cfg(feature = "children")]
mod ticket;
pub(crate) mod wiped;

#[cfg(feature = "actix")]
pub mod actix;
#[cfg(feature = "axum")]
pub mod axum;
#[cfg(feature = "tower")]
pub mod tower;

pub(crate) use self::guard::Guard;
#[cfg(feature = "metrics")]
pub use self::observe::describe_metrics;
#[cfg(feature = "children")]
pub use self::own_key::MintedChild;
pub use self::{
    access::{Access, RouteEntry, RouteTable},
    admission::Admission,
    alternative::Alternative,
    client_address::{ClientAddress, PeerAddress},
    credential::Headers,
    forward_auth::ForwardAuth,
    gateway::{Gateway, OriginalRequest},
    introspection::{Introspection, Revocation},
    own_key::{OwnKey, RotatedKey},
    refusal::{Reason, Refusal},
    response::Response,
    routes::{Endpoint, Resolved, Routes},
};
