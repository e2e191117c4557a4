//! Checks that a store belongs to a keyring, and writes the marker that records this.

use core::num::NonZeroUsize;

use super::{Keyring, KeyringBuilder, Races};
use crate::{
    store::{KeyLookup, KeyStore, StoreError},
    verifier::OpenError,
};

/// Number of tenants that are checked in a store without a marker.
const SAMPLE: NonZeroUsize = NonZeroUsize::MIN.saturating_add(99);

impl Keyring {
    /// Checks that the store belongs to this keyring's issuer, environment and peppers.
    ///
    /// The first node writes one row, the marker, sealed with its peppers. Every other node compares its
    /// settings with the marker. Peppers may be added and removed, as long as the node still has a pepper
    /// that sealed the marker. The marker is then updated. A [replica](KeyringBuilder::replica) is compared
    /// as well.
    ///
    /// [`KeyringBuilder::open`] calls this. Nodes may start at the same time.
    ///
    /// # Errors
    ///
    /// [`OpenError`] names the difference. For a database role without write permission it is
    /// [`Unavailable`](OpenError::Unavailable) only if there is no marker yet.
    pub async fn check_store(&self) -> Result<(), OpenError> {
        self.verifier().check_store().await?;
        let marker = &self.engine().marker;
        let mut races = Races::default();
        loop {
            let stored = self.store().marker().await.map_err(OpenError::Unavailable)?;
            let next = if let Some(stored) = &stored {
                marker.compare(stored)?
            } else {
                self.check_tenants().await?;
                Some(marker.encode())
            };
            let Some(next) = next else { return Ok(()) };
            match self.store().set_marker(&next, stored.as_deref()).await {
                Ok(()) => return Ok(()),
                // Another node wrote its marker first. Compare with that one.
                Err(error @ StoreError::Conflict) => {
                    races.lost().map_err(|_| OpenError::Unavailable(error))?;
                }
                // The stored marker fits. A node with write permission will update it.
                Err(_) if stored.is_some() => return Ok(()),
                Err(error) => return Err(OpenError::Unavailable(error)),
            }
        }
    }

    /// Checks that at least one tenant is sealed with this keyring's peppers, unless there are no tenants.
    async fn check_tenants(&self) -> Result<(), OpenError> {
        let rows = self.store().tenants(None, SAMPLE).await;
        let rows = rows.map_err(OpenError::Unavailable)?;
        let seals = self.authority().seals();
        let is_ours = rows.iter().flatten().any(|tenant| seals.check_tenant(tenant).is_ok());
        if is_ours || rows.is_empty() { Ok(()) } else { Err(OpenError::ForeignStore) }
    }
}

impl KeyringBuilder {
    /// Builds the keyring and [checks](Keyring::check_store) that the store belongs to its issuer,
    /// environment and peppers. Use it when a service starts.
    ///
    /// ```
    /// use keyway::{Keyring, MemoryStore, Pepper, Policy};
    ///
    /// # pollster::block_on(async {
    /// # let policy: Policy = serde_json::from_str(r#"{ "issuer": "mm", "scopes": [] }"#)?;
    /// let store = MemoryStore::new();
    /// let builder = || Ok::<_, keyway::ConfigError>(
    ///     Keyring::builder(policy.clone(), Pepper::from_bytes(&[7; 32])?).store(store.clone()),
    /// );
    /// let keyring = builder()?.environment("live").open().await?;
    ///
    /// // A node with the settings of another environment does not start.
    /// let error = builder()?.environment("test").open().await.unwrap_err();
    /// assert!(error.to_string().contains("the environment is `test` here and `live` in the store"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// [`OpenError`] names the setting that is missing, invalid or different.
    pub async fn open(self) -> Result<Keyring, OpenError> {
        let keyring = self.build()?;
        keyring.check_store().await?;
        Ok(keyring)
    }
}
