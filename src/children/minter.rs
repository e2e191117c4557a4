//! The minting of children from the token of their parent.

use alloc::{string::String, vec};
use core::fmt;

use base64ct::{Base64UrlUnpadded, Encoding};
use zeroize::Zeroizing;

use super::{
    NewChild,
    derive::{SIGNATURE_LEN, Seed, clear_stack},
    format,
};
use crate::{
    field::InvalidField,
    record::PublicKey,
    time::{Clock as _, SystemClock, Timestamp},
    token::{self, OneTimeToken},
};

/// Makes the children of one key from its token, without a request.
///
/// The token is not kept. The private key that follows from it is wiped when the minter is dropped.
///
/// ```no_run
/// # let (token, child_prefix) = (String::new(), String::new());
/// use std::time::Duration;
/// use keyway::children::{ChildMinter, NewChild};
///
/// let minter = ChildMinter::new(&token, &child_prefix)?;
/// let child = minter.mint(&NewChild::lasting(Duration::from_secs(3600)).scopes(["reporting"])?)?;
/// # drop(child);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct ChildMinter {
    prefix: String,
    seed: Seed,
}

impl ChildMinter {
    /// Creates the minter of the key with this `token`. `child_prefix` is given out with the token, and by the endpoint of
    /// its holder. It is not secret, but of no use to others.
    ///
    /// # Errors
    ///
    /// [`MintChildError::Token`] unless `token` has the form of a key's token, or [`MintChildError::Prefix`] unless
    /// `child_prefix` is that of the same key. Neither error contains a part of the token.
    pub fn new(token: &str, child_prefix: &str) -> Result<Self, MintChildError> {
        Self::of(token.as_bytes(), child_prefix)
    }

    /// Creates the minter as [`new`](Self::new) does. Whether all bytes of the token are characters of one is one branch.
    pub(crate) fn of(token: &[u8], child_prefix: &str) -> Result<Self, MintChildError> {
        let (public, secret) = token::split(token).ok_or(MintChildError::Token)?;
        let tag = child_prefix.as_bytes().strip_prefix(public);
        let tag = tag.and_then(|rest| rest.strip_suffix(b"~"));
        let is_tag = |tag: &[u8]| {
            tag.len() == 8 && tag.iter().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(b))
        };
        if !tag.is_some_and(is_tag) {
            return Err(MintChildError::Prefix);
        }
        let mut minter = Self { prefix: child_prefix.into(), seed: Seed::blank() };
        minter.seed.derive(secret, public);
        Ok(minter)
    }

    /// Returns the text with which all children of the key begin.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Returns the public key for the signatures of the children.
    pub(crate) fn public_key(&self) -> PublicKey {
        self.seed.public_key()
    }

    /// Makes a child. Two children with the same limits and end are equal, unless they have a [nonce](NewChild::nonce).
    ///
    /// A child that asks for more than its parent has is made nevertheless, and is given no more than the parent has.
    ///
    /// # Errors
    ///
    /// [`MintChildError::TooLong`] if the child would have more than 1,024 bytes, or [`MintChildError::Field`] if its begin is
    /// not before its end.
    pub fn mint(&self, request: &NewChild) -> Result<OneTimeToken, MintChildError> {
        self.mint_at(request, SystemClock.moment().now)
    }

    /// Makes a child as [`mint`](Self::mint) does, by a clock that shows `now`.
    ///
    /// # Errors
    ///
    /// As [`mint`](Self::mint).
    pub fn mint_at(
        &self,
        request: &NewChild,
        now: Timestamp,
    ) -> Result<OneTimeToken, MintChildError> {
        let caveats = request.caveats_at(now)?.encode();
        let payload_len = caveats.len() + SIGNATURE_LEN;
        let text_len = Base64UrlUnpadded::encoded_len(&vec![0; payload_len]);
        let len = self.prefix.len() + text_len;
        if len > format::MAX_LEN {
            return Err(MintChildError::TooLong { len });
        }
        let mut signature = Zeroizing::new([0; SIGNATURE_LEN]);
        self.seed.sign(&format::message(self.prefix.as_bytes(), &caveats), &mut signature);
        let payload = Zeroizing::new([&caveats[..], &signature[..]].concat());
        // Reserved at once: a `String` that grows leaves a copy behind.
        let mut text = Zeroizing::new(String::with_capacity(len));
        text.push_str(&self.prefix);
        push_encoded(&mut text, &payload, &mut Zeroizing::new(vec![0; text_len]));
        clear_stack();
        Ok(OneTimeToken::new(text))
    }
}

/// INVARIANT: the buffer has room for the text, so that encoding does not fail. Not inlined: base64 leaves parts of the
/// signature in its variables, where `clear_stack` overwrites them.
#[inline(never)]
fn push_encoded(text: &mut String, payload: &[u8], buffer: &mut [u8]) {
    text.push_str(Base64UrlUnpadded::encode(payload, buffer).unwrap_or_default());
}

impl fmt::Debug for ChildMinter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChildMinter").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

/// A child was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MintChildError {
    /// The text is not the token of a key. A child has no children.
    #[error("this is not the token of an API key")]
    Token,
    /// The child prefix is not that of the key.
    #[error("this is not the child prefix of the API key")]
    Prefix,
    /// The child would have too many bytes.
    #[error(
        "the child would have {len} bytes, and at most 1024 are allowed; name fewer scopes, resources or names"
    )]
    TooLong {
        /// The length in bytes.
        len: usize,
    },
    /// The keys of this keyring have no children: its policy does not allow them.
    #[error("the policy does not let keys have children; set `max_child_lifetime_seconds`")]
    NotAllowed,
    /// A part of the request is invalid.
    #[error(transparent)]
    Field(#[from] InvalidField),
}
