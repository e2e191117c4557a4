//! Import of keys that another system issued.

use alloc::vec::Vec;

use super::{Inserted, KeyringError, TenantKeys};
use crate::{
    audit::{AuditKind, ChangeKind, KeyLimits},
    authority::ImportedKey,
    keyring::Races,
    record::KeyRecord,
    store::{KeyLookup, KeyStore, KeyUse},
    time::Timestamp,
    token::KeyId,
};

/// Maximum number of words of a text that are looked up as tokens.
const MAX_WORDS: usize = 4;

impl TenantKeys {
    /// Imports a key from another system, if the quota of the tenant's tier allows another one. Its holder
    /// continues to use the existing token. See [`import`](crate::import).
    ///
    /// The result contains the record of the key and [its end](KeyRecord::expires_at). A repeated call
    /// changes nothing, with one exception: a [last use](ImportedKey::last_used) that is later than the
    /// stored one is written. This does not depend on the quota.
    ///
    /// # Errors
    ///
    /// [`KeyringError::AlreadyImported`] if the key was imported before, for this tenant or another one.
    /// [`KeyringError::QuotaExceeded`] unless the key is imported [over quota](ImportedKey::over_quota).
    /// [`KeyringError::NoTenant`], or [`KeyringError::Refused`] if the request cannot be granted. After
    /// [`KeyringError::Unavailable`] repeat the call.
    pub async fn import(&self, imported: ImportedKey) -> Result<KeyRecord, KeyringError> {
        let done = self.try_import(imported).await;
        self.audited(ChangeKind::ImportKey, None, done).await
    }

    async fn try_import(&self, mut imported: ImportedKey) -> Result<KeyRecord, KeyringError> {
        imported.request = self.on_behalf(imported.request)?;
        // The id depends on the pepper, so the insert alone does not detect a key that was imported under
        // another pepper. With a full quota it may not detect the repetition either.
        let ids = self.keyring.authority().imported_ids(&imported);
        self.check_not_imported(&ids, &imported).await?;
        let mut races = Races::default();
        loop {
            let tenant = self.keyring.find_tenant(&self.tenant).await?;
            let now = self.keyring.now();
            let key = self.keyring.authority().import(&tenant, imported.clone(), now)?;
            let kind = AuditKind::KeyImported { scopes: &key.scopes, limits: KeyLimits::of(&key) };
            match self.insert(tenant, &key, imported.over_quota, kind).await {
                Ok(Inserted::Done) => {
                    self.keep_last_use(key.id, key.last_used()).await?;
                    return Ok(key);
                }
                Ok(Inserted::Exists) => return Err(KeyringError::AlreadyImported(key.id)),
                Ok(Inserted::Raced) => races.lost()?,
                Err(error) => {
                    // A concurrent repetition of this call may have taken the last place of the quota.
                    if matches!(error, KeyringError::QuotaExceeded { .. }) {
                        self.check_not_imported(&ids, &imported).await?;
                    }
                    return Err(error);
                }
            }
        }
    }

    /// Checks that there is no key with one of `ids`. If this handle sees one, the imported last use is
    /// written to it, because the first import may have been interrupted before that write.
    async fn check_not_imported(
        &self,
        ids: &[KeyId],
        imported: &ImportedKey,
    ) -> Result<(), KeyringError> {
        for id in ids {
            let stored = self.keyring.store().lookup(*id).await.map_err(KeyringError::of)?;
            if let Some(stored) = stored {
                let last_used = imported.last_used_by(self.keyring.now());
                if stored.key.tenant == self.tenant && self.sees(stored.key.owner()) {
                    self.keep_last_use(*id, last_used).await?;
                }
                return Err(KeyringError::AlreadyImported(*id));
            }
        }
        Ok(())
    }

    async fn keep_last_use(
        &self,
        id: KeyId,
        last_used: Option<Timestamp>,
    ) -> Result<(), KeyringError> {
        let Some(at) = last_used else { return Ok(()) };
        let latest = self.keyring.now();
        let used = self.keyring.store().record_uses(&[KeyUse { id, at }], latest).await;
        used.map_err(KeyringError::of)
    }

    /// Searches for the tenant's key whose foreign token is in `text`. `None` means that there is none and
    /// that `text` may be sent to the store as a search text.
    pub(super) async fn search_imported(
        &self,
        text: &str,
    ) -> Result<Option<Vec<KeyRecord>>, KeyringError> {
        let is_between = |c: char| c.is_whitespace() || "\"'`<>,;".contains(c);
        let words = || text.split(is_between).filter(|word| !word.is_empty());
        let authority = self.keyring.authority();
        let tokens = words().filter(|word| authority.claims(word.as_bytes()).is_ok());
        for token in tokens.take(MAX_WORDS) {
            // Another tenant's token is a secret too. It must not be sent to the store as a search text.
            if let Some(stored) = self.keyring.holding(token.as_bytes()).await? {
                let key = stored.key;
                if key.tenant != self.tenant {
                    return Ok(Some(Vec::new()));
                }
                self.keyring.check_key(&key)?;
                return Ok(Some([key].into()));
            }
        }
        Ok(words().any(|word| authority.is_evidently_foreign(word)).then(Vec::new))
    }
}
