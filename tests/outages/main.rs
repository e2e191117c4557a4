//! Store trouble fails closed: whatever becomes of the database or the way to it, who asks is told that
//! nobody can tell, in time, and neither is let in nor turned away for good.
//!
//! Each trouble is made of the real thing: a server that is killed or stopped, a proxy that spoils replies,
//! system calls that fail. A key that is not cached and one that was cached for too long are asked about
//! at guards of axum and actix-web, and the console is asked to read and write. Each check has a control:
//! a store that is wrong in one respect, which it must catch.

#![cfg(all(feature = "actix", feature = "console", feature = "postgres", feature = "sqlite"))]
#![allow(
    unreachable_pub,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a test that goes wrong stops"
)]

#[path = "../support/figures.rs"]
mod figures;
mod planted;
mod postgres;
mod proxy;
#[path = "../support/postgres.rs"]
mod server;
mod service;
mod sqlite;
mod strace;
mod tally;
