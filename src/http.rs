//! API keys over HTTP: the credential out of a request, the outcome as an answer.
//!
//! Nothing in here is of a web framework. A [`Guard`] takes the fields of a request and either admits
//! it or gives the [`Answer`] that RFC 6750 and RFC 9457 ask for; the adapters carry both to and fro:
//!
//! | host | feature | what protects a route |
//! |---|---|---|
//! | axum | `axum` | `get(report).layer(keyring.require(["reporting"])?)`, or [`Routes`] for all of them |
//! | any tower stack: hyper, tonic | `tower` | the same [`Guard`], which is a `tower::Layer` |
//! | actix-web | `actix` | `.wrap(keyring.require(["reporting"])?)`, or [`Routes`] |
//! | any other | `http` | [`Guard::admit`] |
//!
//! | outcome | status | field |
//! |---|--:|---|
//! | no credential | 401 | `WWW-Authenticate: Bearer realm="…"` |
//! | more than one, or one that cannot be read | 400 | `… error="invalid_request"` |
//! | malformed, foreign, forged, unknown, wrong secret | 401 | `… error="invalid_token"`, one body for all |
//! | proven, but disabled, suspended, expired, not yet valid | 401 | `… error="invalid_token"`, and the body tells the state |
//! | proven, a scope is missing | 403 | `… error="insufficient_scope", scope="…"` |
//! | over the rate of its tier | 429 | `Retry-After`, `RateLimit`, `RateLimit-Policy` |
//! | nobody can tell at present | 503 | `Retry-After` |
//!
//! Two endpoints need no guard: [`OwnKey`] is for the holder of a key, who may read and delete it, and
//! [`leak`](https://docs.rs/keyway/latest/keyway/http/leak/index.html) (feature `leak-reports`) answers those who found one in public.
//!
//! Bodies are problem details ([`problem`]); none of them repeats anything of the request.
//!
//! # What an operator sees
//!
//! Every request through a guard has one outcome: `admitted`, `anonymous` (admitted without a key),
//! `missing`, `invalid_request`, `rejected`, `inactive`, `forbidden`, `limited`, `tampered` or
//! `unavailable`. A request that is dropped before its verdict, as when the client hangs up, has none.
//!
//! With the feature `tracing`, an outcome is one event with the target `keyway`:
//!
//! | field | |
//! |---|---|
//! | `outcome` | as above |
//! | `tenant` | who was verified: of `admitted`, `forbidden` and `limited` |
//! | `key` | the id of the key, of those and of `inactive`, `tampered` and `unavailable`, where the token names it |
//! | `error` | of `unavailable`: what the store answered, and its causes |
//!
//! `admitted`, `anonymous` and `missing` are of level `DEBUG`, `tampered` and `unavailable` of `ERROR`, and
//! all others of `INFO`. Behind the adapters of a framework, the handler of an admitted request runs in
//! a span `api_key` of level `INFO` with `tenant` and `key`, so that whatever it logs names them; the
//! span ends with the handler, before a body that is streamed. A filter by target has to let `keyway=info`
//! through for that. No part of a secret is in either.
//!
//! With the feature `metrics`, the recorder of the host is given:
//!
//! | metric | | labels |
//! |---|---|---|
//! | `keyway_requests_total` | counter | `outcome`, as above |
//! | `keyway_verification_seconds` | histogram of the time to the verdict, waiting for the store included | |
//!
//! Neither has a label for tenants or keys: each value of a label is a series that a metrics system keeps
//! for good, and there is no end to keys. Who a flood of `limited` comes from is in the events. Help texts
//! and units come with `keyway::http::describe_metrics`.

mod access;
mod answer;
mod credential;
mod guard;
#[cfg(feature = "leak-reports")]
pub mod leak;
mod observe;
#[cfg(feature = "openapi")]
pub mod openapi;
mod own_key;
pub mod problem;
mod routes;

#[cfg(feature = "actix")]
pub mod actix;
#[cfg(feature = "axum")]
pub mod axum;
#[cfg(feature = "tower")]
pub mod tower;

#[cfg(feature = "metrics")]
pub use self::observe::describe_metrics;
pub use self::{
    access::{Access, Matrix, Row},
    answer::Answer,
    credential::{CredentialError, Fields},
    guard::{Admission, Guard, GuardError},
    own_key::OwnKey,
    routes::{Endpoint, Resolved, Routes, RoutesError},
};
