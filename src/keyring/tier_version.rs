//! A move to another tier that notices concurrent changes of the tenant.

use super::{Keyring, KeyringError, QuotaUse};
use crate::{audit::ChangeKind, record::TenantId};

impl Keyring {
    /// Moves a tenant, which was read at `version`, to another tier. Has the same effect as [`set_tier`](Self::set_tier).
    ///
    /// Use it if the reason for the move is in the record that was read, or if an operator has confirmed a
    /// [preview](Self::preview_tier): the version of the preview is that of its
    /// [`tenant`](super::TermsPreview::tenant).
    ///
    /// ```
    /// # use keyway::{Keyring, KeyringError, MemoryStore, Pepper, Policy};
    /// # pollster::block_on(async {
    /// # let policy: Policy = serde_json::from_str(r#"{ "issuer": "mm", "scopes": [] }"#)?;
    /// # let keyring = Keyring::builder(policy, Pepper::from_bytes(&[7; 32])?)
    /// #     .environment("live").store(MemoryStore::new()).build()?;
    /// # keyring.create_tenant("acme", "lite").await?;
    /// let preview = keyring.preview_tier(&"acme".parse()?, "advanced").await?;
    /// let seen = preview.tenant;
    /// keyring.set_tier_version(seen.id(), seen.version(), "advanced").await?;
    ///
    /// // A second operator has confirmed the same preview.
    /// let late = keyring.set_tier_version(seen.id(), seen.version(), "lite").await;
    /// assert!(matches!(late, Err(KeyringError::Conflict)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// [`KeyringError::Conflict`] if the tenant has another version by now, [`KeyringError::NoTenant`], or
    /// [`KeyringError::Refused`] for an unknown tier.
    pub async fn set_tier_version(
        &self,
        id: &TenantId,
        version: u64,
        tier: &str,
    ) -> Result<QuotaUse, KeyringError> {
        let found = self.find_tenant(id).await;
        let named = found.and_then(|tenant| {
            if tenant.version == version { Ok(tenant) } else { Err(KeyringError::Conflict) }
        });
        let tenant = self.audited(ChangeKind::SetTier, Some(id.as_str()), None, named).await?;
        self.move_tenant(&tenant, tier).await
    }
}
