//! Whether the data of an open stream still holds, and whether it must be read again soon.

use alloc::sync::Arc;
use std::sync::PoisonError;

use super::{Cache, age, covers};
use crate::{decision::ResolvedKey, time::Moment, token::KeyId};

/// The standing of a key's data, of which a stream has a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// The data holds, and will do so for some time.
    Good,
    /// The data holds, but must be read again soon.
    Ageing,
    /// The data is too old, and no proof covers it.
    TooOld,
    /// The key or its tenant has changed since the data was read, or another key with the same counter has.
    Changed,
}

impl Cache {
    /// The shortest bound for streams, in ticks. With a shorter staleness bound, every request reads the store. A stream
    /// reads it once in this time.
    const SHORTEST_BOUND: u32 = 10;

    /// Returns the staleness bound of open streams in ticks, for keys whose source lags by at most `lag`.
    pub(crate) fn stream_bound(&self, lag: u32) -> u32 {
        self.max_age.max(lag.saturating_add(Self::SHORTEST_BOUND))
    }

    /// Returns the standing of `key` at `moment`, with a bound in ticks. The data is ageing if it would be too old at
    /// `later`.
    pub(crate) fn standing(
        &self,
        key: &ResolvedKey,
        moment: Moment,
        later: Moment,
        bound: u32,
    ) -> Standing {
        if self.proofs.have_parted(moment) && self.compare_clocks(moment) {
            return Standing::Changed;
        }
        let stamp = &key.stamp;
        // INVARIANT: proofs are read before the generations, as in `with`.
        let holds_at = |moment: Moment| {
            age(stamp.loaded, moment) < bound
                || self.proofs.cover(moment).is_some_and(|since| covers(since, stamp.loaded))
        };
        let (holds, will_hold) = (holds_at(moment), holds_at(later));
        match () {
            () if self.generation(key.id(), stamp) != stamp.generation => Standing::Changed,
            () if !holds => Standing::TooOld,
            () if !will_hold => Standing::Ageing,
            () => Standing::Good,
        }
    }

    /// Returns the key `id` as it was read last, if it is cached. Unlike [`with`](Self::with) this prefers no older copy of the
    /// thread that would still be served, and does not check whether the key may be served.
    pub(crate) fn newest(&self, id: KeyId) -> Option<Arc<ResolvedKey>> {
        let hash = self.hash(id);
        let index = self.shard(hash)?.0.read().unwrap_or_else(PoisonError::into_inner);
        index.find(hash, id).cloned()
    }
}
