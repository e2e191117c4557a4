//! A service with the console mounted, and a client that asks it from outside.

pub mod client;
#[path = "../../support/faulty_store.rs"]
mod faulty_store;
pub mod host;
mod wire;
#[allow(dead_code, reason = "a part of it is enough here")]
#[path = "../../support/wrapped_store.rs"]
mod wrapped_store;

pub use self::{
    faulty_store::FaultyStore,
    host::Host,
    wire::{Loss, Wire},
};

/// The delays of a slow store.
async fn pause() {
    tokio::task::yield_now().await;
}
