//! Operations for the operator of a service.

use alloc::vec::Vec;
use core::num::NonZeroUsize;

use super::{IssuedKey, Keyring, KeyringError, Page, TenantKeys, tenant::issued};
use crate::{
    audit::{AuditKind, ChangeKind},
    authority::{ChangeError, NewKey},
    record::{KeyRecord, RecordError, Suspension, TenantId, TenantRecord},
    store::{KeyLookup, KeyStore, LimitStore as _, StoredKey, UsageStore as _},
    token::KeyId,
};

/// The number of keys that a tenant holds, and the number that its tier or its exceptions allow.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct QuotaUse {
    /// The tenant.
    pub tenant: TenantRecord,
    /// The number of keys that it holds in any state, counted up to [`MAX_COUNTED`](Self::MAX_COUNTED).
    pub held: u32,
    /// The number of keys that it may hold, by its tier or its exceptions. 0 if the policy no longer has that tier.
    pub allowed: u32,
}

impl QuotaUse {
    /// Maximum of [`held`](Self::held). A tenant that holds more keys is shown with this number. Quotas
    /// themselves may be larger and are enforced exactly.
    pub const MAX_COUNTED: u32 = 100_000;

    /// Returns the number of keys above the quota. The tenant keeps them, and gets no new keys until it is
    /// below its quota again.
    pub fn over(&self) -> u32 {
        self.held.saturating_sub(self.allowed)
    }
}

impl Keyring {
    /// Creates a tenant on a tier, together with its first key, in one step. The key is named `default` and
    /// has no scopes.
    ///
    /// # Errors
    ///
    /// [`KeyringError::TenantExists`], [`KeyringError::QuotaExceeded`] if the tier allows no keys, or
    /// [`KeyringError::Refused`] for an invalid id or an unknown tier.
    pub async fn create_tenant(
        &self,
        id: &str,
        tier: &str,
    ) -> Result<(TenantKeys, IssuedKey), KeyringError> {
        self.create_tenant_with(id, tier, NewKey::named("default")).await
    }

    /// Creates a tenant on a tier, together with this first key, in one step.
    ///
    /// With an [idempotency key](NewKey::idempotency_key) the call can be repeated safely: all calls with
    /// the same id and idempotency key create one tenant with one key, even if they are concurrent. The
    /// first call returns the token. Every other call returns [`KeyringError::AlreadyIssued`] with the id of
    /// the first key. If the token was lost, [`rotate`](TenantKeys::rotate) the key to get a new one.
    ///
    /// A tenant that was created with another idempotency key, or with none, is left unchanged, and the call
    /// returns [`TenantExists`](KeyringError::TenantExists). The call also returns `TenantExists` if the
    /// first key has been deleted, because nothing then shows that the tenant was created by the same
    /// request.
    ///
    /// # Errors
    ///
    /// Like [`create_tenant`](Self::create_tenant), [`KeyringError::AlreadyIssued`] for a repetition, and
    /// [`KeyringError::Refused`] if the key cannot be granted.
    pub async fn create_tenant_with(
        &self,
        id: &str,
        tier: &str,
        first_key: NewKey,
    ) -> Result<(TenantKeys, IssuedKey), KeyringError> {
        let created = self.try_create_tenant_with(id, tier, first_key).await;
        self.told_of_creation(id, created).await
    }

    /// Reports a tenant that was not created to the audit sink. A string that is not a valid id is left out:
    /// it may contain line breaks, with which a caller could forge lines of the audit log.
    async fn told_of_creation<T>(
        &self,
        id: &str,
        done: Result<T, KeyringError>,
    ) -> Result<T, KeyringError> {
        let tenant = TenantId::stored(id).ok();
        let tenant = tenant.as_ref().map(TenantId::as_str);
        self.audited(ChangeKind::CreateTenant, tenant, None, done).await
    }

    async fn try_create_tenant_with(
        &self,
        id: &str,
        tier: &str,
        first_key: NewKey,
    ) -> Result<(TenantKeys, IssuedKey), KeyringError> {
        let tenant = self.new_tenant(id, tier)?;
        let keys = self.tenant(tenant.id.clone());
        let first_key = first_key.for_first_key();
        let ids = self.authority().idempotent_ids(&tenant.id, &first_key);
        keys.check_not_issued(&ids).await?;
        let allowed = self.quota(&tenant)?;
        if allowed == 0 {
            return Err(KeyringError::QuotaExceeded {
                tenant: tenant.id,
                tier: tenant.tier,
                allowed,
                held: 0,
            });
        }
        let issued = keys.make(&tenant, first_key, &ids)?;
        match self.insert_tenant(tenant, Some(issued.key.clone())).await {
            Ok(()) => Ok((keys, issued)),
            // The store returns the same error for an existing tenant and for an id of a key that is or was
            // in use.
            Err(KeyringError::TenantExists(id)) if !ids.is_empty() => {
                keys.check_not_issued(&ids).await?;
                match self.find_tenant(&id).await {
                    Err(KeyringError::NoTenant(_)) => {
                        Err(KeyringError::AlreadyIssued(issued.key.id))
                    }
                    _ => Err(KeyringError::TenantExists(id)),
                }
            }
            Err(error) => Err(error),
        }
    }

    /// Creates a tenant on a tier, without keys.
    ///
    /// # Errors
    ///
    /// [`KeyringError::TenantExists`], or [`KeyringError::Refused`] for an invalid id or an unknown tier.
    pub async fn create_empty_tenant(
        &self,
        id: &str,
        tier: &str,
    ) -> Result<TenantKeys, KeyringError> {
        let created = self.try_create_empty_tenant(id, tier).await;
        self.told_of_creation(id, created).await
    }

    async fn try_create_empty_tenant(
        &self,
        id: &str,
        tier: &str,
    ) -> Result<TenantKeys, KeyringError> {
        let tenant = self.new_tenant(id, tier)?;
        let keys = self.tenant(tenant.id.clone());
        self.insert_tenant(tenant, None).await?;
        Ok(keys)
    }

    /// Returns the record of a tenant.
    ///
    /// # Errors
    ///
    /// [`KeyringError::NoTenant`], or [`KeyringError::Refused`] if its seal is broken.
    pub async fn find_tenant(&self, id: &TenantId) -> Result<TenantRecord, KeyringError> {
        let tenant = self.store().tenant(id).await.map_err(KeyringError::of)?;
        let tenant = tenant
            .filter(|tenant| tenant.id == *id)
            .ok_or_else(|| KeyringError::NoTenant(id.clone()))?;
        self.check_tenant(&tenant)?;
        Ok(tenant)
    }

    /// Returns one page of all tenants, in the order of their ids, starting after `after`. `limit` is
    /// brought into the range 1 to 1,000. Rows that cannot be shown are in [`Page::broken`].
    ///
    /// # Errors
    ///
    /// [`KeyringError::Unavailable`].
    pub async fn tenants(
        &self,
        after: Option<&TenantId>,
        limit: usize,
    ) -> Result<Page<TenantRecord, TenantId>, KeyringError> {
        let limit = NonZeroUsize::MIN.saturating_add(limit.clamp(1, 1_000) - 1);
        Ok(self.report(self.read_tenants(after, limit).await?))
    }

    /// Moves a tenant to another tier.
    ///
    /// A lower tier takes effect immediately: the next use of each key is limited to it. Keys above the
    /// quota stay. No new key is issued until the tenant is below its quota.
    ///
    /// # Errors
    ///
    /// [`KeyringError::NoTenant`], [`KeyringError::Conflict`], or [`KeyringError::Refused`] for an unknown
    /// tier.
    pub async fn set_tier(&self, id: &TenantId, tier: &str) -> Result<QuotaUse, KeyringError> {
        let found = self.find_tenant(id).await;
        let tenant = self.audited(ChangeKind::SetTier, Some(id.as_str()), None, found).await?;
        self.move_tenant(&tenant, tier).await
    }

    /// Moves `tenant` to another tier, if it is unchanged since it was read.
    pub(crate) async fn move_tenant(
        &self,
        tenant: &TenantRecord,
        tier: &str,
    ) -> Result<QuotaUse, KeyringError> {
        let moved = self.try_move_tenant(tenant, tier).await;
        self.audited(ChangeKind::SetTier, Some(tenant.id.as_str()), None, moved).await
    }

    async fn try_move_tenant(
        &self,
        tenant: &TenantRecord,
        tier: &str,
    ) -> Result<QuotaUse, KeyringError> {
        let changed = self.authority().set_tier(tenant, tier)?;
        let kind = AuditKind::TierChanged { from: &tenant.tier, to: tier };
        self.update_tenant(&changed, tenant.version, Some(kind)).await?;
        self.quota_use(changed).await
    }

    /// Suspends a tenant. None of its keys can be used.
    ///
    /// # Errors
    ///
    /// [`KeyringError::NoTenant`] or [`KeyringError::Conflict`].
    pub async fn suspend_tenant(
        &self,
        id: &TenantId,
        suspension: Suspension,
    ) -> Result<TenantRecord, KeyringError> {
        let found = self.find_tenant(id).await;
        let tenant =
            self.audited(ChangeKind::SuspendTenant, Some(id.as_str()), None, found).await?;
        self.set_tenant_suspension(&tenant, Some(suspension)).await
    }

    /// Lifts a tenant's suspension.
    ///
    /// # Errors
    ///
    /// [`KeyringError::NoTenant`] or [`KeyringError::Conflict`].
    pub async fn resume_tenant(&self, id: &TenantId) -> Result<TenantRecord, KeyringError> {
        let found = self.find_tenant(id).await;
        let tenant = self.audited(ChangeKind::ResumeTenant, Some(id.as_str()), None, found).await?;
        self.set_tenant_suspension(&tenant, None).await
    }

    /// Deletes a tenant and all of its keys permanently.
    ///
    /// The first write already makes the tenant and its keys unusable. The keys are then erased in portions,
    /// which takes a few seconds for 100,000 keys. If an error or a restart interrupts this, call it again
    /// to erase the rest. A tenant of the same id may be created at any time and gets none of the old keys.
    ///
    /// # Errors
    ///
    /// [`KeyringError::NoTenant`] if there is no such tenant and nothing is left of a deleted one.
    pub async fn delete_tenant(&self, id: &TenantId) -> Result<(), KeyringError> {
        let deleted = self.try_delete_tenant(id).await;
        self.audited(ChangeKind::DeleteTenant, Some(id.as_str()), None, deleted).await
    }

    async fn try_delete_tenant(&self, id: &TenantId) -> Result<(), KeyringError> {
        let event = Some(self.event(Some(id.as_str()), None, AuditKind::TenantDeleted));
        let durable = self.durable(event.as_ref())?;
        let invalidate = self.engine().invalidate_tenant_on_drop(id.clone());
        // The usage and the units come first. Otherwise a repeated call would find no tenant that has some left.
        let deleted = match self.engine().usage_store() {
            Some(usage) => usage.delete_usage(id).await,
            None => Ok(()),
        };
        let deleted = match (deleted, self.engine().limits()) {
            (Ok(()), Some(limits)) => {
                limits.forget(id);
                limits.store().delete_windows(id).await
            }
            (deleted, _) => deleted,
        };
        let deleted = match deleted {
            Ok(()) => self.store().delete_tenant(id, durable.as_slice()).await,
            Err(error) => Err(error),
        };
        drop(invalidate);
        deleted.map_err(|error| KeyringError::of_tenant(error, id))?;
        self.report_made(event.as_ref());
        Ok(())
    }

    /// Returns the key `id` and the tenant that holds it. Use it with an id from a log, a leak report or an
    /// audit event.
    ///
    /// ```
    /// # use keyway::{Keyring, MemoryStore, Pepper, Policy};
    /// # pollster::block_on(async {
    /// # let policy: Policy = serde_json::from_str(r#"{ "issuer": "mm", "scopes": [] }"#)?;
    /// # let keyring = Keyring::builder(policy, Pepper::from_bytes(&[7; 32])?)
    /// #     .environment("live").store(MemoryStore::new()).build()?;
    /// # let (_, issued) = keyring.create_tenant("acme", "lite").await?;
    /// # let id = issued.key.id();
    /// let found = keyring.find_key(id).await?;
    /// assert_eq!(found.tenant.id().as_str(), "acme");
    /// // An operator manages a tenant's keys through the same handle as the tenant.
    /// keyring.tenant(found.tenant.id().clone()).disable(id).await?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// [`KeyringError::NoKey`], or [`KeyringError::Refused`] if the seal of the key or of its tenant is
    /// broken.
    pub async fn find_key(&self, id: KeyId) -> Result<StoredKey, KeyringError> {
        let stored = self.store().lookup(id).await.map_err(KeyringError::of)?;
        let stored = stored.filter(|stored| stored.key.id == id).ok_or(KeyringError::NoKey)?;
        self.check_key(&stored.key)?;
        self.check_tenant(&stored.tenant)?;
        self.check_pair(&stored)?;
        Ok(stored)
    }

    /// Suspends a key of any tenant. The tenant cannot lift the suspension.
    ///
    /// # Errors
    ///
    /// [`KeyringError::NoKey`] or [`KeyringError::Conflict`].
    pub async fn suspend_key(
        &self,
        id: KeyId,
        suspension: Suspension,
    ) -> Result<KeyRecord, KeyringError> {
        let found = self.find_key(id).await;
        let stored = self.audited(ChangeKind::SuspendKey, None, Some(id), found).await?;
        self.set_key_suspension(&stored.key, Some(suspension)).await
    }

    /// Lifts a key's suspension.
    ///
    /// # Errors
    ///
    /// [`KeyringError::NoKey`] or [`KeyringError::Conflict`].
    pub async fn resume_key(&self, id: KeyId) -> Result<KeyRecord, KeyringError> {
        let found = self.find_key(id).await;
        let stored = self.audited(ChangeKind::ResumeKey, None, Some(id), found).await?;
        self.set_key_suspension(&stored.key, None).await
    }
}

impl Keyring {
    /// Returns the number of keys that the tenant may hold, or an error if the policy has no such tier.
    pub(super) fn quota(&self, tenant: &TenantRecord) -> Result<u32, KeyringError> {
        let terms = self.policy().terms(tenant);
        let terms = terms.ok_or_else(|| ChangeError::UnknownTier(tenant.tier.clone()))?;
        Ok(terms.keys)
    }

    /// Adds the number of keys that `tenant` holds and may hold.
    pub(crate) async fn quota_use(&self, tenant: TenantRecord) -> Result<QuotaUse, KeyringError> {
        let held = self.held(&tenant.id).await?;
        Ok(QuotaUse { allowed: self.allowed(&tenant), tenant, held })
    }

    /// Counts the keys that `tenant` holds, up to [`QuotaUse::MAX_COUNTED`].
    pub(super) async fn held(&self, tenant: &TenantId) -> Result<u32, KeyringError> {
        let held = self.store().count_keys(tenant, QuotaUse::MAX_COUNTED).await;
        held.map_err(KeyringError::of)
    }

    /// Returns the number of keys that the tenant may hold. 0 if the policy no longer has its tier.
    pub(crate) fn allowed(&self, tenant: &TenantRecord) -> u32 {
        self.policy().terms(tenant).map_or(0, |terms| terms.keys)
    }

    /// Suspends `key` or lifts its suspension, if the key is unchanged since it was read.
    pub(crate) async fn set_key_suspension(
        &self,
        key: &KeyRecord,
        suspension: Option<Suspension>,
    ) -> Result<KeyRecord, KeyringError> {
        let change = match &suspension {
            Some(_) => ChangeKind::SuspendKey,
            None => ChangeKind::ResumeKey,
        };
        let changed = async {
            let changed = self.authority().suspend_key(key, suspension)?;
            let kind = match changed.suspension() {
                Some(suspension) => AuditKind::KeySuspended { reason: suspension.reason() },
                None => AuditKind::KeyResumed,
            };
            self.update_key(&changed, key.version, Some(kind)).await?;
            Ok(changed)
        };
        let changed = changed.await;
        self.audited(change, Some(key.tenant.as_str()), Some(key.id), changed).await
    }

    pub(super) fn check_key(&self, key: &KeyRecord) -> Result<(), KeyringError> {
        self.authority().seals().check_key(key).map_err(|tampered| {
            self.record(&key.tenant, Some(key.id), AuditKind::Tampered);
            tampered.into()
        })
    }

    /// Checks that the store returned a key together with its own tenant. Both seals may be valid even if
    /// the key belongs to another tenant.
    pub(super) fn check_pair(&self, stored: &StoredKey) -> Result<(), KeyringError> {
        if stored.key.tenant == stored.tenant.id {
            return Ok(());
        }
        self.record(&stored.key.tenant, Some(stored.key.id), AuditKind::Tampered);
        Err(ChangeError::Record(RecordError::Misplaced).into())
    }

    pub(super) fn check_tenant(&self, tenant: &TenantRecord) -> Result<(), KeyringError> {
        self.authority().seals().check_tenant(tenant).map_err(|tampered| {
            self.record(&tenant.id, None, AuditKind::Tampered);
            tampered.into()
        })
    }

    /// Writes a changed key together with the event of the change, if it has one, and reports the event. After this
    /// returns, no verification on this node uses the old record.
    pub(super) async fn update_key(
        &self,
        key: &KeyRecord,
        replaces: u64,
        kind: Option<AuditKind<'_>>,
    ) -> Result<(), KeyringError> {
        let event = kind.map(|kind| self.event(Some(key.tenant.as_str()), Some(key.id), kind));
        let durable = self.durable(event.as_ref())?;
        let invalidate = self.engine().invalidate_key_on_drop(key.id);
        let updated = self.store().update_key(key.clone(), replaces, durable.as_slice()).await;
        drop(invalidate);
        updated.map_err(KeyringError::of_key)?;
        self.report_made(event.as_ref());
        Ok(())
    }

    fn new_tenant(&self, id: &str, tier: &str) -> Result<TenantRecord, KeyringError> {
        let id = TenantId::try_from(id)?;
        Ok(self.authority().create_tenant(id, tier, self.now())?)
    }

    async fn insert_tenant(
        &self,
        tenant: TenantRecord,
        first_key: Option<KeyRecord>,
    ) -> Result<(), KeyringError> {
        let (id, tier) = (tenant.id.clone(), tenant.tier.clone());
        let key = first_key.clone();
        let named = Some(id.as_str());
        let created = self.event(named, None, AuditKind::TenantCreated { tier: &tier });
        let issued = key.as_ref().map(|key| self.event(named, Some(key.id), issued(key)));
        let mut durable = Vec::new();
        durable.extend(self.durable(Some(&created))?);
        durable.extend(self.durable(issued.as_ref())?);
        // A tenant of this id may have been deleted just before. Nothing that was cached of it may be used.
        let invalidate = self.engine().invalidate_tenant_on_drop(id.clone());
        let inserted = self.store().insert_tenant(tenant, first_key, &durable).await;
        drop(invalidate);
        inserted.map_err(|error| KeyringError::of_tenant(error, &id))?;
        self.report_made(Some(&created));
        self.report_made(issued.as_ref());
        Ok(())
    }

    /// Writes a changed tenant like [`update_key`](Self::update_key).
    pub(super) async fn update_tenant(
        &self,
        tenant: &TenantRecord,
        replaces: u64,
        kind: Option<AuditKind<'_>>,
    ) -> Result<(), KeyringError> {
        let event = kind.map(|kind| self.event(Some(tenant.id.as_str()), None, kind));
        let durable = self.durable(event.as_ref())?;
        let invalidate = self.engine().invalidate_tenant_on_drop(tenant.id.clone());
        let updated =
            self.store().update_tenant(tenant.clone(), replaces, durable.as_slice()).await;
        drop(invalidate);
        updated.map_err(|error| KeyringError::of_tenant(error, &tenant.id))?;
        self.report_made(event.as_ref());
        Ok(())
    }

    /// Suspends `tenant` or lifts its suspension, if the tenant is unchanged since it was read.
    pub(crate) async fn set_tenant_suspension(
        &self,
        tenant: &TenantRecord,
        suspension: Option<Suspension>,
    ) -> Result<TenantRecord, KeyringError> {
        let change = match &suspension {
            Some(_) => ChangeKind::SuspendTenant,
            None => ChangeKind::ResumeTenant,
        };
        let changed = async {
            let changed = self.authority().suspend_tenant(tenant, suspension)?;
            let kind = match changed.suspension() {
                Some(suspension) => AuditKind::TenantSuspended { reason: suspension.reason() },
                None => AuditKind::TenantResumed,
            };
            self.update_tenant(&changed, tenant.version, Some(kind)).await?;
            Ok(changed)
        };
        let changed = changed.await;
        self.audited(change, Some(tenant.id.as_str()), None, changed).await
    }
}
