//! A service with the console mounted, and a client that asks it from outside.

#[path = "../../common/mod.rs"]
mod common;

pub mod client;
pub mod host;
mod wire;

pub use self::{common::FaultyStore, host::Host};
