//! The cost of the stores, as ratios: `cargo bench -p keyway-tests --bench stores [-- [--quick] [sqlite]
//! [postgres] [steady] [streams] [load]]`.
//!
//! 1.0 is the same driver's bare prepared statements in the same run, on tables with the same content,
//! indexes and durability. For growth, 1.0 is the same call on the smaller table. Every round measures each
//! case beside its floor, and a case's figure is the median of the rounds' ratios.
//!
//! For PostgreSQL, the run starts its own server, and both sides use `sqlx` on one pool.
//!
//! For SQLite, both sides use `rusqlite`. Its statements wait for disks and locks, so an async service runs
//! them on the connection's own thread and awaits the result. The floor does so too, in the smallest form: a
//! `std` thread, a channel of boxed closures, and a oneshot for the result. The time of the statement alone
//! is printed beside it. `sqlite_lookup` makes calls without a pause, so that the floor's thread need not be
//! woken for most jobs. `sqlite_lookup_paced` makes one call at a time, as requests come.
//!
//! `flush` is one call of `KeyStore::record_uses`. Its floor is one `UPDATE` of as many rows in PostgreSQL,
//! and one transaction of as many executions of a prepared `UPDATE` in SQLite.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a benchmark that goes wrong stops"
)]

#[path = "common/bare.rs"]
mod bare;
#[path = "common/case.rs"]
mod case;
#[path = "stores/load.rs"]
mod load;
#[path = "stores/population.rs"]
mod population;
#[path = "stores/postgres.rs"]
mod postgres;
#[path = "common/report.rs"]
mod report;
#[allow(dead_code, clippy::panic, reason = "a part of it is enough here")]
#[path = "../tests/support/server.rs"]
mod server;
#[path = "stores/sqlite.rs"]
mod sqlite;
#[path = "stores/steady.rs"]
mod steady;
#[path = "stores/streams.rs"]
mod streams;

use self::{population::Population, report::Report};

fn main() {
    let mut report = Report::asked_for();
    let quick = report.is_quick();
    let large = if quick { 10_000 } else { 1_000_000 };
    let population = Population::new(if quick { 1_000 } else { 4_000 });
    if report.wants("sqlite") {
        sqlite::run(&population, large, &mut report);
    }
    if report.wants("postgres") {
        postgres::run(&population, large, &mut report);
    }
    if report.wants("steady") {
        sqlite::shared(&mut report);
        postgres::shared(&mut report);
    }
    if report.wants("streams") {
        postgres::streams(&mut report);
    }
    if report.wants("load") {
        load::run(quick);
    }
    report.finish("stores");
}
