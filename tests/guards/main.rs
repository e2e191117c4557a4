//! Guards, declarations of routes and endpoints, within one process.

mod actix;
mod actix_endpoints;
mod grants;
mod headers;
mod leaks;
mod openapi;
mod own_key;
mod rate;
mod routes;
#[path = "../support/mod.rs"]
mod support;
