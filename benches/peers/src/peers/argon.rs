use std::{
    collections::HashMap,
    sync::{Arc, RwLock},
};

use argon2::{
    Argon2,
    password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash},
};
use uuid::Uuid;

use super::{Peer, each};

/// A token is two random UUIDs. One finds the record, and the other is hashed like a password.
pub fn peer() -> Peer {
    let issued = each(|_| (Uuid::new_v4(), Uuid::new_v4()));
    let others = each(|_| (Uuid::new_v4(), Uuid::new_v4()));
    let text = |id: &Uuid, secret: &Uuid| format!("{id}.{secret}");
    let real = issued.iter().map(|(id, secret)| text(id, secret)).collect();
    let made_up = others.iter().map(|(id, secret)| text(id, secret)).collect();
    let wrong_secret =
        issued.iter().zip(&others).map(|((id, _), (_, secret))| text(id, secret)).collect();
    let hashes: HashMap<Uuid, String> = issued
        .iter()
        .map(|(id, secret)| {
            let hash = Argon2::default().hash_password(secret.to_string().as_bytes());
            (*id, hash.unwrap().to_string())
        })
        .collect();
    let store = Arc::new(RwLock::new(hashes));

    let verify = |tokens: Vec<String>| {
        let store = Arc::clone(&store);
        move |number: usize| {
            let Some((id, secret)) = tokens[number].split_once('.') else {
                return false;
            };
            let Ok(id) = id.parse::<Uuid>() else {
                return false;
            };
            let hashes = store.read().unwrap();
            hashes.get(&id).and_then(|hash| PasswordHash::new(hash).ok()).is_some_and(|hash| {
                let verified = Argon2::default().verify_password(secret.as_bytes(), &hash);
                verified.is_ok()
            })
        }
    };
    Peer::new(
        "uuid + argon2 defaults, `HashMap`",
        &["uuid", "argon2"],
        "Argon2id (19 MiB) of the secret; no expiry, no state",
        verify(real),
    )
    .made_up(verify(made_up))
    .wrong_secret(verify(wrong_secret))
}
