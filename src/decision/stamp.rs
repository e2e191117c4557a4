//! The data that the cache keeps with a key. A decision does not read it.

use core::sync::atomic::{AtomicU16, Ordering::Relaxed};

/// The data that the cache keeps with a key. It is in the key's own memory, since one more place to read makes
/// a verification among many keys twice as slow.
#[derive(Debug, Default)]
pub(crate) struct Stamp {
    /// How often the key and its tenant had been invalidated when the load began.
    pub(crate) generation: u32,
    /// The tick at which the load began.
    pub(crate) loaded: u32,
    /// The index of the counter of the tenant's invalidations.
    pub(crate) tenant_stripe: u16,
    /// The minute of the last use, as `note_use` counts it. 0 means that there was none.
    used: AtomicU16,
}

impl Stamp {
    pub(crate) fn new(generation: u32, loaded: u32, tenant_stripe: u16) -> Self {
        Self { generation, loaded, tenant_stripe, used: AtomicU16::new(0) }
    }

    /// Notes a use, and returns whether it is the first one of this minute.
    #[inline]
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the count wraps after 22 days"
    )]
    pub(crate) fn note_use(&self, minute: i64) -> bool {
        let minute = minute as u16 | 1 << 15;
        self.used.load(Relaxed) != minute && self.used.swap(minute, Relaxed) != minute
    }

    /// Returns whether there was a use since the last call.
    pub(crate) fn take_use(&self) -> bool {
        self.used.swap(0, Relaxed) != 0
    }
}

/// A copy has no uses yet.
impl Clone for Stamp {
    fn clone(&self) -> Self {
        Self::new(self.generation, self.loaded, self.tenant_stripe)
    }
}

/// All stamps are equal, so that keys are compared by what decides.
impl PartialEq for Stamp {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Stamp {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn note_use_reports_the_first_use_of_any_minute() {
        // The count of minutes wraps twice on the way.
        for minute in [-1, 0, 1, 0x7fff, 0x8000, 0x8001, 0xffff, 0x1_0000] {
            let stamp = Stamp::default();
            assert!(!stamp.take_use());
            assert!(stamp.note_use(minute));
            assert!(!stamp.note_use(minute));
            assert!(stamp.note_use(minute + 1), "{minute}");
            assert!(stamp.take_use() && !stamp.take_use());
        }
    }
}
