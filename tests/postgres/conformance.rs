//! The PostgreSQL store against the conformance suite.

use std::future::Future;

use keyway::PostgresStore;

use crate::support::server::{fresh_schema, shared};

fn block_on(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.unwrap().block_on(test);
}

keyway::store_conformance!(
    block_on = crate::conformance::block_on,
    store = async {
        let builder = PostgresStore::builder().schema(fresh_schema()).max_connections(4);
        builder.connect(&shared().url()).await.unwrap()
    },
    ignore = "needs PostgreSQL",
);

keyway::usage_conformance!(
    block_on = crate::conformance::block_on,
    store = async {
        let builder = PostgresStore::builder().schema(fresh_schema()).max_connections(4);
        builder.connect(&shared().url()).await.unwrap()
    },
    ignore = "needs PostgreSQL",
);

keyway::limit_conformance!(
    block_on = crate::conformance::block_on,
    store = async {
        let builder = PostgresStore::builder().schema(fresh_schema()).max_connections(4);
        builder.connect(&shared().url()).await.unwrap()
    },
    ignore = "needs PostgreSQL",
);

keyway::event_conformance!(
    block_on = crate::conformance::block_on,
    store = async {
        let builder = PostgresStore::builder().schema(fresh_schema()).max_connections(4);
        builder.connect(&shared().url()).await.unwrap()
    },
    ignore = "needs PostgreSQL",
);
