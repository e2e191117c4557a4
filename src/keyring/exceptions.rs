//! Exceptions of one tenant from the limits of its tier.

use super::{Keyring, KeyringError, QuotaUse};
use crate::{
    audit::{AuditKind, ChangeKind},
    authority::ChangeError,
    record::{Exceptions, TenantId, TenantRecord},
};

impl Keyring {
    /// Replaces the exceptions of a tenant, which was read at `version`. Limits that are not set are the tier's.
    ///
    /// Narrower limits hold at once, from the next use of each key. Keys above the new number stay, and the tenant gets
    /// no further key until it holds fewer. [`preview_exceptions`](Self::preview_exceptions) lists what a change narrows
    /// and ends.
    ///
    /// ```
    /// # use keyway::{Keyring, MemoryStore, Pepper, Policy};
    /// use keyway::record::Exceptions;
    ///
    /// # pollster::block_on(async {
    /// # let policy: Policy = serde_json::from_str(r#"{ "issuer": "mm", "scopes": [] }"#)?;
    /// # let keyring = Keyring::builder(policy, Pepper::from_bytes(&[7; 32])?)
    /// #     .environment("live").store(MemoryStore::new()).build()?;
    /// # keyring.create_tenant("acme", "advanced").await?;
    /// let acme = keyring.find_tenant(&"acme".parse()?).await?;
    /// let quota =
    ///     keyring.set_exceptions(acme.id(), acme.version(), Exceptions::new().keys(7)).await?;
    /// assert_eq!(quota.allowed, 7);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// [`KeyringError::NoTenant`], [`KeyringError::Conflict`] if the tenant has another version by now, or
    /// [`KeyringError::Refused`] if a scope is not declared, a limit is zero, or nothing counts allowances.
    pub async fn set_exceptions(
        &self,
        id: &TenantId,
        version: u64,
        exceptions: Exceptions,
    ) -> Result<QuotaUse, KeyringError> {
        let found = self.find_tenant(id).await;
        let named = found.and_then(|tenant| {
            if tenant.version == version { Ok(tenant) } else { Err(KeyringError::Conflict) }
        });
        let tenant =
            self.audited(ChangeKind::SetExceptions, Some(id.as_str()), None, named).await?;
        self.except(&tenant, exceptions).await
    }

    /// Replaces the exceptions of `tenant`, if it is unchanged since it was read.
    pub(crate) async fn except(
        &self,
        tenant: &TenantRecord,
        exceptions: Exceptions,
    ) -> Result<QuotaUse, KeyringError> {
        let changed = async {
            self.check_countable(&exceptions)?;
            let changed = self.authority().set_exceptions(tenant, exceptions)?;
            let kind =
                AuditKind::ExceptionsChanged { from: &tenant.exceptions, to: &changed.exceptions };
            self.update_tenant(&changed, tenant.version, Some(kind)).await?;
            Ok(changed)
        };
        let tenant_id = Some(tenant.id.as_str());
        let changed = changed.await;
        let changed = self.audited(ChangeKind::SetExceptions, tenant_id, None, changed).await?;
        self.quota_use(changed).await
    }

    /// Checks that allowances of exceptions are counted somewhere.
    pub(super) fn check_countable(&self, exceptions: &Exceptions) -> Result<(), ChangeError> {
        if exceptions.has_allowances() && self.engine().limits().is_none() {
            return Err(ChangeError::NoLimitStore);
        }
        Ok(())
    }
}
