use std::{
    collections::HashMap,
    sync::{Arc, RwLock},
};

use api_keys_simplified::{ApiKeyManagerV0, Environment, ExposeSecret, KeyStatus, SecureString};

use super::{Peer, each, in_a_year};

pub fn peer() -> Peer {
    let manager = ApiKeyManagerV0::init_default_config("mm").unwrap();
    let generate = |_| {
        let key =
            manager.generate_with_expiry(Environment::production(), in_a_year().into()).unwrap();
        let text = key.key().expose_secret().to_owned();
        let hash = key.expose_hash();
        (text, hash.key_id().clone(), hash.hash().clone())
    };
    let issued = each(generate);
    // A made-up token also has a right checksum, since computing it takes no key.
    let made_up: Vec<String> = each(generate).into_iter().map(|(text, ..)| text).collect();
    let real = issued.iter().map(|(text, ..)| text.clone()).collect();
    let found: Vec<String> = issued.iter().map(|(.., hash)| hash.clone()).collect();
    let hashes: HashMap<String, String> =
        issued.into_iter().map(|(_, id, hash)| (id, hash)).collect();

    let manager = Arc::new(manager);
    let store = Arc::new(RwLock::new(hashes));
    let verify = |tokens: Vec<String>| {
        let (manager, store) = (Arc::clone(&manager), Arc::clone(&store));
        move |number: usize| {
            let key = SecureString::from(tokens[number].clone());
            let hashes = store.read().unwrap();
            hashes
                .get(&manager.extract_key_id(&key))
                .is_some_and(|hash| accepts(&manager, &key, hash))
        }
    };
    let verify_found = {
        let (manager, tokens) = (Arc::clone(&manager), made_up.clone());
        move |number: usize| {
            let key = SecureString::from(tokens[number].clone());
            accepts(&manager, &key, &found[number])
        }
    };
    Peer::new(
        "api-keys-simplified, `HashMap`",
        &["api-keys-simplified"],
        "checksum, Argon2id (46 MiB) of the token, expiry in the token; no state",
        verify(real),
    )
    .made_up(verify(made_up))
    .wrong_secret(verify_found)
}

fn accepts(manager: &ApiKeyManagerV0, key: &SecureString, hash: &str) -> bool {
    matches!(manager.verify(key, hash), Ok(KeyStatus::Valid))
}
