//! Import of keys that another system issued, from their digests.
//!
//! If a system stores SHA-256 or SHA-512 digests of its keys, these digests can be imported, and the holders
//! continue to use their existing keys. A [`ForeignFormat`] describes the form of such a token and how it
//! was digested. A [`ForeignDigest`] is the digest that the other system stored. `TenantKeys::import`
//! creates an ordinary key from both, marked as [imported](crate::record::KeyRecord::imported). Rotating the
//! key issues a token in keyway's own format.
//!
//! [`prefixed-api-key`](https://docs.rs/prefixed-api-key) stores a short public part and the SHA-256 of the
//! long part:
//!
//! ```
//! use keyway::{
//!     ImportedKey,
//!     Keyring,
//!     MemoryStore,
//!     NewKey,
//!     Pepper,
//!     Policy,
//!     import::{ForeignDigest, ForeignFormat},
//! };
//!
//! # pollster::block_on(async {
//! # let policy: Policy = serde_json::from_str(r#"{ "issuer": "mm", "scopes": [] }"#)?;
//! # let pepper = Pepper::from_bytes(&[7; 32])?;
//! let keyring = Keyring::builder(policy, pepper)
//!     .environment("live")
//!     .store(MemoryStore::new())
//!     .accept_imported(ForeignFormat::prefixed_api_key("mycompany")?)
//!     .build()?;
//! let acme = keyring.create_empty_tenant("acme", "lite").await?;
//!
//! let old = ForeignFormat::prefixed_api_key("mycompany")?;
//! let hash = "0f01ab6e0833f280b73b2b618c16102d91c0b7c585d42a080d6e6603239a8bee";
//! let digest = ForeignDigest::from_hex(hash)?;
//! let request = NewKey::named("ERP nightly sync");
//! acme.import(ImportedKey::with_public_part(&old, "CEUsS4psCmc", digest, request)?).await?;
//!
//! let token = "mycompany_CEUsS4psCmc_BddpcwWyCT3EkDjHSSTRaSK1dxtuQgbjb";
//! assert_eq!(keyring.verify(token).await?.name(), "ERP nightly sync");
//! assert!(keyring.verify(hash).await.is_err());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```
//!
//! An opaque token whose whole text was digested, here without a keyring:
//!
//! ```
//! # use std::sync::Arc;
//! use keyway::{
//! #   Pepper, Policy, ScopeCatalog, Tier, Timestamp,
//!     ImportedKey, NewKey,
//!     import::{ForeignDigest, ForeignFormat, ForeignHash},
//!     lowlevel::{Authority, decide},
//! };
//!
//! # let policy = Policy::new("mm", ScopeCatalog::new([])?, Tier::built_in())?;
//! # let peppers = Pepper::from_bytes(&[7; 32])?.into();
//! # let now: Timestamp = "2026-11-22T09:00:00Z".parse()?;
//! let opaque = || ForeignFormat::whole_token(ForeignHash::Sha256).lengths(32..=32);
//! let authority = Authority::new(policy, "live", &peppers)?.accept_imported(opaque()?)?;
//! # let tenant = authority.create_tenant("acme".parse()?, "lite", now)?;
//!
//! let digest = ForeignDigest::from_base64("ZyEkYiMUAoUvgY0JW7DCvx9CLt6LkCWHj/Kon8OD9u8=")?;
//! let request = ImportedKey::new(&opaque()?, digest, NewKey::named("ERP nightly sync"))?;
//! let key = authority.import(&tenant, request, now)?;
//!
//! let claims = authority.claims(b"9f86d081884c7d659a2feaa0c55ad015")?;
//! let checked = claims.into_iter().find(|checked| checked.id() == key.id()).ok_or("no such key")?;
//! let caller = decide(&checked, &Arc::new(authority.resolve(&key, &tenant)?), now)?;
//! assert_eq!(caller.tenant(), "acme");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # How it works
//!
//! `k = HMAC-SHA256(pepper, "keyway/v1/import\0" ‖ issuer ‖ "\0" ‖ env)`. The id of an imported key is the
//! character of the pepper's slot, followed by 15 characters of `HMAC-SHA256(k, "id\0" ‖ how it was digested
//! ‖ public part ‖ foreign digest)`. The digest in its record is the last 26 bytes of the same HMAC with the
//! label `digest\0`. A presented token is digested like the other system did it, which leads to the same id.
//! The record is looked up, cached, compared in constant time and sealed like any other. The foreign digest
//! itself is not stored.
//!
//! # Limits of the guarantee
//!
//! - **Entropy.** A foreign token is as hard to guess as the other system made it. An attacker with the
//!   *other* database, and with its key if the digests are keyed, can test guesses against it. A correct
//!   guess works here too: keyway's pepper does not help against that. An attacker with *keyway's* database,
//!   but without the pepper and the other database, cannot test guesses, however weak the tokens are. With
//!   [`Pepper::public`](crate::pepper::Pepper::public) the pepper is known to everyone.
//! - **Stored digests** are not credentials, neither the other system's nor keyway's: a presented text is
//!   always hashed first.
//! - **Floods.** A foreign token has no keyed tag. A made-up text that fits a format costs one read of the
//!   store for each pepper in the ring. A real token under an older pepper costs the same until it is
//!   cached. A text that does not fit any format (prefix, separators, length) costs no read, and neither
//!   does a forged token of keyway's own format. Use import for a migration: let the keys be rotated, then
//!   remove the format.
//! - **Timing.** Before the secret bytes have been hashed, no branch, index or decoding depends on them,
//!   except for one bit: whether the token begins with keyway's own prefix. The public part and the prefix
//!   are public. The time of SHA-2 and HMAC depends on the length. The digests are compared in constant
//!   time. The lookup of the id is not constant-time, but its time is of no use without the pepper.
//! - **Own tokens first.** A token that begins with keyway's own prefix is never treated as foreign.
//! - **Deletion** of an imported key is permanent, as with any key: it cannot be imported again.

mod accepted;
mod digest;
mod error;
mod format;

pub(crate) use self::{accepted::Accepted, format::ForeignIdentity};
pub use self::{
    digest::{ForeignDigest, ForeignHash},
    error::ImportError,
    format::ForeignFormat,
};
