use keyway::{
    ConfigError, KeyId, Pepper, Policy,
    store::{KeyLookup, StoreError, StoredKey},
    verifier::Verifier,
};

struct Empty;

impl KeyLookup for Empty {
    async fn lookup(&self, _: KeyId) -> Result<Option<StoredKey>, StoreError> {
        Ok(None)
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

fn node(policy: Policy, pepper: Pepper) -> Result<Verifier, ConfigError> {
    Verifier::builder(policy, pepper).environment("live").lookup(Empty).build()
}

fn main() {}
