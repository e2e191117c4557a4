//! Copies of usage and of used units: nothing counts twice, whenever a copy stops, and no tenant gets its allowance again.

use std::{
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use keyway::{
    Keyring, MemoryStore, NewKey, Policy, TenantId, Tier, Timestamp,
    allowance::{Allowance, WhenAway, Window},
    store::{
        CopyError, EventStore as _, Leased, LimitStore, StoreError, UsageStore, UsedWindow, copy,
        copy_limits, copy_usage,
    },
    usage::{Day, DayUsage, KeyUsage, Period, Span, UsageFlush},
};

use crate::support::{
    block_on, catalog,
    moves::{
        all_usage, expect_units, fill_limits, fill_usage, lease, moves_limits, moves_usage, windows,
    },
    overheard::RevealKnown as _,
    pepper, tenant_id,
};

/// A store whose call with a certain number goes wrong. Clones share the count.
#[derive(Clone)]
struct Failing {
    store: MemoryStore,
    fault: Fault,
    left: Arc<AtomicUsize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// The call does nothing.
    Lost,
    /// The call takes effect, and the response is lost.
    ResponseLost,
    /// Each write does less than it should, and says that it is done.
    WritesLess,
}

impl Failing {
    fn new(store: &MemoryStore, fault: Fault, call: usize) -> Self {
        Self { store: store.clone(), fault, left: Arc::new(AtomicUsize::new(call)) }
    }

    async fn call<T>(
        &self,
        call: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let is_next = self.left.fetch_sub(1, Relaxed) == 0;
        if is_next && self.fault == Fault::Lost {
            return Err(StoreError::unavailable("the connection broke"));
        }
        let done = call.await?;
        if is_next && self.fault == Fault::ResponseLost {
            return Err(StoreError::unavailable("the connection broke"));
        }
        Ok(done)
    }
}

impl UsageStore for Failing {
    async fn add_usage(&self, flush: &UsageFlush) -> Result<(), StoreError> {
        self.call(self.store.add_usage(flush)).await
    }

    async fn key_usage(
        &self,
        tenant: &TenantId,
        keys: &[keyway::KeyId],
        span: Span,
    ) -> Result<Vec<KeyUsage>, StoreError> {
        self.call(self.store.key_usage(tenant, keys, span)).await
    }

    async fn tenant_usage(
        &self,
        tenant: &TenantId,
        span: Span,
    ) -> Result<Vec<DayUsage>, StoreError> {
        self.call(self.store.tenant_usage(tenant, span)).await
    }

    async fn roll_up_usage(&self, days: Day, months: Day) -> Result<u64, StoreError> {
        self.call(self.store.roll_up_usage(days, months)).await
    }

    async fn delete_usage(&self, tenant: &TenantId) -> Result<(), StoreError> {
        self.call(self.store.delete_usage(tenant)).await
    }

    async fn usage_rows(
        &self,
        period: Period,
        after: Option<&KeyUsage>,
        limit: NonZeroUsize,
    ) -> Result<Vec<KeyUsage>, StoreError> {
        self.call(self.store.usage_rows(period, after, limit)).await
    }

    async fn raise_usage(&self, period: Period, rows: &[KeyUsage]) -> Result<(), StoreError> {
        let less = usize::from(self.fault == Fault::WritesLess);
        self.call(self.store.raise_usage(period, &rows[less..])).await
    }
}

impl LimitStore for Failing {
    async fn lease_units(
        &self,
        tenant: &TenantId,
        window: Window,
        want: u64,
        limit: u64,
    ) -> Result<Leased, StoreError> {
        let less = u64::from(self.fault == Fault::WritesLess);
        self.call(self.store.lease_units(tenant, window, want - less, limit)).await
    }

    async fn return_units(
        &self,
        tenant: &TenantId,
        window: Window,
        units: u64,
    ) -> Result<(), StoreError> {
        self.call(self.store.return_units(tenant, window, units)).await
    }

    async fn used_units(
        &self,
        tenant: &TenantId,
        windows: &[Window],
    ) -> Result<Vec<u64>, StoreError> {
        self.call(self.store.used_units(tenant, windows)).await
    }

    async fn purge_windows(&self, ended: Timestamp) -> Result<u64, StoreError> {
        self.call(self.store.purge_windows(ended)).await
    }

    async fn delete_windows(&self, tenant: &TenantId) -> Result<(), StoreError> {
        self.call(self.store.delete_windows(tenant)).await
    }

    async fn used_windows(
        &self,
        ended: Timestamp,
        after: Option<&UsedWindow>,
        limit: NonZeroUsize,
    ) -> Result<Vec<UsedWindow>, StoreError> {
        self.call(self.store.used_windows(ended, after, limit)).await
    }
}

#[test]
fn copy_moves_days_and_months_of_usage() {
    block_on(moves_usage(MemoryStore::new(), MemoryStore::new()));
}

#[test]
fn copy_moves_units_of_open_windows() {
    block_on(moves_limits(MemoryStore::new(), MemoryStore::new()));
}

/// Runs a copy that stops at each of its calls, and the same copy again. Returns how many copies stopped. `copy` has a store
/// that fails in place of the source or of the target.
fn stopped(mut copy: impl FnMut(Fault, usize, bool) -> bool) -> usize {
    let mut stopped = 0;
    for fault in [Fault::Lost, Fault::ResponseLost] {
        for is_source in [true, false] {
            stopped += (0..99).take_while(|call| copy(fault, *call, is_source)).count();
        }
    }
    stopped
}

#[test]
fn usage_copy_that_stopped_anywhere_counts_once() {
    let from = MemoryStore::new();
    let rows = block_on(fill_usage(&from));
    let expected = block_on(all_usage(&from));
    let stopped = stopped(|fault, call, is_source| {
        let to = MemoryStore::new();
        let failing = Failing::new(if is_source { &from } else { &to }, fault, call);
        let result = if is_source {
            block_on(copy_usage(&failing, &to))
        } else {
            block_on(copy_usage(&from, &failing))
        };
        match &result {
            Err(CopyError::From(_)) => assert!(is_source),
            Err(CopyError::To(_)) => assert!(!is_source),
            done => assert_eq!(*done.as_ref().unwrap(), rows),
        }
        assert_eq!(block_on(copy_usage(&from, &to)).unwrap(), rows);
        assert_eq!(block_on(all_usage(&to)), expected, "{fault:?} at call {call}");
        result.is_err()
    });
    // Two pages of days and one of months, and the empty ones after them.
    assert_eq!(stopped, 2 * (5 + 8));
}

#[test]
fn units_copy_that_stopped_anywhere_counts_once() {
    let from = MemoryStore::new();
    let used = block_on(fill_limits(&from));
    let stopped = stopped(|fault, call, is_source| {
        let to = MemoryStore::new();
        let failing = Failing::new(if is_source { &from } else { &to }, fault, call);
        let result = if is_source {
            block_on(copy_limits(&failing, &to))
        } else {
            block_on(copy_limits(&from, &failing))
        };
        match &result {
            Err(CopyError::From(_)) => assert!(is_source),
            Err(CopyError::To(_)) => assert!(!is_source),
            done => assert_eq!(*done.as_ref().unwrap(), 6),
        }
        assert_eq!(block_on(copy_limits(&from, &to)).unwrap(), 6);
        block_on(expect_units(&to, &used));
        result.is_err()
    });
    // A page and the empty one after it, and two calls for each of the six windows.
    assert_eq!(stopped, 2 * (2 + 12));
}

#[test]
fn target_with_less_than_the_source_is_noticed() {
    let from = MemoryStore::new();
    block_on(fill_usage(&from));
    block_on(fill_limits(&from));
    let to = Failing::new(&MemoryStore::new(), Fault::WritesLess, usize::MAX);
    let units = block_on(copy_limits(&from, &to));
    assert!(matches!(&units, Err(CopyError::FewerUnits(id)) if id.as_str() == "acme"), "{units:?}");
    let usage = block_on(copy_usage(&from, &to));
    assert!(
        matches!(&usage, Err(CopyError::UsageDiffers(id)) if id.as_str() == "acme"),
        "{usage:?}"
    );
    // The control: a store that writes everything.
    let to = Failing::new(&MemoryStore::new(), Fault::Lost, usize::MAX);
    block_on(copy_limits(&from, &to)).unwrap();
    block_on(copy_usage(&from, &to)).unwrap();
}

/// A keyring whose tenants may use 5 units in each month.
fn keyring(store: &MemoryStore) -> Keyring {
    let tier = Tier::new("free", 10).allowance(Allowance::per_month(5));
    Keyring::builder(Policy::new("mm", catalog(), [tier]).unwrap(), pepper())
        .environment("live")
        .store_with_events(store.clone())
        .usage(store.clone())
        .shared_limits(store.clone(), WhenAway::Refuse)
        .build()
        .unwrap()
}

/// Returns how many of ten requests are admitted.
fn admitted(keyring: &Keyring, token: &str) -> usize {
    let caller = block_on(keyring.verify(token)).unwrap();
    let verifier = keyring.verifier();
    let admitted = (0..10).filter(|_| block_on(verifier.reserve(&caller, 1)).is_ok()).count();
    block_on(keyring.flush_uses()).unwrap();
    admitted
}

#[test]
fn tenant_has_what_was_left_after_a_move() {
    let from = MemoryStore::new();
    let old = keyring(&from);
    let (_, issued) = block_on(old.create_tenant("acme", "free")).unwrap();
    let token = issued.token.reveal_known();
    let caller = block_on(old.verify(&*token)).unwrap();
    for _ in 0..3 {
        block_on(old.verifier().reserve(&caller, 1)).unwrap();
    }
    block_on(old.flush_uses()).unwrap();
    let move_to = |to: &MemoryStore| {
        block_on(copy(&from, to)).unwrap();
        assert_eq!(block_on(copy_usage(&from, to)).unwrap(), 1);
    };
    let to = MemoryStore::new();
    move_to(&to);
    block_on(copy_limits(&from, &to)).unwrap();
    assert_eq!(admitted(&keyring(&to), &token), 2);
    // The control: without the units the tenant has its whole allowance again.
    let to = MemoryStore::new();
    move_to(&to);
    assert_eq!(admitted(&keyring(&to), &token), 5);
}

#[test]
fn tenant_deleted_since_the_last_copy_is_not_kept() {
    let (from, to) = (MemoryStore::new(), MemoryStore::new());
    let (old, new) = (keyring(&from), keyring(&to));
    for tenant in ["acme", "gone"] {
        let (_, issued) = block_on(old.create_tenant(tenant, "free")).unwrap();
        assert_eq!(admitted(&old, &issued.token.reveal_known()), 5);
    }
    let copied = || block_on(copy(&from, &to)).unwrap().only_there;
    assert!(copied().is_empty());
    assert_eq!(block_on(copy_usage(&from, &to)).unwrap(), 2);
    assert_eq!(block_on(copy_limits(&from, &to)).unwrap(), 2);
    let gone = tenant_id("gone");
    block_on(old.delete_tenant(&gone)).unwrap();
    assert_eq!(copied(), std::slice::from_ref(&gone));
    let refused = block_on(copy_usage(&from, &to));
    assert!(matches!(&refused, Err(CopyError::UsageDiffers(id)) if *id == gone), "{refused:?}");
    // After the tenant is deleted there as well, the copy has neither its usage nor its units.
    block_on(new.delete_tenant(&gone)).unwrap();
    assert!(copied().is_empty());
    assert_eq!(block_on(copy_usage(&from, &to)).unwrap(), 1);
    assert_eq!(block_on(copy_limits(&from, &to)).unwrap(), 1);
    assert_eq!(block_on(to.used_units(&gone, &windows())).unwrap(), [0; 4]);
    let acme = tenant_id("acme");
    assert_eq!(block_on(to.used_units(&acme, &windows()[..1])).unwrap(), [5]);
}

#[test]
fn deleted_key_keeps_its_usage_in_a_copy() {
    let (from, to) = (MemoryStore::new(), MemoryStore::new());
    let old = keyring(&from);
    let (acme, issued) = block_on(old.create_tenant("acme", "free")).unwrap();
    let other = block_on(acme.issue(NewKey::named("other"))).unwrap();
    assert_eq!(admitted(&old, &other.token.reveal_known()), 5);
    block_on(acme.delete(other.key.id())).unwrap();
    block_on(old.verify(&*issued.token.reveal_known())).unwrap();
    block_on(old.flush_uses()).unwrap();
    block_on(copy(&from, &to)).unwrap();
    assert_eq!(block_on(copy_usage(&from, &to)).unwrap(), 2);
    let usage = keyring(&to).usage().unwrap();
    let today = Span::months(usage.today(), usage.today());
    let rows = block_on(usage.of_keys(acme.id(), &[other.key.id()], today)).unwrap();
    assert_eq!(rows.len(), 1);
    assert_eq!(block_on(usage.of_tenant(acme.id(), today)).unwrap()[0].counts.admitted, 2);
}

/// The steps of the documentation of `copy`.
#[test]
fn events_are_delivered_before_a_move_and_begin_again() {
    let (from, to) = (MemoryStore::new(), MemoryStore::new());
    let old = keyring(&from);
    let _ = block_on(old.create_tenant("acme", "free")).unwrap();
    let has_undelivered = || block_on(from.has_undelivered_events()).unwrap();
    let events = old.events().unwrap();
    let delivery = block_on(events.next()).unwrap().unwrap();
    assert!(has_undelivered(), "a delivery that is under way is not confirmed");
    block_on(delivery.confirm()).unwrap();
    assert!(!has_undelivered());
    block_on(copy(&from, &to)).unwrap();
    let new = keyring(&to);
    let acme = tenant_id("acme");
    let read = |keyring: &Keyring| {
        let events = block_on(keyring.events().unwrap().of_tenant(&acme, None, None, 10)).unwrap();
        events.iter().map(|event| (event.number, event.event.kind.clone())).collect::<Vec<_>>()
    };
    assert!(read(&new).is_empty());
    let _ = block_on(new.tenant(acme.clone()).issue(NewKey::named("first there"))).unwrap();
    assert_eq!(read(&new), [(1, "key_issued".to_owned())]);
    assert_eq!(read(&old).len(), 2);
}

#[test]
fn lease_beside_a_copy_is_kept() {
    let (from, to) = (MemoryStore::new(), MemoryStore::new());
    let (acme, [month, ..]) = (tenant_id("acme"), windows());
    block_on(lease(&from, &acme, month, 5));
    block_on(lease(&to, &acme, month, 9));
    assert_eq!(block_on(copy_limits(&from, &to)).unwrap(), 1);
    assert_eq!(block_on(to.used_units(&acme, &[month])).unwrap(), [9]);
}
