//! What the holder of a key does with its token, and those who found one.

use super::{Keyring, KeyringError, MAX_RACES};
use crate::{
    audit::AuditKind,
    authority::LeakResponse,
    decision::KeyState,
    record::{KeyRecord, TenantId},
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
    /// What it is now; in JSON one word, as in [`KeyState::as_str`].
    #[cfg_attr(feature = "serde", serde(serialize_with = "state_as_word"))]
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

    /// Does what `response` says about the key of the token `presented`, because that was found where
    /// it should not be, and gives the key as it is then.
    ///
    /// Whoever reports must have the full token, so nobody can do this to a key by its id. The secret
    /// before the last rotation counts as long as it is accepted, and the key may be in any state.
    /// Nothing is ever given back to it, and a report that comes again finds everything done, as long as
    /// nobody has undone it: then it is done again. So a leaked key that goes on needs a new secret
    /// first, with [`Overlap::None`](crate::authority::Overlap::None); from then on a report of the old
    /// one is [`Rejected`](KeyringError::Rejected).
    ///
    /// `reason` is told to the audit sink, and is that of a suspension, which the tenant may read.
    ///
    /// # Errors
    ///
    /// [`KeyringError::Rejected`] unless the token is that of a key; [`KeyringError::Refused`] for a
    /// reason that cannot be kept, or if the seal of the key is broken; [`KeyringError::Conflict`] if
    /// others kept changing the key at the same time.
    pub async fn report_leak(
        &self,
        presented: impl AsRef<[u8]>,
        reason: &str,
        response: LeakResponse,
    ) -> Result<KeyRecord, KeyringError> {
        for _ in 0..MAX_RACES {
            let StoredKey { key, .. } = self.possessed(presented.as_ref()).await?;
            let changed = self.authority().respond_to_leak(&key, reason, response)?;
            let done = match &changed {
                Some(changed) => self.update_key(changed, key.version).await,
                None => Ok(()),
            };
            match done {
                // Somebody else changed or deleted the key. A report is not lost over that.
                Err(KeyringError::Conflict | KeyringError::NoKey) => {}
                done => {
                    done?;
                    let key = changed.unwrap_or(key);
                    let kind = AuditKind::LeakReported { reason, response };
                    self.record(&key.tenant, Some(key.id), kind);
                    return Ok(key);
                }
            }
        }
        Err(KeyringError::Conflict)
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
fn state_as_word<S: serde::Serializer>(state: &KeyState, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(state.as_str())
}
