//! New tokens, from randomness.

use alloc::{boxed::Box, format, string::String};
use core::{error::Error, fmt};

use base64ct::{Base64UrlUnpadded, Encoding};
use rand_core::TryCryptoRng;
use zeroize::Zeroizing;

use super::{BODY_LEN, Digest, KeyId, MESSAGE_LEN, OneTimeToken, TokenFormat, key_id, tag};
use crate::mac::Midstate;

/// What minting gives.
pub struct Minted {
    /// The id of the new key, or of the key whose new secret this is.
    pub id: KeyId,
    /// The text for the key's holder.
    pub token: OneTimeToken,
    pub(crate) digest: Digest,
    pub(crate) hint: String,
}

impl fmt::Debug for Minted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Minted")
            .field("hint", &self.hint)
            .finish_non_exhaustive()
    }
}

impl TokenFormat {
    /// Mints a token of a new key: a random id and a random secret of 190 bits.
    ///
    /// # Errors
    ///
    /// [`MintError`] if `rng` fails or is evidently not random. No token is made then.
    pub fn mint<R: TryCryptoRng>(&self, rng: &mut R) -> Result<Minted, MintError>
    where
        R::Error: Send + Sync + 'static,
    {
        let key = self.current_key().ok_or(MintError::NoPepper)?;
        let mut characters = Characters::new(rng);
        let mut id = [0; 16];
        characters.fill(&mut id)?;
        if let Some(first) = id.first_mut() {
            *first = key_id::character_of(self.current_slot);
        }
        let id = KeyId::from_bytes(id).ok_or(MintError::Stuck)?;
        self.finish(id, key, characters)
    }

    /// Mints another token of an existing key: a new secret under the same id.
    ///
    /// # Errors
    ///
    /// [`MintError`] if `rng` fails or is evidently not random, or if the host no longer has the
    /// pepper of the key's slot. No token is made then.
    pub fn mint_successor<R: TryCryptoRng>(
        &self,
        id: KeyId,
        rng: &mut R,
    ) -> Result<Minted, MintError>
    where
        R::Error: Send + Sync + 'static,
    {
        let key = self.key_of(id).ok_or(MintError::NoPepper)?;
        self.finish(id, key, Characters::new(rng))
    }

    fn finish<R: TryCryptoRng>(
        &self,
        id: KeyId,
        key: &Midstate,
        mut characters: Characters<'_, R>,
    ) -> Result<Minted, MintError>
    where
        R::Error: Send + Sync + 'static,
    {
        let mut message = Zeroizing::new([0; MESSAGE_LEN]);
        let (head, _) = message.split_at_mut(16);
        head.copy_from_slice(id.as_bytes());
        // Three in four tags are alphanumeric. The others take a new secret as a whole, so that every
        // secret stays as likely as any other.
        for _ in 0..MAX_DRAWS {
            let (_, secret) = message.split_at_mut(16);
            characters.fill(secret)?;
            let mac = key.mac(&message);
            let tag = tag::write(&mac);
            if tag.iter().all(u8::is_ascii_alphanumeric) {
                return Ok(self.assemble(id, &message, tag, Digest::of(&mac)));
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
        // Reserved at once: growing would leave a copy behind.
        let mut text = Zeroizing::new(String::with_capacity(self.prefix.len() + BODY_LEN));
        text.push_str(&self.prefix);
        text.extend(message.iter().chain(&tag).map(|byte| char::from(*byte)));
        let [.., w, x, y, z] = tag.map(char::from);
        let start = id.as_str().get(..4).unwrap_or_default();
        Minted {
            id,
            token: OneTimeToken::new(text),
            digest,
            hint: format!("{}{start}…{w}{x}{y}{z}", self.prefix),
        }
    }
}

/// More draws than an honest source ever takes: the chance is below 2⁻¹²⁸.
const MAX_DRAWS: usize = 64;

/// Random bytes taken from the source at a time. Most tokens take one call.
const BATCH: usize = 63;

/// Random alphanumeric characters, each as likely as any other.
struct Characters<'r, R> {
    rng: &'r mut R,
    text: Zeroizing<[u8; BATCH / 3 * 4]>,
    used: usize,
}

impl<'r, R: TryCryptoRng> Characters<'r, R>
where
    R::Error: Send + Sync + 'static,
{
    fn new(rng: &'r mut R) -> Self {
        let text = Zeroizing::new([0; BATCH / 3 * 4]);
        Self {
            rng,
            used: text.len(),
            text,
        }
    }

    /// Fills `into`, whose length is a multiple of four.
    fn fill(&mut self, into: &mut [u8]) -> Result<(), MintError> {
        let mut draws = 0;
        for place in into.chunks_exact_mut(4) {
            loop {
                if let Some(group) = self.text.get(self.used..self.used + 4) {
                    self.used += 4;
                    if group.iter().all(|byte| !matches!(byte, b'-' | b'_')) {
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
        // A source that repeats itself gives equal groups. By chance this is less likely than 2⁻⁷¹.
        let mut groups = into.chunks_exact(4);
        let repeats = groups
            .next()
            .is_some_and(|first| groups.all(|group| group == first));
        if repeats {
            Err(MintError::Stuck)
        } else {
            Ok(())
        }
    }

    fn refill(&mut self) -> Result<(), MintError> {
        let mut bytes = Zeroizing::new([0; BATCH]);
        self.rng
            .try_fill_bytes(&mut *bytes)
            .map_err(|source| MintError::Randomness(Box::new(source)))?;
        Base64UrlUnpadded::encode(&*bytes, &mut *self.text).map_err(|_| MintError::Stuck)?;
        self.used = 0;
        Ok(())
    }
}

/// No token was made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MintError {
    /// The source of randomness failed.
    #[error("the source of randomness failed")]
    Randomness(#[source] Box<dyn Error + Send + Sync>),
    /// The source of randomness repeats itself.
    #[error("the source of randomness repeats itself")]
    Stuck,
    /// The host has no pepper in the slot.
    #[error("there is no pepper in the key's slot")]
    NoPepper,
}
