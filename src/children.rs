//! Children: short-lived keys that the holder of a key derives from it, without a request and without a row in a store.
//!
//! A browser, a job or an agent should not hold a service's key, only something smaller that ends soon. A child permits at
//! most what its parent permits at the moment of each request. It ends when its parent ends or is narrowed, on every
//! node, within the bound that holds for the parent itself.
//!
//! ```
//! use keyway::{
//!     Keyring, MemoryStore, NewKey, Pepper, Policy,
//!     children::{NewChild, Place},
//!     verifier::Freshness,
//! };
//!
//! # pollster::block_on(async {
//! let policy: Policy = serde_json::from_str(r#"{
//!     "issuer": "mm",
//!     "scopes": [
//!         { "name": "reporting", "description": "Read reports" },
//!         { "name": "machines", "description": "Control machines" }
//!     ],
//!     "max_child_lifetime_seconds": 86400
//! }"#)?;
//! let keyring = Keyring::builder(policy, Pepper::from_bytes(&[7; 32])?)
//!     .environment("live")
//!     .store(MemoryStore::new())
//!     .build()?;
//! let request = NewKey::named("dashboard").scopes(["reporting", "machines"]).children(true);
//! let (_, issued) = keyring.create_tenant_with("acme", "lite", request).await?;
//!
//! // The holder has the token and the prefix of its children. It asks nobody for a child.
//! let minter = keyring.child_minter(&issued.token)?;
//! let an_hour = std::time::Duration::from_secs(3600);
//! let child = minter.mint(&NewChild::lasting(an_hour).scopes(["reporting"])?)?;
//!
//! let place = Place::new();
//! let caller = keyring
//!     .verifier()
//!     .verify_at(&*child.reveal(), Freshness::Cached, None, &place)
//!     .await?;
//! assert!(caller.require(&keyring.requirement(["reporting"])?).is_ok());
//! assert!(caller.require(&keyring.requirement(["machines"])?).is_err());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```
//!
//! # The token
//!
//! ```text
//! mm_live_7Kf3Qw9ZbT2mXc4d5Rk8Vn1p~AQAIAAABmt…
//! └──┬───┘└───────┬──────┘└───┬──┘ └─────┬────
//! prefix      parent's id   child tag   base64url(caveats ‖ signature)
//! ```
//!
//! The part up to `~` is the [child prefix](ChildMinter::prefix) of the key. The child tag is the first 48 bits of
//! `HMAC-SHA256(k, id ‖ 0³²)` in base64url, where `k` is derived from the application's pepper. A made-up child is
//! rejected by it before any store is read. The tag is given out with the key, since its holder cannot compute it.
//!
//! The signature is Ed25519 (RFC 8032) over `"keyway/v1/child\0" ‖ child prefix ‖ caveats`. The private key is
//! `HKDF-SHA256` (RFC 5869, without salt) of the 32 characters of the token's secret, with the info
//! `"keyway/v1/child\0" ‖ prefix ‖ id`. It exists only where the token is. The server stores the public key in the sealed
//! record. So database and pepper together forge no child.
//!
//! A child has at most 1,024 bytes and one spelling: each deviation is refused.
//!
//! # Caveats
//!
//! Each is a byte for its kind, two bytes for the length of its value (big-endian), and the value. Kinds ascend, and each
//! occurs at most once. An unknown or empty caveat is refused. Items of a list are joined by a newline, ascend by their
//! bytes, and differ.
//!
//! | kind | | value |
//! |--:|---|---|
//! | 1 | end, which every child has | milliseconds since 1970 in UTC, 8 bytes, big-endian |
//! | 2 | begin | as above, before the end |
//! | 3 | scopes | a list of names |
//! | 4 | resources | a list: the name of a kind for all resources of it, or kind, tab and id for one. The child may touch none of a kind that is not named |
//! | 5 | networks | a list in the notation of CIDR, such as `192.0.2.0/24` |
//! | 6 | audience | a list: `host:`, `operation:` or `route:` and a name; see [`Place`] |
//! | 7 | nonce | 1 to 32 bytes |
//!
//! A child whose end is further away than the [policy](crate::Policy::with_children) allows is not valid yet. It begins when
//! its end is near enough.
//!
//! # Other languages
//!
//! `examples/children/mint.js` and `mint.py` in the repository make children with `WebCrypto` and with the package
//! `cryptography` of Python, in at most 60 lines each. Copy them. The children in `tests/vectors/children.json` show whether
//! another implementation makes the same.

mod audience;
mod caveats;
mod child;
mod derive;
mod format;
mod lists;
mod minter;
mod new_child;

pub(crate) use self::{
    audience::Audience,
    caveats::Caveats,
    derive::public_key,
    format::{ChildFormat, PresentedChild, SignedChild},
};
pub use self::{
    audience::Place,
    child::Child,
    minter::{ChildMinter, MintChildError},
    new_child::NewChild,
};
