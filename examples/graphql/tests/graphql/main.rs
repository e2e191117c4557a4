//! The GraphQL service and the guard of its fields.

mod arguments;
mod fields;
mod http;
mod requests;
mod socket;
mod weigh;
mod world;
