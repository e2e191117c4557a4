use std::{
    collections::HashMap,
    sync::{Arc, RwLock},
};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use rskit_auth::apikey::{Hasher, HashingConfig, Key, KeySpec, Manager, Store};
use rskit_errors::AppError;

use super::{Peer, each, in_a_year};
use crate::harness::ready;

pub fn peers() -> [Peer; 2] {
    [own_prefixes(), one_prefix()]
}

/// Every key has its own prefix, which is then the key's id.
fn own_prefixes() -> Peer {
    let (manager, real) = manager(|number| format!("mm-{number}"));
    let hasher = hasher();
    let unknown = each(|number| generate(&hasher, &format!("xx-{number}")));
    let wrong_secret = each(|number| generate(&hasher, &format!("mm-{number}")));
    Peer::new(
        "rskit-auth, `Manager`, a prefix per key",
        &["rskit-auth"],
        "HMAC under a pepper, expiry, revocation; writes the use to the store",
        verify(&manager, real),
    )
    .made_up(verify(&manager, unknown))
    .wrong_secret(verify(&manager, wrong_secret))
}

/// All keys have the same prefix, as in the crate's examples.
fn one_prefix() -> Peer {
    let (manager, real) = manager(|_| "mm".to_owned());
    let hasher = hasher();
    let made_up = each(|_| generate(&hasher, "mm"));
    Peer::new(
        "rskit-auth, `Manager`, 64 keys with one prefix",
        &["rskit-auth"],
        "the same, against every key with the prefix",
        verify(&manager, real),
    )
    .made_up(verify(&manager, made_up))
}

fn verify(
    manager: &Arc<Manager<MemoryStore>>,
    tokens: Vec<String>,
) -> impl FnMut(usize) -> bool + use<> {
    let manager = Arc::clone(manager);
    move |number| ready(manager.validate_key_with_scopes(&tokens[number], &[])).is_ok()
}

fn manager(prefix: impl Fn(usize) -> String) -> (Arc<Manager<MemoryStore>>, Vec<String>) {
    let manager = Manager::new(MemoryStore::default(), hasher());
    let tokens = each(|number| {
        let (issued, _) = ready(manager.issue_key(KeySpec {
            key_id: format!("key-{number}"),
            owner_id: format!("tenant-{number}"),
            name: "ERP nightly sync".to_owned(),
            prefix: prefix(number),
            scopes: vec!["reporting".to_owned()],
            expires_at: Some(in_a_year().into()),
        }))
        .unwrap();
        issued.plain_key.clone()
    });
    (Arc::new(manager), tokens)
}

fn hasher() -> Hasher {
    Hasher::new(HashingConfig::new("p".repeat(32))).unwrap()
}

fn generate(hasher: &Hasher, prefix: &str) -> String {
    hasher.generate_key(prefix).unwrap().plain_key.clone()
}

/// A store with keys by id, and the ids under each prefix. The crate has no in-memory store that others can
/// use.
#[derive(Default)]
struct MemoryStore(RwLock<Tables>);

#[derive(Default)]
struct Tables {
    keys: HashMap<String, Key>,
    by_prefix: HashMap<String, Vec<String>>,
}

#[async_trait]
impl Store for MemoryStore {
    async fn create(&self, key: Key) -> Result<(), AppError> {
        let mut tables = self.0.write().unwrap();
        let ids = tables.by_prefix.entry(key.key_prefix.clone()).or_default();
        ids.push(key.id.clone());
        tables.keys.insert(key.id.clone(), key);
        Ok(())
    }

    async fn list_by_prefix(&self, key_prefix: &str) -> Result<Vec<Key>, AppError> {
        let tables = self.0.read().unwrap();
        let ids = tables.by_prefix.get(key_prefix).map_or(&[][..], Vec::as_slice);
        Ok(ids.iter().map(|id| tables.keys[id].clone()).collect())
    }

    async fn update_last_used(&self, key_id: &str, used_at: DateTime<Utc>) -> Result<(), AppError> {
        if let Some(key) = self.0.write().unwrap().keys.get_mut(key_id) {
            key.last_used_at = Some(used_at);
        }
        Ok(())
    }

    async fn get_by_id(&self, _: &str) -> Result<Key, AppError> {
        unimplemented!("verification does not come here")
    }

    async fn set_rotation(
        &self,
        _: &str,
        _: DateTime<Utc>,
        _: Option<String>,
    ) -> Result<(), AppError> {
        unimplemented!("verification does not come here")
    }

    async fn set_active(&self, _: &str, _: bool) -> Result<(), AppError> {
        unimplemented!("verification does not come here")
    }

    async fn delete(&self, _: &str) -> Result<(), AppError> {
        unimplemented!("verification does not come here")
    }
}
