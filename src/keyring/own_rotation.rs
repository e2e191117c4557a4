//! The rotation of a key by its holder.

use alloc::{format, sync::Arc};
use core::net::IpAddr;

use super::{Description, Keyring, KeyringError, Races};
use crate::{
    audit::{AuditKind, ChangeKind, Noise, Refusal},
    authority::GracePeriod,
    decision::{Denial, ResolvedKey, decide_from},
    record::TenantId,
    scope::Requirement,
    store::StoredKey,
    time::Timestamp,
    token::{KeyId, OneTimeToken},
    verifier::VerifyError,
};

/// A key with the new secret that its holder has asked for.
#[derive(Debug)]
#[must_use = "the token in it is lost unless it is revealed"]
#[non_exhaustive]
pub struct OwnRotation {
    /// The key after the rotation.
    pub description: Description,
    /// The new token, which can be revealed once.
    pub token: OneTimeToken,
    /// The time from which the token that was presented is no longer accepted. `None` if it has ended already.
    pub previous_ends_at: Option<Timestamp>,
    /// Whether the first use of the new token ends the presented one earlier.
    pub previous_ends_with_first_use: bool,
}

/// A holder's key was not rotated. Nothing was changed, except possibly after a
/// [`Change`](Self::Change) that is [`Unavailable`](KeyringError::Unavailable).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OwnRotationError {
    /// The token is not that of an active key which may be rotated by its holder, from the client's network.
    #[error(transparent)]
    Verify(VerifyError),
    /// The token has a secret from before the last rotation. Otherwise a leaked secret could take over the key
    /// until its grace period ends.
    #[error("the token is from before the last rotation; only the newest one can rotate the key")]
    PreviousSecret,
    /// The key cannot get another secret now. [`Conflict`](KeyringError::Conflict) means that another rotation
    /// came first, and [`TooManySecrets`](crate::ChangeError::TooManySecrets) that two older ones are still accepted.
    #[error(transparent)]
    Change(KeyringError),
}

impl OwnRotationError {
    /// Converts an error from reading the key.
    fn of_read(error: KeyringError) -> Self {
        Self::Verify(match error {
            KeyringError::Rejected => VerifyError::Rejected,
            error if error.is_tampered() => VerifyError::Tampered,
            error => VerifyError::Unavailable(Arc::new(error)),
        })
    }

    fn refusal(&self) -> Refusal {
        match self {
            Self::Verify(error) if error.is_unavailable() => Refusal::Unavailable,
            Self::Verify(_) | Self::PreviousSecret => Refusal::NotAllowed,
            Self::Change(error) => error.refusal(),
        }
    }
}

impl Keyring {
    /// Gives the key of the token `presented` a new secret, for its holder. The id and everything else stays.
    ///
    /// The application decides whether holders may do this: the key must meet `requirement`, in effect, so with
    /// what the tenant's tier allows. Give the requirement a scope of its own. Unlike
    /// [`describe`](Self::describe) and [`revoke`](Self::revoke), the key must be active. `address` is that of
    /// the client, `None` if it is not known. The key is read from the store, and no rate applies.
    ///
    /// Only the newest secret can rotate. A secret in its grace period is
    /// [refused](OwnRotationError::PreviousSecret). A rotation does not extend the life of a key. Audit events name the
    /// actor `key` with the id of the key.
    ///
    /// If the response is lost, the new token is lost. With a grace period the presented token is still accepted
    /// until that ends. In that time the tenant can rotate the key:
    /// [`TenantKeys::rotate`](crate::TenantKeys::rotate).
    ///
    /// ```
    /// use keyway::{GracePeriod, Keyring, MemoryStore, NewKey, Pepper, Policy};
    ///
    /// # pollster::block_on(async {
    /// # let policy: Policy = serde_json::from_str(r#"{
    /// #     "issuer": "mm",
    /// #     "scopes": [{ "name": "keys.rotate", "description": "Rotate the own key" }]
    /// # }"#)?;
    /// # let keyring = Keyring::builder(policy, Pepper::from_bytes(&[7; 32])?)
    /// #     .environment("live")
    /// #     .store(MemoryStore::new())
    /// #     .build()?;
    /// let request = NewKey::named("ERP").scopes(["keys.rotate"]);
    /// let (_, issued) = keyring.create_tenant_with("acme", "lite", request).await?;
    /// let token = issued.token.reveal();
    ///
    /// let may_rotate = keyring.requirement(["keys.rotate"])?;
    /// let rotated = keyring.rotate_own(&*token, &may_rotate, GracePeriod::None, None).await?;
    /// assert!(keyring.verify(&*token).await.is_err());
    /// assert!(keyring.verify(&*rotated.token.reveal()).await.is_ok());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// [`OwnRotationError`] says why there is no new secret.
    pub async fn rotate_own(
        &self,
        presented: impl AsRef<[u8]>,
        requirement: &Requirement,
        grace_period: GracePeriod,
        address: Option<IpAddr>,
    ) -> Result<OwnRotation, OwnRotationError> {
        let presented = presented.as_ref();
        let mut of = None;
        let rotated =
            self.try_rotate_own(presented, requirement, grace_period, address, &mut of).await;
        if let Err(error) = &rotated {
            self.report_own_rotation(presented, of.as_ref(), error).await;
        }
        rotated
    }

    async fn try_rotate_own(
        &self,
        presented: &[u8],
        requirement: &Requirement,
        grace_period: GracePeriod,
        address: Option<IpAddr>,
        of: &mut Option<(TenantId, KeyId)>,
    ) -> Result<OwnRotation, OwnRotationError> {
        let change = OwnRotationError::Change;
        let mut races = Races::default();
        let (mut has_raced, mut has_ended) = (false, false);
        loop {
            // The secret, the state and the scopes are all those of the version that is replaced.
            let read = self.possessed(presented, true, of).await;
            let (stored, checked) = match read {
                // The presented token was valid until another caller rotated or deleted the key.
                Err(KeyringError::Rejected) if has_raced => {
                    return Err(change(KeyringError::Conflict));
                }
                read => read.map_err(OwnRotationError::of_read)?,
            };
            let now = self.now();
            let key = self.resolve_own(&stored).map_err(OwnRotationError::of_read)?;
            let caller = decide_from(&checked, &Arc::new(key), now, || address)
                .map_err(|denial| OwnRotationError::Verify(refused(denial)))?;
            caller.require(requirement).map_err(|lack| OwnRotationError::Verify(lack.into()))?;
            // INVARIANT: an older secret never rotates. Rotations are a remedy for a leaked secret, so that
            // secret must not take over the key in its grace period.
            if caller.used_previous_secret() {
                return Err(if has_raced {
                    change(KeyringError::Conflict)
                } else {
                    OwnRotationError::PreviousSecret
                });
            }
            // This is a use of the presented secret as any other, so it ends older ones that wait for it.
            if caller.ends_grace_period() && !has_ended {
                has_ended = true;
                self.engine().end_grace_period(&checked).await;
                continue;
            }
            let StoredKey { key, tenant } = stored;
            let (rotated, token) = {
                let mut randomness = self.randomness();
                self.authority()
                    .rotate(&key, &tenant, grace_period, None, now, &mut *randomness)
                    .map_err(|error| change(error.into()))?
            };
            let holder = self.acting_as_key(rotated.id);
            let kind = Some(AuditKind::KeyRotated);
            match holder.update_key(&rotated, key.version, kind).await {
                Err(KeyringError::Conflict | KeyringError::NoKey) => {
                    has_raced = true;
                    races.lost().map_err(change)?;
                }
                done => {
                    done.map_err(change)?;
                    let previous = match grace_period {
                        GracePeriod::None => None,
                        _ => rotated.older.first().copied(),
                    };
                    let description = self.description(StoredKey { key: rotated, tenant });
                    let expiry = description.effective_expiry.unwrap_or(Timestamp::MAX);
                    return Ok(OwnRotation {
                        token,
                        previous_ends_at: previous.map(|older| older.until.min(expiry)),
                        previous_ends_with_first_use: previous
                            .is_some_and(|older| older.until_first_use),
                        description,
                    });
                }
            }
        }
    }

    pub(super) fn resolve_own(&self, stored: &StoredKey) -> Result<ResolvedKey, KeyringError> {
        self.check_tenant(&stored.tenant)?;
        self.check_pair(stored)?;
        let seals = self.authority().seals();
        Ok(ResolvedKey::new(&stored.key, &stored.tenant, self.policy(), seals)?)
    }

    fn acting_as_key(&self, id: KeyId) -> Self {
        self.acting_as(&format!("key {id}"))
    }

    /// Reports a rotation that was not made to the audit sink. Its event is stored unless the token itself may not rotate:
    /// that is a refused request, of which a holder may send any number.
    async fn report_own_rotation(
        &self,
        presented: &[u8],
        of: Option<&(TenantId, KeyId)>,
        error: &OwnRotationError,
    ) {
        let reason = match error {
            OwnRotationError::Verify(error) => Some(error),
            _ => None,
        };
        let detail = format!("{error}");
        let (change, refusal) = (ChangeKind::RotateKey, error.refusal());
        let kind = AuditKind::ChangeRefused { change, refusal, detail: &detail };
        match of {
            Some((tenant, id)) if reason.is_none() => {
                let holder = self.acting_as_key(*id);
                holder.report_refused(Some(tenant.as_str()), Some(*id), kind).await;
            }
            _ => self.report_own(presented, of, reason, kind),
        }
    }

    /// Reports a request of a holder that was refused to the audit sink, as an event of this kind. A rejected token and a
    /// broken record have been reported already, where they were found.
    pub(super) fn report_own(
        &self,
        presented: &[u8],
        of: Option<&(TenantId, KeyId)>,
        reason: Option<&VerifyError>,
        kind: AuditKind<'_>,
    ) {
        if let Some(VerifyError::Rejected | VerifyError::Tampered) = reason {
            return;
        }
        match (of, self.authority().check(presented)) {
            (Some((tenant, id)), _) => self.acting_as_key(*id).record(tenant, Some(*id), kind),
            // The store did not respond. This keyring minted the token, so it names its key.
            (None, Ok(checked)) => {
                self.engine().record(self.now(), &self.actor, None, Some(checked.id()), kind);
            }
            // Anyone can make up any number of foreign tokens, so these events are sampled.
            (None, Err(_)) => self.engine().record_noise(Noise::Unavailable),
        }
    }
}

pub(super) fn refused(denial: Denial) -> VerifyError {
    match denial {
        Denial::Rejected(_) => VerifyError::Rejected,
        Denial::Inactive(state) => VerifyError::Inactive(state),
        Denial::Outside(outside) => VerifyError::Forbidden(outside),
    }
}
