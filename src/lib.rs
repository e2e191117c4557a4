// The programs in it keep their keys in SQLite, and serve on axum, with the console.
#![cfg_attr(all(feature = "sqlite", feature = "console"), doc = include_str!("../README.md"))]
#![cfg_attr(
    not(all(feature = "sqlite", feature = "console")),
    doc = "API keys for Rust services, as a library."
)]
#![no_std]
#![warn(clippy::std_instead_of_core, clippy::std_instead_of_alloc, clippy::alloc_instead_of_core)]
#![cfg_attr(docsrs, feature(doc_cfg))]

// What utoipa's macros write takes `vec!` and `format!` for granted.
#[cfg_attr(feature = "console", macro_use)]
extern crate alloc;
#[cfg(any(feature = "std", test))]
extern crate std;

pub mod audit;
pub mod authority;
pub mod authorization;
#[cfg(feature = "console")]
pub mod console;
pub mod decision;
pub mod guide;
#[cfg(feature = "http")]
pub mod http;
pub mod import;
pub mod pepper;
pub mod policy;
#[cfg(feature = "std")]
pub mod rate;
pub mod record;
pub mod scope;
pub mod seal;
pub mod store;
pub mod tier;
pub mod time;
pub mod token;

#[cfg(feature = "std")]
mod cache;
#[cfg(feature = "std")]
pub mod keyring;
mod mac;
#[cfg(feature = "std")]
mod sync;
mod text;
#[cfg(feature = "std")]
pub mod verifier;
