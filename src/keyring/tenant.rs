//! What a tenant does with its own keys.

mod import;

use alloc::{string::String, vec::Vec};

use super::{Keyring, KeyringError, MAX_RACES, QuotaUse};
use crate::{
    audit::AuditKind,
    authority::{ChangeError, KeyEdit, NewKey, Overlap},
    decision::KeyState,
    record::{KeyRecord, TenantId, TenantRecord},
    scope::ScopeSet,
    store::{KeyCursor, KeyLookup, KeyQuery, KeyStore, StoreError},
    token::{KeyId, OneTimeToken},
};

/// The keys of one tenant, made by [`Keyring::tenant`].
///
/// The key of another tenant cannot be reached through it: its id is one that does not exist. Who
/// may have this handle is for the host to decide; what they can grant is bounded by the tenant's
/// tier, and by [`granting_at_most`](Self::granting_at_most).
#[derive(Clone, Debug)]
pub struct TenantKeys {
    keyring: Keyring,
    tenant: TenantId,
    granter: Option<ScopeSet>,
}

/// A key with the only copy of its new token.
#[derive(Debug)]
#[must_use = "the token in it is lost unless it is revealed"]
pub struct IssuedKey {
    /// The record.
    pub key: KeyRecord,
    /// The token, which can be revealed once.
    pub token: OneTimeToken,
}

/// A part of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T, C = KeyCursor> {
    /// The items, in order.
    pub items: Vec<T>,
    /// Where the next part begins, if there is one.
    pub next: Option<C>,
}

impl<T, C> Page<T, C> {
    /// The first `limit` of `items`, which has one more if there is another page.
    pub(super) fn of(mut items: Vec<T>, limit: usize, cursor: impl Fn(&T) -> C) -> Self {
        let has_more = items.len() > limit;
        items.truncate(limit);
        let next = items.last().filter(|_| has_more).map(cursor);
        Self { items, next }
    }
}

impl TenantKeys {
    pub(super) fn new(keyring: Keyring, tenant: TenantId) -> Self {
        Self { keyring, tenant, granter: None }
    }

    /// The same keys for somebody who holds `scopes` and can pass on nothing above them: neither by
    /// issuing a key, nor by editing or rotating one. A second bound narrows the first.
    #[must_use]
    pub fn granting_at_most(mut self, scopes: ScopeSet) -> Self {
        self.granter = Some(self.granter.map_or(scopes, |granter| granter.meet(scopes)));
        self
    }

    /// The same keys for somebody, whom the audit sink and new keys then name in the host's words.
    #[must_use]
    pub fn acting_as(mut self, actor: &str) -> Self {
        self.keyring = self.keyring.acting_as(actor);
        self
    }

    /// The id of the tenant.
    pub fn id(&self) -> &TenantId {
        &self.tenant
    }

    /// Issues a key, if the tenant's tier allows it another one.
    ///
    /// # Errors
    ///
    /// [`KeyringError::AlreadyIssued`] if one was for the same
    /// [idempotency key](NewKey::idempotency_key), [`KeyringError::QuotaExceeded`],
    /// [`KeyringError::NoTenant`], or [`KeyringError::Refused`] with what cannot be granted.
    /// After [`KeyringError::Unavailable`] the same request with the same idempotency key says which
    /// it was.
    pub async fn issue(&self, request: NewKey) -> Result<IssuedKey, KeyringError> {
        // The tier may change between the reading and the counting, and the id may have been drawn
        // before by a process with the same randomness; then everything is done again.
        let ids = self.keyring.authority().idempotent_ids(&self.tenant, &request);
        self.check_not_issued(&ids).await?;
        for _ in 0..MAX_RACES {
            let tenant = self.keyring.find_tenant(&self.tenant).await?;
            let issued = self.make(&tenant, request.clone())?;
            match self.insert(tenant, issued.key.clone()).await {
                Ok(Inserted::Done) => {
                    self.record_issued(&issued.key);
                    return Ok(issued);
                }
                Ok(Inserted::Exists) if !ids.is_empty() => {
                    return Err(KeyringError::AlreadyIssued(issued.key.id));
                }
                Ok(Inserted::Exists | Inserted::Raced) => {}
                Err(error) => {
                    // A repetition may have taken the last place, and which of the two it says is the
                    // store's choice.
                    if matches!(error, KeyringError::QuotaExceeded { .. }) {
                        self.check_not_issued(&ids).await?;
                    }
                    return Err(error);
                }
            }
        }
        Err(KeyringError::Conflict)
    }

    /// Succeeds if there is no key with one of `ids`. The store alone would not see that it is there
    /// under another pepper.
    async fn check_not_issued(&self, ids: &[KeyId]) -> Result<(), KeyringError> {
        for id in ids {
            if self.keyring.store().lookup(*id).await.map_err(KeyringError::of)?.is_some() {
                return Err(KeyringError::AlreadyIssued(*id));
            }
        }
        Ok(())
    }

    /// How many keys the tenant holds, and how many its tier allows.
    ///
    /// # Errors
    ///
    /// [`KeyringError::NoTenant`], or that its seal is broken.
    pub async fn quota(&self) -> Result<QuotaUse, KeyringError> {
        let tenant = self.keyring.find_tenant(&self.tenant).await?;
        self.keyring.quota_use(tenant).await
    }

    /// The key `id`.
    ///
    /// # Errors
    ///
    /// [`KeyringError::NoKey`] if the tenant holds no such key, or that its seal is broken.
    pub async fn find(&self, id: KeyId) -> Result<KeyRecord, KeyringError> {
        let key = self.keyring.store().key(&self.tenant, id).await.map_err(KeyringError::of)?;
        let key = key.filter(|key| key.id == id && key.tenant == self.tenant);
        let key = key.ok_or(KeyringError::NoKey)?;
        self.keyring.check_key(&key)?;
        Ok(key)
    }

    /// The key with the full token `presented`, whatever its state, if the tenant holds it.
    ///
    /// # Errors
    ///
    /// As [`find`](Self::find).
    pub async fn find_by_token(
        &self,
        presented: impl AsRef<[u8]>,
    ) -> Result<KeyRecord, KeyringError> {
        let claims = self.keyring.authority().claims(presented.as_ref()).unwrap_or_default();
        for claim in claims {
            match self.find(claim.id()).await {
                Ok(key) if key.holds(&claim, self.keyring.now()) => return Ok(key),
                Ok(_) | Err(KeyringError::NoKey) => {}
                Err(error) => return Err(error),
            }
        }
        Err(KeyringError::NoKey)
    }

    /// One page of the tenant's keys that match `query`.
    ///
    /// # Errors
    ///
    /// [`KeyringError::Unavailable`], or that the seal of one of them is broken.
    pub async fn list(&self, query: &KeyQuery) -> Result<Page<KeyRecord>, KeyringError> {
        let limit = query.max().get();
        let one_more = query.clone().one_more();
        let keys = self.keyring.store().keys(&self.tenant, &one_more).await;
        let keys = keys.map_err(KeyringError::of)?;
        for key in &keys {
            if key.tenant != self.tenant {
                return Err(ChangeError::OtherTenant.into());
            }
            self.keyring.check_key(key)?;
        }
        Ok(Page::of(keys, limit, KeyCursor::of))
    }

    /// The tenant's keys that `text` finds: by a part of the name, hint or id, or by a full token.
    /// At most 100.
    ///
    /// A text that holds more of a token than its public half is never sent to the store. Neither
    /// is one that is the token of an imported key, or that begins with a foreign format's prefix
    /// and has its form. Where a foreign format has no prefix, a token of it that nobody holds
    /// cannot be told from any other text, and is searched for like one.
    ///
    /// # Errors
    ///
    /// As [`list`](Self::list).
    pub async fn search(&self, text: &str) -> Result<Vec<KeyRecord>, KeyringError> {
        if let Some(token) = self.keyring.authority().format().find_in(text) {
            return match self.find_by_token(token).await {
                Ok(key) => Ok([key].into()),
                Err(KeyringError::NoKey) => Ok(Vec::new()),
                Err(error) => Err(error),
            };
        }
        if let Some(found) = self.search_imported(text).await? {
            return Ok(found);
        }
        Ok(self.list(&KeyQuery::all().containing(text)).await?.items)
    }

    /// What `key` is now, its tenant's suspension included.
    ///
    /// # Errors
    ///
    /// [`KeyringError::NoKey`] for the key of another tenant, and [`KeyringError::NoTenant`].
    pub async fn state(&self, key: &KeyRecord) -> Result<KeyState, KeyringError> {
        if key.tenant != self.tenant {
            return Err(KeyringError::NoKey);
        }
        let tenant = self.keyring.find_tenant(&self.tenant).await?;
        Ok(KeyState::of(key, &tenant, self.keyring.now()))
    }

    /// Edits the key `id`, which was read at `version`.
    ///
    /// # Errors
    ///
    /// [`KeyringError::Conflict`] if it has another version by now, [`KeyringError::NoKey`], or
    /// [`KeyringError::Refused`] with what cannot be granted.
    pub async fn edit(
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

    /// Switches the key `id` on, whatever else changes in it meanwhile. What an operator has
    /// suspended stays suspended.
    ///
    /// # Errors
    ///
    /// [`KeyringError::NoKey`].
    pub async fn enable(&self, id: KeyId) -> Result<KeyRecord, KeyringError> {
        self.switch(id, true).await
    }

    /// Switches the key `id` off, whatever else changes in it meanwhile.
    ///
    /// # Errors
    ///
    /// [`KeyringError::NoKey`].
    pub async fn disable(&self, id: KeyId) -> Result<KeyRecord, KeyringError> {
        self.switch(id, false).await
    }

    /// Gives the key `id`, which was read at `version`, a new secret.
    ///
    /// # Errors
    ///
    /// [`KeyringError::Conflict`] if it has another version by now, [`KeyringError::NoKey`], or
    /// [`KeyringError::Refused`] if the key has expired or the overlap is too long.
    pub async fn rotate(
        &self,
        id: KeyId,
        version: u64,
        overlap: Overlap,
    ) -> Result<IssuedKey, KeyringError> {
        let key = self.find(id).await?;
        if key.version != version {
            return Err(KeyringError::Conflict);
        }
        let now = self.keyring.now();
        let (key, token) = {
            let mut randomness = self.keyring.randomness();
            let authority = self.keyring.authority();
            authority.rotate(&key, overlap, self.granter, now, &mut *randomness)?
        };
        self.keyring.update_key(&key, version).await?;
        self.keyring.record(&self.tenant, Some(id), AuditKind::KeyRotated);
        Ok(IssuedKey { key, token })
    }

    /// Deletes the key `id`, for good.
    ///
    /// # Errors
    ///
    /// [`KeyringError::NoKey`].
    pub async fn delete(&self, id: KeyId) -> Result<(), KeyringError> {
        self.keyring.delete_key(&self.tenant, id).await?;
        self.keyring.record(&self.tenant, Some(id), AuditKind::KeyDeleted);
        Ok(())
    }

    pub(super) fn make(
        &self,
        tenant: &TenantRecord,
        request: NewKey,
    ) -> Result<IssuedKey, KeyringError> {
        let request = self.on_behalf(request)?;
        let now = self.keyring.now();
        let mut randomness = self.keyring.randomness();
        let (key, token) =
            self.keyring.authority().issue(tenant, request, now, &mut *randomness)?;
        Ok(IssuedKey { key, token })
    }

    /// `request` by whoever acts, within what they can pass on.
    fn on_behalf(&self, mut request: NewKey) -> Result<NewKey, KeyringError> {
        if !self.keyring.actor.is_empty() {
            request = request.created_by(String::from(&*self.keyring.actor))?;
        }
        if let Some(granter) = self.granter {
            request = request.granted_by(granter);
        }
        Ok(request)
    }

    /// Adds `key` as long as `tenant` is as it was read and its quota allows it.
    async fn insert(&self, tenant: TenantRecord, key: KeyRecord) -> Result<Inserted, KeyringError> {
        let allowed = self.keyring.quota(&tenant)?;
        match self.keyring.store().insert_key(key, tenant.version, allowed).await {
            Ok(()) => Ok(Inserted::Done),
            Err(StoreError::Conflict) => Ok(Inserted::Raced),
            Err(StoreError::Exists) => Ok(Inserted::Exists),
            Err(StoreError::QuotaFull { held }) => Err(KeyringError::QuotaExceeded {
                tenant: tenant.id,
                tier: tenant.tier,
                allowed,
                held,
            }),
            Err(error) => Err(KeyringError::of_tenant(error, &self.tenant)),
        }
    }

    pub(super) fn record_issued(&self, key: &KeyRecord) {
        let kind = AuditKind::KeyIssued { scopes: &key.scopes };
        self.keyring.record(&self.tenant, Some(key.id), kind);
    }

    fn record_edited(&self, key: &KeyRecord) {
        let kind = AuditKind::KeyEdited { scopes: &key.scopes, enabled: key.enabled };
        self.keyring.record(&self.tenant, Some(key.id), kind);
    }

    fn apply(
        &self,
        key: &KeyRecord,
        tenant: &TenantRecord,
        mut edit: KeyEdit,
    ) -> Result<KeyRecord, KeyringError> {
        if let Some(granter) = self.granter {
            edit = edit.granted_by(granter);
        }
        Ok(self.keyring.authority().edit(key, tenant, edit, self.keyring.now())?)
    }

    async fn switch(&self, id: KeyId, enabled: bool) -> Result<KeyRecord, KeyringError> {
        for _ in 0..MAX_RACES {
            let key = self.find(id).await?;
            if key.enabled == enabled {
                return Ok(key);
            }
            match self.edit(id, key.version, KeyEdit::new().enabled(enabled)).await {
                Err(KeyringError::Conflict) => {}
                done => return done,
            }
        }
        Err(KeyringError::Conflict)
    }
}

/// What became of a new key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Inserted {
    Done,
    /// The tenant was changed in the meantime.
    Raced,
    /// The id is or was in use.
    Exists,
}
