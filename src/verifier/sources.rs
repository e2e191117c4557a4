//! The sources that keys are read from: the store, or a replica of it that may lag behind.

use alloc::boxed::Box;
use core::{
    sync::atomic::{AtomicU32, Ordering::SeqCst},
    time::Duration,
};

use super::{batches::Batches, breaker::Breaker};
use crate::{
    cache::{TICK, tick},
    store::{AnyLookup, AnyStore, KeyLookup},
    time::Moment,
    token::KeyId,
};

pub(crate) struct Sources {
    /// The source of loads.
    lookup: Source,
    /// The store that the first use of a rotated secret is written to, on a node that writes.
    store: Option<AnyStore>,
    /// By how many ticks `lookup` may lag behind the store.
    lag: u32,
    /// The recent changes, and the source that changed keys are read from, if `lookup` may lag behind the
    /// store.
    behind: Option<(Recent, Source)>,
}

/// A source of keys. Each has its own breaker, so that an outage of one does not block requests to another.
pub(super) struct Source {
    pub(super) lookup: AnyLookup,
    pub(super) breaker: Breaker,
    pub(super) batches: Batches,
}

/// The source that a load reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    /// The source of loads, which may be a replica.
    Lookup,
    /// The store itself.
    Store,
}

impl Source {
    fn new(lookup: AnyLookup) -> Self {
        Self { lookup, breaker: Breaker::default(), batches: Batches::default() }
    }
}

impl Sources {
    /// Creates the sources. Keys are read from `lookup`. If it lags, those that have just changed are read from
    /// `store`.
    pub(super) fn new(lookup: AnyLookup, store: Option<AnyStore>) -> Self {
        let lag = ticks_of(lookup.max_lag());
        let primary = store.as_ref().filter(|_| lag > 0);
        let behind = primary.map(|store| (Recent::new(lag), Source::new(store.to_lookup())));
        Self { lookup: Source::new(lookup), store, lag, behind }
    }

    /// Returns whether a proof that a change was delivered covers a key that is loaded afterwards. If it is loaded
    /// from a source that lags, it may be older than the change.
    pub(super) fn accept_proofs(&self) -> bool {
        self.lag == 0 || self.behind.is_some()
    }

    pub(super) fn store(&self) -> Option<&AnyStore> {
        self.store.as_ref()
    }

    /// Returns the source to read the key `id` from at `moment`. If there is a replica, it is the store for a
    /// read that must be `fresh`, and for a key that this node knows to have changed within the replica's
    /// lag.
    pub(super) fn choose(&self, id: KeyId, moment: Moment, fresh: bool) -> Which {
        match &self.behind {
            Some((recent, _)) if fresh || recent.contains(id, moment) => Which::Store,
            _ => Which::Lookup,
        }
    }

    /// Returns the source that keys of open streams are read from: the store itself, if this node knows it.
    pub(super) fn for_streams(&self) -> Which {
        if self.behind.is_some() { Which::Store } else { Which::Lookup }
    }

    pub(super) fn get(&self, which: Which) -> &Source {
        match (which, &self.behind) {
            (Which::Store, Some((_, primary))) => primary,
            // Without a replica there is only one source.
            _ => &self.lookup,
        }
    }

    /// Returns by how many ticks a source may lag behind the store.
    pub(super) fn lag(&self, which: Which) -> u32 {
        match which {
            Which::Lookup => self.lag,
            Which::Store => 0,
        }
    }

    /// Notes a change of the key `id`, or of any number of keys if it is `None`.
    pub(super) fn note_change(&self, id: Option<KeyId>, moment: impl FnOnce() -> Moment) {
        if let Some((recent, _)) = &self.behind {
            recent.note(id, moment());
        }
    }
}

/// The times of the last changes of keys. Keys share counters, so a key that shares one with a changed key is
/// read from the store as well.
struct Recent {
    keys: Box<[AtomicU32]>,
    all: AtomicU32,
    /// The length of time for which a change is recent, in ticks.
    window: u32,
}

const STRIPES: usize = 1_024;

impl Recent {
    fn new(window: u32) -> Self {
        Self {
            keys: (0..STRIPES).map(|_| AtomicU32::new(0)).collect(),
            all: AtomicU32::new(0),
            window,
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

/// Returns the number of ticks of a lag.
fn ticks_of(lag: Duration) -> u32 {
    if lag.is_zero() {
        return 0;
    }
    // One tick more, since the times of changes are rounded down.
    let ticks = lag.as_millis().div_ceil(TICK.into()) + 1;
    u32::try_from(ticks).unwrap_or(u32::MAX)
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
        let recent = Recent::new(ticks_of(Duration::from_secs(1)));
        let (before, after, much_later) = (moment(50_000), moment(50_500), moment(60_000));
        assert!(!recent.contains(id("AA"), before));
        recent.note(Some(id("AA")), before);
        assert!(recent.contains(id("AA"), after) && !recent.contains(id("AA"), much_later));
        assert!(!others.iter().any(|other| recent.contains(*other, after)));
        recent.note(None, before);
        assert!(others.iter().all(|other| recent.contains(*other, after)));
    }
}
