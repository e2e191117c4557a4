//! A type-erased source of randomness.

use alloc::boxed::Box;
use core::{error::Error, fmt};

use rand_core::{TryCryptoRng, TryRng};

/// The application's source. It is held once and never cloned, because two clones would mint the same
/// tokens.
pub(super) struct Randomness(Box<dyn Source>);

impl Randomness {
    pub(super) fn new<R>(rng: R) -> Self
    where
        R: TryCryptoRng + Send + 'static,
        R::Error: Send + Sync + 'static,
    {
        Self(Box::new(rng))
    }
}

trait Source: Send {
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), RandomnessError>;
}

impl<R> Source for R
where
    R: TryCryptoRng + Send,
    R::Error: Send + Sync + 'static,
{
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), RandomnessError> {
        self.try_fill_bytes(bytes).map_err(|error| RandomnessError(Box::new(error)))
    }
}

impl TryRng for Randomness {
    type Error = RandomnessError;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        let mut bytes = [0; 4];
        self.0.fill(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Self::Error> {
        self.0.fill(bytes)
    }
}

impl TryCryptoRng for Randomness {}

/// The error of the source.
#[derive(Debug)]
pub(super) struct RandomnessError(Box<dyn Error + Send + Sync>);

impl fmt::Display for RandomnessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl Error for RandomnessError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}
