//! The stores that keep keys in a database, against the conformance suite.

#![cfg(all(feature = "conformance", feature = "sqlite"))]
#![allow(clippy::unwrap_used, reason = "a test that goes wrong stops")]

#[cfg(feature = "postgres")]
#[path = "support/postgres.rs"]
mod server;

mod sqlite_in_memory {
    use keyway::store::SqliteStore;

    keyway::store_conformance!(
        block_on = pollster::block_on,
        store = async { SqliteStore::in_memory().await.unwrap() },
    );
}

mod sqlite_file {
    use std::{cell::RefCell, future::Future};

    use keyway::store::SqliteStore;
    use tempfile::TempDir;

    std::thread_local! {
        /// Each test has a thread, and a folder that ends with the test.
        static FOLDER: RefCell<Option<TempDir>> = const { RefCell::new(None) };
    }

    fn block_on(test: impl Future<Output = ()>) {
        FOLDER.set(Some(tempfile::tempdir().unwrap()));
        pollster::block_on(test);
        FOLDER.take();
    }

    keyway::store_conformance!(
        block_on = crate::sqlite_file::block_on,
        store = async {
            let file = FOLDER.with_borrow(|folder| folder.as_ref().unwrap().path().join("keys.db"));
            SqliteStore::open(file).await.unwrap()
        },
    );
}

#[cfg(feature = "postgres")]
mod postgres {
    use std::future::Future;

    use keyway::store::PostgresStore;

    use crate::server::{fresh_schema, shared};

    /// Does nothing on a machine without PostgreSQL, which `shared` says.
    fn block_on(test: impl Future<Output = ()>) {
        if shared().is_some() {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(test);
        }
    }

    keyway::store_conformance!(
        block_on = crate::postgres::block_on,
        store = async {
            let builder = PostgresStore::builder().schema(fresh_schema()).max_connections(4);
            builder.connect(&shared().unwrap().url()).await.unwrap()
        },
    );
}
