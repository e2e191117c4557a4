//! Stores against the conformance suite: the ones that keep the contract, and many that do not.

mod bug;
mod controls;
mod feeds;
mod limits;
mod methods;
mod planted;
mod usage;

#[allow(dead_code, reason = "an example has a `main`")]
#[path = "../../examples/custom-store/src/main.rs"]
mod custom_store;

mod memory {
    use keyway::MemoryStore;

    keyway::store_conformance!(block_on = pollster::block_on, store = async { MemoryStore::new() });
    keyway::usage_conformance!(block_on = pollster::block_on, store = async { MemoryStore::new() });
    keyway::limit_conformance!(block_on = pollster::block_on, store = async { MemoryStore::new() });
    keyway::event_conformance!(block_on = pollster::block_on, store = async { MemoryStore::new() });
}

mod custom {
    use super::custom_store::TableStore;

    keyway::store_conformance!(
        block_on = pollster::block_on,
        store = async move { TableStore::default() },
    );
}

mod any_event_store {
    use keyway::{
        MemoryStore,
        store::{
            AnyEventStore,
            conformance::{clauses, event_clauses},
        },
    };

    #[test]
    fn event_store_of_a_hidden_type_keeps_both_contracts() {
        for clause in clauses().iter().chain(&event_clauses()) {
            pollster::block_on(clause.run(&AnyEventStore::new(MemoryStore::new())));
        }
    }
}

mod any_store {
    use keyway::{
        MemoryStore,
        store::{AnyStore, conformance::clauses},
    };

    /// `AnyStore` forwards each call. One store of a hidden type therefore stands for all.
    #[test]
    fn a_store_of_a_hidden_type_keeps_the_contract() {
        for clause in clauses() {
            pollster::block_on(clause.run(&AnyStore::new(MemoryStore::new())));
        }
    }
}

/// Every call waits before and after it does its work, so that calls interleave. The names here are
/// those that the tests use too.
mod slow {
    #![allow(dead_code, unused_imports, reason = "they are there to be in the way")]

    use ::core::{future::ready, prelude::v1::derive as test};

    use crate::support::FaultyStore;

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
