//! A tenant's operations on its own keys.

mod import;

use alloc::{string::String, vec::Vec};

use super::{Keyring, KeyringError, Page, QuotaUse, Races};
use crate::{
    audit::{AuditKind, ChangeKind, KeyLimits},
    authority::{ChangeError, GracePeriod, KeyEdit, NewKey},
    decision::KeyState,
    grant::Grant,
    record::{KeyRecord, Owner, TenantId, TenantRecord},
    store::{KeyLookup, KeyQuery, KeyStore, StoreError, StoredKey},
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
        self.audited(ChangeKind::IssueKey, None, issued)
    }

    /// Issues a key like [`issue`](Self::issue), to `tenant` as it was just read.
    #[cfg(feature = "console")]
    pub(crate) async fn issue_to(
        &self,
        tenant: TenantRecord,
        request: NewKey,
    ) -> Result<IssuedKey, KeyringError> {
        let issued = self.try_issue(Some(tenant), request).await;
        self.audited(ChangeKind::IssueKey, None, issued)
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
            match self.insert(tenant, issued.key.clone(), false).await {
                Ok(Inserted::Done) => {
                    self.record_issued(&issued.key);
                    return Ok(issued);
                }
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

    /// Returns the key `id`.
    ///
    /// # Errors
    ///
    /// [`KeyringError::NoKey`] if the tenant holds no such key, or [`KeyringError::Refused`] if its seal is
    /// broken.
    pub async fn find(&self, id: KeyId) -> Result<KeyRecord, KeyringError> {
        let key = self.keyring.store().key(&self.tenant, id).await.map_err(KeyringError::of)?;
        let key = key.filter(|key| key.id == id && key.tenant == self.tenant);
        let key = key.ok_or(KeyringError::NoKey)?;
        self.keyring.check_key(&key)?;
        if !self.sees(key.owner()) {
            return Err(KeyringError::NoKey);
        }
        Ok(key)
    }

    /// Returns the key `id` and its tenant, in one snapshot.
    async fn find_with_tenant(&self, id: KeyId) -> Result<StoredKey, KeyringError> {
        let stored = self.keyring.store().lookup(id).await.map_err(KeyringError::of)?;
        let is_own = |stored: &StoredKey| stored.key.id == id && stored.key.tenant == self.tenant;
        let stored = stored.filter(is_own).ok_or(KeyringError::NoKey)?;
        self.keyring.check_key(&stored.key)?;
        self.keyring.check_tenant(&stored.tenant)?;
        self.keyring.check_pair(&stored)?;
        if !self.sees(stored.key.owner()) {
            return Err(KeyringError::NoKey);
        }
        Ok(stored)
    }

    /// Returns the key with the full token `presented`, whatever its state, if the tenant holds it.
    ///
    /// # Errors
    ///
    /// Like [`find`](Self::find).
    pub async fn find_by_token(
        &self,
        presented: impl AsRef<[u8]>,
    ) -> Result<KeyRecord, KeyringError> {
        let claims = self.keyring.authority().claims(presented.as_ref()).unwrap_or_default();
        for checked in claims {
            match self.find(checked.id()).await {
                Ok(key) if key.holds(&checked, self.keyring.now()) => return Ok(key),
                Ok(_) | Err(KeyringError::NoKey) => {}
                Err(error) => return Err(error),
            }
        }
        Err(KeyringError::NoKey)
    }

    /// Returns one page of the tenant's keys that match `query`. Rows that cannot be shown are in
    /// [`Page::broken`].
    ///
    /// # Errors
    ///
    /// [`KeyringError::Unavailable`], or [`KeyringError::Refused`] if the filter depends on the tenant and the seal of its
    /// record is broken.
    pub async fn list(&self, query: &KeyQuery) -> Result<Page<KeyRecord>, KeyringError> {
        let Some(mut query) = self.narrow(query) else { return Ok(Page::only(Vec::new())) };
        if query.filter().needs_tenant() {
            match self.keyring.find_tenant(&self.tenant).await {
                Ok(tenant) => query = query.with_facts(self.keyring.facts(tenant)),
                // A tenant that does not exist has no keys.
                Err(KeyringError::NoTenant(_)) => return Ok(Page::only(Vec::new())),
                Err(error) => return Err(error),
            }
        }
        let mut page = self.keyring.report(self.keyring.read_keys(&self.tenant, &query).await?);
        // A broken row may be of any owner.
        page.broken.retain(|_| self.owners.is_empty());
        Ok(page)
    }

    /// Searches the tenant's keys for `text`. The text is a part of a name, masked key or id, or a full
    /// token. Returns at most 100 keys. Rows that cannot be read match every text and are in
    /// [`Page::broken`].
    ///
    /// A text that contains more of a token than its public half is never sent to the store. The same holds
    /// for the token of an imported key, and for a text that has the prefix and the form of a foreign
    /// format. If a foreign format has no prefix, an unknown token of it cannot be distinguished from other
    /// text and is searched for as text.
    ///
    /// # Errors
    ///
    /// Like [`list`](Self::list), and for a full token like [`find`](Self::find).
    pub async fn search(&self, text: &str) -> Result<Page<KeyRecord>, KeyringError> {
        if let Some(token) = self.keyring.authority().format().find_in(text) {
            return match self.find_by_token(token).await {
                Ok(key) => Ok(Page::only([key].into())),
                Err(KeyringError::NoKey) => Ok(Page::only(Vec::new())),
                Err(error) => Err(error),
            };
        }
        if let Some(mut found) = self.search_imported(text).await? {
            found.retain(|key| self.sees(key.owner()));
            return Ok(Page::only(found));
        }
        self.list(&KeyQuery::all().containing(text)).await
    }

    /// Returns the state of `key` now, with regard to its tenant's suspension.
    ///
    /// # Errors
    ///
    /// [`KeyringError::NoKey`] for another tenant's key, or [`KeyringError::NoTenant`].
    pub async fn state(&self, key: &KeyRecord) -> Result<KeyState, KeyringError> {
        if key.tenant != self.tenant || !self.sees(key.owner()) {
            return Err(KeyringError::NoKey);
        }
        let tenant = self.keyring.find_tenant(&self.tenant).await?;
        Ok(KeyState::of(key, &tenant, self.keyring.policy(), self.keyring.now()))
    }

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
        self.audited(ChangeKind::EditKey, Some(id), edited)
    }

    async fn try_edit(
        &self,
        id: KeyId,
        version: u64,
        edit: KeyEdit,
    ) -> Result<KeyRecord, KeyringError> {
        let key = self.find(id).await?;
        if key.version != version {
            return Err(KeyringError::Conflict);
        }
        let tenant = self.keyring.find_tenant(&self.tenant).await?;
        let changed = self.apply(&key, &tenant, edit)?;
        self.keyring.update_key(&changed, version).await?;
        self.record_edited(&changed);
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
        self.audited(ChangeKind::EditKey, Some(id), switched)
    }

    /// Disables the key `id`, whatever other changes are made to it concurrently.
    ///
    /// # Errors
    ///
    /// [`KeyringError::NoKey`].
    pub async fn disable(&self, id: KeyId) -> Result<KeyRecord, KeyringError> {
        let switched = self.switch(id, false).await;
        self.audited(ChangeKind::EditKey, Some(id), switched)
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
        self.audited(ChangeKind::RotateKey, Some(id), rotated)
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
        self.keyring.update_key(&key, version).await?;
        self.keyring.record(&self.tenant, Some(id), AuditKind::KeyRotated);
        Ok(IssuedKey { key, token })
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
        self.audited(ChangeKind::DeleteKey, Some(id), deleted)?;
        self.keyring.record(&self.tenant, Some(id), AuditKind::KeyDeleted);
        Ok(())
    }

    async fn try_delete(&self, id: KeyId, version: Option<u64>) -> Result<(), KeyringError> {
        if self.owners.is_empty() {
            return self.keyring.delete_key(&self.tenant, id, version).await;
        }
        // The key may get another owner in the meantime, so the version that was seen is deleted.
        let mut races = Races::default();
        loop {
            let key = self.find(id).await?;
            let seen = version.unwrap_or(key.version);
            match self.keyring.delete_key(&self.tenant, id, Some(seen)).await {
                Err(KeyringError::Conflict) if version.is_none() => races.lost()?,
                done => return done,
            }
        }
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
        Ok(IssuedKey { key, token })
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

    /// Adds `key` if `tenant` is unchanged since it was read and has quota left. `over_quota` skips the
    /// quota.
    async fn insert(
        &self,
        tenant: TenantRecord,
        key: KeyRecord,
        over_quota: bool,
    ) -> Result<Inserted, KeyringError> {
        let allowed = self.keyring.quota(&tenant)?;
        let limit = (!over_quota).then_some(allowed);
        match self.keyring.store().insert_key(key, tenant.version, limit).await {
            Ok(()) => Ok(Inserted::Done),
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

    pub(super) fn audited<T>(
        &self,
        change: ChangeKind,
        key: Option<KeyId>,
        done: Result<T, KeyringError>,
    ) -> Result<T, KeyringError> {
        self.keyring.audited(change, Some(self.tenant.as_str()), key, done)
    }

    /// Reports a change of the key `id` that is refused before it is tried to the audit sink.
    #[cfg(feature = "console")]
    pub(crate) fn refused(
        &self,
        change: ChangeKind,
        id: KeyId,
        error: KeyringError,
    ) -> KeyringError {
        self.keyring.refused(change, &self.tenant, Some(id), error)
    }

    pub(super) fn record_issued(&self, key: &KeyRecord) {
        let kind = AuditKind::KeyIssued { scopes: &key.scopes, limits: KeyLimits::of(key) };
        self.keyring.record(&self.tenant, Some(key.id), kind);
    }

    fn record_edited(&self, key: &KeyRecord) {
        let kind = AuditKind::KeyEdited {
            scopes: &key.scopes,
            limits: KeyLimits::of(key),
            enabled: key.enabled,
        };
        self.keyring.record(&self.tenant, Some(key.id), kind);
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

    async fn switch(&self, id: KeyId, enabled: bool) -> Result<KeyRecord, KeyringError> {
        let mut races = Races::default();
        loop {
            let key = self.find(id).await?;
            if key.enabled == enabled {
                return Ok(key);
            }
            match self.try_edit(id, key.version, KeyEdit::new().enabled(enabled)).await {
                Err(KeyringError::Conflict) => races.lost()?,
                done => return done,
            }
        }
    }
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
