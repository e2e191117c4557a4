use std::{
    collections::HashMap,
    pin::Pin,
    sync::{Arc, RwLock},
};

use modo::auth::apikey::{
    ApiKeyBackend, ApiKeyConfig, ApiKeyRecord, ApiKeyStore, CreateKeyRequest,
};

use super::{Peer, each, in_a_year};
use crate::harness::ready;

pub fn peer() -> Peer {
    let mut config = ApiKeyConfig::default();
    config.prefix = "mm".to_owned();
    // No write of the last use falls due during the run. Such a write would be a task of its own.
    config.touch_threshold_secs = 86_400;
    let store = |config: &ApiKeyConfig| {
        let backend = Arc::new(MemoryBackend::default());
        ApiKeyStore::from_backend(backend, config.clone()).unwrap()
    };
    let create = |store: &ApiKeyStore, number: usize| {
        let request = CreateKeyRequest {
            tenant_id: format!("tenant-{number}"),
            name: "ERP nightly sync".to_owned(),
            scopes: vec!["reporting".to_owned()],
            expires_at: Some(chrono::DateTime::<chrono::Utc>::from(in_a_year()).to_rfc3339()),
        };
        ready(store.create(&request)).unwrap().raw_token
    };
    let (keys, elsewhere) = (store(&config), store(&config));
    let real = each(|number| create(&keys, number));
    let made_up = each(|number| create(&elsewhere, number));
    // The id is a ULID of 26 characters.
    let id_end = "mm_".len() + 26;
    let wrong_secret = real
        .iter()
        .zip(&made_up)
        .map(|(real, made_up)| real[..id_end].to_owned() + &made_up[id_end..])
        .collect();

    let verify = |tokens: Vec<String>| {
        let keys = keys.clone();
        move |number: usize| ready(keys.verify(&tokens[number])).is_ok()
    };
    Peer::new(
        "modo-rs, `ApiKeyStore`, `HashMap` backend",
        &["modo-rs"],
        "hash of the secret, expiry, revocation",
        verify(real),
    )
    .made_up(verify(made_up))
    .wrong_secret(verify(wrong_secret))
}

#[derive(Default)]
struct MemoryBackend(RwLock<HashMap<String, ApiKeyRecord>>);

type Reply<'a, T> = Pin<Box<dyn Future<Output = modo::Result<T>> + Send + 'a>>;

impl ApiKeyBackend for MemoryBackend {
    /// Every key counts as used when it is stored.
    fn store(&self, record: &ApiKeyRecord) -> Reply<'_, ()> {
        let mut record = record.clone();
        record.last_used_at = Some(record.created_at.clone());
        Box::pin(async move {
            self.0.write().unwrap().insert(record.id.clone(), record);
            Ok(())
        })
    }

    fn lookup(&self, key_id: &str) -> Reply<'_, Option<ApiKeyRecord>> {
        let found = self.0.read().unwrap().get(key_id).cloned();
        Box::pin(async { Ok(found) })
    }

    fn revoke(&self, _: &str, _: &str) -> Reply<'_, ()> {
        unimplemented!("verification does not come here")
    }

    fn list(&self, _: &str) -> Reply<'_, Vec<ApiKeyRecord>> {
        unimplemented!("verification does not come here")
    }

    fn update_last_used(&self, _: &str, _: &str) -> Reply<'_, ()> {
        unimplemented!("no write of the last use falls due")
    }

    fn update_expires_at(&self, _: &str, _: Option<&str>) -> Reply<'_, ()> {
        unimplemented!("verification does not come here")
    }
}
