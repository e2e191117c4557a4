use std::time::Duration;

use biscuit_auth::{
    AuthorizerLimits, Biscuit, KeyPair, PublicKey, error,
    macros::{authorizer, biscuit},
};

use super::{Peer, each, in_a_year};

pub fn peer() -> Peer {
    let (root, forger) = (KeyPair::new(), KeyPair::new());
    let public = root.public();
    let tokens = |key: &KeyPair| {
        each(|number| {
            let (tenant, end) = (format!("tenant-{number}"), in_a_year());
            biscuit!(r#"tenant({tenant}); scope("reporting"); check if time($now), $now < {end};"#)
                .build(key)
                .and_then(|token| token.to_base64())
                .unwrap()
        })
    };
    let verify =
        |tokens: Vec<String>| move |number: usize| authorize(&tokens[number], public).is_ok();
    Peer::new(
        "biscuit-auth, signature + authorize",
        &["biscuit-auth"],
        "Ed25519 signature, expiry, scope by Datalog; no store, so no revocation",
        verify(tokens(&root)),
    )
    .made_up(verify(tokens(&forger)))
}

fn authorize(token: &str, public: PublicKey) -> Result<usize, error::Token> {
    let token = Biscuit::from_base64(token, public)?;
    // The crate's own limit of one millisecond rejects valid tokens on a busy machine.
    let limits =
        AuthorizerLimits { max_time: Duration::from_secs(1), ..AuthorizerLimits::default() };
    authorizer!(r#"allow if scope("reporting");"#)
        .time()
        .set_limits(limits)
        .build(&token)?
        .authorize()
}
