//! What an operator of the service does.

use core::num::NonZeroUsize;

use super::{IssuedKey, Keyring, KeyringError, Page, TenantKeys};
use crate::{
    audit::AuditKind,
    authority::{ChangeError, NewKey},
    record::{KeyRecord, Suspension, TenantId, TenantRecord},
    store::{KeyLookup, KeyStore, StoredKey},
    token::KeyId,
};

/// What moving a tenant to another tier has done.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TierChange {
    /// The tenant as it is now.
    pub tenant: TenantRecord,
    /// How many keys it holds.
    pub held: u32,
    /// How many keys the tier allows.
    pub allowed: u32,
}

impl TierChange {
    /// By how many keys the tenant is over its quota. It keeps them, and gets no new ones until it is
    /// under again.
    pub fn over(&self) -> u32 {
        self.held.saturating_sub(self.allowed)
    }
}

/// How many keys a tenant holds of those that its tier allows.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct QuotaUse {
    /// The tenant.
    pub tenant: TenantRecord,
    /// How many keys it holds, whatever their state.
    pub held: u32,
    /// How many keys its tier allows: none if the policy no longer has that tier.
    pub allowed: u32,
}

impl Keyring {
    /// Creates a tenant on a tier, and with it, in one step, its first key: named `default`, without
    /// any scope until somebody grants it one.
    ///
    /// # Errors
    ///
    /// [`KeyringError::TenantExists`], [`KeyringError::QuotaExceeded`] if the tier allows no key, or
    /// [`KeyringError::Refused`] for a bad id or unknown tier.
    pub async fn create_tenant(
        &self,
        id: &str,
        tier: &str,
    ) -> Result<(TenantKeys, IssuedKey), KeyringError> {
        self.create_tenant_with(id, tier, NewKey::named("default")).await
    }

    /// Creates a tenant on a tier, and with it, in one step, this first key.
    ///
    /// # Errors
    ///
    /// As [`create_tenant`](Self::create_tenant), and [`KeyringError::Refused`] if the key cannot be
    /// granted.
    pub async fn create_tenant_with(
        &self,
        id: &str,
        tier: &str,
        first_key: NewKey,
    ) -> Result<(TenantKeys, IssuedKey), KeyringError> {
        let tenant = self.new_tenant(id, tier)?;
        let allowed = self.quota(&tenant)?;
        if allowed == 0 {
            return Err(KeyringError::QuotaExceeded {
                tenant: tenant.id,
                tier: tenant.tier,
                allowed,
                held: 0,
            });
        }
        let keys = self.tenant(tenant.id.clone());
        let issued = keys.make(&tenant, first_key.without_idempotency_key())?;
        self.insert_tenant(tenant, Some(issued.key.clone())).await?;
        keys.record_issued(&issued.key);
        Ok((keys, issued))
    }

    /// Creates a tenant on a tier, without any key.
    ///
    /// # Errors
    ///
    /// [`KeyringError::TenantExists`], or [`KeyringError::Refused`] for a bad id or unknown tier.
    pub async fn create_empty_tenant(
        &self,
        id: &str,
        tier: &str,
    ) -> Result<TenantKeys, KeyringError> {
        let tenant = self.new_tenant(id, tier)?;
        let keys = self.tenant(tenant.id.clone());
        self.insert_tenant(tenant, None).await?;
        Ok(keys)
    }

    /// The record of a tenant.
    ///
    /// # Errors
    ///
    /// [`KeyringError::NoTenant`], or that its seal is broken.
    pub async fn find_tenant(&self, id: &TenantId) -> Result<TenantRecord, KeyringError> {
        let tenant = self.store().tenant(id).await.map_err(KeyringError::of)?;
        let tenant = tenant
            .filter(|tenant| tenant.id == *id)
            .ok_or_else(|| KeyringError::NoTenant(id.clone()))?;
        self.check_tenant(&tenant)?;
        Ok(tenant)
    }

    /// One page of all tenants, in the order of their ids, behind `after`. At most 1,000.
    ///
    /// # Errors
    ///
    /// [`KeyringError::Unavailable`], or that the seal of one of them is broken.
    pub async fn tenants(
        &self,
        after: Option<&TenantId>,
        limit: usize,
    ) -> Result<Page<TenantRecord, TenantId>, KeyringError> {
        let limit = limit.clamp(1, 1_000);
        let one_more = NonZeroUsize::MIN.saturating_add(limit);
        let tenants = self.store().tenants(after, one_more).await.map_err(KeyringError::of)?;
        for tenant in &tenants {
            self.check_tenant(tenant)?;
        }
        Ok(Page::of(tenants, limit, |tenant| tenant.id.clone()))
    }

    /// Moves a tenant to another tier.
    ///
    /// A lower tier takes effect at once: what the tenant's keys may do narrows with their next use.
    /// Keys above its quota stay, and no new one is issued until there are fewer.
    ///
    /// # Errors
    ///
    /// [`KeyringError::NoTenant`], [`KeyringError::Conflict`], or [`KeyringError::Refused`] for an
    /// unknown tier.
    pub async fn set_tier(&self, id: &TenantId, tier: &str) -> Result<TierChange, KeyringError> {
        let tenant = self.find_tenant(id).await?;
        let changed = self.authority().set_tier(&tenant, tier)?;
        let allowed = self.quota(&changed)?;
        self.update_tenant(&changed, tenant.version).await?;
        let kind = AuditKind::TierChanged { from: &tenant.tier, to: tier };
        self.record(id, None, kind);
        let held = self.store().count_keys(id).await.map_err(KeyringError::of)?;
        Ok(TierChange { tenant: changed, held, allowed })
    }

    /// Suspends a tenant: none of its keys can be used.
    ///
    /// # Errors
    ///
    /// [`KeyringError::NoTenant`] or [`KeyringError::Conflict`].
    pub async fn suspend_tenant(
        &self,
        id: &TenantId,
        suspension: Suspension,
    ) -> Result<TenantRecord, KeyringError> {
        let tenant = self.change_suspension(id, Some(suspension.clone())).await?;
        let kind = AuditKind::TenantSuspended { reason: suspension.reason() };
        self.record(id, None, kind);
        Ok(tenant)
    }

    /// Lifts a tenant's suspension.
    ///
    /// # Errors
    ///
    /// [`KeyringError::NoTenant`] or [`KeyringError::Conflict`].
    pub async fn resume_tenant(&self, id: &TenantId) -> Result<TenantRecord, KeyringError> {
        let tenant = self.change_suspension(id, None).await?;
        self.record(id, None, AuditKind::TenantResumed);
        Ok(tenant)
    }

    /// Deletes a tenant and all of its keys, for good.
    ///
    /// # Errors
    ///
    /// [`KeyringError::NoTenant`].
    pub async fn delete_tenant(&self, id: &TenantId) -> Result<(), KeyringError> {
        let _invalidate = self.shared().invalidate_tenant_on_drop(id.clone());
        let deleted = self.store().delete_tenant(id).await;
        deleted.map_err(|error| KeyringError::of_tenant(error, id))?;
        self.record(id, None, AuditKind::TenantDeleted);
        Ok(())
    }

    /// Suspends a key, whoever holds it. Its tenant cannot lift that.
    ///
    /// # Errors
    ///
    /// [`KeyringError::NoKey`] or [`KeyringError::Conflict`].
    pub async fn suspend_key(
        &self,
        id: KeyId,
        suspension: Suspension,
    ) -> Result<KeyRecord, KeyringError> {
        let stored = self.find_key(id).await?;
        let key = self.set_key_suspension(stored, Some(suspension.clone())).await?;
        let kind = AuditKind::KeySuspended { reason: suspension.reason() };
        self.record(&key.tenant, Some(id), kind);
        Ok(key)
    }

    /// Lifts a key's suspension.
    ///
    /// # Errors
    ///
    /// [`KeyringError::NoKey`] or [`KeyringError::Conflict`].
    pub async fn resume_key(&self, id: KeyId) -> Result<KeyRecord, KeyringError> {
        let stored = self.find_key(id).await?;
        let key = self.set_key_suspension(stored, None).await?;
        self.record(&key.tenant, Some(id), AuditKind::KeyResumed);
        Ok(key)
    }
}

impl Keyring {
    /// How many keys the tenant's tier allows.
    pub(super) fn quota(&self, tenant: &TenantRecord) -> Result<u32, KeyringError> {
        let tier = self.policy().tier(&tenant.tier);
        let tier = tier.ok_or_else(|| ChangeError::UnknownTier(tenant.tier.clone()))?;
        Ok(tier.keys)
    }

    /// With how many keys `tenant` holds.
    pub(crate) async fn quota_use(&self, tenant: TenantRecord) -> Result<QuotaUse, KeyringError> {
        let held = self.store().count_keys(&tenant.id).await.map_err(KeyringError::of)?;
        Ok(QuotaUse { allowed: self.allowed(&tenant), tenant, held })
    }

    /// How many keys the tenant may hold: none if the policy no longer has its tier.
    pub(crate) fn allowed(&self, tenant: &TenantRecord) -> u32 {
        self.policy().tier(&tenant.tier).map_or(0, |tier| tier.keys)
    }

    async fn set_key_suspension(
        &self,
        stored: StoredKey,
        suspension: Option<Suspension>,
    ) -> Result<KeyRecord, KeyringError> {
        let changed = self.authority().suspend_key(&stored.key, suspension)?;
        self.update_key(&changed, stored.key.version).await?;
        Ok(changed)
    }

    /// A key of any tenant, with its seals checked.
    async fn find_key(&self, id: KeyId) -> Result<StoredKey, KeyringError> {
        let stored = self.store().lookup(id).await.map_err(KeyringError::of)?;
        let stored = stored.filter(|stored| stored.key.id == id).ok_or(KeyringError::NoKey)?;
        self.check_key(&stored.key)?;
        self.check_tenant(&stored.tenant)?;
        Ok(stored)
    }

    pub(super) fn check_key(&self, key: &KeyRecord) -> Result<(), KeyringError> {
        self.authority().seals().check_key(key).map_err(|tampered| {
            self.record(&key.tenant, Some(key.id), AuditKind::Tampered);
            tampered.into()
        })
    }

    pub(super) fn check_tenant(&self, tenant: &TenantRecord) -> Result<(), KeyringError> {
        self.authority().seals().check_tenant(tenant).map_err(|tampered| {
            self.record(&tenant.id, None, AuditKind::Tampered);
            tampered.into()
        })
    }

    /// Writes a changed key. From then on no verification goes by the old one.
    pub(super) async fn update_key(
        &self,
        key: &KeyRecord,
        replaces: u64,
    ) -> Result<(), KeyringError> {
        let _invalidate = self.shared().invalidate_key_on_drop(key.id);
        self.store().update_key(key.clone(), replaces).await.map_err(KeyringError::of_key)
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
        // A tenant of this id may have been deleted a moment ago.
        let _invalidate = self.shared().invalidate_tenant_on_drop(id.clone());
        let inserted = self.store().insert_tenant(tenant, first_key).await;
        inserted.map_err(|error| KeyringError::of_tenant(error, &id))?;
        self.record(&id, None, AuditKind::TenantCreated { tier: &tier });
        Ok(())
    }

    pub(super) async fn update_tenant(
        &self,
        tenant: &TenantRecord,
        replaces: u64,
    ) -> Result<(), KeyringError> {
        let _invalidate = self.shared().invalidate_tenant_on_drop(tenant.id.clone());
        let updated = self.store().update_tenant(tenant.clone(), replaces).await;
        updated.map_err(|error| KeyringError::of_tenant(error, &tenant.id))
    }

    async fn change_suspension(
        &self,
        id: &TenantId,
        suspension: Option<Suspension>,
    ) -> Result<TenantRecord, KeyringError> {
        let tenant = self.find_tenant(id).await?;
        let changed = self.authority().suspend_tenant(&tenant, suspension)?;
        self.update_tenant(&changed, tenant.version).await?;
        Ok(changed)
    }
}
