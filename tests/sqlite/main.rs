//! The store in an SQLite file.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a test that goes wrong stops"
)]

mod conformance;
mod copy;
mod feed;
mod files;
mod guide;
mod store;
#[path = "../support/mod.rs"]
mod support;
mod usage;
