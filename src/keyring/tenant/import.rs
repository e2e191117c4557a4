//! A tenant's keys that another system issued.

use alloc::vec::Vec;

use super::{Inserted, KeyringError, MAX_RACES, TenantKeys};
use crate::{audit::AuditKind, authority::ImportedKey, record::KeyRecord, store::KeyLookup};

/// How many words of a text are looked up as tokens.
const MAX_WORDS: usize = 4;

impl TenantKeys {
    /// Takes a key over from another system, if the tenant's tier allows it another one. Its holder
    /// goes on using the token that it has; see [`import`](crate::import).
    ///
    /// # Errors
    ///
    /// [`KeyringError::AlreadyImported`] if it was, for this tenant or another one,
    /// [`KeyringError::QuotaExceeded`], [`KeyringError::NoTenant`], or [`KeyringError::Refused`]
    /// with what cannot be granted.
    pub async fn import(&self, mut imported: ImportedKey) -> Result<KeyRecord, KeyringError> {
        imported.request = self.on_behalf(imported.request)?;
        // Its id hangs on the pepper, so the store alone would not see that it is there under
        // another.
        for older in self.keyring.authority().older(&imported) {
            let id = older.id();
            if self.keyring.store().lookup(id).await.map_err(KeyringError::of)?.is_some() {
                return Err(KeyringError::AlreadyImported(id));
            }
        }
        for _ in 0..MAX_RACES {
            let tenant = self.keyring.find_tenant(&self.tenant).await?;
            let now = self.keyring.now();
            let key = self.keyring.authority().import(&tenant, imported.clone(), now)?;
            match self.insert(tenant, key.clone()).await? {
                Inserted::Done => {
                    let kind = AuditKind::KeyImported { scopes: &key.scopes };
                    self.keyring.record(&self.tenant, Some(key.id), kind);
                    return Ok(key);
                }
                Inserted::Exists => return Err(KeyringError::AlreadyImported(key.id)),
                Inserted::Raced => {}
            }
        }
        Err(KeyringError::Conflict)
    }

    /// The tenant's key whose foreign token is in `text`; nothing if there is none and `text` may
    /// be searched for.
    pub(super) async fn search_imported(
        &self,
        text: &str,
    ) -> Result<Option<Vec<KeyRecord>>, KeyringError> {
        let is_between = |c: char| c.is_whitespace() || "\"'`<>,;".contains(c);
        let words = || text.split(is_between).filter(|word| !word.is_empty());
        let authority = self.keyring.authority();
        let tokens = words().filter(|word| authority.claims(word.as_bytes()).is_ok());
        for token in tokens.take(MAX_WORDS) {
            // Of another tenant it is a token too, and not to be sent anywhere.
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
