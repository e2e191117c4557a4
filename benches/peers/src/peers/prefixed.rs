use std::{
    collections::HashMap,
    sync::{Arc, RwLock},
};

use prefixed_api_key::{PrefixedApiKey, PrefixedApiKeyController};

use super::{Peer, each};

pub fn peer() -> Peer {
    let controller = PrefixedApiKeyController::configure()
        .prefix("mycompany".to_owned())
        .seam_defaults()
        .finalize()
        .unwrap();
    let issued = each(|_| controller.try_generate_key_and_hash().unwrap());
    let others = each(|_| controller.try_generate_key().unwrap());
    let real = issued.iter().map(|(key, _)| key.to_string()).collect();
    let made_up = others.iter().map(ToString::to_string).collect();
    let wrong_secret = issued
        .iter()
        .zip(&others)
        .map(|((real, _), other)| {
            format!("mycompany_{}_{}", real.short_token(), other.long_token())
        })
        .collect();
    let hashes: HashMap<String, String> =
        issued.iter().map(|(key, hash)| (key.short_token().to_owned(), hash.clone())).collect();
    let store = Arc::new(RwLock::new(hashes));

    let verify = |tokens: Vec<String>| {
        let (controller, store) = (controller.clone(), Arc::clone(&store));
        move |number: usize| {
            let Ok(key) = PrefixedApiKey::from_string(&tokens[number]) else {
                return false;
            };
            let hashes = store.read().unwrap();
            hashes.get(key.short_token()).is_some_and(|hash| controller.check_hash(&key, hash))
        }
    };
    Peer::new(
        "prefixed-api-key, `HashMap`",
        &["prefixed-api-key"],
        "hash of the secret; no expiry, no state",
        verify(real),
    )
    .made_up(verify(made_up))
    .wrong_secret(verify(wrong_secret))
}
