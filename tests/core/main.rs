//! The core: all that the library does without a database, a framework or a server.
//!
//! Each module says in its first line what it proves.

#![allow(
    clippy::expect_used,
    clippy::format_collect,
    clippy::indexing_slicing,
    clippy::needless_pass_by_value,
    clippy::panic,
    clippy::string_slice,
    clippy::type_complexity,
    clippy::unused_async,
    clippy::unwrap_used,
    reason = "a test that goes wrong stops"
)]

mod audit;
mod audit_subjects;
mod authority;
mod autotraits;
mod batches;
mod bearer;
mod breaker;
mod canary;
#[cfg(feature = "children")]
mod child_ends;
#[cfg(feature = "children")]
mod child_floods;
#[cfg(feature = "children")]
mod child_forgery;
#[cfg(feature = "children")]
mod child_parent;
#[cfg(feature = "children")]
mod child_requests;
#[cfg(feature = "children")]
mod child_signatures;
#[cfg(feature = "children")]
mod child_spelling;
#[cfg(feature = "children")]
mod child_vectors;
#[cfg(feature = "children")]
mod children_audit;
#[cfg(feature = "conformance")]
mod conformance;
mod copy;
mod corpus;
mod dead_tokens;
mod decision;
mod events;
mod exceptions;
mod feed;
mod filters;
mod grants;
mod idempotency;
mod idle;
mod import;
mod invalidation;
mod isolation;
mod keyring;
mod layers;
mod left_out;
mod limits;
mod model;
mod notices;
mod operations;
mod owners;
mod pepper;
mod policy;
mod records;
mod scopes;
mod store;
mod store_check;
mod streams;
mod substitution;
#[path = "../support/mod.rs"]
mod support;
#[cfg(feature = "testing")]
mod testing;
mod time;
mod token;
mod upkeep;
mod usage;
mod verification;
