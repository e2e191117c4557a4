//! One table of requests over real sockets, against every framework.

#![cfg(all(feature = "actix", feature = "axum"))]
#![allow(
    unreachable_pub,
    clippy::enum_glob_use,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::too_many_lines,
    clippy::unwrap_used,
    reason = "a test that goes wrong stops; a table is as long as it is"
)]

mod alike;
mod answers;
mod client;
#[path = "../common/mod.rs"]
mod common;
mod drive;
mod every_row;
mod hang_up;
mod identity;
mod leaks;
mod logs;
mod outage;
mod raw_table;
mod row;
mod server;
mod service;
mod table;
mod tokens;
mod unguarded;
mod well_formed;
#[path = "../support/windows.rs"]
mod windows;
