//! Usage: how many requests of each key were admitted, forbidden and limited on each day.
//!
//! Give the builder a [`UsageStore`](crate::store::UsageStore), which may be the store of the keys. The stores that come with keyway are such stores.
//!
//! ```
//! use keyway::{Keyring, MemoryStore, NewKey, Pepper, Policy, usage::{Day, Span}};
//!
//! # pollster::block_on(async {
//! # let policy: Policy = serde_json::from_str(r#"{ "issuer": "mm", "scopes": [] }"#)?;
//! let store = MemoryStore::new();
//! let keyring = Keyring::builder(policy, Pepper::from_bytes(&[7; 32])?)
//!     .environment("live")
//!     .store(store.clone())
//!     .usage(store)
//!     .build()?;
//! let (acme, issued) = keyring.create_tenant("acme", "lite").await?;
//! keyring.verify(&*issued.token.reveal()).await?;
//!
//! // About every minute, and before the service stops.
//! keyring.flush_uses().await?;
//!
//! let usage = keyring.usage().ok_or("no usage store")?;
//! let today = usage.today();
//! let days = usage.of_tenant(acme.id(), Span::days(today, today)).await?;
//! assert_eq!(days[0].counts.admitted, 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```
//!
//! # The counts
//!
//! Each request of a proven key counts once, in the day of UTC on which its outcome is known by the clock of the node.
//!
//! | count | requests |
//! |---|---|
//! | [`admitted`](Counts::admitted) | that a guard admitted, or that `Keyring::verify` and its likes accepted |
//! | [`forbidden`](Counts::forbidden) | of keys that are not active, or that lack a scope, a resource, a network or an operation |
//! | [`limited`](Counts::limited) | above a rate or an allowance |
//!
//! A request whose token proves nothing belongs to no key and is not counted. A request that several nested guards check
//! counts once, as the outermost guard decides. A request of a child counts for its parent.
//!
//! # Crashes
//!
//! A node counts in memory. [`Keyring::flush_uses`](crate::Keyring::flush_uses) writes the counts, each
//! [flush](UsageFlush) exactly once, also if it has to be repeated because the response was lost. A crash loses the counts
//! since the last flush, and no more.

mod counts;
mod day;
mod flush;

pub(crate) use self::counts::Outcome;
pub use self::{
    counts::Counts,
    day::{Day, Period, Span},
    flush::{DayUsage, KeyUsage, UsageFlush},
};
