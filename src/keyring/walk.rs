//! Pages of all keys of all tenants, for jobs of the application.

use alloc::vec::Vec;
use core::num::NonZeroUsize;

use super::{Keyring, KeyringError, Page};
use crate::{
    record::{KeyRecord, TenantId},
    store::{KeyCursor, KeyQuery, StoreError},
    tier::Tier,
    time::Timestamp,
};

/// Maximum number of tenant and key rows that are read for one page. It bounds the time of a page, however
/// few keys match.
const ROWS: usize = 1_000;

/// Selects the keys that [`Keyring::all_keys`] returns. Each further condition narrows the selection.
///
/// ```
/// use keyway::{Timestamp, keyring::KeyFilter};
///
/// let soon: Timestamp = "2026-12-24T00:00:00Z".parse()?;
/// let filter = KeyFilter::all().expiring_before(soon).imported();
/// # Ok::<(), keyway::record::InvalidField>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct KeyFilter {
    expiring_before: Option<Timestamp>,
    unused_since: Option<Timestamp>,
    imported: bool,
}

impl KeyFilter {
    /// Selects all keys, in any state.
    pub fn all() -> Self {
        Self::default()
    }

    /// Selects keys that end before `time`, including those that have already ended. A key ends by its
    /// expiry or by the longest lifetime of its tenant's tier. A key that neither of them ends is not
    /// selected.
    pub fn expiring_before(mut self, time: Timestamp) -> Self {
        self.expiring_before = Some(self.expiring_before.map_or(time, |known| known.min(time)));
        self
    }

    /// Selects keys that were created before `time` and not used since, according to the store. A use
    /// reaches the store with the next [flush](Keyring::flush_uses) of the node that saw it. A node that has
    /// only a [`Verifier`](crate::verifier::Verifier) records no uses, so a key that is used only there is
    /// selected too. An imported key that has a last
    /// use counts from that alone, which may be the one that was
    /// [imported with it](crate::authority::ImportedKey::last_used).
    pub fn unused_since(mut self, time: Timestamp) -> Self {
        self.unused_since = Some(self.unused_since.map_or(time, |known| known.min(time)));
        self
    }

    /// Selects keys that were imported from another system and not rotated since.
    pub fn imported(mut self) -> Self {
        self.imported = true;
        self
    }

    /// Returns whether `key` matches, according to its own expiry.
    pub fn matches(&self, key: &KeyRecord) -> bool {
        self.matches_on(key, None)
    }

    /// Returns whether `key` matches while its tenant is on `tier`. The tier may end the key before its
    /// expiry.
    pub fn matches_on(&self, key: &KeyRecord, tier: Option<&Tier>) -> bool {
        let expires = |before| key.effective_expiry_on(tier).is_some_and(|end| end < before);
        let is_unused = |since| match key.last_used() {
            Some(used) if key.imported => used < since,
            used => key.created_at < since && used.is_none_or(|used| used < since),
        };
        self.expiring_before.is_none_or(expires)
            && self.unused_since.is_none_or(is_unused)
            && (!self.imported || key.imported())
    }
}

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
    /// # use keyway::{Keyring, MemoryStore, Pepper, Policy, keyring::KeyFilter};
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
            let tier = self.tier_for(filter, tenant).await?;
            if !self.walk_keys(tenant, tier, Some(*place), &mut walk).await? {
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
                let (id, tier) = match row {
                    Ok(tenant) => (Some(tenant.id), self.policy().tier(&tenant.tier)),
                    Err(broken) => {
                        self.record_broken(&broken);
                        let id = broken.tenant().cloned();
                        walk.page.broken.push(broken);
                        (id, None)
                    }
                };
                let Some(id) = id else { continue };
                walk.left = walk.left.saturating_sub(1);
                if !self.walk_keys(&id, tier, None, &mut walk).await? {
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

    /// Returns the tier of `tenant`, if `filter` depends on it.
    async fn tier_for(
        &self,
        filter: &KeyFilter,
        tenant: &TenantId,
    ) -> Result<Option<&Tier>, KeyringError> {
        if filter.expiring_before.is_none() {
            return Ok(None);
        }
        match self.find_tenant(tenant).await {
            Ok(tenant) => Ok(self.policy().tier(&tenant.tier)),
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
        tier: Option<&Tier>,
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
            .extend(read.items.into_iter().filter(|key| walk.filter.matches_on(key, tier)));
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
