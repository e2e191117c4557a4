//! What keeps a keyring in order.

use alloc::vec::Vec;

use super::{Keyring, KeyringError};
use crate::{
    audit::AuditKind,
    cache::Uses,
    record::{TenantId, TenantRecord},
    store::{KeyCursor, KeyQuery, KeyStore, KeyUse},
    token::KeyId,
};

/// How many uses are written in one call of the store.
const BATCH: usize = 1_000;

/// What one call of [`Keyring::reseal`] has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Resealed {
    /// How many tenants and keys were sealed anew.
    pub records: u64,
    /// Tenants whose seal is broken. They were left as they are.
    pub tampered_tenants: Vec<TenantId>,
    /// Keys whose seal is broken. They were left as they are.
    pub tampered_keys: Vec<KeyId>,
    /// Where to go on; `None` when all is done.
    pub next: Option<TenantId>,
}

impl Keyring {
    /// Writes the last uses of keys that the store has not been told of, in batches, and gives their
    /// number. Call it every minute or so, and before the service stops.
    ///
    /// Verification never waits for it. What a crash leaves unwritten is lost.
    ///
    /// # Errors
    ///
    /// [`KeyringError::Unavailable`]. What was not written is kept for the next call.
    pub async fn flush_uses(&self) -> Result<usize, KeyringError> {
        let shared = self.shared();
        let lost = shared.uses.take_lost();
        if lost > 0 {
            shared.record(self.now(), "", None, None, AuditKind::UsesLost(lost));
        }
        let mut written = 0;
        loop {
            let mut unwritten = Unwritten { batch: shared.uses.take(BATCH), uses: &shared.uses };
            if unwritten.batch.is_empty() {
                return Ok(written);
            }
            self.store().record_uses(&unwritten.batch).await.map_err(KeyringError::of)?;
            written += unwritten.batch.len();
            unwritten.batch.clear();
        }
    }

    /// Seals the rows of up to `limit` tenants behind `after` anew, as far as they carry the seal of
    /// an older pepper. No token is needed, and the service goes on meanwhile.
    ///
    /// Call it with [`next`](Resealed::next) until that is `None`; a row that is changed at the same
    /// time is sealed by that change.
    ///
    /// # Errors
    ///
    /// [`KeyringError::Unavailable`]. What was sealed stays so, and the same call goes on from there.
    pub async fn reseal(
        &self,
        after: Option<&TenantId>,
        limit: usize,
    ) -> Result<Resealed, KeyringError> {
        let limit = core::num::NonZeroUsize::new(limit.min(1_000));
        let limit = limit.unwrap_or(core::num::NonZeroUsize::MIN);
        let tenants = self.store().tenants(after, limit).await.map_err(KeyringError::of)?;
        let mut resealed = Resealed {
            next: (tenants.len() == limit.get())
                .then(|| tenants.last().map(|tenant| tenant.id.clone()))
                .flatten(),
            ..Resealed::default()
        };
        for tenant in tenants {
            self.reseal_tenant(&tenant, &mut resealed).await?;
            self.reseal_keys(&tenant.id, &mut resealed).await?;
        }
        Ok(resealed)
    }

    async fn reseal_tenant(
        &self,
        tenant: &TenantRecord,
        resealed: &mut Resealed,
    ) -> Result<(), KeyringError> {
        let seals = self.authority().seals();
        if seals.check_tenant(tenant).is_err() {
            self.record(&tenant.id, None, AuditKind::Tampered);
            resealed.tampered_tenants.push(tenant.id.clone());
        } else if !seals.is_current(tenant.seal()) {
            let mut changed = tenant.clone();
            let replaces = seals.next_tenant(&mut changed);
            count(self.update_tenant(&changed, replaces).await, resealed)?;
        }
        Ok(())
    }

    async fn reseal_keys(
        &self,
        tenant: &TenantId,
        resealed: &mut Resealed,
    ) -> Result<(), KeyringError> {
        let seals = self.authority().seals();
        let mut query = KeyQuery::all().limit(KeyQuery::MAX_LIMIT);
        loop {
            let keys = self.store().keys(tenant, &query).await.map_err(KeyringError::of)?;
            let Some(last) = keys.last() else {
                return Ok(());
            };
            query = query.after(KeyCursor::of(last));
            for mut key in keys {
                if seals.check_key(&key).is_err() {
                    self.record(tenant, Some(key.id), AuditKind::Tampered);
                    resealed.tampered_keys.push(key.id);
                } else if !seals.is_current(key.seal()) {
                    let replaces = seals.next_key(&mut key);
                    count(self.update_key(&key, replaces).await, resealed)?;
                }
            }
        }
    }
}

/// Uses that go back to where they were taken from, also when the flush is given up half-way.
struct Unwritten<'u> {
    batch: Vec<KeyUse>,
    uses: &'u Uses,
}

impl Drop for Unwritten<'_> {
    fn drop(&mut self) {
        for unwritten in self.batch.drain(..) {
            self.uses.record(unwritten);
        }
    }
}

/// A record that somebody else changed or deleted at the same time needs no new seal.
fn count(result: Result<(), KeyringError>, resealed: &mut Resealed) -> Result<(), KeyringError> {
    match result {
        Ok(()) => {
            resealed.records += 1;
            Ok(())
        }
        Err(KeyringError::Conflict | KeyringError::NoKey | KeyringError::NoTenant(_)) => Ok(()),
        Err(error) => Err(error),
    }
}
