//! Minting of tokens from randomness.

use alloc::{boxed::Box, format, string::String};
use core::{error::Error, fmt};

use rand_core::TryCryptoRng;
use zeroize::Zeroizing;

use super::{
    BODY_LEN, Digest, KeyId, MESSAGE_LEN, OneTimeToken, TokenFormat, alphabet, key_id, tag_of,
};
use crate::{
    mac::{Midstate, Sha256},
    swar,
};

/// A newly minted token.
pub struct Minted {
    /// The id of the new key, or of the existing key that gets a new secret.
    pub id: KeyId,
    /// The token for the key's holder.
    pub token: OneTimeToken,
    pub(crate) digest: Digest,
    /// The end of the tag, which distinguishes one secret of a key from the next.
    end: [u8; 4],
}

impl fmt::Debug for Minted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Minted").field("id", &self.id).finish_non_exhaustive()
    }
}

impl TokenFormat {
    /// Mints a token of a new key: a random id and a random secret of 190 bits.
    ///
    /// # Errors
    ///
    /// [`MintError`] if `rng` fails or is evidently not random. No token is made in this case.
    pub fn mint<R: TryCryptoRng>(&self, rng: &mut R) -> Result<Minted, MintError>
    where
        R::Error: Send + Sync + 'static,
    {
        let key = self.key(self.current_slot).ok_or(MintError::NoPepper)?;
        let mut characters = Characters::new(rng);
        let mut id = [0; 16];
        characters.fill(&mut id)?;
        if let Some(first) = id.first_mut() {
            *first = key_id::character_of(self.current_slot);
        }
        let id = KeyId::from_bytes(id).ok_or(MintError::Stuck)?;
        self.finish(id, key, &mut characters)
    }

    /// Mints another token of an existing key: a new secret under the same id.
    ///
    /// # Errors
    ///
    /// [`MintError`] if `rng` fails or is evidently not random, or if the application no longer has the
    /// pepper of the key's slot. No token is made in this case.
    pub fn mint_successor<R: TryCryptoRng>(
        &self,
        id: KeyId,
        rng: &mut R,
    ) -> Result<Minted, MintError>
    where
        R::Error: Send + Sync + 'static,
    {
        let key = self.key(id.slot()).ok_or(MintError::NoPepper)?;
        self.finish(id, key, &mut Characters::new(rng))
    }

    /// INVARIANT: not inlined, and no register holds a part of the token afterwards. The compiler fills the bytes that an
    /// `Option` without a value does not use from any register. In a record they would be kept.
    #[inline(never)]
    fn finish<R: TryCryptoRng>(
        &self,
        id: KeyId,
        key: &Midstate,
        // INVARIANT: by reference, since a move leaves a copy behind that nothing wipes.
        characters: &mut Characters<'_, R>,
    ) -> Result<Minted, MintError>
    where
        R::Error: Send + Sync + 'static,
    {
        let mut message = Zeroizing::new([0; MESSAGE_LEN]);
        let (head, _) = message.split_at_mut(16);
        head.copy_from_slice(id.as_bytes());
        // Three in four tags are alphanumeric. For the others the whole secret is drawn again, so that every
        // secret stays as likely as any other.
        for _ in 0..MAX_DRAWS {
            let (_, secret) = message.split_at_mut(16);
            characters.fill(secret)?;
            let mac = key.mac(&message);
            let [_, _, bits @ ..] = tag_of(&mac).to_be_bytes();
            let mut tag = [0; 8];
            alphabet::write(&bits, &mut tag);
            if alphabet::is_alphanumeric(&tag) {
                let minted = self.assemble(id, &message, tag, Digest::of(&mac));
                Sha256::clear_registers();
                return Ok(minted);
            }
        }
        Err(MintError::Stuck)
    }

    fn assemble(
        &self,
        id: KeyId,
        message: &[u8; MESSAGE_LEN],
        tag: [u8; 8],
        digest: Digest,
    ) -> Minted {
        // Reserved at once: a `String` that grows leaves a copy behind.
        let mut text = Zeroizing::new(String::with_capacity(self.prefix.len() + BODY_LEN));
        // INVARIANT: all bytes are alphanumeric ASCII, so this is valid UTF-8.
        let ascii = |bytes| str::from_utf8(bytes).unwrap_or_default();
        text.push_str(&self.prefix);
        text.push_str(ascii(message));
        text.push_str(ascii(&tag));
        let [.., a, b, c, d] = tag;
        Minted { id, token: OneTimeToken::new(text), digest, end: [a, b, c, d] }
    }

    /// Returns the masked form of a minted token.
    pub(crate) fn masked(&self, minted: &Minted) -> String {
        let start = minted.id.as_str().get(..4).unwrap_or_default();
        let end = str::from_utf8(&minted.end).unwrap_or_default();
        format!("{}{start}…{end}", self.prefix)
    }
}

/// The most draws of a secret, and the most refills within one. A random source needs more with a probability
/// below 2⁻¹²⁸.
const MAX_DRAWS: usize = 64;

/// The number of random bytes that are first taken from the source, a multiple of three. Three in four tokens
/// need no more.
const FIRST_BATCH: usize = 48;

/// The number of random bytes that are taken when those are used up. They are enough for a secret, and the
/// system makes them at the price of one block.
const NEXT_BATCH: usize = 30;

/// Random alphanumeric characters, each as likely as any other.
struct Characters<'r, R> {
    rng: &'r mut R,
    batch: usize,
    groups: Zeroizing<[[u8; 4]; FIRST_BATCH / 3]>,
    used: usize,
    /// The number of groups in the last batch.
    len: usize,
}

impl<'r, R: TryCryptoRng> Characters<'r, R>
where
    R::Error: Send + Sync + 'static,
{
    fn new(rng: &'r mut R) -> Self {
        Self { rng, batch: FIRST_BATCH, groups: Zeroizing::default(), used: 0, len: 0 }
    }

    /// Fills `into`, whose length is a multiple of four.
    fn fill(&mut self, into: &mut [u8]) -> Result<(), MintError> {
        let mut draws = 0;
        for place in into.chunks_exact_mut(4) {
            loop {
                if let Some(group) = self.groups.get(self.used).filter(|_| self.used < self.len) {
                    self.used += 1;
                    if is_alphanumeric(*group) {
                        place.copy_from_slice(group);
                        break;
                    }
                } else {
                    draws += 1;
                    if draws > MAX_DRAWS {
                        return Err(MintError::Stuck);
                    }
                    self.refill()?;
                }
            }
        }
        // A source that repeats itself gives equal groups. The chance of that is otherwise below 2⁻⁷¹.
        let mut groups = into.chunks_exact(4);
        let repeats = groups.next().is_some_and(|first| groups.all(|group| group == first));
        if repeats { Err(MintError::Stuck) } else { Ok(()) }
    }

    fn refill(&mut self) -> Result<(), MintError> {
        let mut bytes = Zeroizing::new([0; FIRST_BATCH]);
        let (batch, _) = bytes.split_at_mut(self.batch);
        self.rng.try_fill_bytes(batch).map_err(|source| MintError::Randomness(Box::new(source)))?;
        alphabet::write(batch, self.groups.as_flattened_mut());
        self.len = batch.len() / 3;
        self.used = 0;
        self.batch = NEXT_BATCH;
        Ok(())
    }
}

/// Returns whether none of four characters of base64url is `-` or `_`.
#[inline]
fn is_alphanumeric(group: [u8; 4]) -> bool {
    // The upper four bytes stay zero, which is neither of the two characters.
    let group = u64::from(u32::from_le_bytes(group));
    swar::zeros(group ^ swar::splat(b'-')) | swar::zeros(group ^ swar::splat(b'_')) == 0
}

/// The error of minting. No token was made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MintError {
    /// The source of randomness failed.
    #[error("the source of randomness failed")]
    Randomness(#[source] Box<dyn Error + Send + Sync>),
    /// The source of randomness repeats itself.
    #[error("the source of randomness repeats itself")]
    Stuck,
    /// The application has no pepper in the slot.
    #[error("there is no pepper in the key's slot")]
    NoPepper,
}
