//! A bounded log in which no tenant evicts the items of the others.

use alloc::collections::{BTreeSet, VecDeque};
use core::cmp::Reverse;
use std::collections::HashMap;

use foldhash::fast::RandomState;

use crate::record::TenantId;

/// The last items of every tenant. When there are more than `capacity` in all, the tenant with the most items
/// loses its oldest one. So a tenant loses nothing before it has as many items as any other. If several
/// tenants have the most, the one with the oldest item of all loses that item.
pub(super) struct Fair<T> {
    capacity: usize,
    len: usize,
    /// The number of the next item.
    next: u64,
    of_tenants: HashMap<TenantId, VecDeque<(u64, T)>, RandomState>,
    /// How many items each tenant has, and the number of its oldest.
    ///
    /// INVARIANT: ages break ties. If ids did, and there were more tenants than `capacity`, then tenants at
    /// the end of the alphabet would never keep an item, and tenants at its beginning would keep theirs
    /// forever.
    sizes: BTreeSet<(usize, Reverse<u64>, TenantId)>,
}

impl<T> Fair<T> {
    pub(super) fn new(capacity: usize) -> Self {
        let (of_tenants, sizes) = (HashMap::default(), BTreeSet::new());
        Self { capacity: capacity.max(1), len: 0, next: 0, of_tenants, sizes }
    }

    /// Returns the items of `tenant`, the oldest first.
    pub(super) fn of(&self, tenant: &TenantId) -> impl DoubleEndedIterator<Item = &T> {
        self.of_tenants.get(tenant).into_iter().flatten().map(|(_, item)| item)
    }

    /// Adds the newest item of `tenant`. If another item is dropped for it, returns that item with its
    /// tenant. Takes time logarithmic in the number of tenants.
    pub(super) fn push(&mut self, tenant: &TenantId, item: T) -> Option<(TenantId, T)> {
        let number = self.next;
        self.next += 1;
        self.change(tenant, |items| items.push_back((number, item)));
        if self.len <= self.capacity {
            return None;
        }
        let (.., heaviest) = self.sizes.last()?;
        let heaviest = heaviest.clone();
        let (_, dropped) = self.change(&heaviest, VecDeque::pop_front)?;
        Some((heaviest, dropped))
    }

    /// Removes the items of `tenant` that are not `kept`. Takes time linear in the tenant's items.
    pub(super) fn retain(&mut self, tenant: &TenantId, mut kept: impl FnMut(&T) -> bool) {
        self.change(tenant, |items| items.retain(|(_, item)| kept(item)));
    }

    /// Removes the oldest item of `tenant` that is `wanted`. Takes time linear in the items before it.
    pub(super) fn remove_first(&mut self, tenant: &TenantId, mut wanted: impl FnMut(&T) -> bool) {
        self.change(tenant, |items| {
            let first = items.iter().position(|(_, item)| wanted(item));
            first.and_then(|at| items.remove(at))
        });
    }

    /// Changes the items of `tenant` and counts them again.
    fn change<R>(
        &mut self,
        tenant: &TenantId,
        change: impl FnOnce(&mut VecDeque<(u64, T)>) -> R,
    ) -> R {
        let items = self.of_tenants.entry(tenant.clone()).or_default();
        let size = |items: &VecDeque<(u64, T)>| {
            items.front().map(|(oldest, _)| (items.len(), Reverse(*oldest), tenant.clone()))
        };
        let before = size(items);
        let done = change(items);
        let after = size(items);
        let len = |size: &Option<(usize, _, _)>| size.as_ref().map_or(0, |(len, ..)| *len);
        self.len = self.len - len(&before) + len(&after);
        if let Some(before) = &before {
            self.sizes.remove(before);
        }
        if let Some(after) = after {
            self.sizes.insert(after);
        } else {
            self.of_tenants.remove(tenant);
        }
        done
    }
}

#[cfg(test)]
mod tests {
    use alloc::{vec, vec::Vec};

    use super::*;

    fn of(log: &Fair<u32>, tenant: &TenantId) -> Vec<u32> {
        log.of(tenant).copied().collect()
    }

    #[test]
    fn tenant_with_most_items_loses_only_its_own() {
        let [quiet, loud, other] = ["quiet", "loud", "other"].map(|id| id.parse().unwrap());
        let mut log = Fair::new(6);
        for item in 0..2 {
            assert_eq!(log.push(&quiet, item), None);
        }
        for item in 0..100 {
            log.push(&loud, item);
        }
        assert_eq!(of(&log, &quiet), [0, 1]);
        assert_eq!(of(&log, &loud), [96, 97, 98, 99]);
        // A new item of a tenant with fewer items replaces one of the tenant with the most.
        for item in 0..2 {
            assert_eq!(log.push(&other, item), Some((loud.clone(), 96 + item)));
        }
        assert_eq!((of(&log, &quiet), of(&log, &loud)), (vec![0, 1], vec![98, 99]));
        assert_eq!((log.len, log.sizes.len(), log.of_tenants.len()), (6, 3, 3));
    }

    #[test]
    fn removed_items_take_no_room() {
        let [one, two] = ["one", "two"].map(|id| id.parse().unwrap());
        let mut log = Fair::new(3);
        for item in 0..3 {
            log.push(&one, item);
        }
        log.remove_first(&one, |item| *item == 1);
        log.remove_first(&one, |item| *item == 9);
        log.remove_first(&two, |_| true);
        assert_eq!(of(&log, &one), [0, 2]);
        assert_eq!(log.push(&two, 7), None);
        log.retain(&one, |item| *item == 9);
        assert_eq!((log.len, log.sizes.len(), log.of_tenants.len()), (1, 1, 1));
    }

    /// With more tenants than `capacity`, each new item is kept and the oldest is dropped.
    #[test]
    fn newest_item_is_kept_for_any_tenant_id() {
        let tenants = ["d", "a", "e", "b", "c"].map(|id| id.parse().unwrap());
        let mut log = Fair::new(3);
        for (item, tenant) in (0_u32..).zip(tenants.iter().cycle().take(50)) {
            let dropped = log.push(tenant, item);
            assert_eq!(dropped.map(|(_, item)| item), item.checked_sub(3));
            assert_eq!(of(&log, tenant), [item]);
        }
    }
}
