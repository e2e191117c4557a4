//! The [contract](super) of stores as a test suite, one function per clause.
//!
//! The author of a store writes one line in a test:
//!
//! ```
//! use keyway::MemoryStore;
//!
//! keyway::store_conformance!(block_on = pollster::block_on, store = async { MemoryStore::new() });
//! # fn main() {}
//! ```
//!
//! This creates one test for each clause, each on a fresh store:
//!
//! | module | runs |
//! |---|---|
//! | `contract` | every clause of the contract |
//! | `cached` | the promises of a keyring that has the store, as an [`AnyStore`], behind its cache |
//!
//! [`usage_conformance!`](crate::usage_conformance) does the same in the module `usage` for a store of usage,
//! [`limit_conformance!`](crate::limit_conformance) in the module `limits` for a store of limits, and
//! [`event_conformance!`](crate::event_conformance) in the module `events` for a store of events.
//!
//! A clause panics with a message that contains the expected behavior and the store's behavior. The test, the
//! clause and its function in the sources have the same name, and the comment on the function states the
//! clause in words. [`clauses`] gives the same list to an application's own test harness. No executor is
//! needed. Concurrency means that futures are polled in turn, so it is as fine as the store's own awaits.
//!
//! The feature `conformance` is outside semantic versioning: any release may add clauses.

#![allow(
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "a clause panics where the store does not keep it"
)]

#[macro_use]
mod list;

mod absence;
mod cached;
mod cancellation;
mod deletion;
mod events;
mod expect;
mod feeds;
mod give_up;
mod identity;
mod issuer;
mod last_use;
mod limits;
mod lists;
mod marker;
mod owners;
mod pages;
mod quota;
mod round_trip;
mod schedule;
mod search;
mod stage;
mod uniqueness;
mod usage;
mod versions;
mod visibility;

use alloc::{boxed::Box, vec::Vec};
use core::{fmt, future::Future, pin::Pin};

pub use self::{
    events::event_clauses,
    feeds::{FollowedStore, feed_clauses},
    limits::limit_clauses,
    usage::usage_clauses,
};
use super::{AnyStore, EventStore, KeyStore, LimitStore, UsageStore};

type Run<S> = for<'s> fn(&'s S) -> Pin<Box<dyn Future<Output = ()> + 's>>;

/// One clause, for your own test harness.
///
/// ```
/// use keyway::{MemoryStore, store::conformance};
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
    /// Returns the name of the clause, which is the name of the test.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Runs the clause against `store`, which must be fresh.
    ///
    /// # Panics
    ///
    /// If the store violates the clause. The message contains what the store did.
    pub async fn run(&self, store: &S) {
        (self.run)(store).await;
    }
}

impl<S> fmt::Debug for Clause<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Clause").field(&self.name).finish()
    }
}

/// Lists the clauses as [`Clause`]s of one store.
macro_rules! list {
    ({ $store:ty } $($module:ident::$clause:ident)*) => {
        [$(Clause {
            name: stringify!($clause),
            run: |store: &$store| Box::pin($module::$clause(store)),
        }),*]
    };
}

/// Returns every clause of the contract.
pub fn clauses<S: KeyStore>() -> Vec<Clause<S>> {
    __store_clauses!([list] S).into()
}

/// Returns the clauses of a keyring that has the store behind its cache.
pub fn cached_clauses() -> Vec<Clause<AnyStore>> {
    __cached_clauses!([list] AnyStore).into()
}

/// Runs one of [`clauses`] on a fresh store.
#[doc(hidden)]
pub async fn __run_clause<S: KeyStore>(store: S, name: &str) {
    run(&clauses(), &store, name).await;
}

/// Runs one of [`cached_clauses`] on a fresh store.
#[doc(hidden)]
pub async fn __run_cached_clause(store: impl KeyStore, name: &str) {
    run(&cached_clauses(), &AnyStore::new(store), name).await;
}

/// Runs one of [`usage_clauses`] on a fresh store.
#[doc(hidden)]
pub async fn __run_usage_clause<S: UsageStore>(store: S, name: &str) {
    run(&usage_clauses(), &store, name).await;
}

/// Runs one of [`limit_clauses`] on a fresh store.
#[doc(hidden)]
pub async fn __run_limit_clause<S: LimitStore>(store: S, name: &str) {
    run(&limit_clauses(), &store, name).await;
}

/// Runs one of [`event_clauses`] on a fresh store.
#[doc(hidden)]
pub async fn __run_event_clause<S: EventStore>(store: S, name: &str) {
    run(&event_clauses(), &store, name).await;
}

async fn run<S>(clauses: &[Clause<S>], store: &S, name: &str) {
    let clause = clauses.iter().find(|clause| clause.name == name);
    expect::made(clause.ok_or("no clause has this name")).run(store).await;
}
