//! A service with the console mounted, and a client that asks it from outside.

pub mod client;
#[path = "../../common/faulty_store.rs"]
mod faulty_store;
pub mod host;
mod wire;

pub use self::{faulty_store::FaultyStore, host::Host, wire::Loss};

/// What a slow store does.
async fn pause() {
    tokio::task::yield_now().await;
}
