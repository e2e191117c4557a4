//! The last audit events of keys, in memory.

use alloc::sync::Arc;
use core::fmt;
use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use foldhash::fast::RandomState;

use super::{
    fair::Fair,
    trail::{AuditTrail, TrailError, TrailEvent, TrailPage},
};
use crate::{
    audit::{AuditEvent, AuditKind, AuditSink, Refusal, begins_history},
    record::TenantId,
    token::KeyId,
};

/// The last events of every key, in the memory of this process. It is both the sink that receives the events
/// and the trail that returns them. Clones share the events.
///
/// Give it to both [`KeyringBuilder::audit`](crate::keyring::KeyringBuilder::audit) and
/// [`Console::audit_trail`](crate::console::Console::audit_trail). An application with a sink of its own
/// [passes its events on](AuditSink::record) to this one.
///
/// At most 200 events of a key are kept, so that a key which is rejected all day does not evict the events of
/// other keys. When there are more events than the capacity, the tenant with the most events loses its oldest
/// one. So no tenant evicts the history of the others.
///
/// The events are lost when the process ends, and events of other processes are missing. An application that
/// needs more implements [`AuditTrail`] over its own database.
#[derive(Clone)]
pub struct RecentEvents {
    capacity: usize,
    events: Arc<Mutex<Events>>,
}

struct Events {
    of_tenants: Fair<(KeyId, TrailEvent)>,
    /// The number of events of each key among those of a tenant.
    ///
    /// INVARIANT: the events of a key are counted separately for each tenant. A tenant may name another
    /// tenant's key in a change that is refused. If that counted, the tenant could evict events of the
    /// other's key.
    counts: HashMap<(TenantId, KeyId), usize, RandomState>,
    /// The tenant that holds a key, as long as there are events of the key.
    holders: HashMap<KeyId, TenantId, RandomState>,
}

impl RecentEvents {
    /// The maximum number of events of one key.
    pub const MAX_OF_KEY: usize = 200;

    /// Creates a trail of at most `capacity` events, of about 200 bytes each.
    pub fn new(capacity: usize) -> Self {
        let events = Events {
            of_tenants: Fair::new(capacity),
            counts: HashMap::default(),
            holders: HashMap::default(),
        };
        Self { capacity: capacity.max(1), events: Arc::new(Mutex::new(events)) }
    }

    fn events(&self) -> MutexGuard<'_, Events> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Events {
    fn push(&mut self, tenant: &TenantId, key: KeyId, event: TrailEvent) {
        let dropped = self.of_tenants.push(tenant, (key, event));
        let count = self.counts.entry((tenant.clone(), key)).or_default();
        *count += 1;
        if *count > RecentEvents::MAX_OF_KEY {
            *count -= 1;
            self.of_tenants.remove_first(tenant, |(other, _)| *other == key);
        }
        if let Some((tenant, (key, _))) = dropped {
            self.uncount(tenant, key);
        }
    }

    fn uncount(&mut self, tenant: TenantId, key: KeyId) {
        let of_key = (tenant, key);
        let Some(count) = self.counts.get_mut(&of_key) else { return };
        *count -= 1;
        if *count == 0 {
            self.counts.remove(&of_key);
            if self.holders.get(&key) == Some(&of_key.0) {
                self.holders.remove(&key);
            }
        }
    }

    fn forget(&mut self, tenant: TenantId, key: KeyId) {
        self.holders.remove(&key);
        self.of_tenants.retain(&tenant, |(other, _)| *other != key);
        self.counts.remove(&(tenant, key));
    }

    fn forget_tenant(&mut self, tenant: &TenantId) {
        self.of_tenants.retain(tenant, |_| false);
        self.counts.retain(|(other, _), _| other != tenant);
        self.holders.retain(|_, other| other != tenant);
    }
}

impl AuditSink for RecentEvents {
    fn record(&self, event: &AuditEvent<'_>) {
        let named = event.tenant.map(TenantId::of_record);
        match (event.kind, named, event.key) {
            (AuditKind::TenantDeleted, Some(tenant), _) => self.events().forget_tenant(&tenant),
            // The events of a deleted key can no longer be read: the console finds no such key.
            (AuditKind::KeyDeleted | AuditKind::KeyRevoked, Some(tenant), Some(key)) => {
                self.events().forget(tenant, key);
            }
            // A change with `NotFound` names a key that the tenant does not hold, so its event could not be
            // read.
            (AuditKind::ChangeRefused { refusal: Refusal::NotFound, .. }, ..) | (_, _, None) => {}
            (kind, Some(tenant), Some(key)) => {
                let mut events = self.events();
                // These two do not prove that the tenant holds the key. A refused change names the key in the
                // request, and `Tampered` names the tenant in a forged row.
                if !matches!(kind, AuditKind::ChangeRefused { .. } | AuditKind::Tampered) {
                    events.holders.insert(key, tenant.clone());
                }
                events.push(&tenant, key, TrailEvent::of(event));
            }
            (_, None, Some(key)) => {
                let mut events = self.events();
                // A token of a deleted or unknown key belongs to no history, and must not use up capacity.
                if let Some(tenant) = events.holders.get(&key).cloned() {
                    events.push(&tenant, key, TrailEvent::of(event));
                }
            }
        }
    }
}

impl AuditTrail for RecentEvents {
    async fn of_key(
        &self,
        tenant: &TenantId,
        key: KeyId,
        limit: usize,
    ) -> Result<TrailPage, TrailError> {
        let events = self.events();
        let of_key = events.of_tenants.of(tenant).filter(|(other, _)| *other == key);
        let page: alloc::vec::Vec<_> =
            of_key.rev().take(limit).map(|(_, event)| event.clone()).collect();
        // Events are dropped from the oldest on. So if the first event of the key is there, all later ones
        // are.
        let is_first = |event: &TrailEvent| begins_history(&event.kind);
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
    use crate::audit::KeyLimits;
    use crate::time::Timestamp;

    fn record_of(trail: &RecentEvents, tenant: &str, key: KeyId, kind: AuditKind<'_>) {
        let at = Timestamp::MIN;
        trail.record(&AuditEvent {
            at,
            actor: "a",
            tenant: Some(tenant),
            key: Some(key),
            child: None,
            kind,
        });
    }

    fn record(trail: &RecentEvents, key: KeyId, kind: AuditKind<'_>) {
        record_of(trail, "acme", key, kind);
    }

    fn page(trail: &RecentEvents, key: KeyId, limit: usize) -> TrailPage {
        pollster::block_on(trail.of_key(&"acme".parse().unwrap(), key, limit)).unwrap()
    }

    fn sizes(trail: &RecentEvents) -> (usize, usize) {
        let events = trail.events();
        (events.counts.len(), events.holders.len())
    }

    #[test]
    fn noisy_key_evicts_only_its_own_events() {
        let [quiet, noisy] = ["A000000000000000", "A000000000000001"].map(|id| id.parse().unwrap());
        let trail = RecentEvents::new(1_000);
        record(&trail, quiet, AuditKind::KeyIssued { scopes: &[], limits: KeyLimits::default() });
        record(&trail, noisy, AuditKind::KeyIssued { scopes: &[], limits: KeyLimits::default() });
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
    fn deleted_keys_use_no_capacity() {
        let [kept, deleted] =
            ["A000000000000000", "A000000000000001"].map(|id| id.parse().unwrap());
        let trail = RecentEvents::new(3);
        record(&trail, kept, AuditKind::KeyIssued { scopes: &[], limits: KeyLimits::default() });
        for _ in 0..9 {
            record(
                &trail,
                deleted,
                AuditKind::KeyIssued { scopes: &[], limits: KeyLimits::default() },
            );
            record(&trail, deleted, AuditKind::KeyDeleted);
        }
        assert_eq!((page(&trail, kept, 9).events.len(), sizes(&trail)), (1, (1, 1)));
    }

    #[test]
    fn capacity_limits_events_of_all_keys() {
        let keys = ["A000000000000000", "A000000000000001", "A000000000000002"];
        let keys = keys.map(|id| id.parse::<KeyId>().unwrap());
        let trail = RecentEvents::new(2);
        for key in keys {
            record(&trail, key, AuditKind::KeyIssued { scopes: &[], limits: KeyLimits::default() });
        }
        let kept = keys.map(|key| page(&trail, key, 9).events.len());
        assert_eq!(kept, [0, 1, 1]);
        assert_eq!(sizes(&trail), (2, 2));
    }

    /// One tenant with one key at a time creates keys, deletes them, and presents the dead tokens.
    #[test]
    fn tenant_cannot_evict_the_history_of_others() {
        let quiet: KeyId = "A000000000000000".parse().unwrap();
        let trail = RecentEvents::new(50);
        let issued = AuditKind::KeyIssued { scopes: &[], limits: KeyLimits::default() };
        record_of(&trail, "quiet", quiet, issued);
        let rejected = AuditKind::Rejected(crate::token::Rejection::Unknown);
        for number in 0..100 {
            let key: KeyId =
                alloc::format!("A{number:015}").replace("A0000", "B0000").parse().unwrap();
            record_of(&trail, "loud", key, issued);
            record_of(&trail, "loud", key, AuditKind::KeyRotated);
            if number % 2 == 0 {
                record_of(&trail, "loud", key, AuditKind::KeyDeleted);
            }
            for _ in 0..10 {
                let at = Timestamp::MIN;
                trail.record(&AuditEvent {
                    at,
                    actor: "",
                    tenant: None,
                    key: Some(key),
                    child: None,
                    kind: rejected,
                });
            }
        }
        let read = |tenant: &str| {
            pollster::block_on(trail.of_key(&tenant.parse().unwrap(), quiet, 9)).unwrap()
        };
        assert!(read("quiet").complete, "its history is whole");
        // The events of a key are returned for its tenant only.
        assert_eq!(read("loud"), TrailPage::default());
        let at = Timestamp::MIN;
        let kind = AuditKind::TenantDeleted;
        trail.record(&AuditEvent {
            at,
            actor: "",
            tenant: Some("loud"),
            key: None,
            child: None,
            kind,
        });
        assert_eq!(sizes(&trail), (1, 1));
    }

    /// A tenant names another tenant's key in changes that are refused, before and after the key has a
    /// history.
    #[test]
    fn refused_changes_of_others_leave_a_history_alone() {
        let key: KeyId = "A000000000000000".parse().unwrap();
        let refused = |refusal| AuditKind::ChangeRefused {
            change: crate::audit::ChangeKind::DeleteKey,
            refusal,
            detail: "",
        };
        let trail = RecentEvents::new(1_000);
        let refuse = |times: usize| {
            for refusal in [Refusal::Unavailable, Refusal::NotFound] {
                for _ in 0..times {
                    record_of(&trail, "other", key, refused(refusal));
                }
            }
        };
        refuse(300);
        record(&trail, key, AuditKind::KeyIssued { scopes: &[], limits: KeyLimits::default() });
        refuse(300);
        record(&trail, key, AuditKind::KeyRotated);
        refuse(1);
        record_of(&trail, "other", key, AuditKind::Tampered);
        let rejected = AuditKind::Rejected(crate::token::Rejection::Unknown);
        let at = Timestamp::MIN;
        trail.record(&AuditEvent {
            at,
            actor: "",
            tenant: None,
            key: Some(key),
            child: None,
            kind: rejected,
        });
        let kept = page(&trail, key, 9);
        let kinds: alloc::vec::Vec<_> = kept.events.iter().map(|event| &*event.kind).collect();
        assert_eq!(kinds, ["rejected", "key_rotated", "key_issued"]);
        assert!(kept.complete);
        // The tenant's own refused change belongs to the history.
        record(&trail, key, refused(Refusal::Conflict));
        assert_eq!(page(&trail, key, 9).events[0].kind, "change_refused");
        record(&trail, key, AuditKind::KeyDeleted);
        assert_eq!((page(&trail, key, 9), sizes(&trail)), (TrailPage::default(), (1, 0)));
    }
}
