//! Owners: the keys of one person or team inside a tenant.

use super::{KeyringError, Races, TenantKeys};
use crate::{
    audit::{AuditKind, ChangeKind},
    authority::ChangeError,
    grant::Grant,
    record::{Owner, TenantRecord},
    store::KeyQuery,
};

impl TenantKeys {
    /// Limits this handle to the keys of `owner`. It sees and changes only these, and issues and imports keys only for
    /// that owner. The quota is still the tenant's.
    ///
    /// A second, different owner leaves nothing: the handle then finds and issues no key.
    ///
    /// ```
    /// # use keyway::{Keyring, MemoryStore, Pepper, Policy};
    /// use keyway::NewKey;
    ///
    /// # pollster::block_on(async {
    /// # let policy: Policy = serde_json::from_str(r#"{ "issuer": "mm", "scopes": [] }"#)?;
    /// # let keyring = Keyring::builder(policy, Pepper::from_bytes(&[7; 32])?)
    /// #     .environment("live").store(MemoryStore::new()).build()?;
    /// let acme = keyring.create_empty_tenant("acme", "advanced").await?;
    /// let ann = acme.clone().owned_by("ann".parse()?);
    /// let key = ann.issue(NewKey::named("laptop")).await?.key;
    /// let bob = acme.owned_by("bob".parse()?);
    /// assert!(bob.find(key.id()).await.is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    #[must_use]
    pub fn owned_by(mut self, owner: Owner) -> Self {
        if !self.owners.contains(&owner) {
            self.owners.push(owner);
        }
        self
    }

    /// Disables an owner: none of the owner's keys can be used, now and later, on any node. One write to the tenant's
    /// record does it, however many keys there are. The keys themselves stay as they are.
    ///
    /// # Errors
    ///
    /// [`KeyringError::NoTenant`], [`KeyringError::Refused`] if 1,000 owners are disabled already or if the handle is
    /// [limited to an owner](Self::owned_by), or [`KeyringError::Conflict`] if concurrent changes of the tenant did not stop.
    pub async fn disable_owner(&self, owner: &Owner) -> Result<TenantRecord, KeyringError> {
        let switched = self.switch_owner(owner, false).await;
        self.audited(ChangeKind::DisableOwner, None, switched).await
    }

    /// Enables an owner again. Each of the owner's keys has the state that it had before, so a key that was disabled by
    /// itself stays disabled.
    ///
    /// # Errors
    ///
    /// Like [`disable_owner`](Self::disable_owner). [`KeyringError::Refused`] also if the handle is limited by
    /// [`granting_at_most`](Self::granting_at_most) to less than the whole catalog, since the owner may have keys that can
    /// do more.
    pub async fn enable_owner(&self, owner: &Owner) -> Result<TenantRecord, KeyringError> {
        let switched = self.switch_owner(owner, true).await;
        self.audited(ChangeKind::EnableOwner, None, switched).await
    }

    async fn switch_owner(
        &self,
        owner: &Owner,
        enabled: bool,
    ) -> Result<TenantRecord, KeyringError> {
        if let Some(own) = self.owners.first() {
            return Err(ChangeError::OtherOwner(own.clone()).into());
        }
        let everything = Grant::unlimited(self.keyring.policy().catalog().all());
        if enabled && self.granter.as_ref().is_some_and(|granter| !granter.covers(&everything)) {
            return Err(ChangeError::OwnerAboveGranter(owner.clone()).into());
        }
        let mut races = Races::default();
        loop {
            let tenant = self.keyring.find_tenant(&self.tenant).await?;
            let changed = self.keyring.authority().switch_owner(&tenant, owner, enabled)?;
            if changed.version == tenant.version {
                return Ok(tenant);
            }
            let owner = owner.as_str();
            let kind = if enabled {
                AuditKind::OwnerEnabled { owner }
            } else {
                AuditKind::OwnerDisabled { owner }
            };
            match self.keyring.update_tenant(&changed, tenant.version, Some(kind)).await {
                Err(KeyringError::Conflict) => races.lost()?,
                done => return done.map(|()| changed),
            }
        }
    }

    /// Returns whether this handle may see the keys of `owner`.
    pub(super) fn sees(&self, owner: Option<&Owner>) -> bool {
        self.owners.iter().all(|own| Some(own) == owner)
    }

    /// Returns the owner of a key that is to belong to `owner`, or to the handle's own one if it is `None`.
    ///
    /// # Errors
    ///
    /// [`ChangeError::OtherOwner`] if the handle is limited to another one.
    pub(super) fn owner_of(&self, owner: Option<Owner>) -> Result<Option<Owner>, ChangeError> {
        let owner = owner.or_else(|| self.owners.first().cloned());
        let other = self.owners.iter().find(|own| Some(*own) != owner.as_ref());
        other.map_or(Ok(owner), |own| Err(ChangeError::OtherOwner(own.clone())))
    }

    /// Limits `query` to the keys that this handle may see. `None` if there are none.
    pub(super) fn narrow(&self, query: &KeyQuery) -> Option<KeyQuery> {
        if !self.sees(query.owner().or(self.owners.first())) {
            return None;
        }
        Some(match self.owners.first() {
            Some(own) => query.clone().owned_by(own),
            None => query.clone(),
        })
    }
}
