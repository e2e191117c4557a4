//! What the stores cost, as ratios: `cargo bench --bench stores --all-features [-- [--quick]
//! [sqlite] [postgres] [load]]`.
//!
//! 1.0 is the same driver's bare prepared statements in the same run, on tables with the same
//! content, indexes and durability; for growth it is the same call on the smaller table. Every round
//! measures each case beside its floor, and a case's figure is the median of the rounds' ratios.
//!
//! PostgreSQL is a server of this run's own, and `sqlx` on one pool for both sides. SQLite is
//! `rusqlite`, whose statements wait for disks and locks, so that an async service runs them on a
//! thread of the connection's own and awaits the answer. The floor does so too, in the smallest form:
//! a `std` thread, a channel of boxed closures, a oneshot for the answer. What the statement takes
//! without that is printed beside it. `sqlite_lookup` asks without a pause, when the thread of the
//! floor need not be woken for most jobs; `sqlite_lookup_paced` asks one at a time, as requests come.
//!
//! `flush` is one call of `KeyStore::record_uses`. Its floor is one `UPDATE` of as many rows in
//! PostgreSQL, and one transaction of as many executions of a prepared one in SQLite.

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
#[path = "../tests/support/postgres.rs"]
mod server;
#[path = "stores/sqlite.rs"]
mod sqlite;

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
    if report.wants("load") {
        load::run(quick);
    }
    report.finish("stores");
}
