use std::{sync::Arc, time::UNIX_EPOCH};

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
