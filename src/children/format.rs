//! The text of a child: its tag, its parts, and its checks without the parent.

use alloc::{boxed::Box, string::String, vec::Vec};
use core::{fmt, time::Duration};

use base64ct::{Base64UrlUnpadded, Encoding};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::{
    Caveats, ChildMinter, MintChildError,
    derive::{self, PURPOSE, SIGNATURE_LEN},
};
use crate::{
    mac::{Midstate, Sha256},
    pepper::{Pepper, Peppers},
    record::PublicKey,
    token::{self, ChildId, KeyId, OneTimeToken},
};

/// The longest child, in bytes.
pub(super) const MAX_LEN: usize = 1_024;
/// The length of an id, of a tag, and of both with the character that follows them.
const ID_LEN: usize = 16;
const TAG_LEN: usize = 8;
const HEAD_LEN: usize = ID_LEN + TAG_LEN + 1;
/// The character after the tag, which no key has.
const MARK: u8 = b'~';
/// The shortest payload, in bytes: a signature and an end.
const MIN_PAYLOAD: usize = SIGNATURE_LEN + 11;
const MIN_TEXT: usize = MIN_PAYLOAD.div_ceil(3) * 4 - 2;

/// The format of the children of one issuer and environment, under the application's peppers.
pub(crate) struct ChildFormat {
    prefix: String,
    /// The keys of the tags, by slot.
    keys: Box<[Option<Midstate>]>,
    max_lifetime: Duration,
}

/// A text in the shape of a child. Nothing is proven.
pub(crate) struct ChildText<'t> {
    id: KeyId,
    tag: [u8; TAG_LEN],
    text: &'t [u8],
    /// The length of the child prefix.
    head_len: usize,
}

/// A child whose tag shows that its prefix was given out here. Nothing else is proven.
pub(crate) struct PresentedChild<'t> {
    text: ChildText<'t>,
    digest: [u8; 32],
}

/// A child that can be read. Its signature may be wrong.
pub(crate) struct SignedChild {
    pub(crate) caveats: Caveats,
    /// INVARIANT: boxed before it is filled, since a move leaves a copy behind. With the message it is the whole child.
    signature: Box<Zeroizing<[u8; SIGNATURE_LEN]>>,
    /// The signed bytes.
    message: Vec<u8>,
}

impl ChildFormat {
    pub(crate) fn new(
        issuer: &str,
        environment: &str,
        peppers: &Peppers,
        max_lifetime: Duration,
    ) -> Self {
        let mut keys: Box<[Option<Midstate>]> = (0..Pepper::SLOTS).map(|_| None).collect();
        for pepper in peppers.for_tokens() {
            let key = pepper.derive(b"keyway/v1/child tag\0", issuer, environment);
            if let Some(slot) = keys.get_mut(usize::from(pepper.slot())) {
                slot.insert(Midstate::blank()).set(&key);
            }
        }
        Self { prefix: token::prefix(issuer, environment), keys, max_lifetime }
    }

    /// Returns the longest time for which a child is valid at a stretch.
    pub(crate) fn max_lifetime(&self) -> Duration {
        self.max_lifetime
    }

    /// Returns the text with which all children of the key `id` begin, or `None` without the pepper of its slot.
    pub(crate) fn prefix_of(&self, id: KeyId) -> Option<String> {
        let tag = self.tag_of(id)?;
        let tag = str::from_utf8(&tag).ok()?;
        Some([&self.prefix, id.as_str(), tag, "~"].concat())
    }

    /// Returns the minter of the key with this new token.
    pub(crate) fn minter(&self, token: &OneTimeToken) -> Result<ChildMinter, MintChildError> {
        let text = token.text();
        let id = token::id_in(text).ok_or(MintChildError::Token)?;
        ChildMinter::new(text, &self.prefix_of(id).ok_or(MintChildError::Token)?)
    }

    /// Returns the child in `presented` if its tag is right.
    pub(crate) fn check<'t>(&self, presented: &'t [u8]) -> Option<PresentedChild<'t>> {
        self.check_tag(self.shape(presented)?)
    }

    /// Returns `presented` if it has the shape of a child.
    #[inline]
    pub(crate) fn shape<'t>(&self, presented: &'t [u8]) -> Option<ChildText<'t>> {
        let body = presented.strip_prefix(self.prefix.as_bytes())?;
        let (head, payload) = body.split_first_chunk::<HEAD_LEN>()?;
        if payload.len() < MIN_TEXT || presented.len() > MAX_LEN {
            return None;
        }
        let (id, rest) = head.split_first_chunk::<ID_LEN>()?;
        let (tag, mark) = rest.split_first_chunk::<TAG_LEN>()?;
        if mark != [MARK] {
            return None;
        }
        let head_len = self.prefix.len() + HEAD_LEN;
        Some(ChildText { id: KeyId::from_bytes(*id)?, tag: *tag, text: presented, head_len })
    }

    /// Returns the child if its tag is right.
    #[inline]
    pub(crate) fn check_tag<'t>(&self, text: ChildText<'t>) -> Option<PresentedChild<'t>> {
        let is_right = self.tag_of(text.id)?.ct_eq(&text.tag);
        bool::from(is_right).then(|| PresentedChild { digest: text.digest(), text })
    }

    #[inline]
    fn tag_of(&self, id: KeyId) -> Option<[u8; TAG_LEN]> {
        let key = self.keys.get(usize::from(id.slot()))?.as_ref()?;
        let mut message = [0; 48];
        let (head, _) = message.split_at_mut(ID_LEN);
        head.copy_from_slice(id.as_bytes());
        Some(token::tag_text(&key.mac(&message)))
    }
}

impl<'t> ChildText<'t> {
    /// Returns the digest of the whole text.
    #[inline]
    pub(crate) fn digest(&self) -> [u8; 32] {
        let mut digest = [0; 32];
        Sha256::digest(self.text, &mut digest);
        digest
    }

    /// Returns the child whose tag was checked before: `digest` is that of this text, and of a child with a right tag.
    #[inline]
    pub(crate) fn recognized(self, digest: [u8; 32]) -> PresentedChild<'t> {
        PresentedChild { text: self, digest }
    }
}

impl PresentedChild<'_> {
    /// Returns the id of the parent.
    #[inline]
    pub(crate) fn parent(&self) -> KeyId {
        self.text.id
    }

    /// Returns the digest of the whole text.
    #[inline]
    pub(crate) fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// Returns the id by which audit events name the child.
    pub(crate) fn id(&self) -> ChildId {
        ChildId::of(&self.digest)
    }

    /// Reads the payload. Returns `None` unless it is spelled as [`ChildMinter`] spells it.
    pub(crate) fn read(&self) -> Option<SignedChild> {
        let (head, text) = self.text.text.split_at_checked(self.text.head_len)?;
        let mut buffer = Zeroizing::new([0; MAX_LEN]);
        let payload = decode(text, &mut buffer);
        // Before the caveats are read: an `Option` that is `None` keeps what was in its place, for as long as the child is
        // remembered.
        derive::clear_stack();
        let (caveats, signature) = payload?.split_last_chunk::<SIGNATURE_LEN>()?;
        let mut own = Box::new(Zeroizing::new([0; SIGNATURE_LEN]));
        own.copy_from_slice(signature);
        Some(SignedChild {
            caveats: Caveats::decode(caveats)?,
            signature: own,
            message: message(head, caveats),
        })
    }
}

impl SignedChild {
    /// Returns whether the child was signed with the private key of `key`.
    pub(crate) fn is_signed_by(&self, key: &PublicKey) -> bool {
        derive::is_signed(key, &self.message, &self.signature)
    }
}

/// Returns the bytes that `text` spells, or `None` if it is not the one spelling of them.
///
/// INVARIANT: not inlined. Base64 leaves parts of the signature in its variables.
#[inline(never)]
fn decode<'b>(text: &[u8], buffer: &'b mut [u8; MAX_LEN]) -> Option<&'b [u8]> {
    let payload = Base64UrlUnpadded::decode(text, buffer).ok()?;
    let mut spelled = Zeroizing::new([0; MAX_LEN]);
    let spelled = Base64UrlUnpadded::encode(payload, &mut *spelled).ok()?;
    (spelled.as_bytes() == text).then_some(payload)
}

/// Returns the bytes that a signature covers.
pub(super) fn message(head: &[u8], caveats: &[u8]) -> Vec<u8> {
    [PURPOSE, head, caveats].concat()
}

impl fmt::Debug for ChildFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChildFormat").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

impl fmt::Debug for SignedChild {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignedChild").field("caveats", &self.caveats).finish_non_exhaustive()
    }
}
