//! What the holder of a key does with its token, and those who found one.

use super::{Keyring, KeyringError};
use crate::{
    audit::AuditKind,
    decision::KeyState,
    record::{KeyRecord, Suspension, TenantId},
    store::{KeyLookup, KeyStore, StoredKey},
    token::KeyId,
};

/// What a key says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Description {
    /// The record.
    pub key: KeyRecord,
    /// What it is now.
    #[cfg_attr(feature = "serde", serde(serialize_with = "state_as_text"))]
    pub state: KeyState,
}

impl Keyring {
    /// Describes the key of the token `presented`, whatever its state.
    ///
    /// # Errors
    ///
    /// [`KeyringError::Rejected`] unless the token is that of a key, or that the seal of the key or its
    /// tenant is broken.
    pub async fn describe(&self, presented: impl AsRef<[u8]>) -> Result<Description, KeyringError> {
        let StoredKey { key, tenant } = self.possessed(presented.as_ref()).await?;
        self.check_tenant(&tenant)?;
        let state = KeyState::of(&key, &tenant, self.now());
        Ok(Description { key, state })
    }

    /// Deletes the key of the token `presented`, for good and whatever its state: whoever holds a
    /// secret may end it.
    ///
    /// # Errors
    ///
    /// [`KeyringError::Rejected`] unless the token is that of a key.
    pub async fn revoke(&self, presented: impl AsRef<[u8]>) -> Result<(), KeyringError> {
        let StoredKey { key, .. } = self.possessed(presented.as_ref()).await?;
        match self.delete_key(&key.tenant, key.id).await {
            Err(KeyringError::NoKey) => Err(KeyringError::Rejected),
            deleted => {
                deleted.map(|()| self.record(&key.tenant, Some(key.id), AuditKind::KeyRevoked))
            }
        }
    }

    /// Suspends the key of the token `presented` for good, because it was found where it should not
    /// be. Whoever reports must have the full token, so nobody can switch off a key by its id.
    ///
    /// # Errors
    ///
    /// [`KeyringError::Rejected`] unless the token is that of a key; [`KeyringError::Refused`] for a
    /// reason that cannot be kept.
    pub async fn report_leak(
        &self,
        presented: impl AsRef<[u8]>,
        reason: &str,
    ) -> Result<KeyRecord, KeyringError> {
        let suspension = Suspension::for_good(reason)?;
        loop {
            let stored = self.possessed(presented.as_ref()).await?;
            let id = stored.key.id;
            match self.set_key_suspension(stored, Some(suspension.clone())).await {
                // Somebody else changed the key. A report is not lost over that.
                Err(KeyringError::Conflict) => {}
                done => {
                    let key = done?;
                    self.record(&key.tenant, Some(id), AuditKind::LeakReported);
                    return Ok(key);
                }
            }
        }
    }

    pub(super) async fn delete_key(
        &self,
        tenant: &TenantId,
        id: KeyId,
    ) -> Result<(), KeyringError> {
        let _invalidate = self.shared().invalidate_key_on_drop(id);
        self.store().delete_key(tenant, id).await.map_err(KeyringError::of_key)
    }

    /// The key of this token, read from the store.
    async fn possessed(&self, presented: &[u8]) -> Result<StoredKey, KeyringError> {
        let stored = self.holding(presented).await?.ok_or(KeyringError::Rejected)?;
        self.check_key(&stored.key)?;
        Ok(stored)
    }

    /// The key of this token, whosever it is, as the store gives it. Its seal is not checked.
    pub(super) async fn holding(
        &self,
        presented: &[u8],
    ) -> Result<Option<StoredKey>, KeyringError> {
        let claims = self.authority().claims(presented).unwrap_or_default();
        for claim in claims {
            let stored = self.store().lookup(claim.id()).await.map_err(KeyringError::of)?;
            let stored = stored.filter(|stored| stored.key.id == claim.id());
            let now = self.now();
            if let Some(stored) = stored.filter(|stored| stored.key.holds(&claim, now)) {
                return Ok(Some(stored));
            }
        }
        Ok(None)
    }
}

#[cfg(feature = "serde")]
fn state_as_text<S: serde::Serializer>(state: &KeyState, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(state)
}
