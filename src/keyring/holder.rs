//! Operations for the holder of a token, and for a caller that found one.

#[cfg(feature = "children")]
use alloc::string::String;

use super::{Keyring, KeyringError, Races};
use crate::{
    audit::{AuditKind, ChangeKind, Noise},
    authority::LeakResponse,
    decision::KeyState,
    record::{KeyRecord, TenantId},
    store::{KeyStore, StoredKey},
    time::Timestamp,
    token::{CheckedToken, KeyId, Rejection},
};

/// A key's record and its state at present.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Description {
    /// The key's record.
    pub key: KeyRecord,
    /// The state now. In JSON it is one word, as in [`KeyState::as_str`].
    #[cfg_attr(feature = "serde", serde(serialize_with = "state_as_word"))]
    pub state: KeyState,
    /// The time from which the key is no longer valid. It is the earlier of its own expiry and the end of
    /// the longest lifetime that its tier allows. `None` if neither applies.
    #[cfg_attr(feature = "serde", serde(rename = "effective_expires_at"))]
    pub effective_expiry: Option<Timestamp>,
    /// The text with which all [children](crate::children) of the key begin. `None` if it has none. The holder needs it
    /// beside the token to make children.
    #[cfg(feature = "children")]
    pub child_prefix: Option<String>,
}

impl Keyring {
    /// Describes the key of the token `presented`, whatever its state.
    ///
    /// # Errors
    ///
    /// [`KeyringError::Rejected`] if the token is not the token of a key, or [`KeyringError::Refused`] if
    /// the seal of the key or of its tenant is broken.
    pub async fn describe(&self, presented: impl AsRef<[u8]>) -> Result<Description, KeyringError> {
        let possessed = self.possessed(presented.as_ref(), true, &mut None).await;
        if let Err(KeyringError::Unavailable(_)) = &possessed {
            self.engine().record_noise(Noise::Unavailable);
        }
        let (stored, _) = possessed?;
        self.check_tenant(&stored.tenant)?;
        self.check_pair(&stored)?;
        Ok(self.description(stored))
    }

    /// Describes a key whose seals are checked.
    pub(super) fn description(&self, stored: StoredKey) -> Description {
        let StoredKey { key, tenant } = stored;
        let state = KeyState::of(&key, &tenant, self.policy(), self.now());
        let terms = self.policy().terms(&tenant);
        let effective_expiry = key.effective_expiry_on(terms.as_ref());
        Description {
            #[cfg(feature = "children")]
            child_prefix: self.child_prefix(&key),
            key,
            state,
            effective_expiry,
        }
    }

    /// Deletes the key of the token `presented` permanently, whatever its state. Holding a secret is
    /// sufficient to end its key.
    ///
    /// # Errors
    ///
    /// [`KeyringError::Rejected`] if the token is not the token of a key. [`KeyringError::Conflict`] if
    /// concurrent changes of the key did not stop.
    pub async fn revoke(&self, presented: impl AsRef<[u8]>) -> Result<(), KeyringError> {
        let mut of = None;
        let presented = presented.as_ref();
        let revoked = self.try_revoke(presented, &mut of).await;
        if of.is_none()
            && matches!(revoked, Err(KeyringError::Unavailable(_)))
            && self.authority().check(presented).is_err()
        {
            // Anyone can make up any number of foreign tokens, so these events are sampled.
            self.engine().record_noise(Noise::Unavailable);
            return revoked;
        }
        self.report_of_holder(ChangeKind::RevokeKey, presented, of.as_ref(), revoked).await
    }

    /// Reports a change to the key `of` the token `presented`. A rejected token changes nothing and is not
    /// reported.
    async fn report_of_holder<T>(
        &self,
        change: ChangeKind,
        presented: &[u8],
        of: Option<&(TenantId, KeyId)>,
        done: Result<T, KeyringError>,
    ) -> Result<T, KeyringError> {
        if matches!(done, Err(KeyringError::Rejected)) {
            return done;
        }
        let tenant = of.map(|(tenant, _)| tenant.as_str());
        // If the store did not respond, the id is taken from the token, provided that this keyring minted
        // it.
        let claimed = || self.authority().check(presented).ok().map(|checked| checked.id());
        self.audited(change, tenant, of.map(|(_, key)| *key).or_else(claimed), done).await
    }

    async fn try_revoke(
        &self,
        presented: &[u8],
        of: &mut Option<(TenantId, KeyId)>,
    ) -> Result<(), KeyringError> {
        let mut races = Races::default();
        loop {
            let (StoredKey { key, .. }, _) = self.possessed(presented, true, of).await?;
            let (version, kind) = (Some(key.version), AuditKind::KeyRevoked);
            match self.delete_key(&key.tenant, key.id, version, kind).await {
                // The key has been changed since it was read. Check the token again: if the change ended
                // this secret, its holder may no longer end the key.
                Err(KeyringError::Conflict) => races.lost()?,
                Err(KeyringError::NoKey) => return Err(KeyringError::Rejected),
                deleted => return deleted,
            }
        }
    }

    /// Reports that the token `presented` was found where it should not be. Applies `response` to its key
    /// and returns the key as it is afterwards.
    ///
    /// The report requires the full token, so the key's id alone is not sufficient. A previous secret counts
    /// as long as it is in its grace period. The key may be in any state.
    ///
    /// A report never restores permissions. Reporting the same token again changes nothing, unless the first
    /// response was reverted in between. In that case the response is applied again. Therefore rotate a
    /// leaked key with [`GracePeriod::None`](crate::authority::GracePeriod::None) before it is used again.
    /// Reports of the old token then return [`Rejected`](KeyringError::Rejected).
    ///
    /// `reason` is passed to the audit sink. It is also the reason of a suspension, which the tenant may
    /// read.
    ///
    /// # Errors
    ///
    /// [`KeyringError::Rejected`] if the token is not the token of a key. [`KeyringError::Refused`] if the
    /// reason is invalid, or if the seal of the key is broken. [`KeyringError::Conflict`] if concurrent
    /// changes of the key did not stop.
    pub async fn report_leak(
        &self,
        presented: impl AsRef<[u8]>,
        reason: &str,
        response: LeakResponse,
    ) -> Result<KeyRecord, KeyringError> {
        let mut of = None;
        let presented = presented.as_ref();
        let reported = self.try_report_leak(presented, reason, response, &mut of).await;
        self.report_of_holder(ChangeKind::ReportLeak, presented, of.as_ref(), reported).await
    }

    async fn try_report_leak(
        &self,
        presented: &[u8],
        reason: &str,
        response: LeakResponse,
        of: &mut Option<(TenantId, KeyId)>,
    ) -> Result<KeyRecord, KeyringError> {
        let mut races = Races::default();
        loop {
            let (StoredKey { key, .. }, _) = self.possessed(presented, false, of).await?;
            let changed = self.authority().respond_to_leak(&key, reason, response)?;
            let kind = AuditKind::LeakReported { reason, response };
            let done = match &changed {
                Some(changed) => self.update_key(changed, key.version, Some(kind)).await,
                None => self.report_kept(&key, kind).await,
            };
            match done {
                // Another caller changed or deleted the key. Try again, so that the report is not lost.
                Err(KeyringError::Conflict | KeyringError::NoKey) => races.lost()?,
                done => {
                    done?;
                    return Ok(changed.unwrap_or(key));
                }
            }
        }
    }

    /// Stores and reports an event of a key that the event does not change.
    async fn report_kept(&self, key: &KeyRecord, kind: AuditKind<'_>) -> Result<(), KeyringError> {
        let event = self.event(Some(key.tenant.as_str()), Some(key.id), kind);
        self.engine().keep(&event).await.map_err(KeyringError::Unavailable)?;
        self.report_made(Some(&event));
        Ok(())
    }

    /// Deletes a key together with the event of the deletion, and reports the event.
    pub(super) async fn delete_key(
        &self,
        tenant: &TenantId,
        id: KeyId,
        replaces: Option<u64>,
        kind: AuditKind<'_>,
    ) -> Result<(), KeyringError> {
        let event = Some(self.event(Some(tenant.as_str()), Some(id), kind));
        let durable = self.durable(event.as_ref())?;
        let invalidate = self.engine().invalidate_key_on_drop(id);
        let deleted = self.store().delete_key(tenant, id, replaces, durable.as_slice()).await;
        drop(invalidate);
        deleted.map_err(KeyringError::of_key)?;
        self.report_made(event.as_ref());
        Ok(())
    }

    /// Returns the key of this token, read from the store, and the token as a claim to that key. Sets `of` to its tenant and id, even if its seal
    /// is broken. With `tells`, a token that belongs to no key is reported to the audit sink.
    pub(super) async fn possessed(
        &self,
        presented: &[u8],
        tells: bool,
        of: &mut Option<(TenantId, KeyId)>,
    ) -> Result<(StoredKey, CheckedToken), KeyringError> {
        let (stored, checked) = self.held_by(presented).await?.map_err(|rejection| {
            if tells {
                self.engine().record_rejected(presented, rejection);
            }
            KeyringError::Rejected
        })?;
        *of = Some((stored.key.tenant.clone(), stored.key.id));
        self.check_key(&stored.key)?;
        Ok((stored, checked))
    }

    /// Returns the key of this token, of any tenant, as stored. Its seal is not checked.
    pub(super) async fn holding(
        &self,
        presented: &[u8],
    ) -> Result<Option<StoredKey>, KeyringError> {
        Ok(self.held_by(presented).await?.ok().map(|(stored, _)| stored))
    }

    /// Returns the key of this token, or the reason why there is none. Its seal is not checked.
    async fn held_by(
        &self,
        presented: &[u8],
    ) -> Result<Result<(StoredKey, CheckedToken), Rejection>, KeyringError> {
        let claims = match self.authority().claims(presented) {
            Ok(claims) => claims,
            Err(rejection) => return Ok(Err(rejection)),
        };
        let mut rejection = Rejection::Unknown;
        for checked in claims {
            let stored =
                self.engine().lookup_stored(checked.id()).await.map_err(KeyringError::of)?;
            let Some(stored) = stored.filter(|stored| stored.key.id == checked.id()) else {
                continue;
            };
            if stored.key.holds(&checked, self.now()) {
                return Ok(Ok((stored, checked)));
            }
            rejection = Rejection::WrongSecret;
        }
        Ok(Err(rejection))
    }
}

#[cfg(feature = "serde")]
fn state_as_word<S: serde::Serializer>(state: &KeyState, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(state.as_str())
}
