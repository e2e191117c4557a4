//! Guards, declarations of routes and endpoints, within one process.

mod actix;
mod actix_endpoints;
mod alternatives;
mod child_ends;
mod children;
mod children_audit;
mod gateway;
mod grants;
mod headers;
mod introspection;
mod leaks;
mod limits;
mod openapi;
mod own_key;
mod own_key_children;
mod own_key_rotation;
mod rate;
mod refusals;
mod routes;
mod streams;
#[path = "../support/mod.rs"]
mod support;
mod testing;
mod usage;
