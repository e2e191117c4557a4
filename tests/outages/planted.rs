//! Stores that fail open or closed in the wrong way: what the tests must catch.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use keyway::{
    store::{AnyStore, KeyLookup, StoreError, StoredKey},
    token::KeyId,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// Tells of an error that there is no such key.
    FindsNothing,
    /// Tells on an error what it told before, however long ago.
    Remembers,
}

#[derive(Clone)]
pub struct Planted {
    store: AnyStore,
    wrong: Wrong,
    told: Arc<Mutex<HashMap<KeyId, StoredKey>>>,
}

impl Planted {
    pub fn new(store: &AnyStore, wrong: Wrong) -> Self {
        Self { store: store.clone(), wrong, told: Arc::default() }
    }
}

impl KeyLookup for Planted {
    async fn lookup(&self, id: KeyId) -> Result<Option<StoredKey>, StoreError> {
        match self.store.lookup(id).await {
            Ok(found) => {
                if let Some(found) = &found {
                    self.told.lock().unwrap().insert(id, found.clone());
                }
                Ok(found)
            }
            Err(_) if self.wrong == Wrong::FindsNothing => Ok(None),
            Err(error) => self.told.lock().unwrap().get(&id).cloned().map(Some).ok_or(error),
        }
    }
}
