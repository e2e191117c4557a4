//! Pages of all keys of all tenants, for jobs of the application.

use alloc::vec::Vec;
use core::num::NonZeroUsize;

use super::{Keyring, KeyringError, Page};
use crate::{
    record::{KeyRecord, TenantId, TenantRecord},
    store::{KeyCursor, KeyFilter, KeyQuery, StoreError, TenantFacts},
};

/// Maximum number of tenant and key rows that are read for one page. It bounds the time of a page, however
/// few keys match.
const ROWS: usize = 1_000;

/// A position in the walk over all keys. Keys are ordered by the id of their tenant, then by their creation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WalkCursor {
    /// The tenant.
    pub tenant: TenantId,
    /// The position among the tenant's keys, or `None` after all of them.
    pub key: Option<KeyCursor>,
}

impl Keyring {
    /// Returns one page of the keys of all tenants that match `filter`, starting after `after`.
    ///
    /// Reads at most about 1,000 rows, so a page may have few keys or none and still have a
    /// [`next`](Page::next). Only a page without `next` is the last one. Tenant and key rows that cannot be
    /// shown are in [`Page::broken`] and reported to the audit sink. The keys of a tenant are returned even
    /// if the tenant's own row is broken.
    ///
    /// ```
    /// # use keyway::{Keyring, MemoryStore, Pepper, Policy, store::KeyFilter};
    /// # pollster::block_on(async {
    /// # let policy: Policy = serde_json::from_str(r#"{ "issuer": "mm", "scopes": [] }"#)?;
    /// # let keyring = Keyring::builder(policy, Pepper::from_bytes(&[7; 32])?)
    /// #     .environment("live").store(MemoryStore::new()).build()?;
    /// # keyring.create_tenant("acme", "lite").await?;
    /// let mut after = None;
    /// loop {
    ///     let page = keyring.all_keys(&KeyFilter::all(), after.as_ref()).await?;
    ///     for key in &page.items {
    ///         println!("{} of {} expires at {:?}", key.id(), key.tenant(), key.expires_at());
    ///     }
    ///     for broken in &page.broken {
    ///         eprintln!("{broken}");
    ///     }
    ///     match page.next {
    ///         Some(next) => after = Some(next),
    ///         None => break,
    ///     }
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// [`KeyringError::Unavailable`]. Repeat the call with the same `after`.
    pub async fn all_keys(
        &self,
        filter: &KeyFilter,
        after: Option<&WalkCursor>,
    ) -> Result<Page<KeyRecord, WalkCursor>, KeyringError> {
        let mut walk = Walk { filter, page: Page::only(Vec::new()), left: ROWS };
        let mut last = after.map(|cursor| cursor.tenant.clone());
        if let Some(WalkCursor { tenant, key: Some(place) }) = after {
            let facts = self.facts_for(filter, tenant).await?;
            if !self.walk_keys(tenant, facts.as_ref(), Some(*place), &mut walk).await? {
                return Ok(walk.page);
            }
        }
        loop {
            let Some(limit) = NonZeroUsize::new(walk.left.min(100)) else {
                walk.page.next = last.map(|tenant| WalkCursor { tenant, key: None });
                return Ok(walk.page);
            };
            let tenants = self.read_tenants(last.as_ref(), limit).await?;
            for row in tenants.rows {
                let (id, facts) = match row {
                    Ok(tenant) => (Some(tenant.id.clone()), Some(self.facts(tenant))),
                    Err(broken) => {
                        self.record_broken(&broken);
                        let id = broken.tenant().cloned();
                        walk.page.broken.push(broken);
                        (id, None)
                    }
                };
                let Some(id) = id else { continue };
                walk.left = walk.left.saturating_sub(1);
                if !self.walk_keys(&id, facts.as_ref(), None, &mut walk).await? {
                    return Ok(walk.page);
                }
                last = last.max(Some(id));
                if walk.left == 0 {
                    break;
                }
            }
            if tenants.next.is_none() && walk.left > 0 {
                return Ok(walk.page);
            }
        }
    }

    /// Returns the facts about `tenant` on which filters depend.
    pub(crate) fn facts(&self, tenant: TenantRecord) -> TenantFacts {
        TenantFacts::new(tenant, self.policy(), self.now())
    }

    /// Returns the facts about `tenant`, if `filter` depends on them.
    async fn facts_for(
        &self,
        filter: &KeyFilter,
        tenant: &TenantId,
    ) -> Result<Option<TenantFacts>, KeyringError> {
        if !filter.needs_tenant() {
            return Ok(None);
        }
        match self.find_tenant(tenant).await {
            Ok(tenant) => Ok(Some(self.facts(tenant))),
            // The tenant's keys are matched by their own expiry. The page that read the tenant's row has
            // reported it.
            Err(
                KeyringError::NoTenant(_)
                | KeyringError::Refused(_)
                | KeyringError::Unavailable(StoreError::Corrupt(_)),
            ) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Reads the keys of one tenant after `place`. Returns `false` if there are more, and the page ends
    /// here.
    async fn walk_keys(
        &self,
        tenant: &TenantId,
        facts: Option<&TenantFacts>,
        place: Option<KeyCursor>,
        walk: &mut Walk<'_>,
    ) -> Result<bool, KeyringError> {
        let query = KeyQuery::all().limit(walk.left.max(1));
        let query = match place {
            Some(place) => query.after(place),
            None => query,
        };
        let keys = self.read_keys(tenant, &query).await?;
        let next = keys.next;
        walk.left = walk.left.saturating_sub(keys.rows.len());
        let read = self.report(keys);
        walk.page
            .items
            .extend(read.items.into_iter().filter(|key| walk.filter.matches_in(key, facts)));
        walk.page.broken.extend(read.broken);
        walk.page.next = next.map(|key| WalkCursor { tenant: tenant.clone(), key: Some(key) });
        Ok(next.is_none())
    }
}

/// A page that is being read.
struct Walk<'f> {
    filter: &'f KeyFilter,
    page: Page<KeyRecord, WalkCursor>,
    /// Number of rows that may still be read.
    left: usize,
}
