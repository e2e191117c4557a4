//! Random sources that a test can predict.

use core::convert::Infallible;
use std::io;

pub(crate) use keyway::lowlevel::InsecureSeededRng as Seeded;
use rand_core::{TryCryptoRng, TryRng};

/// Returns the same byte every time.
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

/// Returns random bytes for `left` calls, and errors after that.
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
