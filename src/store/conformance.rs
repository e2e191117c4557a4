//! The [contract](super) of stores as a test suite, one function per clause.
//!
//! A store author writes one line, in a test of their own:
//!
//! ```
//! use keyway::store::MemoryStore;
//!
//! keyway::store_conformance!(block_on = pollster::block_on, store = async { MemoryStore::new() });
//! # fn main() {}
//! ```
//!
//! and gets one test for each clause, each on a fresh store:
//!
//! | module | runs |
//! |---|---|
//! | `bare` | every clause of the contract on the store itself |
//! | `erased` | the same through [`AnyStore`] |
//! | `cached` | the clauses of [`cached`], on keyrings with the store behind their caches |
//!
//! A clause panics with a message that says what was expected and what the store did. The test's name
//! is the name of the clause, which is the name of the function here. [`clauses`] gives the same list
//! to a harness of the host's own. No executor is needed: concurrency is that of futures that are
//! polled in turn, so it is as fine as the store's own awaits.
//!
//! The feature `conformance` is outside semantic versioning: any release may add clauses.

#![allow(
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "a clause panics where the store does not keep it"
)]

pub mod absence;
pub mod cached;
pub mod cancellation;
pub mod deletion;
pub mod identity;
pub mod last_use;
pub mod lists;
pub mod pages;
pub mod quota;
pub mod round_trip;
pub mod search;
pub mod uniqueness;
pub mod versions;
pub mod visibility;

mod expect;
mod give_up;
mod issuer;
#[macro_use]
mod list;
mod schedule;
mod stage;

use alloc::{boxed::Box, vec::Vec};
use core::{fmt, future::Future, pin::Pin};

use super::{AnyStore, KeyStore};

type Run<S> = for<'s> fn(&'s S) -> Pin<Box<dyn Future<Output = ()> + 's>>;

/// One clause, for a harness of one's own.
///
/// ```
/// use keyway::store::{MemoryStore, conformance};
///
/// for clause in conformance::clauses::<MemoryStore>() {
///     pollster::block_on(clause.run(&MemoryStore::new()));
/// }
/// ```
pub struct Clause<S> {
    name: &'static str,
    run: Run<S>,
}

impl<S> Clause<S> {
    /// The name: that of the function and of the test.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Holds `store`, which must be fresh, against the clause.
    ///
    /// # Panics
    ///
    /// If the store does not keep it. The message says what it did instead.
    pub async fn run(&self, store: &S) {
        (self.run)(store).await;
    }
}

impl<S> fmt::Debug for Clause<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Clause").field(&self.name).finish()
    }
}

/// Every clause of the contract.
pub fn clauses<S: KeyStore>() -> Vec<Clause<S>> {
    macro_rules! list {
        ({} $($module:ident::$clause:ident)*) => {
            [$(Clause {
                name: stringify!($clause),
                run: |store: &S| Box::pin($module::$clause(store)),
            }),*]
        };
    }
    __store_clauses!([list]).into()
}

/// The clauses of [`cached`]: what a keyring promises that has the store behind its cache.
pub fn cached_clauses() -> Vec<Clause<AnyStore>> {
    macro_rules! list {
        ({} $($module:ident::$clause:ident)*) => {
            [$(Clause {
                name: stringify!($clause),
                run: |store: &AnyStore| Box::pin($module::$clause(store)),
            }),*]
        };
    }
    __cached_clauses!([list]).into()
}
