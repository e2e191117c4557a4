use std::{
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use keyway::{
    Keyring, MemoryStore, NewKey, Pepper, Policy, ScopeCatalog, Tier, Timestamp,
    children::{NewChild, Place},
    lowlevel::{Authority, decide},
    scope::ScopeDeclaration,
    verifier::Freshness,
};

use super::{Peer, each, in_a_year};
use crate::harness::ready;

pub fn peers() -> Vec<Peer> {
    vec![keyring(), authority(), child(true), child(false)]
}

/// Measures children, which are signed by their holders. If they are `known`, their signatures were checked before.
fn child(known: bool) -> Peer {
    let policy = policy().with_children(Duration::from_secs(86_400)).unwrap();
    let keyring = Keyring::builder(policy, pepper(7))
        .environment("live")
        .store(MemoryStore::new())
        .build()
        .unwrap();
    let minters = each(|number| {
        let id = format!("tenant-{number}");
        let tenant = ready(keyring.create_empty_tenant(&id, "lite")).unwrap();
        let issued = ready(tenant.issue(request().children(true))).unwrap();
        let minter = keyring.child_minter(&issued.token).unwrap();
        assert!(ready(keyring.verify(&*issued.token.reveal())).is_ok());
        minter
    });
    let verifier = keyring.verifier().clone();
    let mint = |number: usize, nonce: u64| {
        let request = NewChild::lasting(Duration::from_secs(3_600));
        let request = request.scopes(["reporting"]).unwrap().nonce(&nonce.to_be_bytes()).unwrap();
        minters[number].mint(&request).unwrap().reveal().to_string()
    };
    let once = each(|number| mint(number, 0));
    // More than are remembered, so that each is checked again when its turn comes.
    let many: Vec<Vec<String>> = each(|number| {
        (0..if known { 0 } else { 1_000 }).map(|nonce| mint(number, nonce)).collect()
    });
    let mut turn = 0;
    let verify = move |number: usize| {
        let child = if known {
            &once[number]
        } else {
            turn += 1;
            &many[number][turn / many.len() % 1_000]
        };
        let place = Place::new();
        ready(verifier.verify_at(child, Freshness::Cached, None, &place)).is_ok()
    };
    if known {
        Peer::new(
            "keyway, child, seen before",
            &["keyway"],
            "digest of the text, state of the parent, caveats; tag and signature are remembered",
            verify,
        )
    } else {
        Peer::new(
            "keyway, child, first sight",
            &["keyway"],
            "tag, Ed25519 signature, state of the parent, caveats",
            verify,
        )
    }
}

fn keyring() -> Peer {
    let keyring = Keyring::builder(policy(), pepper(7))
        .environment("live")
        .store(MemoryStore::new())
        .build()
        .unwrap();
    let real = each(|number| {
        let id = format!("tenant-{number}");
        let tenant = ready(keyring.create_empty_tenant(&id, "lite")).unwrap();
        let issued = ready(tenant.issue(request())).unwrap();
        issued.token.reveal().to_string()
    });
    let made_up = made_up();
    let wrong_secret = wrong_secret(&real, &made_up);

    let verify = |tokens: Vec<String>| {
        let keyring = keyring.clone();
        move |number: usize| ready(keyring.verify(&tokens[number])).is_ok()
    };
    Peer::new(
        "keyway, `Keyring::verify`, cached key",
        &["keyway"],
        "tag, digest, expiry, start, suspension of key and tenant; notes the use",
        verify(real),
    )
    .made_up(verify(made_up))
    .wrong_secret(verify(wrong_secret))
}

fn authority() -> Peer {
    let authority = Arc::new(authority_with(7));
    let now = timestamp(std::time::SystemTime::now());
    let (real, keys): (Vec<_>, Vec<_>) = each(|number| {
        let id = format!("tenant-{number}").parse().unwrap();
        let tenant = authority.create_tenant(id, "lite", now).unwrap();
        let (key, token) =
            authority.issue(&tenant, request(), now, &mut getrandom::SysRng).unwrap();
        let resolved = Arc::new(authority.resolve(&key, &tenant).unwrap());
        (token.reveal().to_string(), resolved)
    })
    .into_iter()
    .unzip();
    let made_up = made_up();
    let wrong_secret = wrong_secret(&real, &made_up);

    let verify = |tokens: Vec<String>| {
        let (authority, keys) = (Arc::clone(&authority), keys.clone());
        move |number: usize| match authority.check(tokens[number].as_bytes()) {
            Ok(claim) => decide(&claim, &keys[number], now).is_ok(),
            Err(_) => false,
        }
    };
    Peer::new(
        "keyway, `Authority::check` + `decide`",
        &["keyway"],
        "the same without look-up, clock and note of the use",
        verify(real),
    )
    .made_up(verify(made_up))
    .wrong_secret(verify(wrong_secret))
}

fn policy() -> Policy {
    let scope = ScopeDeclaration::new("reporting", "Read reports");
    let catalog = ScopeCatalog::new([scope]).unwrap();
    Policy::new("mm", catalog, Tier::built_in()).unwrap()
}

fn pepper(byte: u8) -> Pepper {
    Pepper::from_bytes(&[byte; 32]).unwrap()
}

fn authority_with(byte: u8) -> Authority {
    Authority::new(policy(), "live", &pepper(byte).into()).unwrap()
}

fn request() -> NewKey {
    NewKey::named("ERP nightly sync").scopes(["reporting"]).expires_at(timestamp(in_a_year()))
}

fn timestamp(time: std::time::SystemTime) -> Timestamp {
    let since = time.duration_since(UNIX_EPOCH).unwrap();
    Timestamp::from_millis(since.as_millis().try_into().unwrap()).unwrap()
}

/// Returns tokens made without the pepper.
fn made_up() -> Vec<String> {
    let forger = authority_with(8);
    each(|_| {
        let minted = forger.format().mint(&mut getrandom::SysRng).unwrap();
        minted.token.reveal().to_string()
    })
}

/// Returns tokens with ids that were issued, and secrets and tags that were not.
fn wrong_secret(real: &[String], made_up: &[String]) -> Vec<String> {
    let id_end = "mm_live_".len() + 16;
    let splice =
        |(real, made_up): (&String, &String)| real[..id_end].to_owned() + &made_up[id_end..];
    real.iter().zip(made_up).map(splice).collect()
}
