//! Stores against the conformance suite: the ones that keep the contract, and many that do not.

#![allow(
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a test that goes wrong stops"
)]

#[path = "conformance/bug.rs"]
mod bug;
#[path = "conformance/controls.rs"]
mod controls;
#[path = "conformance/methods.rs"]
mod methods;
#[path = "conformance/planted.rs"]
mod planted;
#[path = "conformance/table.rs"]
mod table;

mod common;
#[allow(dead_code, reason = "an example has a `main`")]
#[path = "../examples/custom_store.rs"]
mod custom_store;

mod memory {
    use keyway::store::MemoryStore;

    keyway::store_conformance!(block_on = pollster::block_on, store = async { MemoryStore::new() });
}

mod custom {
    use crate::custom_store::TableStore;

    keyway::store_conformance!(
        block_on = pollster::block_on,
        store = async move { TableStore::default() },
    );
}

/// Every call waits before and after it does its work, so that calls interleave. The names here are
/// those that the tests use too.
mod slow {
    #![allow(dead_code, unused_imports, reason = "they are there to be in the way")]

    use ::core::{future::ready, prelude::v1::derive as test};

    use crate::common::FaultyStore;

    fn store() -> FaultyStore {
        let store = FaultyStore::default();
        store.set_slow(true);
        store
    }

    mod conformance {}
    mod core {}
    mod keyway {}

    ::keyway::store_conformance!(
        block_on = |test| {
            let test = Box::pin(test);
            pollster::block_on(test);
        },
        store = ready(store()).await
    );
}
