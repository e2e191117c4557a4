use std::{sync::Arc, time::UNIX_EPOCH};

use ed25519_dalek::SigningKey;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use serde::{Deserialize, Serialize};

use super::{Peer, each, in_a_year};

#[derive(Serialize, Deserialize)]
struct Claims {
    sub: String,
    scope: String,
    exp: u64,
}

pub fn peer() -> Peer {
    let tokens = |secret: [u8; 32]| {
        let key = EncodingKey::from_secret(&secret);
        each(|number| {
            let claims = Claims {
                sub: format!("tenant-{number}"),
                scope: "reporting".to_owned(),
                exp: in_a_year().duration_since(UNIX_EPOCH).unwrap().as_secs(),
            };
            encode(&Header::new(Algorithm::HS256), &claims, &key).unwrap()
        })
    };
    let key = Arc::new(DecodingKey::from_secret(&[7; 32]));
    let verify = |tokens: Vec<String>| {
        let key = Arc::clone(&key);
        let validation = Validation::new(Algorithm::HS256);
        move |number: usize| decode::<Claims>(&tokens[number], &key, &validation).is_ok()
    };
    Peer::new(
        "jsonwebtoken, HS256",
        &["jsonwebtoken"],
        "MAC, expiry; no store, so no revocation",
        verify(tokens([7; 32])),
    )
    .made_up(verify(tokens([8; 32])))
}

/// Measures signatures that the holder of a private key makes, as the holder of a key makes children.
pub fn signed() -> Peer {
    let tokens = |pair: &SigningKey| {
        let key = EncodingKey::from_ed_der(&private_der(pair));
        each(|number| {
            let claims = Claims {
                sub: format!("tenant-{number}"),
                scope: "reporting".to_owned(),
                exp: in_a_year().duration_since(UNIX_EPOCH).unwrap().as_secs(),
            };
            encode(&Header::new(Algorithm::EdDSA), &claims, &key).unwrap()
        })
    };
    let (ours, forger) = (SigningKey::from_bytes(&[7; 32]), SigningKey::from_bytes(&[8; 32]));
    let key = Arc::new(DecodingKey::from_ed_der(ours.verifying_key().as_bytes()));
    let verify = |tokens: Vec<String>| {
        let key = Arc::clone(&key);
        let validation = Validation::new(Algorithm::EdDSA);
        move |number: usize| decode::<Claims>(&tokens[number], &key, &validation).is_ok()
    };
    Peer::new(
        "jsonwebtoken, EdDSA",
        &["jsonwebtoken"],
        "Ed25519 signature, expiry; no store, so no revocation",
        verify(tokens(&ours)),
    )
    .made_up(verify(tokens(&forger)))
}

/// Returns a private key as PKCS #8 (RFC 8410, section 7).
fn private_der(key: &SigningKey) -> Vec<u8> {
    let head = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
    [&head[..], key.as_bytes()].concat()
}
