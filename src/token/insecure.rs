//! Predictable randomness, for tests.

use core::convert::Infallible;

use rand_core::{TryCryptoRng, TryRng};
use sha2::{Digest, Sha256};

/// A random number generator whose output follows from its seed, so that a test makes the same tokens every
/// time.
///
/// Anyone who knows the seed knows every token. It is only for tests.
///
/// ```
/// use keyway::{Pepper, lowlevel::{InsecureSeededRng, TokenFormat}};
///
/// let format = TokenFormat::new("mm", "test", &Pepper::public().into())?;
/// let first = format.mint(&mut InsecureSeededRng::new(1))?;
/// let again = format.mint(&mut InsecureSeededRng::new(1))?;
/// assert_eq!(*first.token.reveal(), *again.token.reveal());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct InsecureSeededRng {
    seed: u64,
    blocks: u64,
}

impl InsecureSeededRng {
    /// Creates a generator that begins at `seed`.
    pub fn new(seed: u64) -> Self {
        Self { seed, blocks: 0 }
    }
}

impl TryRng for InsecureSeededRng {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        for chunk in bytes.chunks_mut(32) {
            let block = Sha256::new()
                .chain_update(self.seed.to_be_bytes())
                .chain_update(self.blocks.to_be_bytes())
                .finalize();
            self.blocks = self.blocks.wrapping_add(1);
            for (byte, random) in chunk.iter_mut().zip(block) {
                *byte = random;
            }
        }
        Ok(())
    }
}

/// The trait claims that the output is unpredictable, which is false. It lets tests pass this generator where
/// the API requires a secure one.
impl TryCryptoRng for InsecureSeededRng {}
