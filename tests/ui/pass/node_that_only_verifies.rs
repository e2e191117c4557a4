use keyway::{
    policy::Policy,
    pepper::Pepper,
    store::{KeyLookup, StoreError, StoredKey},
    token::KeyId,
    verifier::{BuildError, Verifier},
};

struct Empty;

impl KeyLookup for Empty {
    async fn lookup(&self, _: KeyId) -> Result<Option<StoredKey>, StoreError> {
        Ok(None)
    }
}

fn node(policy: Policy, pepper: Pepper) -> Result<Verifier, BuildError> {
    Verifier::builder(policy, pepper).environment("live").lookup(Empty).build()
}

fn main() {}
