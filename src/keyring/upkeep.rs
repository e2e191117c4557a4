//! Maintenance walks over all tenants. The service continues to work meanwhile.

use alloc::vec::Vec;
use core::{num::NonZeroUsize, time::Duration};

use super::{Keyring, KeyringError};
use crate::{
    record::{KeyRecord, TenantId, TenantRecord},
    store::{BrokenRow, KeyQuery},
    token::KeyId,
};

/// Number of tenants that are read at a time.
const BATCH: NonZeroUsize = NonZeroUsize::MIN.saturating_add(99);

/// The progress of a walk over all tenants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Upkeep {
    /// Number of tenants that have been processed.
    pub tenants: u64,
    /// Number of records that were changed or deleted.
    pub changed: u64,
    /// Tenants whose seal is broken, or whose row cannot be read. Their rows are left unchanged.
    pub tampered_tenants: Vec<TenantId>,
    /// Keys whose seal is broken, whose row cannot be read, or that the store returned in the place of other
    /// keys. Their rows are left unchanged.
    pub tampered_keys: Vec<KeyId>,
    /// Number of rows that cannot be read and have no readable id. They are left unchanged.
    pub unnamed: u64,
    /// The last tenant that was processed. Pass it as `after` to continue the walk.
    pub last: Option<TenantId>,
}

impl Keyring {
    /// Reseals all rows of the tenants after `after` that carry the seal of an older pepper. No token is
    /// needed. The service continues meanwhile: a concurrent change of a row seals that row.
    ///
    /// A broken row is named in the result and reported to the audit sink. It does not end the walk.
    ///
    /// `on_progress` is called from time to time. To continue after an error or a restart, pass the
    /// [`last`](Upkeep::last) of its latest call as `after`.
    ///
    /// ```
    /// # use keyway::{Keyring, MemoryStore, Pepper, Policy};
    /// # pollster::block_on(async {
    /// # let policy: Policy = serde_json::from_str(r#"{ "issuer": "mm", "scopes": [] }"#)?;
    /// # let keyring = Keyring::builder(policy, Pepper::from_bytes(&[7; 32])?)
    /// #     .environment("live").store(MemoryStore::new()).build()?;
    /// let done = keyring
    ///     .reseal(None, |so_far| println!("{} tenants", so_far.tenants))
    ///     .await?;
    /// assert!(done.tampered_tenants.is_empty() && done.tampered_keys.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// [`KeyringError::Unavailable`]. Rows that were already resealed remain so.
    pub async fn reseal(
        &self,
        after: Option<&TenantId>,
        on_progress: impl FnMut(&Upkeep) + Send,
    ) -> Result<Upkeep, KeyringError> {
        self.walk(after, Task::Reseal, on_progress).await
    }

    /// Permanently deletes the keys of the tenants after `after` whose own expiry was more than `age` ago. A
    /// key that was ended only by the longest lifetime of its tenant's tier stays, because on another tier
    /// it is valid again.
    ///
    /// Reads all keys, and calls `on_progress` like [`reseal`](Self::reseal). A key that is changed between
    /// its reading and its deletion stays, because it may have been renewed. A key whose seal is broken
    /// stays, because its expiry may be forged.
    ///
    /// # Errors
    ///
    /// [`KeyringError::Unavailable`]. Keys that were already deleted remain so.
    pub async fn purge_expired(
        &self,
        age: Duration,
        after: Option<&TenantId>,
        on_progress: impl FnMut(&Upkeep) + Send,
    ) -> Result<Upkeep, KeyringError> {
        self.walk(after, Task::PurgeExpired(age), on_progress).await
    }

    async fn walk(
        &self,
        after: Option<&TenantId>,
        task: Task,
        mut on_progress: impl FnMut(&Upkeep) + Send,
    ) -> Result<Upkeep, KeyringError> {
        let mut so_far = Upkeep { last: after.cloned(), ..Upkeep::default() };
        loop {
            let page = self.read_tenants(so_far.last.as_ref(), BATCH).await?;
            for row in page.rows {
                let id = match &row {
                    Ok(tenant) => Some(tenant.id.clone()),
                    Err(broken) => broken.tenant().cloned(),
                };
                match row {
                    Ok(tenant) => self.see_to_tenant(tenant, task, &mut so_far).await?,
                    Err(broken) => self.note(&broken, &mut so_far),
                }
                // The keys of a tenant are processed even if the tenant's own row is broken.
                if let Some(id) = id {
                    self.see_to_keys(&id, task, &mut so_far).await?;
                    so_far.tenants += 1;
                    so_far.last = so_far.last.max(Some(id));
                }
            }
            on_progress(&so_far);
            if page.next.is_none() {
                return Ok(so_far);
            }
        }
    }

    fn note(&self, broken: &BrokenRow, so_far: &mut Upkeep) {
        self.record_broken(broken);
        match (broken.is_key(), broken.key(), broken.tenant()) {
            (true, Some(key), _) => so_far.tampered_keys.push(key),
            (false, _, Some(tenant)) => so_far.tampered_tenants.push(tenant.clone()),
            (true, None, _) | (false, _, None) => so_far.unnamed += 1,
        }
    }

    async fn see_to_tenant(
        &self,
        mut tenant: TenantRecord,
        task: Task,
        so_far: &mut Upkeep,
    ) -> Result<(), KeyringError> {
        let seals = self.authority().seals();
        if task == Task::Reseal && !seals.is_current(tenant.seal()) {
            let replaces = seals.next_tenant(&mut tenant);
            count(self.update_tenant(&tenant, replaces, None).await, so_far)?;
        }
        Ok(())
    }

    async fn see_to_keys(
        &self,
        tenant: &TenantId,
        task: Task,
        so_far: &mut Upkeep,
    ) -> Result<(), KeyringError> {
        let mut query = KeyQuery::all().limit(KeyQuery::MAX_LIMIT);
        loop {
            let page = self.read_keys(tenant, &query).await?;
            for row in page.rows {
                match row {
                    Ok(key) => self.see_to_key(key, task, so_far).await?,
                    Err(broken) => self.note(&broken, so_far),
                }
            }
            match page.next {
                Some(next) => query = query.after(next),
                None => return Ok(()),
            }
        }
    }

    async fn see_to_key(
        &self,
        mut key: KeyRecord,
        task: Task,
        so_far: &mut Upkeep,
    ) -> Result<(), KeyringError> {
        let seals = self.authority().seals();
        match task {
            Task::Reseal if !seals.is_current(key.seal()) => {
                let replaces = seals.next_key_version(&mut key);
                count(self.update_key(&key, replaces, None).await, so_far)
            }
            Task::PurgeExpired(age)
                if key.expires_at.is_some_and(|end| self.now().saturating_since(end) > age) =>
            {
                // Only the version that was read is deleted: the key may have been renewed since.
                let deleted = self.tenant(key.tenant).delete_version(key.id, key.version).await;
                count(deleted, so_far)
            }
            Task::Reseal | Task::PurgeExpired(_) => Ok(()),
        }
    }
}

/// The operation of a walk on each record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Task {
    Reseal,
    PurgeExpired(Duration),
}

/// Counts a change. A record that was changed or deleted concurrently needs no further change.
fn count(result: Result<(), KeyringError>, so_far: &mut Upkeep) -> Result<(), KeyringError> {
    match result {
        Ok(()) => {
            so_far.changed += 1;
            Ok(())
        }
        Err(KeyringError::Conflict | KeyringError::NoKey | KeyringError::NoTenant(_)) => Ok(()),
        Err(error) => Err(error),
    }
}
