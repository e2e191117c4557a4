//! Keys that another system issued, taken over from their digests.
//!
//! A system that keeps SHA-256 or SHA-512 digests of its keys can hand over those digests, and
//! their holders go on using the keys that they have. A [`ForeignFormat`] says what such a token
//! looks like and how it was digested, a [`ForeignDigest`] is what the other system kept of it, and
//! [`TenantKeys::import`](crate::keyring::TenantKeys::import) makes an ordinary key of the two,
//! marked as [imported](crate::record::KeyRecord::imported). Rotating it issues a token of keyway's
//! own.
//!
//! [`prefixed-api-key`](https://docs.rs/prefixed-api-key) keeps a short public part and
//! the SHA-256 of the long one:
//!
//! ```
//! use keyway::{
//!     authority::{ImportedKey, NewKey},
//!     import::{ForeignDigest, ForeignFormat},
//!     keyring::Keyring,
//!     pepper::Pepper,
//!     policy::Policy,
//!     store::MemoryStore,
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
//! A plain opaque token, of which the whole was digested; here without a keyring:
//!
//! ```
//! # use std::sync::Arc;
//! use keyway::{
//!     authority::{Authority, ImportedKey, NewKey},
//!     decision::decide,
//!     import::{ForeignDigest, ForeignFormat, ForeignHash},
//! #   pepper::Pepper,
//! #   policy::Policy,
//! #   scope::ScopeCatalog,
//! #   tier::Tier,
//! #   time::Timestamp,
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
//! let claim = claims.into_iter().find(|claim| claim.id() == key.id()).ok_or("no such key")?;
//! let caller = decide(&claim, &Arc::new(authority.resolve(&key, &tenant)?), now)?;
//! assert_eq!(caller.tenant(), "acme");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # How it works
//!
//! `k = HMAC-SHA256(pepper, "keyway/v1/import\0" ‖ issuer ‖ "\0" ‖ env)`. The id of an imported key
//! is the character of the pepper's slot and 15 more that follow from `HMAC-SHA256(k, "id\0" ‖ how
//! it was digested ‖ public part ‖ foreign digest)`; the digest in its record is the last 26 bytes
//! of the same with the label `digest\0`. A presented token is digested as the other system did it,
//! and so leads to the same id: the record is looked up, cached, compared in constant time and
//! sealed like any other. The foreign digest itself is kept nowhere.
//!
//! # Where the guarantee ends
//!
//! - **Entropy.** A foreign token is as hard to guess as the other system made it. Whoever has the
//!   *other* database, and its key if its digests are keyed, can try guesses against it, and a guess
//!   that is right works here too: keyway's pepper cannot help against that. Whoever has *keyway's*
//!   database, and neither the pepper nor the other database, cannot even try, however weak the
//!   tokens are. With [`Pepper::public`](crate::pepper::Pepper::public) everybody has the pepper.
//! - **Stored digests** authenticate nobody, neither the other system's nor keyway's: what is
//!   presented is always hashed first.
//! - **Floods.** A foreign token has no keyed tag. A made-up text that fits a format costs one read
//!   of the store for each pepper in the ring, and so does a real one under an older pepper until
//!   it is cached. What fits no format (prefix, separators, length) costs none, and neither do
//!   forged tokens of keyway's own format. Import is a bridge: let keys be rotated, then take the
//!   format out.
//! - **Timing.** No branch, index or decoding depends on a byte of what is hashed before it has
//!   been hashed, but for one bit: whether it begins with keyway's own prefix. The public part and
//!   the prefix are public. SHA-2 and HMAC take time that depends on the length. The digests are
//!   compared in constant time; the look-up of the id is not, and tells nothing without the pepper.
//! - **Own tokens first.** What begins with keyway's own prefix is never treated as foreign.
//! - **Deleting** an imported key is for good, as with any key: it cannot be imported again.

mod accepted;
mod digest;
mod format;

pub(crate) use self::{accepted::Accepted, format::ForeignIdentity};
pub use self::{
    digest::{DigestError, ForeignDigest, ForeignHash},
    format::{ForeignFormat, ForeignFormatError, PublicPartError},
};
