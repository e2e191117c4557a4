//! The foreign formats that a host accepts, and the keys that their tokens lead to.

use alloc::{boxed::Box, vec::Vec};
use core::fmt;

use super::{ForeignFormat, ForeignFormatError, ForeignIdentity};
use crate::{
    mac::{self, Sha256},
    pepper::Peppers,
    token::{Claim, Digest, KeyId, TokenFormat},
};
use subtle::ConstantTimeEq;

/// Under which pepper, if any, and under which id a foreign token is kept.
pub(crate) struct Accepted {
    formats: Vec<ForeignFormat>,
    /// By slot. The current one is first.
    keys: Box<[(u8, mac::Key)]>,
}

impl Accepted {
    pub(crate) fn new(issuer: &str, environment: &str, peppers: &Peppers) -> Self {
        let keys = peppers.for_tokens().map(|pepper| {
            (pepper.slot(), pepper.derive(b"keyway/v1/import\0", issuer, environment))
        });
        Self { formats: Vec::new(), keys: keys.collect() }
    }

    pub(crate) fn accept(
        &mut self,
        format: ForeignFormat,
        own: &TokenFormat,
    ) -> Result<(), ForeignFormatError> {
        if format.begins_with(own.prefix()) {
            return Err(ForeignFormatError::own_prefix(&format));
        }
        self.formats.push(format);
        Ok(())
    }

    /// The keys that `presented` is the token of, if it was imported: for each pepper, the current
    /// one first, one for each format that it fits.
    #[cold]
    pub(crate) fn claims(&self, presented: &[u8], own: &TokenFormat) -> Vec<Claim> {
        if is_own(presented, own) {
            return Vec::new();
        }
        let identities: Vec<_> =
            self.formats.iter().filter_map(|format| format.identify(presented)).collect();
        let of_key = |key| identities.iter().map(move |identity| claim(key, identity));
        self.keys.iter().flat_map(of_key).collect()
    }

    /// The format that makes tokens of `identity`, if one does.
    pub(crate) fn format_of(&self, identity: &ForeignIdentity) -> Option<&ForeignFormat> {
        self.formats.iter().find(|format| format.makes(identity))
    }

    /// Whether `text` is the token of `identity`.
    pub(crate) fn is_token(&self, text: &str, identity: &ForeignIdentity) -> bool {
        let mut found = self.formats.iter().filter_map(|format| format.identify(text.as_bytes()));
        found.any(|found| bool::from(found.digest.as_bytes().ct_eq(identity.digest.as_bytes())))
    }

    /// The key of `identity` under each pepper, the current one first.
    pub(crate) fn of(&self, identity: &ForeignIdentity) -> impl Iterator<Item = Claim> {
        self.keys.iter().map(move |key| claim(key, identity))
    }

    /// Whether `text` holds more of a foreign token than its public half, going by a fixed prefix.
    #[cfg(feature = "std")]
    pub(crate) fn is_evident_in(&self, text: &[u8]) -> bool {
        self.formats.iter().any(|format| format.is_evident_in(text))
    }
}

/// Whether `presented` begins like keyway's own tokens. This is one bit of it, compared in constant
/// time: the beginning of an opaque token is secret.
fn is_own(presented: &[u8], own: &TokenFormat) -> bool {
    let prefix = own.prefix().as_bytes();
    presented.get(..prefix.len()).is_some_and(|start| start.ct_eq(prefix).into())
}

fn claim((slot, key): &(u8, mac::Key), identity: &ForeignIdentity) -> Claim {
    let ForeignIdentity { tag, front, digest } = identity;
    let mac = |label: &[u8]| {
        // The length keeps what is public and what is not apart.
        let len = (front.len() as u64).to_be_bytes();
        let mut mac = [0; 32];
        Sha256::hmac(key, &[label, tag, &len, front, digest.as_bytes()], &mut mac);
        mac
    };
    let (id, kept) = (mac(b"id\0"), mac(b"digest\0"));
    let [random @ .., _, _] = &id;
    let [_, _, _, _, _, _, kept @ ..] = &kept;
    Claim::new(KeyId::derived(*slot, random), Digest::from_bytes(kept))
}

impl fmt::Debug for Accepted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.formats).finish()
    }
}
