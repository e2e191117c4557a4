//! Walks over all tenants that keep a store in order while the service goes on.

use alloc::vec::Vec;
use core::{num::NonZeroUsize, time::Duration};

use super::{Keyring, KeyringError};
use crate::{
    audit::AuditKind,
    record::{KeyRecord, TenantId, TenantRecord},
    store::{KeyCursor, KeyQuery, KeyStore},
    token::KeyId,
};

/// How many tenants are read at a time.
const BATCH: NonZeroUsize = NonZeroUsize::MIN.saturating_add(99);

/// How far a walk over all tenants has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Upkeep {
    /// How many tenants have been seen to.
    pub tenants: u64,
    /// How many records were changed or deleted.
    pub changed: u64,
    /// Tenants whose seal is broken. They were left as they are.
    pub tampered_tenants: Vec<TenantId>,
    /// Keys whose seal is broken. They were left as they are.
    pub tampered_keys: Vec<KeyId>,
    /// The last tenant that was seen to. A walk that begins behind it goes on from there.
    pub last: Option<TenantId>,
}

impl Keyring {
    /// Seals all rows of tenants behind `after` anew, as far as they carry the seal of an older
    /// pepper. No token is needed, and the service goes on meanwhile: a row that is changed at the
    /// same time is sealed by that change.
    ///
    /// Now and then `on_progress` is told how far it is. To go on after an error or a restart, begin
    /// behind the [`last`](Upkeep::last) that it was told.
    ///
    /// ```
    /// # use keyway::{keyring::Keyring, pepper::Pepper, policy::Policy, store::MemoryStore};
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
    /// [`KeyringError::Unavailable`]. What was sealed stays so.
    pub async fn reseal(
        &self,
        after: Option<&TenantId>,
        on_progress: impl FnMut(&Upkeep) + Send,
    ) -> Result<Upkeep, KeyringError> {
        self.walk(after, Task::Reseal, on_progress).await
    }

    /// Deletes the keys of tenants behind `after` that expired more than `age` ago, for good.
    ///
    /// It reads all keys, and tells `on_progress` as [`reseal`](Self::reseal) does. A key whose seal is
    /// broken stays, since its expiry may be somebody's invention.
    ///
    /// # Errors
    ///
    /// [`KeyringError::Unavailable`]. What was deleted stays so.
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
            let tenants = self.store().tenants(so_far.last.as_ref(), BATCH).await;
            let tenants = tenants.map_err(KeyringError::of)?;
            if tenants.is_empty() {
                return Ok(so_far);
            }
            for tenant in tenants {
                self.see_to_tenant(&tenant, task, &mut so_far).await?;
                self.see_to_keys(&tenant.id, task, &mut so_far).await?;
                so_far.tenants += 1;
                so_far.last = Some(tenant.id);
            }
            on_progress(&so_far);
        }
    }

    async fn see_to_tenant(
        &self,
        tenant: &TenantRecord,
        task: Task,
        so_far: &mut Upkeep,
    ) -> Result<(), KeyringError> {
        let seals = self.authority().seals();
        if seals.check_tenant(tenant).is_err() {
            self.record(&tenant.id, None, AuditKind::Tampered);
            so_far.tampered_tenants.push(tenant.id.clone());
        } else if task == Task::Reseal && !seals.is_current(tenant.seal()) {
            let mut changed = tenant.clone();
            let replaces = seals.next_tenant(&mut changed);
            count(self.update_tenant(&changed, replaces).await, so_far)?;
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
            let keys = self.store().keys(tenant, &query).await.map_err(KeyringError::of)?;
            let Some(last) = keys.last() else {
                return Ok(());
            };
            query = query.after(KeyCursor::of(last));
            for key in keys {
                self.see_to_key(key, task, so_far).await?;
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
        if seals.check_key(&key).is_err() {
            self.record(&key.tenant, Some(key.id), AuditKind::Tampered);
            so_far.tampered_keys.push(key.id);
            return Ok(());
        }
        match task {
            Task::Reseal if !seals.is_current(key.seal()) => {
                let replaces = seals.next_key(&mut key);
                count(self.update_key(&key, replaces).await, so_far)
            }
            Task::PurgeExpired(age)
                if key.expires_at.is_some_and(|end| self.now().saturating_since(end) > age) =>
            {
                let deleted = self.tenant(key.tenant).delete(key.id).await;
                count(deleted, so_far)
            }
            Task::Reseal | Task::PurgeExpired(_) => Ok(()),
        }
    }
}

/// What a walk does to each record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Task {
    Reseal,
    PurgeExpired(Duration),
}

/// A record that somebody else changed or deleted at the same time needs nothing any more.
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
