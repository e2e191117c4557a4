//! The foreign formats that an application accepts, and the keys that their tokens lead to.

use alloc::{boxed::Box, vec::Vec};
use core::fmt;

use super::{ForeignDigest, ForeignFormat, ForeignIdentity};
use crate::{
    config::ConfigError,
    mac::{self, Sha256},
    pepper::Peppers,
    token::{CheckedToken, Digest, KeyId, TokenFormat},
};
use subtle::ConstantTimeEq;

/// Derives key ids from foreign tokens, under each pepper.
pub(crate) struct Accepted {
    formats: Vec<ForeignFormat>,
    /// One derivation key for each pepper slot, the current one first.
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
    ) -> Result<(), ConfigError> {
        if format.begins_with(own.prefix()) {
            return Err(ConfigError::OwnPrefix(format.prefix_text().into()));
        }
        self.formats.push(format);
        Ok(())
    }

    /// Returns whether no format is accepted.
    #[cfg(feature = "http")]
    pub(crate) fn is_empty(&self) -> bool {
        self.formats.is_empty()
    }

    /// Returns the keys that `presented` is the token of, if it was imported. There is one for each
    /// combination of a pepper and a format that fits. The current pepper is first.
    #[cold]
    pub(crate) fn claims(&self, presented: &[u8], own: &TokenFormat) -> Vec<CheckedToken> {
        // Without formats nothing needs to be compared.
        if self.formats.is_empty() || is_own(presented, own) {
            return Vec::new();
        }
        let identities: Vec<_> =
            self.formats.iter().filter_map(|format| format.identify(presented)).collect();
        let of_key = |key| identities.iter().map(move |identity| checked(key, identity));
        self.keys.iter().flat_map(of_key).collect()
    }

    /// Returns the format that has tokens with `identity`, if there is one.
    pub(crate) fn format_of(&self, identity: &ForeignIdentity) -> Option<&ForeignFormat> {
        self.formats.iter().find(|format| format.makes(identity))
    }

    /// Returns whether `text` is the token of `identity`, or contains the token or its secret part as a
    /// word.
    pub(crate) fn gives_away(&self, text: &str, identity: &ForeignIdentity) -> bool {
        let is_between = |c: char| c.is_whitespace() || "\"'`<>,;()…".contains(c);
        let is_secret = |word: &str| {
            let is_same = |digest: &ForeignDigest| {
                bool::from(digest.as_bytes().ct_eq(identity.digest.as_bytes()))
            };
            self.formats.iter().any(|format| {
                let whole = format.identify(word.as_bytes());
                whole.is_some_and(|found| is_same(&found.digest))
                    || is_same(&format.digest_of(word.as_bytes()))
            })
        };
        core::iter::once(text).chain(text.split(is_between)).any(is_secret)
    }

    /// Returns the key of `identity` under each pepper, the current one first.
    pub(crate) fn of(&self, identity: &ForeignIdentity) -> impl Iterator<Item = CheckedToken> {
        self.keys.iter().map(move |key| checked(key, identity))
    }

    /// Returns whether `text` contains more of a foreign token than its public part, judged by a fixed
    /// prefix.
    pub(crate) fn is_evident_in(&self, text: &[u8]) -> bool {
        self.formats.iter().any(|format| format.is_evident_in(text))
    }
}

/// Returns whether `presented` begins like keyway's own tokens. The comparison takes constant time, because
/// the beginning of an opaque token is secret. The result reveals one bit of it.
fn is_own(presented: &[u8], own: &TokenFormat) -> bool {
    let prefix = own.prefix().as_bytes();
    presented.get(..prefix.len()).is_some_and(|start| start.ct_eq(prefix).into())
}

fn checked((slot, key): &(u8, mac::Key), identity: &ForeignIdentity) -> CheckedToken {
    let ForeignIdentity { tag, front, digest } = identity;
    let mac = |label: &[u8]| {
        // The length prefix keeps the public part and the digest apart.
        let len = (front.len() as u64).to_be_bytes();
        let mut mac = [0; 32];
        Sha256::hmac(key, &[label, tag, &len, front, digest.as_bytes()], &mut mac);
        mac
    };
    let (id, kept) = (mac(b"id\0"), mac(b"digest\0"));
    let [random @ .., _, _] = &id;
    let [_, _, _, _, _, _, kept @ ..] = &kept;
    CheckedToken::new(KeyId::derived(*slot, random), Digest::from_bytes(kept))
}

impl fmt::Debug for Accepted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.formats).finish()
    }
}
