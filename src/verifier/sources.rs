//! Where keys are read from: the store, or a replica of it that may be behind.

use alloc::boxed::Box;
use core::{
    sync::atomic::{AtomicU32, Ordering::SeqCst},
    time::Duration,
};

use crate::{
    cache::{TICK, tick},
    store::{AnyLookup, AnyStore},
    time::Moment,
    token::KeyId,
};

pub(crate) struct Sources {
    /// Where loads read.
    lookup: AnyLookup,
    /// Where the first use of a rotated secret is written, on a node that writes.
    store: Option<AnyStore>,
    /// What was changed a moment ago, if `lookup` is behind the store.
    recent: Option<Recent>,
}

impl Sources {
    /// `max_lag` is by how much `lookup` may be behind `store`; without it they are the same.
    pub(super) fn new(
        lookup: AnyLookup,
        store: Option<AnyStore>,
        max_lag: Option<Duration>,
    ) -> Self {
        Self { lookup, store, recent: max_lag.map(Recent::new) }
    }

    pub(super) fn store(&self) -> Option<&AnyStore> {
        self.store.as_ref()
    }

    /// Where to read the key `id` at `moment`. What was changed within the lag of a replica, as far as
    /// it was heard of here, is read from the store, and so is what must be `fresh`.
    pub(super) fn lookup(&self, id: KeyId, moment: Moment, fresh: bool) -> AnyLookup {
        let is_behind =
            self.recent.as_ref().is_some_and(|recent| fresh || recent.contains(id, moment));
        match &self.store {
            Some(store) if is_behind => store.to_lookup(),
            _ => self.lookup.clone(),
        }
    }

    /// The key `id` was changed, or with `None` any number of them.
    pub(super) fn note_change(&self, id: Option<KeyId>, moment: impl FnOnce() -> Moment) {
        if let Some(recent) = &self.recent {
            recent.note(id, moment());
        }
    }
}

/// When keys were last changed. They share counters, and who shares one with a changed key is read
/// from the store as well.
struct Recent {
    keys: Box<[AtomicU32]>,
    all: AtomicU32,
    /// In ticks.
    window: u32,
}

const STRIPES: usize = 1_024;

impl Recent {
    fn new(max_lag: Duration) -> Self {
        // One tick more, since the times of changes are rounded down.
        let ticks = max_lag.as_millis().div_ceil(TICK.into()) + 1;
        Self {
            keys: (0..STRIPES).map(|_| AtomicU32::new(0)).collect(),
            all: AtomicU32::new(0),
            window: u32::try_from(ticks).unwrap_or(u32::MAX),
        }
    }

    fn stripe(&self, id: KeyId) -> &AtomicU32 {
        self.keys.get(id.spread() % STRIPES).unwrap_or(&self.all)
    }

    fn note(&self, id: Option<KeyId>, moment: Moment) {
        id.map_or(&self.all, |id| self.stripe(id)).store(tick(moment), SeqCst);
    }

    fn contains(&self, id: KeyId, moment: Moment) -> bool {
        let now = tick(moment);
        [self.stripe(id), &self.all]
            .iter()
            .any(|changed| now.wrapping_sub(changed.load(SeqCst)) <= self.window)
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;
    use crate::time::Timestamp;

    #[test]
    fn few_other_keys_are_read_from_the_store_after_a_change() {
        let moment = |uptime| Moment { now: Timestamp::MIN, uptime };
        let id = |end: &str| format!("AAAAAAAAAAAAAA{end}").parse().unwrap();
        let others = ["AB", "AC", "BA", "BC", "Ab", "A0", "0A", "zz"].map(id);
        let recent = Recent::new(Duration::from_secs(1));
        let (before, after, much_later) = (moment(50_000), moment(50_500), moment(60_000));
        assert!(!recent.contains(id("AA"), before));
        recent.note(Some(id("AA")), before);
        assert!(recent.contains(id("AA"), after) && !recent.contains(id("AA"), much_later));
        assert!(!others.iter().any(|other| recent.contains(*other, after)));
        recent.note(None, before);
        assert!(others.iter().all(|other| recent.contains(*other, after)));
    }
}
