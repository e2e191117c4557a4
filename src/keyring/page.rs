//! Pages of records. Broken rows are reported instead of returned as items.

use alloc::vec::Vec;
use core::num::NonZeroUsize;

use super::{Keyring, KeyringError};
use crate::{
    audit::AuditKind,
    record::{KeyRecord, RecordError, TenantId, TenantRecord},
    store::{BrokenRow, KeyCursor, KeyQuery, KeyStore, Rows},
};

/// One page of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T, C = KeyCursor> {
    /// The items, in order.
    pub items: Vec<T>,
    /// The cursor of the next page. `None` on the last page.
    pub next: Option<C>,
    /// The rows of this page that cannot be shown. They cannot be read, their seal is broken, or the store
    /// returned them in the place of other rows. Each is reported to the audit sink. The other rows are not
    /// affected.
    pub broken: Vec<BrokenRow>,
}

impl<T, C> Page<T, C> {
    /// Returns a page with these items and no next page.
    pub(crate) fn only(items: Vec<T>) -> Self {
        Self { items, next: None, broken: Vec::new() }
    }
}

/// A page whose rows have been checked, in the order of the store.
pub(super) struct Checked<T, C> {
    pub(super) rows: Rows<T>,
    /// The cursor of the next page. `None` on the last page.
    pub(super) next: Option<C>,
}

impl<T, C: Clone + Ord> Checked<T, C> {
    /// Keeps the first `limit` rows that have a cursor, and the rows without a cursor between them.
    ///
    /// INVARIANT: cursors strictly increase. A row whose cursor is not greater than that of the row before
    /// is reported as misplaced, and no page continues after it. Otherwise a store that returns rows out of
    /// order or twice could make a walk over its pages endless.
    fn of(
        rows: Rows<T>,
        after: Option<C>,
        limit: usize,
        place: impl Fn(&Result<T, BrokenRow>) -> Option<C>,
        mut check: impl FnMut(Result<T, BrokenRow>, bool) -> Result<T, BrokenRow>,
    ) -> Self {
        let (mut kept, mut last, mut placed) = (Vec::new(), after, 0);
        for row in rows {
            let place = place(&row);
            let is_named = place.is_some();
            let advances = place.as_ref().is_some_and(|place| last.as_ref() < Some(place));
            if advances {
                if placed == limit {
                    return Self { rows: kept, next: last };
                }
                placed += 1;
                last = place;
            }
            kept.push(check(row, advances || !is_named));
        }
        Self { rows: kept, next: None }
    }
}

impl Keyring {
    /// Reads one page of the keys of `tenant`. Checks that each belongs to the tenant and has a valid seal.
    pub(super) async fn read_keys(
        &self,
        tenant: &TenantId,
        query: &KeyQuery,
    ) -> Result<Checked<KeyRecord, KeyCursor>, KeyringError> {
        let one_more = query.clone().one_more();
        let rows = self.store().keys(tenant, &one_more).await.map_err(KeyringError::of)?;
        let place = |row: &Result<KeyRecord, BrokenRow>| match row {
            Ok(key) => Some(KeyCursor::of(key)),
            Err(broken) => broken.cursor(),
        };
        let check = |row: Result<KeyRecord, BrokenRow>, is_in_place: bool| {
            let seals = self.authority().seals();
            row.and_then(|key| {
                if key.tenant != *tenant || !is_in_place {
                    Err(BrokenRow::key_with(tenant, &key, RecordError::Misplaced))
                } else if seals.check_key(&key).is_err() {
                    Err(BrokenRow::key_with(tenant, &key, RecordError::Tampered))
                } else {
                    Ok(key)
                }
            })
        };
        Ok(Checked::of(rows, query.cursor(), query.max().get(), place, check))
    }

    /// Reads one page of all tenants. Checks that each has a valid seal.
    pub(super) async fn read_tenants(
        &self,
        after: Option<&TenantId>,
        limit: NonZeroUsize,
    ) -> Result<Checked<TenantRecord, TenantId>, KeyringError> {
        let one_more = limit.saturating_add(1);
        let rows = self.store().tenants(after, one_more).await.map_err(KeyringError::of)?;
        let place = |row: &Result<TenantRecord, BrokenRow>| match row {
            Ok(tenant) => Some(tenant.id.clone()),
            Err(broken) => broken.tenant().cloned(),
        };
        let check = |row: Result<TenantRecord, BrokenRow>, is_in_place: bool| {
            let seals = self.authority().seals();
            row.and_then(|tenant| {
                if !is_in_place {
                    Err(BrokenRow::tenant_with(&tenant, RecordError::Misplaced))
                } else if seals.check_tenant(&tenant).is_err() {
                    Err(BrokenRow::tenant_with(&tenant, RecordError::Tampered))
                } else {
                    Ok(tenant)
                }
            })
        };
        Ok(Checked::of(rows, after.cloned(), limit.get(), place, check))
    }

    /// Converts the page for a caller. Broken rows are reported to the audit sink.
    pub(super) fn report<T, C>(&self, checked: Checked<T, C>) -> Page<T, C> {
        let mut page = Page { next: checked.next, ..Page::only(Vec::new()) };
        for row in checked.rows {
            match row {
                Ok(item) => page.items.push(item),
                Err(broken) => {
                    self.record_broken(&broken);
                    page.broken.push(broken);
                }
            }
        }
        page
    }

    pub(super) fn record_broken(&self, broken: &BrokenRow) {
        let tenant = broken.tenant().map(TenantId::as_str);
        let kind = AuditKind::Tampered;
        self.engine().record(self.now(), &self.actor, tenant, broken.key(), kind);
    }
}
