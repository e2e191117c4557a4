//! An outage of the store fails closed. Whatever happens to the database or to the network before it, the
//! caller gets 503 in time: it is neither admitted nor rejected as if its key were wrong.
//!
//! Each outage is real: a server that is killed or stopped, a proxy that corrupts replies, system calls that
//! fail. Guards of axum and actix-web verify a key that is not cached and one that was cached too long ago.
//! The console receives reads and writes. Waiting requests must not pile up. Each check has a control: a
//! store with one planted fault, which the check must catch.

mod caught;
mod planted;
mod postgres;
mod proxy;
mod service;
mod sqlite;
mod strace;
#[path = "../../support/mod.rs"]
mod support;
mod tally;
mod waiting;
