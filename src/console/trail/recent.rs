//! The last events of keys, in memory.

use alloc::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};
use core::fmt;
use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use foldhash::fast::RandomState;

use super::{AuditTrail, TrailError, TrailEvent, TrailPage};
use crate::{
    audit::{AuditEvent, AuditKind, AuditSink},
    record::TenantId,
    token::KeyId,
};

/// The last events of every key, in the memory of this process: both the sink that is told of them and the
/// trail that shows them. Clones share all of it.
///
/// At most 200 of a key are kept, so that a key which is refused all day does not drive out the others. It
/// forgets all of them when the process ends and never hears of what other processes do: a host that needs
/// more writes an [`AuditTrail`] over its own database. Give it to both
/// [`KeyringBuilder::audit`](crate::keyring::KeyringBuilder::audit) and
/// [`Console::audit_trail`](crate::console::Console::audit_trail); a host with a sink of its own
/// [hands on](AuditSink::record) what that is told.
#[derive(Clone)]
pub struct RecentEvents {
    capacity: usize,
    events: Arc<Mutex<Events>>,
}

#[derive(Default)]
struct Events {
    of_keys: HashMap<KeyId, VecDeque<(u64, TrailEvent)>, RandomState>,
    /// Whose each event is, the oldest first.
    order: BTreeMap<u64, KeyId>,
    next: u64,
}

impl RecentEvents {
    /// The most events of one key.
    pub const MAX_OF_KEY: usize = 200;

    /// Keeps at most `capacity` events, of some 200 bytes each.
    pub fn new(capacity: usize) -> Self {
        Self { capacity: capacity.max(1), events: Arc::default() }
    }

    fn events(&self) -> MutexGuard<'_, Events> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Events {
    fn push(&mut self, key: KeyId, event: TrailEvent, capacity: usize) {
        let number = self.next;
        self.next += 1;
        let of_key = self.of_keys.entry(key).or_default();
        of_key.push_back((number, event));
        self.order.insert(number, key);
        if of_key.len() > RecentEvents::MAX_OF_KEY
            && let Some((oldest, _)) = of_key.pop_front()
        {
            self.order.remove(&oldest);
        }
        if self.order.len() > capacity
            && let Some((_, key)) = self.order.pop_first()
            && let Some(of_key) = self.of_keys.get_mut(&key)
        {
            // Of one key, too, the oldest is the first.
            of_key.pop_front();
            if of_key.is_empty() {
                self.of_keys.remove(&key);
            }
        }
    }
}

impl Events {
    fn forget(&mut self, key: KeyId) {
        for (number, _) in self.of_keys.remove(&key).into_iter().flatten() {
            self.order.remove(&number);
        }
    }
}

impl AuditSink for RecentEvents {
    fn record(&self, event: &AuditEvent<'_>) {
        let Some(key) = event.key else { return };
        if matches!(event.kind, AuditKind::KeyDeleted | AuditKind::KeyRevoked) {
            // Nobody can ask for it any more.
            self.events().forget(key);
        } else {
            let event = TrailEvent::of(event);
            self.events().push(key, event, self.capacity);
        }
    }
}

impl AuditTrail for RecentEvents {
    async fn of_key(
        &self,
        _: &TenantId,
        key: KeyId,
        limit: usize,
    ) -> Result<TrailPage, TrailError> {
        let events = self.events();
        let of_key = events.of_keys.get(&key);
        let newest = of_key.into_iter().flatten().rev().take(limit);
        let page: alloc::vec::Vec<_> = newest.map(|(_, event)| event.clone()).collect();
        // Whatever came after the first event of a key is kept as long as that.
        let is_first = |event: &TrailEvent| matches!(&*event.kind, "key_issued" | "key_imported");
        Ok(TrailPage { complete: page.last().is_some_and(is_first), events: page })
    }
}

impl fmt::Debug for RecentEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecentEvents").field("capacity", &self.capacity).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;

    fn record(trail: &RecentEvents, key: KeyId, kind: AuditKind<'_>) {
        let at = Timestamp::MIN;
        trail.record(&AuditEvent { at, actor: "a", tenant: None, key: Some(key), kind });
    }

    fn page(trail: &RecentEvents, key: KeyId, limit: usize) -> TrailPage {
        pollster::block_on(trail.of_key(&"acme".parse().unwrap(), key, limit)).unwrap()
    }

    #[test]
    fn a_noisy_key_drives_out_only_its_own_events() {
        let [quiet, noisy] = ["A000000000000000", "A000000000000001"].map(|id| id.parse().unwrap());
        let trail = RecentEvents::new(1_000);
        record(&trail, quiet, AuditKind::KeyIssued { scopes: &[] });
        record(&trail, noisy, AuditKind::KeyIssued { scopes: &[] });
        record(&trail, noisy, AuditKind::KeyResumed);
        assert!(page(&trail, noisy, 200).complete);
        assert!(!page(&trail, noisy, 1).complete);
        for _ in 0..300 {
            record(&trail, noisy, AuditKind::KeyRotated);
        }
        let kept = page(&trail, noisy, 1_000);
        assert_eq!((kept.events.len(), kept.complete), (RecentEvents::MAX_OF_KEY, false));
        assert_eq!(page(&trail, quiet, 200).events.len(), 1);
        assert!(page(&trail, quiet, 200).complete);
    }

    #[test]
    fn deleted_keys_take_no_room() {
        let [kept, deleted] =
            ["A000000000000000", "A000000000000001"].map(|id| id.parse().unwrap());
        let trail = RecentEvents::new(3);
        record(&trail, kept, AuditKind::KeyIssued { scopes: &[] });
        for _ in 0..9 {
            record(&trail, deleted, AuditKind::KeyIssued { scopes: &[] });
            record(&trail, deleted, AuditKind::KeyDeleted);
        }
        assert_eq!((page(&trail, kept, 9).events.len(), trail.events().order.len()), (1, 1));
    }

    #[test]
    fn the_capacity_is_that_of_all_keys() {
        let keys = ["A000000000000000", "A000000000000001", "A000000000000002"];
        let keys = keys.map(|id| id.parse::<KeyId>().unwrap());
        let trail = RecentEvents::new(2);
        for key in keys {
            record(&trail, key, AuditKind::KeyIssued { scopes: &[] });
        }
        let kept = keys.map(|key| page(&trail, key, 9).events.len());
        assert_eq!(kept, [0, 1, 1]);
        assert_eq!(trail.events().of_keys.len(), 2);
    }
}
