//! The console's API and page, as a browser and a program ask it.

#![allow(
    unreachable_pub,
    clippy::indexing_slicing,
    clippy::needless_pass_by_value,
    clippy::panic,
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "tests, and helpers of tests"
)]

#[path = "../common/mod.rs"]
mod common;

mod client;
mod document;
mod dropped;
#[path = "../support/figures.rs"]
mod figures;
mod gate;
mod idempotency;
mod isolation;
mod keys;
mod operator;
mod outage;
mod page;
mod problems;
mod races;
mod routes;
mod secrets;
#[cfg(feature = "postgres")]
#[path = "../support/postgres.rs"]
mod server;
mod trail;
