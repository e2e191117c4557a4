//! A tenant's operations on its own keys.

mod change;
mod import;
mod read;

use alloc::{string::String, vec::Vec};

use super::{Keyring, KeyringError, QuotaUse, Races};
use crate::{
    audit::{AuditKind, ChangeKind, KeyLimits},
    authority::NewKey,
    grant::Grant,
    record::{KeyRecord, Owner, TenantId, TenantRecord},
    store::{KeyLookup, KeyStore, StoreError},
    token::{KeyId, OneTimeToken},
};

/// The keys of one tenant. Created by [`Keyring::tenant`].
///
/// Another tenant's key cannot be reached through this handle: its id is treated as nonexistent. The
/// application decides which callers get the handle. The scopes that they can grant are bounded by the
/// tenant's tier and by [`granting_at_most`](Self::granting_at_most).
#[derive(Clone, Debug)]
pub struct TenantKeys {
    pub(super) keyring: Keyring,
    pub(super) tenant: TenantId,
    pub(super) granter: Option<Grant>,
    /// The owners whose keys are seen, without repetition. With more than one, no key is.
    pub(super) owners: Vec<Owner>,
}

/// A key with the only copy of its new token.
#[derive(Debug)]
#[must_use = "the token in it is lost unless it is revealed"]
pub struct IssuedKey {
    /// The key's record.
    pub key: KeyRecord,
    /// The token, which can be revealed once.
    pub token: OneTimeToken,
}

impl IssuedKey {
    /// Creates an issued key. The child prefix goes with the token, since the holder needs both to make children.
    fn new(keyring: &Keyring, key: KeyRecord, token: OneTimeToken) -> Self {
        #[cfg(feature = "children")]
        let token = token.with_child_prefix(keyring.child_prefix(&key));
        #[cfg(not(feature = "children"))]
        let _ = keyring;
        Self { key, token }
    }

    /// Returns the text with which all [children](crate::children) of the key begin, or `None` if it has none. Give it to the
    /// holder with the token. Call this before the token is revealed, or use [`Keyring::child_prefix`].
    #[cfg(feature = "children")]
    pub fn child_prefix(&self) -> Option<&str> {
        self.token.child_prefix()
    }
}

impl TenantKeys {
    pub(super) fn new(keyring: Keyring, tenant: TenantId) -> Self {
        Self { keyring, tenant, granter: None, owners: Vec::new() }
    }

    /// Limits what can be granted through this handle to `granter`. The limit applies to issuing, editing and rotating
    /// keys. A second limit narrows the first.
    #[must_use]
    pub fn granting_at_most(mut self, granter: &Grant) -> Self {
        self.granter =
            Some(self.granter.map_or_else(|| granter.clone(), |bound| bound.meet(granter)));
        self
    }

    /// Sets the actor. Audit events and new keys then name this actor. The text is the application's own.
    #[must_use]
    pub fn acting_as(mut self, actor: &str) -> Self {
        self.keyring = self.keyring.acting_as(actor);
        self
    }

    /// Returns the id of the tenant.
    pub fn id(&self) -> &TenantId {
        &self.tenant
    }

    /// Issues a key, if the quota of the tenant's tier allows another one.
    ///
    /// # Errors
    ///
    /// [`KeyringError::AlreadyIssued`] if a key was issued before with the same [idempotency
    /// key](NewKey::idempotency_key), [`KeyringError::QuotaExceeded`], [`KeyringError::NoTenant`], or
    /// [`KeyringError::Refused`] if the request cannot be granted. After [`KeyringError::Unavailable`] the
    /// outcome is unknown. Retry with the same idempotency key: `AlreadyIssued` means that the first attempt
    /// succeeded.
    pub async fn issue(&self, request: NewKey) -> Result<IssuedKey, KeyringError> {
        let issued = self.try_issue(None, request).await;
        self.audited(ChangeKind::IssueKey, None, issued).await
    }

    /// Issues a key like [`issue`](Self::issue), to `tenant` as it was just read.
    #[cfg(feature = "console")]
    pub(crate) async fn issue_to(
        &self,
        tenant: TenantRecord,
        request: NewKey,
    ) -> Result<IssuedKey, KeyringError> {
        let issued = self.try_issue(Some(tenant), request).await;
        self.audited(ChangeKind::IssueKey, None, issued).await
    }

    async fn try_issue(
        &self,
        mut known: Option<TenantRecord>,
        request: NewKey,
    ) -> Result<IssuedKey, KeyringError> {
        let ids = self.keyring.authority().idempotent_ids(&self.tenant, &request);
        self.check_not_issued(&ids).await?;
        // The operation is repeated in two cases: the tenant changed between the read and the insert, or the
        // id is taken because another process drew it from the same randomness.
        let mut races = Races::default();
        loop {
            let tenant = match known.take() {
                Some(tenant) => tenant,
                None => self.keyring.find_tenant(&self.tenant).await?,
            };
            let issued = self.make(&tenant, request.clone(), &ids)?;
            match self.insert(tenant, &issued.key, false, self::issued(&issued.key)).await {
                Ok(Inserted::Done) => return Ok(issued),
                Ok(Inserted::Exists) if !ids.is_empty() => {
                    return Err(KeyringError::AlreadyIssued(issued.key.id));
                }
                Ok(Inserted::Exists | Inserted::Raced) => races.lost()?,
                Err(error) => {
                    // A concurrent repetition of this request may have taken the last place of the quota.
                    // The store may then report either the full quota or the existing id.
                    if matches!(error, KeyringError::QuotaExceeded { .. }) {
                        self.check_not_issued(&ids).await?;
                    }
                    return Err(error);
                }
            }
        }
    }

    /// Checks that there is no key with one of `ids`. The insert alone does not detect a repetition whose id
    /// was derived with another pepper.
    pub(super) async fn check_not_issued(&self, ids: &[KeyId]) -> Result<(), KeyringError> {
        for id in ids {
            if self.keyring.store().lookup(*id).await.map_err(KeyringError::of)?.is_some() {
                return Err(KeyringError::AlreadyIssued(*id));
            }
        }
        Ok(())
    }

    /// Returns how many keys the tenant holds, and how many its tier allows.
    ///
    /// # Errors
    ///
    /// [`KeyringError::NoTenant`], or [`KeyringError::Refused`] if the tenant's seal is broken.
    pub async fn quota(&self) -> Result<QuotaUse, KeyringError> {
        let tenant = self.keyring.find_tenant(&self.tenant).await?;
        self.keyring.quota_use(tenant).await
    }

    /// Makes the key that `request` asks for. `ids` are the ids that it may have; without any it gets a random
    /// one.
    pub(super) fn make(
        &self,
        tenant: &TenantRecord,
        request: NewKey,
        ids: &[KeyId],
    ) -> Result<IssuedKey, KeyringError> {
        let request = self.on_behalf(request)?;
        let now = self.keyring.now();
        let mut randomness = self.keyring.randomness();
        let (authority, id) = (self.keyring.authority(), ids.first().copied());
        let (key, token) = authority.issue_under(id, tenant, request, now, &mut *randomness)?;
        Ok(IssuedKey::new(&self.keyring, key, token))
    }

    /// Completes `request` with the actor and the granter's bound.
    fn on_behalf(&self, mut request: NewKey) -> Result<NewKey, KeyringError> {
        if !self.keyring.actor.is_empty() {
            request = request.created_by(String::from(&*self.keyring.actor))?;
        }
        if let Some(granter) = &self.granter {
            request = request.granted_by(granter);
        }
        request.owner = self.owner_of(request.owner.take())?;
        Ok(request)
    }

    /// Adds `key` if `tenant` is unchanged since it was read and has quota left, together with its event. `over_quota`
    /// skips the quota.
    async fn insert(
        &self,
        tenant: TenantRecord,
        key: &KeyRecord,
        over_quota: bool,
        kind: AuditKind<'_>,
    ) -> Result<Inserted, KeyringError> {
        let allowed = self.keyring.quota(&tenant)?;
        let limit = (!over_quota).then_some(allowed);
        let event = self.keyring.event(Some(self.tenant.as_str()), Some(key.id), kind);
        let durable = self.keyring.durable(Some(&event))?;
        let (store, events) = (self.keyring.store(), durable.as_slice());
        match store.insert_key(key.clone(), tenant.version, limit, events).await {
            Ok(()) => {
                self.keyring.report_made(Some(&event));
                Ok(Inserted::Done)
            }
            Err(StoreError::Conflict) => Ok(Inserted::Raced),
            Err(StoreError::Exists) => Ok(Inserted::Exists),
            Err(StoreError::QuotaFull) => Err(KeyringError::QuotaExceeded {
                // Keys may have been deleted since the store returned the error.
                held: self.keyring.held(&self.tenant).await?.max(allowed),
                tenant: tenant.id,
                tier: tenant.tier,
                allowed,
            }),
            Err(error) => Err(KeyringError::of_tenant(error, &self.tenant)),
        }
    }

    pub(super) async fn audited<T>(
        &self,
        change: ChangeKind,
        key: Option<KeyId>,
        done: Result<T, KeyringError>,
    ) -> Result<T, KeyringError> {
        self.keyring.audited(change, Some(self.tenant.as_str()), key, done).await
    }

    /// Reports a change of the key `id` that is refused before it is tried to the audit sink.
    #[cfg(feature = "console")]
    pub(crate) async fn refused(
        &self,
        change: ChangeKind,
        id: KeyId,
        error: KeyringError,
    ) -> KeyringError {
        self.keyring.refused(change, &self.tenant, Some(id), error).await
    }
}

/// Returns the kind of the event of an issued key.
pub(super) fn issued(key: &KeyRecord) -> AuditKind<'_> {
    AuditKind::KeyIssued { scopes: &key.scopes, limits: KeyLimits::of(key) }
}

/// The outcome of inserting a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Inserted {
    Done,
    /// The tenant was changed in the meantime.
    Raced,
    /// The id is or was in use.
    Exists,
}
