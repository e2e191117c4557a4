use keyway::{
    KeyId,
    store::{KeyLookup, KeyStore, StoreError, StoredKey},
};

struct Half;

impl KeyLookup for Half {
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

impl KeyStore for Half {}

fn main() {}
