//! A GraphQL service for the machines of a factory, with API keys.
//!
//! - [`guarded`]: the needs of each field, and the extension that checks them. The file can be copied.
//! - [`queries_only`]: no mutations in URLs.
//! - [`schema`]: the schema, and the needs of its fields.
//! - [`service`]: requests over HTTP.
//! - [`socket`]: requests and subscriptions over WebSocket.
//! - [`weigh`]: the rate of a key, by the complexity of its operations.

pub mod client;
pub mod guarded;
pub mod queries_only;
pub mod schema;
pub mod service;
pub mod socket;
pub mod weigh;
