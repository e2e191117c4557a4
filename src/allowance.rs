//! Allowances: limits of a tenant that hold over all nodes, such as 100,000 requests per month.
//!
//! A tier may set [allowances](crate::Tier::allowances), and an exception of a tenant may replace them. A
//! [`LimitStore`](https://docs.rs/keyway/latest/keyway/store/trait.LimitStore.html) holds what is used. The stores that come with keyway are such stores.
//!
//! ```
//! use keyway::{Keyring, MemoryStore, NewKey, Pepper, Policy, VerifyError, allowance::WhenAway};
//!
//! # pollster::block_on(async {
//! let policy: Policy = serde_json::from_str(r#"{
//!     "issuer": "mm",
//!     "scopes": [],
//!     "tiers": [{
//!         "name": "free",
//!         "keys": 1,
//!         "allowances": [{ "units": 2, "per": "month" }, { "units": 600, "per_seconds": 60 }]
//!     }]
//! }"#)?;
//! let store = MemoryStore::new();
//! let keyring = Keyring::builder(policy, Pepper::from_bytes(&[7; 32])?)
//!     .environment("live")
//!     .store(store.clone())
//!     .shared_limits(store, WhenAway::Refuse)
//!     .build()?;
//! let (acme, issued) = keyring.create_tenant("acme", "free").await?;
//! let caller = keyring.verify(&*issued.token.reveal()).await?;
//!
//! // Guards do this for each request that they admit.
//! let verifier = keyring.verifier();
//! verifier.reserve(&caller, 1).await?;
//! // The costs of this request are known later.
//! let reservation = verifier.reserve(&caller, 1).await?;
//! reservation.settle(0);
//! verifier.reserve(&caller, 1).await?;
//! assert!(matches!(verifier.reserve(&caller, 1).await, Err(VerifyError::UsedUp { .. })));
//!
//! // About every minute, and before the service stops.
//! keyring.flush_uses().await?;
//!
//! let limits = keyring.limits().ok_or("no store of limits")?;
//! let state = limits.of_tenant(acme.id()).await?;
//! assert_eq!((state[0].used, state[0].left()), (2, 0));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```
//!
//! # What is counted
//!
//! Every guard counts the requests that it admits, each with the weight of its route or operation, after the [rates](crate::rate).
//! `Verifier::reserve` does so for applications without HTTP, and for costs that are known only after a request. A request
//! counts in all allowances of its tenant or in none. A request that an allowance refuses has counted in the rates.
//! A weight above all units of an allowance is always refused.
//!
//! A month is that of the calendar in UTC, and a period of seconds begins at a multiple of them since 1970. The clocks of the
//! nodes decide which window a request is in.
//!
//! # Slices
//!
//! A node leases a slice of the units from the store, and serves requests from it without the store. When a slice is used
//! up, one request leases the next one, and the other requests of the tenant wait for it. [`Keyring::flush_uses`] and
//! `Verifier::flush_limits` return what a node has not used.
//!
//! The first request of a tenant leases its own units, and so does one that comes 20 seconds after the one before or later.
//! Otherwise a slice has at least 32 units, or a 1,024th of what is left if that is less. It doubles while slices are used up
//! within a second, and has at most a 64th of the allowance and an eighth of what is left. So when little is left, each request
//! leases its own units.
//!
//! # Bounds
//!
//! - **Above the allowance** a tenant gets nothing, whatever nodes do and whenever they are killed. Exceptions are costs that
//!   [`settle`](https://docs.rs/keyway/latest/keyway/verifier/struct.Reservation.html#method.settle) reports above what was reserved, and what is admitted while the store
//!   is away with [`WhenAway::Admit`]. Both are subtracted from what the tenant uses next.
//! - **Below the allowance** a tenant loses, for each node and window, at most the slice that the node held when it was
//!   killed, and the slices whose leases had no response: the connection broke, or all requests that waited were dropped.
//! - **A slice of another node** cannot be used until it is returned. A tenant can be refused although other nodes
//!   hold units for it, until these nodes use them or flush.
//! - An allowance that was used up is asked for again at most once per second and node.
//!
//! # When the store is away
//!
//! A node serves what it has leased. Beyond that, [`WhenAway`] decides.
//!
//! # Memory
//!
//! A node remembers each tenant that has used an allowance since the last flush, or in the 20 seconds before it, with less than
//! 500 bytes.
//!
//! [`Keyring::flush_uses`]: https://docs.rs/keyway/latest/keyway/struct.Keyring.html#method.flush_uses

#[cfg(feature = "std")]
pub(crate) mod slices;

#[cfg(feature = "std")]
pub use crate::tier::Window;
pub use crate::tier::{Allowance, AllowanceProblem, Period};

/// The choice for requests beyond what a node has leased, while the store of limits is away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WhenAway {
    /// Refuses them as unavailable: status 503, with `Retry-After`.
    Refuse,
    /// Admits them, and subtracts them from what the tenant uses when the store is back. So a tenant can exceed its
    /// allowance while the store is away.
    Admit,
}
