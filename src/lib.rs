// The README's programs keep their keys in SQLite and serve on axum with the console, so they need these
// features.
#![cfg_attr(all(feature = "sqlite", feature = "console"), doc = include_str!("../README.md"))]
#![cfg_attr(
    not(all(feature = "sqlite", feature = "console")),
    doc = "API keys for Rust services, as a library."
)]
#![no_std]
#![cfg_attr(not(feature = "std"), allow(dead_code, reason = "only the layers with I/O use it"))]
#![warn(clippy::std_instead_of_core, clippy::std_instead_of_alloc, clippy::alloc_instead_of_core)]
#![cfg_attr(docsrs, feature(doc_cfg))]

extern crate alloc;
#[cfg(any(feature = "std", test))]
extern crate std;

pub mod allowance;
pub mod audit;
#[cfg(feature = "children")]
pub mod children;
#[cfg(feature = "console")]
pub mod console;
pub mod event;
pub mod grant;
pub mod guide;
#[cfg(feature = "http")]
pub mod http;
pub mod import;
#[cfg(feature = "std")]
pub mod keyring;
pub mod lowlevel;
pub mod operations;
pub mod rate;
pub mod record;
pub mod scope;
pub mod store;
#[cfg(feature = "testing")]
pub mod testing;
pub mod time;
#[cfg(feature = "std")]
pub mod usage;
#[cfg(feature = "std")]
pub mod verifier;

mod authority;
mod base64;
mod bearer;
#[cfg(feature = "std")]
mod cache;
mod codec;
mod config;
mod decision;
mod field;
mod mac;
#[cfg(feature = "std")]
mod meter;
mod network;
mod pepper;
mod policy;
mod resource;
mod seal;
mod swar;
#[cfg(feature = "std")]
mod sync;
mod text;
mod tier;
mod token;

// The names that most services need. Each has this path alone, and the modules have the other names.
#[cfg(feature = "http")]
pub use self::http::guard::Guard;
#[cfg(feature = "postgres")]
pub use self::store::postgres::PostgresStore;
#[cfg(feature = "sqlite")]
pub use self::store::sqlite::SqliteStore;
pub use self::{
    authority::{ChangeError, GracePeriod, ImportedKey, KeyEdit, LeakResponse, NewKey},
    config::ConfigError,
    decision::{KeyState, Principal},
    pepper::{Pepper, Peppers},
    policy::Policy,
    record::{key::KeyRecord, tenant_id::TenantId},
    scope::catalog::ScopeCatalog,
    tier::Tier,
    time::timestamp::Timestamp,
    token::{KeyId, OneTimeToken},
};
#[cfg(feature = "std")]
pub use self::{
    keyring::{
        error::KeyringError,
        handle::Keyring,
        tenant::{IssuedKey, TenantKeys},
    },
    store::memory::MemoryStore,
    verifier::error::VerifyError,
};
