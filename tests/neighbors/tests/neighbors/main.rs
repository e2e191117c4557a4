//! Guards among layers, clients, servers and proxies of other projects.

#![allow(
    unreachable_pub,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that goes wrong stops"
)]

mod echo;
mod gateway;
mod grpc;
mod grpc_web;
mod haproxy;
mod operations;
mod stack;
#[path = "../../../support/mod.rs"]
mod support;
