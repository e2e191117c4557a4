//! Changing and deleting the keys of a tenant.

use super::{
    super::{KeyringError, Races},
    IssuedKey, TenantKeys,
};
use crate::{
    audit::{AuditKind, ChangeKind, KeyLimits},
    authority::{ChangeError, GracePeriod, KeyEdit},
    record::{KeyRecord, TenantRecord},
    store::StoredKey,
    token::KeyId,
};

impl TenantKeys {
    /// Edits the key `id`, which was read at `version`.
    ///
    /// # Errors
    ///
    /// [`KeyringError::Conflict`] if the key has another version by now, [`KeyringError::NoKey`], or
    /// [`KeyringError::Refused`] if the edit cannot be granted.
    pub async fn edit(
        &self,
        id: KeyId,
        version: u64,
        edit: KeyEdit,
    ) -> Result<KeyRecord, KeyringError> {
        let edited = self.try_edit(id, version, edit).await;
        self.audited(ChangeKind::EditKey, Some(id), edited).await
    }

    async fn try_edit(
        &self,
        id: KeyId,
        version: u64,
        edit: KeyEdit,
    ) -> Result<KeyRecord, KeyringError> {
        let key = self.find(id).await?;
        self.edit_found(&key, version, edit).await
    }

    /// Edits `key`, which was just read, if it still has the version `version`.
    async fn edit_found(
        &self,
        key: &KeyRecord,
        version: u64,
        edit: KeyEdit,
    ) -> Result<KeyRecord, KeyringError> {
        if key.version != version {
            return Err(KeyringError::Conflict);
        }
        let tenant = self.keyring.find_tenant(&self.tenant).await?;
        let changed = self.apply(key, &tenant, edit)?;
        let kind = AuditKind::KeyEdited {
            scopes: &changed.scopes,
            limits: KeyLimits::of(&changed),
            enabled: changed.enabled,
        };
        self.keyring.update_key(&changed, version, Some(kind)).await?;
        Ok(changed)
    }

    /// Enables the key `id`, whatever other changes are made to it concurrently. A key that an operator has
    /// suspended remains suspended.
    ///
    /// # Errors
    ///
    /// [`KeyringError::NoKey`].
    pub async fn enable(&self, id: KeyId) -> Result<KeyRecord, KeyringError> {
        let switched = self.switch(id, true).await;
        self.audited(ChangeKind::EditKey, Some(id), switched).await
    }

    /// Disables the key `id`, whatever other changes are made to it concurrently.
    ///
    /// # Errors
    ///
    /// [`KeyringError::NoKey`].
    pub async fn disable(&self, id: KeyId) -> Result<KeyRecord, KeyringError> {
        let switched = self.switch(id, false).await;
        self.audited(ChangeKind::EditKey, Some(id), switched).await
    }

    /// Gives the key `id`, which was read at `version`, a new secret.
    ///
    /// # Errors
    ///
    /// [`KeyringError::Conflict`] if the key has another version by now, or [`KeyringError::NoKey`].
    /// [`KeyringError::Refused`] if the key has expired, if the grace period is too long, or if three of its
    /// secrets are accepted already. See [`Authority::rotate`](crate::authority::Authority::rotate).
    pub async fn rotate(
        &self,
        id: KeyId,
        version: u64,
        grace_period: GracePeriod,
    ) -> Result<IssuedKey, KeyringError> {
        self.rotate_noting(id, version, grace_period, |_| ()).await
    }

    /// Rotates like [`rotate`](Self::rotate). Calls `note` with the new record just before it is written.
    pub(crate) async fn rotate_noting(
        &self,
        id: KeyId,
        version: u64,
        grace_period: GracePeriod,
        note: impl FnOnce(&KeyRecord),
    ) -> Result<IssuedKey, KeyringError> {
        let rotated = self.try_rotate(id, version, grace_period, note).await;
        self.audited(ChangeKind::RotateKey, Some(id), rotated).await
    }

    async fn try_rotate(
        &self,
        id: KeyId,
        version: u64,
        grace_period: GracePeriod,
        note: impl FnOnce(&KeyRecord),
    ) -> Result<IssuedKey, KeyringError> {
        let StoredKey { key, tenant } = self.find_with_tenant(id).await?;
        if key.version != version {
            return Err(KeyringError::Conflict);
        }
        let now = self.keyring.now();
        let (key, token) = {
            let mut randomness = self.keyring.randomness();
            let authority = self.keyring.authority();
            authority.rotate(
                &key,
                &tenant,
                grace_period,
                self.granter.as_ref(),
                now,
                &mut *randomness,
            )?
        };
        note(&key);
        self.keyring.update_key(&key, version, Some(AuditKind::KeyRotated)).await?;
        Ok(IssuedKey::new(&self.keyring, key, token))
    }

    /// Deletes the key `id` permanently, whatever its version, even if its row cannot be read.
    ///
    /// # Errors
    ///
    /// [`KeyringError::NoKey`].
    pub async fn delete(&self, id: KeyId) -> Result<(), KeyringError> {
        self.delete_if(id, None).await
    }

    /// Deletes the key `id`, which was read at `version`, permanently. Use it if the reason to delete the
    /// key is in the record that was read: a key that was rotated or renewed since then stays.
    ///
    /// # Errors
    ///
    /// [`KeyringError::Conflict`] if the key has another version by now, or [`KeyringError::NoKey`].
    pub async fn delete_version(&self, id: KeyId, version: u64) -> Result<(), KeyringError> {
        self.delete_if(id, Some(version)).await
    }

    async fn delete_if(&self, id: KeyId, version: Option<u64>) -> Result<(), KeyringError> {
        let deleted = self.try_delete(id, version).await;
        self.audited(ChangeKind::DeleteKey, Some(id), deleted).await
    }

    async fn try_delete(&self, id: KeyId, version: Option<u64>) -> Result<(), KeyringError> {
        if self.owners.is_empty() {
            let kind = AuditKind::KeyDeleted;
            return self.keyring.delete_key(&self.tenant, id, version, kind).await;
        }
        // The key may get another owner in the meantime, so the version that was seen is deleted.
        let mut races = Races::default();
        loop {
            let key = self.find(id).await?;
            let seen = version.unwrap_or(key.version);
            let kind = AuditKind::KeyDeleted;
            match self.keyring.delete_key(&self.tenant, id, Some(seen), kind).await {
                Err(KeyringError::Conflict) if version.is_none() => races.lost()?,
                done => return done,
            }
        }
    }

    fn apply(
        &self,
        key: &KeyRecord,
        tenant: &TenantRecord,
        mut edit: KeyEdit,
    ) -> Result<KeyRecord, KeyringError> {
        if let (Some(owner), Some(own)) = (&edit.owner, self.owners.first())
            && owner.as_ref() != Some(own)
        {
            return Err(ChangeError::OtherOwner(own.clone()).into());
        }
        if let Some(granter) = &self.granter {
            edit = edit.granted_by(granter);
        }
        Ok(self.keyring.authority().edit(key, tenant, edit, self.keyring.now())?)
    }

    /// Disables the key `id`, if it has the version `version`. A key that is disabled already is left as it is.
    pub(in super::super) async fn disable_version(
        &self,
        id: KeyId,
        version: u64,
    ) -> Result<(), KeyringError> {
        let key = self.find(id).await?;
        if key.version == version && !key.enabled {
            return Ok(());
        }
        let disabled = self.edit_found(&key, version, KeyEdit::new().enabled(false)).await;
        self.audited(ChangeKind::EditKey, Some(id), disabled).await.map(drop)
    }

    async fn switch(&self, id: KeyId, enabled: bool) -> Result<KeyRecord, KeyringError> {
        let mut races = Races::default();
        loop {
            let key = self.find(id).await?;
            if key.enabled == enabled {
                return Ok(key);
            }
            match self.edit_found(&key, key.version, KeyEdit::new().enabled(enabled)).await {
                Err(KeyringError::Conflict) => races.lost()?,
                done => return done,
            }
        }
    }
}
