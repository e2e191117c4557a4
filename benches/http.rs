//! The cost of a guard in a service: `cargo bench -p keyway-tests --bench http [-- [--quick] [tower]
//! [axum] [actix] [flood]]`.
//!
//! - `tower_overhead`: the time that the layer adds to one call of a service in the same thread, a request
//!   with a cached key, in units of two raw SHA-256 compressions of the same run.
//! - `axum_overhead`, `actix_overhead`: requests per second of a `GET` with a 200 response, without a guard
//!   over with it. The requests go over the loopback device on kept connections, under `wrk`. The same
//!   request with the same credential goes to both, in turns. The servers have one thread each, and so has
//!   `wrk`.
//! - `forged_flood`: requests per second of a client with a valid key while three times its connections send
//!   made-up tokens. The figure is that of a flood on a route that responds with 401 at once, over that of a
//!   flood on the guarded route. Nothing may be read from the store meanwhile.
//!
//! A case's figure is the median of the rounds' ratios.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a benchmark that goes wrong stops"
)]

#[path = "http/load.rs"]
mod load;
#[path = "http/overhead.rs"]
mod overhead;
#[path = "common/report.rs"]
mod report;
#[path = "http/servers.rs"]
mod servers;
#[path = "http/world.rs"]
mod world;

use self::{report::Report, world::World};

fn main() {
    let mut report = Report::asked_for();
    let world = World::new();
    if report.wants("tower") {
        overhead::run(&world, &mut report);
    }
    if !load::has_wrk() {
        println!("not run: what needs wrk, which is not installed");
        report.finish("http");
        return;
    }
    let seconds = if report.is_quick() { 1 } else { 2 };
    if report.wants("axum") {
        load::overhead("axum_overhead", &servers::axum(&world), &world, seconds, &mut report);
    }
    if report.wants("actix") {
        load::overhead("actix_overhead", &servers::actix(&world), &world, seconds, &mut report);
    }
    if report.wants("flood") {
        load::flood(&servers::axum(&world), &world, seconds, &mut report);
    }
    report.finish("http");
}
