//! A keyring with one key, over a store that counts its reads.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use keyway::{
    KeyId, Keyring, MemoryStore, NewKey, Pepper, Policy, ScopeCatalog, Tier,
    scope::ScopeDeclaration,
    store::{KeyLookup, StoreError, StoredKey},
    verifier::Verifier,
};

pub(crate) struct World {
    /// The guard of the routes.
    pub(crate) verifier: Verifier,
    pub(crate) token: String,
    pub(crate) reads: Arc<AtomicU64>,
}

impl World {
    pub(crate) fn new() -> Self {
        let store = MemoryStore::new();
        let scopes = ["reporting", "operator"].map(|name| ScopeDeclaration::new(name, "a scope"));
        let catalog = ScopeCatalog::new(scopes).unwrap();
        let policy = Policy::new("mm", catalog, Tier::built_in()).unwrap();
        let pepper = || Pepper::from_bytes(&[7; 32]).unwrap();
        let keyring = Keyring::builder(policy.clone(), pepper());
        let keyring = keyring.environment("live").store(store.clone()).build().unwrap();
        let first = NewKey::named("ERP nightly sync").scopes(["reporting"]);
        let created = keyring.create_tenant_with("acme", "advanced", first);
        let (_, issued) = pollster::block_on(created).unwrap();
        let reads = Arc::new(AtomicU64::new(0));
        let verifier = Verifier::builder(policy, pepper())
            .environment("live")
            .lookup(Counting { store, reads: Arc::clone(&reads) })
            .max_staleness(Duration::from_secs(86_400))
            .build()
            .unwrap();
        let token = String::clone(&issued.token.reveal());
        // The key is cached from here on.
        pollster::block_on(verifier.verify(&token)).unwrap();
        Self { verifier, token, reads }
    }

    /// Returns the token with another tag.
    pub(crate) fn forged(&self) -> String {
        let mut forged = self.token.clone();
        let last = if forged.pop() == Some('A') { 'B' } else { 'A' };
        forged.push(last);
        forged
    }
}

struct Counting {
    store: MemoryStore,
    reads: Arc<AtomicU64>,
}

impl KeyLookup for Counting {
    async fn lookup(&self, id: KeyId) -> Result<Option<StoredKey>, StoreError> {
        self.reads.fetch_add(1, Relaxed);
        self.store.lookup(id).await
    }

    async fn lookup_many(&self, ids: &[KeyId]) -> Result<keyway::store::Lookups, StoreError> {
        keyway::store::lookup_each(self, ids).await
    }

    fn max_lag(&self) -> core::time::Duration {
        core::time::Duration::ZERO
    }

    async fn marker(&self) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(None)
    }
}
