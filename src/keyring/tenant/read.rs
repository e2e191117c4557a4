//! Reading the keys of a tenant.

use alloc::vec::Vec;

use super::{
    super::{KeyringError, Page},
    TenantKeys,
};
use crate::{
    decision::KeyState,
    record::KeyRecord,
    store::{KeyLookup, KeyQuery, KeyStore, StoredKey},
    token::KeyId,
};

impl TenantKeys {
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
    pub(super) async fn find_with_tenant(&self, id: KeyId) -> Result<StoredKey, KeyringError> {
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
}
