//! The console's API and page, as a browser and a program see them.

mod allowances;
mod audit;
mod audit_table;
mod bulk;
mod children;
mod client;
mod document;
mod dropped;
mod exceptions;
mod expiries;
mod gate;
mod grants;
mod idempotency;
mod isolation;
mod keys;
mod offers;
mod operator;
mod outage;
mod owners;
mod page;
mod preconditions;
mod problems;
mod races;
mod rotations;
mod routes;
mod schema;
mod secrets;
#[path = "../support/mod.rs"]
mod support;
mod trail;
mod usage;
