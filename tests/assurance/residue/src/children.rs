//! Children: from the token that their private key is derived from, to the request that presents one.

use std::{hint::black_box, time::Duration};

use ed25519_dalek::{Signer, SigningKey};
use keyway::{
    GracePeriod, Guard, KeyId, Keyring, MemoryStore, NewKey, TenantKeys, Timestamp,
    children::{ChildMinter, NewChild, Place},
    http::OwnKey,
    time::ManualClock,
    verifier::Freshness,
};
use pollster::block_on;

use crate::{
    host::Host,
    needles::seed_of,
    scenarios::{Scenario, damage, named},
};

const MINTING: &str = "minting children";
const VERIFYING: &str = "verifying children";

pub const ALL: &[Scenario] = &[
    Scenario { name: "child-derive", group: MINTING, run: derive },
    Scenario { name: "child-mint", group: MINTING, run: mint },
    Scenario { name: "child-minter", group: MINTING, run: minter },
    Scenario { name: "child-of-holder", group: MINTING, run: of_holder },
    Scenario { name: "child-endpoint", group: MINTING, run: endpoint },
    Scenario { name: "child-verify", group: VERIFYING, run: verify },
    Scenario { name: "child-guard", group: VERIFYING, run: guard },
    Scenario { name: "child-refused", group: VERIFYING, run: refused },
];

pub const PLANTED: &[Scenario] = &[
    Scenario {
        name: "child-signer",
        group: "a private key that has signed, where nothing overwrites the stack",
        run: careless_signer,
    },
    Scenario {
        name: "child-formatted",
        group: "a line with a child that was made with `format!` and dropped",
        run: careless_holder,
    },
];

/// The time of all clocks here, since a child says when it ends.
fn now() -> Timestamp {
    Timestamp::from_millis(1_767_225_600_000).expect("it is a time")
}

fn keyring(host: &mut Host) -> Keyring {
    let builder = host.builder(MemoryStore::new()).clock(ManualClock::at(now()));
    builder.build().expect("all of it is there")
}

fn parent() -> NewKey {
    named("first").children(true)
}

/// Creates a tenant whose first token was revealed, and returns the prefix of its children.
fn tenant(host: &Host, keyring: &Keyring) -> (TenantKeys, KeyId, String) {
    let created = block_on(keyring.create_tenant_with("acme", "advanced", parent()));
    let (keys, issued) = created.expect("an empty store");
    let prefix = keyring.child_prefix(&issued.key).expect("it may have children");
    host.reveal(issued.token);
    (keys, issued.key.id(), prefix)
}

fn plain() -> NewChild {
    NewChild::lasting(Duration::from_secs(3_600))
}

/// A request for a longer child.
fn limited() -> NewChild {
    let request = plain().scopes(["reporting"]).expect("a name").host("reports").expect("a name");
    request.nonce(&[5; 32]).expect("a nonce")
}

fn derived(host: &mut Host, prefix: &str) -> ChildMinter {
    let token = host.present(0);
    let text = str::from_utf8(&token).expect("it is ASCII");
    ChildMinter::new(text, prefix).expect("it is a token")
}

fn derive(host: &mut Host) {
    let keyring = keyring(host);
    let (keys, _, prefix) = tenant(host, &keyring);
    drop(derived(host, &prefix));
    let token = host.present(0);
    let text = str::from_utf8(&token).expect("it is ASCII");
    let _ = ChildMinter::new(text, &prefix[1..]).expect_err("it is another prefix");
    let _ = ChildMinter::new(&text[1..], &prefix).expect_err("it is too short");
    drop((token, keys));
    host.finish(keyring);
}

fn mint(host: &mut Host) {
    let keyring = keyring(host);
    let (keys, _, prefix) = tenant(host, &keyring);
    let mut minters = vec![derived(host, &prefix)];
    host.reveal_child(minters[0].mint_at(&plain(), now()).expect("it is short"));
    // The minter moves.
    let minter = Box::new(minters.remove(0));
    host.reveal_child(minter.mint_at(&limited(), now()).expect("it is short"));
    drop((minter, minters, keys));
    host.finish(keyring);
}

/// Makes a child of a key that was just issued, and one after its rotation.
fn minter(host: &mut Host) {
    let keyring = keyring(host);
    let created = block_on(keyring.create_tenant_with("acme", "advanced", parent()));
    let (keys, issued) = created.expect("an empty store");
    let minter = keyring.child_minter(&issued.token).expect("the policy allows it");
    host.reveal(issued.token);
    host.reveal_child(minter.mint_at(&plain(), now()).expect("it is short"));
    let (id, version) = (issued.key.id(), issued.key.version());
    let rotated = block_on(keys.rotate(id, version, GracePeriod::None)).expect("it is there");
    let minter = keyring.child_minter(&rotated.token).expect("the policy allows it");
    host.reveal(rotated.token);
    host.reveal_child(minter.mint_at(&limited(), now()).expect("it is short"));
    drop((minter, keys));
    host.finish(keyring);
}

fn of_holder(host: &mut Host) {
    let keyring = keyring(host);
    let (keys, ..) = tenant(host, &keyring);
    let mut token = host.present(0);
    for request in [plain(), limited()] {
        let child = block_on(keyring.mint_own_child(&*token, &request, None));
        host.reveal_child(child.expect("the key may have children").token);
    }
    let too_long = NewChild::lasting(Duration::from_secs(864_000));
    drop(block_on(keyring.mint_own_child(&*token, &too_long, None)).expect_err("it is too long"));
    damage(&mut token, 20);
    drop(block_on(keyring.mint_own_child(&*token, &plain(), None)).expect_err("it is forged"));
    drop((token, keys));
    host.finish(keyring);
}

/// The holder's endpoint, `POST /key/children`.
fn endpoint(host: &mut Host) {
    const CHILD: &[u8] = br#"{"token":""#;
    let keyring = keyring(host);
    let (keys, ..) = tenant(host, &keyring);
    let own_key =
        OwnKey::new(&keyring, &Guard::new(&keyring).key_header("x-api-key").expect("it is a name"));
    let own_key = own_key.mints_children().expect("the policy allows it");
    let token = host.present(0);
    let fields = [("x-api-key", &**token), ("content-type", b"application/json")];
    for body in [
        &br#"{"expires_in_seconds":3600}"#[..],
        br#"{"expires_in_seconds":3600,"scopes":["reporting"],"nonce":"abc"}"#,
    ] {
        let minted = block_on(own_key.mint_child(&fields[..], None, body));
        let body = minted.expect("the key may have children").into_body();
        let child = body.strip_prefix(CHILD).expect("a child");
        let child = child.split(|byte| *byte == b'"').next().expect("it ends");
        host.reveal_child_text(str::from_utf8(child).expect("it is ASCII"));
    }
    for body in [&b"{}"[..], br#"{"expires_in_seconds":864000}"#] {
        let refused = block_on(own_key.mint_child(&fields[..], None, body));
        drop(refused.expect_err("it has no end, or one that is too far away"));
    }
    drop((token, own_key, keys));
    host.finish(keyring);
}

/// Creates a tenant whose key and two children were revealed.
fn family(host: &mut Host) -> (Keyring, TenantKeys, KeyId) {
    let keyring = keyring(host);
    let (keys, id, prefix) = tenant(host, &keyring);
    let minter = derived(host, &prefix);
    host.reveal_child(minter.mint_at(&plain(), now()).expect("it is short"));
    host.reveal_child(
        minter.mint_at(&limited().route("GET /").expect("a name"), now()).expect("it is short"),
    );
    (keyring, keys, id)
}

fn verify(host: &mut Host) {
    let (keyring, keys, id) = family(host);
    let verifier = keyring.verifier();
    let (child, place) = (host.present_child(0), Place::new());
    for freshness in [Freshness::Cached, Freshness::Cached, Freshness::Now] {
        let verified = block_on(verifier.verify_at(&*child, freshness, None, &place));
        drop(verified.expect("it is valid"));
    }
    drop(block_on(keys.rotate(id, 1, GracePeriod::None)).expect("nobody else changed it"));
    let ended = verifier.verify_at(&*child, Freshness::Now, None, &place);
    drop(block_on(ended).expect_err("its key was rotated"));
    drop((child, keys));
    host.finish(keyring);
}

fn guard(host: &mut Host) {
    let (keyring, keys, _) = family(host);
    let guard = Guard::new(&keyring).key_header("x-api-key").expect("it is a name");
    let place = Place::new().route("GET /").host("reports");
    let guard = guard.accepts_children(place);
    for n in [0, 1, 0, 1] {
        let child = host.present_child(n);
        let fields = [("x-api-key", &**child)];
        drop(block_on(guard.admit(&fields[..])).expect("it is valid"));
    }
    drop((guard, keys));
    host.finish(keyring);
}

/// Children that are wrong at their signature, their tag and their length, and one where none is accepted.
fn refused(host: &mut Host) {
    let (keyring, keys, _) = family(host);
    let verifier = keyring.verifier();
    for from_end in [0, 30, 70, 103] {
        let mut child = host.present_child(0);
        damage(&mut child, from_end);
        for _ in 0..2 {
            let place = Place::new();
            let verified = block_on(verifier.verify_at(&*child, Freshness::Cached, None, &place));
            drop(verified.expect_err("it is forged"));
        }
    }
    let mut child = host.present_child(1);
    drop(block_on(keyring.verify(&*child)).expect_err("no child is accepted without a place"));
    drop(block_on(keyring.describe(&*child)).expect_err("it is no key"));
    drop(block_on(keyring.mint_own_child(&*child, &plain(), None)).expect_err("it is no key"));
    child.pop();
    drop(block_on(keyring.verify(&*child)).expect_err("it is too short"));
    drop((child, keys));
    host.finish(keyring);
}

/// Signs as a program does that takes `ed25519-dalek` as it is.
fn careless_signer(host: &mut Host) {
    let keyring = keyring(host);
    let (keys, ..) = tenant(host, &keyring);
    let seed = host.receive(|secrets| seed_of(&secrets.tokens[0]).to_vec());
    drop(keys);
    host.finish(keyring);
    sign(seed.first_chunk().expect("32 bytes"));
}

#[inline(never)]
fn sign(seed: &[u8; 32]) {
    black_box(SigningKey::from_bytes(black_box(seed)).sign(b"keyway/v1/child"));
}

fn careless_holder(host: &mut Host) {
    let (keyring, keys, _) = family(host);
    let child = host.present_child(0);
    let text = str::from_utf8(&child).expect("it is ASCII");
    drop(black_box(format!("GET /events?ticket={text}")));
    drop((child, keys));
    host.finish(keyring);
}
