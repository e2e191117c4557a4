//! Sources of randomness that a test can predict.

#![allow(dead_code, reason = "each test file uses some of these")]

use core::convert::Infallible;
use std::io;

use rand_core::{TryCryptoRng, TryRng};
use sha2::{Digest, Sha256};

/// Blocks of SHA-256 over a seed and a counter. It cannot be cloned, so nothing behind its back can
/// draw what it draws.
pub(crate) struct Seeded {
    seed: u64,
    counter: u64,
    /// How often bytes were asked for.
    pub(crate) calls: usize,
}

impl Seeded {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed, counter: 0, calls: 0 }
    }
}

impl TryRng for Seeded {
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

    fn try_fill_bytes(&mut self, into: &mut [u8]) -> Result<(), Infallible> {
        self.calls += 1;
        for chunk in into.chunks_mut(32) {
            let mut hash = Sha256::new();
            hash.update(self.seed.to_be_bytes());
            hash.update(self.counter.to_be_bytes());
            self.counter += 1;
            chunk.copy_from_slice(&hash.finalize()[..chunk.len()]);
        }
        Ok(())
    }
}

impl TryCryptoRng for Seeded {}

/// Always the same byte.
pub(crate) struct Constant(pub(crate) u8);

impl TryRng for Constant {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(u32::from_le_bytes([self.0; 4]))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(u64::from_le_bytes([self.0; 8]))
    }

    fn try_fill_bytes(&mut self, into: &mut [u8]) -> Result<(), Infallible> {
        into.fill(self.0);
        Ok(())
    }
}

impl TryCryptoRng for Constant {}

/// Random until `left` calls have been answered; then the device is gone.
pub(crate) struct Failing {
    pub(crate) left: usize,
    pub(crate) rng: Seeded,
}

impl TryRng for Failing {
    type Error = io::Error;

    fn try_next_u32(&mut self) -> io::Result<u32> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> io::Result<u64> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, into: &mut [u8]) -> io::Result<()> {
        self.left =
            self.left.checked_sub(1).ok_or_else(|| io::Error::other("the device is gone"))?;
        let Ok(()) = self.rng.try_fill_bytes(into);
        Ok(())
    }
}

impl TryCryptoRng for Failing {}
