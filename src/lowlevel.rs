//! The pure layer: tokens, decisions and changes as functions over values, without I/O.
//!
//! Services use `Keyring` instead. This module serves test harnesses, benchmarks, and applications that keep
//! their own synchronous store. It is available without the feature `std`. Time and randomness are arguments.
//!
//! ```text
//! TokenFormat::check ─→ CheckedToken ──────┐
//! KeyRecord, TenantRecord ─→ ResolvedKey ─┴─→ decide ─→ Principal ─→ require
//! ```
//!
//! An [`Authority`] holds what the application has configured: policy, environment and peppers. It issues and
//! changes keys, and checks tokens.
//!
//! ```
//! use std::sync::Arc;
//! use keyway::{
//!     NewKey, Pepper, Policy, ScopeCatalog, Tier, Timestamp,
//!     lowlevel::{Authority, decide},
//!     scope::ScopeDeclaration,
//! };
//!
//! let catalog = ScopeCatalog::new([ScopeDeclaration::new("reporting", "Read reports")])?;
//! let policy = Policy::new("mm", catalog, Tier::built_in())?;
//! let authority = Authority::new(policy, "live", &Pepper::from_bytes(&[7; 32])?.into())?;
//! let now: Timestamp = "2026-11-22T09:00:00Z".parse()?;
//!
//! let tenant = authority.create_tenant("acme".parse()?, "lite", now)?;
//! let request = NewKey::named("ERP nightly sync").scopes(["reporting"]);
//! let (key, token) = authority.issue(&tenant, request, now, &mut getrandom::SysRng)?;
//! let text = token.reveal();
//!
//! let checked = authority.check(text.as_bytes())?;
//! let caller = decide(&checked, &Arc::new(authority.resolve(&key, &tenant)?), now)?;
//! assert_eq!(caller.tenant(), "acme");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The token
//!
//! ```text
//! mm_live_7Kf3Qw9ZbT2mXc4d5Rk8Vn1pLh6Js0YgUe3Wa9Bx7Dt2Qq5EzF4Nr8Mu
//! └┬┘└─┬─┘└───────┬──────┘└───────────────┬──────────────┘└───┬──┘
//! iss. env     id 16                 secret 32             tag 8
//! ```
//!
//! `mac = HMAC-SHA256(k, id ‖ secret)`, where `k = HMAC-SHA256(pepper, "keyway/v1/token\0" ‖ issuer ‖ "\0" ‖
//! env)`. The first 6 bytes of the MAC are the tag in the token, in base64url. The other 26 bytes are the
//! digest in the store. Neither of the two reveals anything about the other. A token that was not minted here
//! is rejected by its tag, in constant time, before a store is read.
//!
//! No branch, index or decoding depends on a byte of the secret before the MAC is computed over the bytes as
//! they were presented. A token that differs in any way from the minted one fails the tag.
//!
//! # Seals
//!
//! Every record is sealed with the pepper. An attacker that can write to the database but does not have the
//! pepper cannot add a scope, move a key to another tenant, extend an expiry, or enable or create a key: a
//! record whose seal does not match is rejected. [`Seals`] do not prevent replaying an older record of the
//! same key, or deleting records.

pub use crate::{
    authority::Authority,
    bearer::{CredentialError, bearer_token},
    decision::{Denial, ResolvedKey, decide, decide_from},
    seal::Seals,
    token::{CheckedToken, InsecureSeededRng, MintError, Minted, TokenFormat},
};
