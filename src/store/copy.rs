//! Copies what is in one store to another.

#[cfg(feature = "std")]
mod limits;
#[cfg(feature = "std")]
mod usage;

use alloc::{collections::BTreeSet, vec::Vec};
use core::num::NonZeroUsize;

#[cfg(feature = "std")]
pub use self::{limits::copy_limits, usage::copy_usage};
use super::{BrokenRow, KeyCursor, KeyQuery, KeyStore, KeyUse, StoreError};
use crate::{
    record::{KeyRecord, TenantId, TenantRecord},
    time::Timestamp,
    token::KeyId,
};

/// The result of [`copy`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Copied {
    /// The number of tenants that are now in both stores.
    pub tenants: u64,
    /// The number of keys that are now in both stores.
    pub keys: u64,
    /// The rows that cannot be read and therefore were not copied. If the row of a tenant is broken, the
    /// tenant's keys were not copied either.
    pub broken: Vec<BrokenRow>,
    /// The tenants that exist only in the target store. A tenant that an earlier copy created there was
    /// deleted in the source store since. Delete such a tenant in the target too, or its keys stay valid.
    pub only_there: Vec<TenantId>,
}

/// The reason why a copy stopped. Call the function again after the cause is gone.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CopyError {
    /// The source store cannot be read.
    #[error("the store that is copied cannot be read")]
    From(#[source] StoreError),
    /// The target store cannot be written.
    #[error("the other store cannot be written")]
    To(#[source] StoreError),
    /// The target store already has another tenant with this id. Deleting that tenant is not enough, since
    /// its keys could not be inserted again.
    #[error("tenant `{0}` is in the other store with another record; copy into an empty store")]
    TenantDiffers(TenantId),
    /// The target store has another key with this id, or once had one.
    #[error("key {0} is or was in the other store with another record; copy into an empty store")]
    KeyDiffers(KeyId),
    /// The target store has keys of this tenant that the source store does not have. Keys that an earlier
    /// copy created there were deleted in the source store since.
    #[error(
        "tenant `{0}` has keys in the other store that were deleted here or never were here; copy into an \
         empty store"
    )]
    MoreKeys(TenantId),
    /// The target store belongs to another issuer, environment or pepper, according to its
    /// [marker](super::KeyLookup::marker). Its keyring would treat the copied records as tampered.
    #[error("the other store belongs to another issuer, environment or pepper")]
    OtherOwner,
    /// The target store has usage of this tenant that the source store does not have, or has not kept what was copied. The
    /// source may have rolled up or deleted usage since an earlier copy, or a node has counted in the target.
    #[error("the usage of tenant `{0}` differs in the other store; copy into an empty store")]
    UsageDiffers(TenantId),
    /// The target store has fewer used units of an allowance of this tenant than the source store, although they were
    /// copied. The tenant would get the difference again.
    #[error("tenant `{0}` has fewer used units in the other store after they were copied")]
    FewerUnits(TenantId),
}

/// Copies all tenants and keys from `from` to `to`, with their last uses. Use it to move from one database to
/// another, together with the functions for what else the store has:
///
/// | in the store | |
/// |---|---|
/// | tenants, keys and last uses | `copy` |
/// | [usage](https://docs.rs/keyway/latest/keyway/store/trait.UsageStore.html) | [`copy_usage`](https://docs.rs/keyway/latest/keyway/store/fn.copy_usage.html) |
/// | used units of [allowances](https://docs.rs/keyway/latest/keyway/store/trait.LimitStore.html) | [`copy_limits`](https://docs.rs/keyway/latest/keyway/store/fn.copy_limits.html) |
/// | [durable events](crate::event) | are not copied, see below |
/// | the table of audit events | is not copied |
///
/// Records are copied byte for byte, so every token and every seal stays valid under the same peppers. Stop
/// everything that writes to either store first, because changes made during the copy may be missed.
///
/// After an error or a crash, call `copy` again. Records that are already in the target are compared and not
/// written again.
///
/// If the source store has been written to again since, copy into an empty store. `copy` detects keys that
/// were deleted or changed since, but does not copy these changes over.
///
/// The ids of deleted keys are not copied. Ids are random, so no new key gets one of them. Two cases differ:
/// a request that is repeated with the idempotency text of a deleted key issues a new key, and a deleted
/// imported key can be imported again.
///
/// # Durable events
///
/// Events are not copied. The events of the target store begin with the first change there, and the numbers of each tenant
/// begin at 1 again. Receivers that recognize repetitions by the number of an event have to forget the numbers, or use its
/// [id](crate::event::Event::id).
///
/// Before the copy, deliver what is not delivered, after everything is stopped that changes keys: call
/// [`Events::next`](https://docs.rs/keyway/latest/keyway/keyring/struct.Events.html#method.next) until
/// [`has_undelivered_events`](https://docs.rs/keyway/latest/keyway/store/trait.EventStore.html#tymethod.has_undelivered_events)
/// returns `false`. Events that are not delivered are lost with the source store. If the history of a tenant is needed, keep
/// the source store, or write out what
/// [`Events::of_tenant`](https://docs.rs/keyway/latest/keyway/keyring/struct.Events.html#method.of_tenant) returns.
///
/// ```
/// use keyway::{MemoryStore, store::{EventStore, copy, copy_limits, copy_usage}};
///
/// # pollster::block_on(async {
/// let (from, to) = (MemoryStore::new(), MemoryStore::new());
/// if from.has_undelivered_events().await? {
///     return Err("deliver the events first".into());
/// }
/// let copied = copy(&from, &to).await?;
/// assert!(copied.broken.is_empty());
/// copy_usage(&from, &to).await?;
/// copy_limits(&from, &to).await?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
///
/// # Errors
///
/// [`CopyError`].
pub async fn copy(from: &impl KeyStore, to: &impl KeyStore) -> Result<Copied, CopyError> {
    const PAGE: NonZeroUsize = NonZeroUsize::MIN.saturating_add(999);
    // The marker is copied first. A node that opens the copy with other peppers is then detected, as with the
    // original.
    if let Some(marker) = from.marker().await.map_err(CopyError::From)? {
        match to.marker().await.map_err(CopyError::To)? {
            None => to.set_marker(&marker, None).await.map_err(CopyError::To)?,
            Some(there) if !is_same_owner(&marker, &there) => return Err(CopyError::OtherOwner),
            Some(_) => {}
        }
    }
    let (mut copied, mut after, mut ids) = (Copied::default(), None, BTreeSet::new());
    loop {
        let page = from.tenants(after.as_ref(), PAGE).await.map_err(CopyError::From)?;
        let last = page.iter().rev().find_map(|row| match row {
            Ok(tenant) => Some(tenant.id.clone()),
            Err(broken) => broken.tenant().cloned(),
        });
        for row in page {
            match row {
                Ok(tenant) => {
                    ids.insert(tenant.id.clone());
                    copy_tenant(from, to, tenant, &mut copied).await?;
                }
                Err(broken) => {
                    ids.extend(broken.tenant().cloned());
                    copied.broken.push(broken);
                }
            }
        }
        match last {
            Some(last) => after = Some(last),
            None => break,
        }
    }
    let mut after = None;
    loop {
        let page = to.tenants(after.as_ref(), PAGE).await.map_err(CopyError::To)?;
        let found = page.into_iter().filter_map(|row| match row {
            Ok(tenant) => Some(tenant.id),
            Err(broken) => broken.tenant().cloned(),
        });
        let found: Vec<_> = found.collect();
        copied.only_there.extend(found.iter().filter(|id| !ids.contains(id)).cloned());
        match found.last() {
            Some(last) => after = Some(last.clone()),
            None => return Ok(copied),
        }
    }
}

/// Checks whether both markers have the same issuer and environment, and share a pepper.
#[cfg(feature = "std")]
fn is_same_owner(marker: &[u8], there: &[u8]) -> bool {
    crate::seal::is_same_owner(marker, there)
}

/// Always true: without `std` nothing writes markers.
#[cfg(not(feature = "std"))]
fn is_same_owner(_: &[u8], _: &[u8]) -> bool {
    true
}

async fn copy_tenant(
    from: &impl KeyStore,
    to: &impl KeyStore,
    tenant: TenantRecord,
    copied: &mut Copied,
) -> Result<(), CopyError> {
    match to.insert_tenant(tenant.clone(), None, &[]).await {
        Ok(()) => {}
        Err(StoreError::Exists) => {
            let there = to.tenant(&tenant.id).await.map_err(CopyError::To)?;
            if there.as_ref() != Some(&tenant) {
                return Err(CopyError::TenantDiffers(tenant.id));
            }
        }
        Err(error) => return Err(CopyError::To(error)),
    }
    copied.tenants += 1;
    let mut keys: u32 = 0;
    let mut query = KeyQuery::all().limit(KeyQuery::MAX_LIMIT);
    loop {
        let page = from.keys(&tenant.id, &query).await.map_err(CopyError::From)?;
        let last = page.iter().rev().find_map(|row| match row {
            Ok(key) => Some(KeyCursor::of(key)),
            Err(broken) => broken.cursor(),
        });
        let mut uses = Vec::new();
        for row in page {
            match row {
                Ok(key) => {
                    uses.extend(key.last_used().map(|at| KeyUse { id: key.id, at }));
                    copy_key(to, key, tenant.version).await?;
                    copied.keys += 1;
                    keys = keys.saturating_add(1);
                }
                Err(broken) => copied.broken.push(broken),
            }
        }
        // A later use that is already stored was recorded by a node that uses the target store. It is kept.
        if !uses.is_empty() {
            to.record_uses(&uses, Timestamp::MAX).await.map_err(CopyError::To)?;
        }
        match last {
            Some(last) => query = query.after(last),
            None => break,
        }
    }
    let up_to = keys.saturating_add(1);
    if to.count_keys(&tenant.id, up_to).await.map_err(CopyError::To)? > keys {
        return Err(CopyError::MoreKeys(tenant.id));
    }
    Ok(())
}

/// Inserts without a quota: the target may hold as many keys as the source.
async fn copy_key(
    to: &impl KeyStore,
    key: KeyRecord,
    tenant_version: u64,
) -> Result<(), CopyError> {
    match to.insert_key(key.clone(), tenant_version, None, &[]).await {
        Ok(()) => Ok(()),
        Err(StoreError::Exists) => {
            let there = to.key(&key.tenant, key.id).await.map_err(CopyError::To)?;
            let same = |there: KeyRecord| without_use(there) == without_use(key.clone());
            if there.is_some_and(same) { Ok(()) } else { Err(CopyError::KeyDiffers(key.id)) }
        }
        Err(error) => Err(CopyError::To(error)),
    }
}

fn without_use(key: KeyRecord) -> KeyRecord {
    key.with_last_used(None::<Timestamp>)
}
