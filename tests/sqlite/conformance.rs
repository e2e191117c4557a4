//! The SQLite store against the conformance suite.

mod in_memory {
    use keyway::SqliteStore;

    keyway::store_conformance!(
        block_on = pollster::block_on,
        store = async { SqliteStore::in_memory().await.unwrap() },
    );
    keyway::usage_conformance!(
        block_on = pollster::block_on,
        store = async { SqliteStore::in_memory().await.unwrap() },
    );
    keyway::limit_conformance!(
        block_on = pollster::block_on,
        store = async { SqliteStore::in_memory().await.unwrap() },
    );
    keyway::event_conformance!(
        block_on = pollster::block_on,
        store = async { SqliteStore::in_memory().await.unwrap() },
    );
}

mod file {
    use std::{cell::RefCell, future::Future};

    use keyway::SqliteStore;
    use tempfile::TempDir;

    std::thread_local! {
        /// Each test has its own thread, and a folder that is removed after the test.
        static FOLDER: RefCell<Option<TempDir>> = const { RefCell::new(None) };
    }

    fn block_on(test: impl Future<Output = ()>) {
        FOLDER.set(Some(tempfile::tempdir().unwrap()));
        pollster::block_on(test);
        FOLDER.take();
    }

    keyway::store_conformance!(
        block_on = crate::conformance::file::block_on,
        store = async {
            let file = FOLDER.with_borrow(|folder| folder.as_ref().unwrap().path().join("keys.db"));
            SqliteStore::open(file).await.unwrap()
        },
    );
    keyway::usage_conformance!(
        block_on = crate::conformance::file::block_on,
        store = async {
            let file = FOLDER.with_borrow(|folder| folder.as_ref().unwrap().path().join("keys.db"));
            SqliteStore::open(file).await.unwrap()
        },
    );
    keyway::limit_conformance!(
        block_on = crate::conformance::file::block_on,
        store = async {
            let file = FOLDER.with_borrow(|folder| folder.as_ref().unwrap().path().join("keys.db"));
            SqliteStore::open(file).await.unwrap()
        },
    );
    keyway::event_conformance!(
        block_on = crate::conformance::file::block_on,
        store = async {
            let file = FOLDER.with_borrow(|folder| folder.as_ref().unwrap().path().join("keys.db"));
            SqliteStore::open(file).await.unwrap()
        },
    );
}
