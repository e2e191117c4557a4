//! Counters of invalidations.
//!
//! Keys and tenants share a fixed number of counters: whoever shares one with an invalidated key is
//! read once more from the store, and that is all. So the counters take no more room with more keys,
//! and a suspended tenant's keys are all out of date with one addition.

use alloc::boxed::Box;
use core::sync::atomic::Ordering::SeqCst;

use crate::{sync::AtomicU32, token::KeyId};

/// Powers of two. Together they take 32 kB.
const KEY_STRIPES: usize = 4_096;
const TENANT_STRIPES: u16 = 4_096;

pub(super) struct Generations {
    keys: Box<[AtomicU32]>,
    tenants: Box<[AtomicU32]>,
    /// The number of invalidations of any tenant.
    tenant_changes: AtomicU32,
}

impl Generations {
    pub(super) fn new() -> Self {
        let stripes = |number| (0..number).map(|_| AtomicU32::new(0)).collect();
        Self {
            keys: stripes(KEY_STRIPES),
            tenants: stripes(TENANT_STRIPES.into()),
            tenant_changes: AtomicU32::new(0),
        }
    }

    #[inline]
    pub(super) fn of_key(&self, id: KeyId) -> u32 {
        self.key(id).map_or(0, |counter| counter.load(SeqCst))
    }

    pub(super) fn bump_key(&self, id: KeyId) {
        if let Some(counter) = self.key(id) {
            counter.fetch_add(1, SeqCst);
        }
    }

    /// Where the tenant with this hash is counted.
    pub(super) fn stripe(tenant: u64) -> u16 {
        u16::try_from(tenant % u64::from(TENANT_STRIPES)).unwrap_or_default()
    }

    #[inline]
    pub(super) fn of_tenant(&self, stripe: u16) -> u32 {
        self.tenants
            .get(usize::from(stripe))
            .map_or(0, |counter| counter.load(SeqCst))
    }

    pub(super) fn tenant_changes(&self) -> u32 {
        self.tenant_changes.load(SeqCst)
    }

    pub(super) fn bump_tenant(&self, stripe: u16) {
        self.tenant_changes.fetch_add(1, SeqCst);
        if let Some(counter) = self.tenants.get(usize::from(stripe)) {
            counter.fetch_add(1, SeqCst);
        }
    }

    /// Ids are random, so their characters serve as a hash. An attacker who chose them would only
    /// have his own keys read more often.
    #[inline]
    fn key(&self, id: KeyId) -> Option<&AtomicU32> {
        let [.., a, b] = *id.as_bytes();
        self.keys
            .get((usize::from(a) << 6 ^ usize::from(b)) % KEY_STRIPES)
    }
}
