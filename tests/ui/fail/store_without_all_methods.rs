use keyway::{
    store::{KeyLookup, KeyStore, StoreError, StoredKey},
    token::KeyId,
};

struct Half;

impl KeyLookup for Half {
    async fn lookup(&self, _: KeyId) -> Result<Option<StoredKey>, StoreError> {
        Ok(None)
    }
}

impl KeyStore for Half {}

fn main() {}
