//! Counters of invalidations.
//!
//! Keys and tenants share a fixed number of counters. A key that shares a counter with an invalidated key is
//! read once more from the store, and nothing else happens to it. So the counters take no more room with more
//! keys. One addition makes all keys of a suspended tenant out of date.

use alloc::boxed::Box;
use core::sync::atomic::Ordering::SeqCst;

use crate::{sync::AtomicU32, token::KeyId};

/// The numbers of counters, powers of two. Together they take 272 kB. With 100,000 cached keys, a change of a key
/// causes one or two others to be read again. A model checker makes them again for every schedule.
const KEY_STRIPES: usize = if cfg!(any(keyway_loom, keyway_shuttle)) { 1 } else { 65_536 };
const TENANT_STRIPES: u16 = if cfg!(any(keyway_loom, keyway_shuttle)) { 1 } else { 4_096 };

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

    /// Returns the index of the counter for the tenant with this hash.
    pub(super) fn stripe(tenant: u64) -> u16 {
        u16::try_from(tenant % u64::from(TENANT_STRIPES)).unwrap_or_default()
    }

    #[inline]
    pub(super) fn of_tenant(&self, stripe: u16) -> u32 {
        self.tenants.get(usize::from(stripe)).map_or(0, |counter| counter.load(SeqCst))
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

    /// Counts an invalidation of every key. Counting for each tenant suffices, since a key's generation is
    /// the sum of its two counters.
    pub(super) fn bump_all(&self) {
        self.tenant_changes.fetch_add(1, SeqCst);
        for counter in &self.tenants {
            counter.fetch_add(1, SeqCst);
        }
    }

    #[inline]
    fn key(&self, id: KeyId) -> Option<&AtomicU32> {
        self.keys.get(id.spread() % KEY_STRIPES)
    }
}

#[cfg(test)]
mod tests {
    #[cfg(keyway_loom)]
    use core::sync::atomic::Ordering::Relaxed;

    use super::*;

    impl Generations {
        /// Returns counters that have seen `start` invalidations of everything.
        pub(in crate::cache) fn starting_at(start: u32) -> Self {
            let generations = Self::new();
            for counter in generations.keys.iter().chain(&generations.tenants) {
                counter.store(start, SeqCst);
            }
            generations.tenant_changes.store(start, SeqCst);
            generations
        }

        /// A fault for the model checkers to find: the two counts are in the wrong order.
        #[cfg(any(keyway_loom, keyway_shuttle))]
        pub(in crate::cache) fn bump_tenant_backwards(&self, stripe: u16) {
            self.tenants[usize::from(stripe)].fetch_add(1, SeqCst);
            self.tenant_changes.fetch_add(1, SeqCst);
        }

        /// A fault that only a model of the memory finds: a thread that sees the count need not see the
        /// writes before it.
        #[cfg(keyway_loom)]
        pub(in crate::cache) fn bump_key_relaxed(&self, id: KeyId) {
            self.key(id).unwrap().fetch_add(1, Relaxed);
        }

        /// The same fault in one of the two counts of a tenant.
        #[cfg(keyway_loom)]
        pub(in crate::cache) fn bump_tenant_as(
            &self,
            stripe: u16,
            [change, generation]: [core::sync::atomic::Ordering; 2],
        ) {
            self.tenant_changes.fetch_add(1, change);
            self.tenants[usize::from(stripe)].fetch_add(1, generation);
        }
    }

    fn id(text: &str) -> KeyId {
        text.parse().unwrap()
    }

    #[test]
    fn an_invalidation_is_counted_where_it_is_read() {
        let generations = Generations::new();
        let (a, b) = (id("AAAAAAAAAAAAAAAA"), id("AAAAAAAAAAAAAAAB"));
        generations.bump_key(a);
        assert_eq!((generations.of_key(a), generations.of_key(b)), (1, 0));
        generations.bump_tenant(7);
        assert_eq!((generations.of_tenant(7), generations.of_tenant(8)), (1, 0));
        assert_eq!(generations.tenant_changes(), 1);
    }

    #[test]
    fn every_hash_and_id_has_a_counter() {
        let generations = Generations::new();
        for hash in [0, 1, 4_095, 4_096, u64::MAX] {
            let stripe = Generations::stripe(hash);
            let before = generations.of_tenant(stripe);
            generations.bump_tenant(stripe);
            assert_eq!(generations.of_tenant(stripe), before + 1);
        }
        let characters = (b'0'..=b'9').chain(b'A'..=b'Z').chain(b'a'..=b'z');
        for (first, second) in
            characters.clone().flat_map(|a| characters.clone().map(move |b| (a, b)))
        {
            let mut bytes = [b'0'; 16];
            bytes[14..].copy_from_slice(&[first, second]);
            let id = KeyId::from_bytes(bytes).unwrap();
            let before = generations.of_key(id);
            generations.bump_key(id);
            assert_eq!(generations.of_key(id), before + 1);
        }
    }
}
