//! The scenarios: every path of the library that a secret takes.

use std::{
    future::{Future, pending},
    panic::{self, AssertUnwindSafe, catch_unwind},
    pin::pin,
    task::{Context, Poll, Waker},
    thread,
    time::Duration,
};

use hmac::{Hmac, KeyInit, Mac};
use keyway::{
    GracePeriod, Guard, ImportedKey, KeyId, Keyring, LeakResponse, MemoryStore, NewKey, Pepper,
    Peppers, SqliteStore, TenantKeys,
    import::{ForeignDigest, ForeignFormat, ForeignHash},
    store::{KeyLookup, StoreError, StoredKey},
    verifier::{Freshness, Verifier},
};
use pollster::block_on;
use sha2::{Digest, Sha256, Sha512};
use zeroize::Zeroizing;

use crate::{
    host::{Host, policy},
    needles::base64,
};

pub struct Scenario {
    pub name: &'static str,
    /// The figure that the scenario counts for.
    pub group: &'static str,
    pub run: fn(&mut Host),
}

pub const ALL: &[Scenario] = &[
    Scenario { name: "first-key", group: "minting", run: first_key },
    Scenario { name: "unrevealed", group: "minting", run: unrevealed },
    Scenario { name: "many", group: "minting", run: many },
    Scenario { name: "idempotent", group: "minting", run: idempotent },
    Scenario { name: "rotate", group: "rotating", run: rotate },
    Scenario { name: "verify", group: "verifying", run: verify },
    Scenario { name: "header", group: "verifying", run: header },
    Scenario { name: "guard", group: "verifying", run: guard },
    Scenario { name: "holder", group: "verifying", run: holder },
    Scenario { name: "paste", group: "verifying", run: paste },
    Scenario { name: "malformed", group: "refusing", run: malformed },
    Scenario { name: "forged", group: "refusing", run: forged },
    Scenario { name: "wrong-secret", group: "refusing", run: wrong_secret },
    Scenario { name: "unknown", group: "refusing", run: unknown },
    Scenario { name: "quota", group: "refusing", run: quota },
    Scenario { name: "outage", group: "refusing", run: outage },
    Scenario { name: "panic", group: "panicking", run: panicking },
    Scenario { name: "panic-in-randomness", group: "panicking", run: panicking_randomness },
    Scenario { name: "verify-cancelled", group: "cancelling", run: verify_cancelled },
    Scenario {
        name: "issue-cancelled-1",
        group: "cancelling",
        run: |host| issue_cancelled(host, 1),
    },
    Scenario {
        name: "issue-cancelled-2",
        group: "cancelling",
        run: |host| issue_cancelled(host, 2),
    },
    Scenario {
        name: "issue-cancelled-3",
        group: "cancelling",
        run: |host| issue_cancelled(host, 3),
    },
    Scenario {
        name: "rotate-cancelled-1",
        group: "cancelling",
        run: |host| rotate_cancelled(host, 1),
    },
    Scenario {
        name: "rotate-cancelled-2",
        group: "cancelling",
        run: |host| rotate_cancelled(host, 2),
    },
    Scenario {
        name: "rotate-cancelled-3",
        group: "cancelling",
        run: |host| rotate_cancelled(host, 3),
    },
    Scenario { name: "sqlite", group: "a life in SQLite", run: sqlite },
    Scenario {
        name: "import-sha256",
        group: "importing",
        run: |host| import(host, Foreign::Sha256),
    },
    Scenario {
        name: "import-sha512",
        group: "importing",
        run: |host| import(host, Foreign::Sha512),
    },
    Scenario {
        name: "import-keyed-256",
        group: "importing",
        run: |host| import(host, Foreign::Keyed256),
    },
    Scenario {
        name: "import-keyed-512",
        group: "importing",
        run: |host| import(host, Foreign::Keyed512),
    },
    Scenario {
        name: "import-public-part",
        group: "importing",
        run: |host| import(host, Foreign::PublicPart),
    },
    Scenario { name: "peppers", group: "changing peppers", run: peppers },
    Scenario { name: "pepper-base64", group: "changing peppers", run: pepper_base64 },
];

pub fn named(name: &str) -> NewKey {
    NewKey::named(name).scopes(["reporting"])
}

/// Creates a tenant whose first token was revealed.
pub fn tenant(host: &Host, keyring: &Keyring) -> (TenantKeys, KeyId) {
    let created = block_on(keyring.create_tenant_with("acme", "advanced", named("first")));
    let (keys, issued) = created.expect("an empty store");
    let id = issued.key.id();
    host.reveal(issued.token);
    (keys, id)
}

fn first_key(host: &mut Host) {
    let keyring = host.keyring();
    tenant(host, &keyring);
    host.finish(keyring);
}

fn unrevealed(host: &mut Host) {
    let keyring = host.keyring();
    let (keys, _) = tenant(host, &keyring);
    // A token that nobody reveals is known by the randomness that it was made of.
    drop(block_on(keys.issue(named("second"))).expect("there is room"));
    drop(keys);
    host.finish(keyring);
}

fn many(host: &mut Host) {
    let keyring = host.keyring();
    let (keys, _) = tenant(host, &keyring);
    let issued: Vec<_> = (0..20)
        .map(|number| block_on(keys.issue(named(&format!("key {number}")))).expect("there is room"))
        .collect();
    for issued in issued {
        host.reveal(issued.token);
    }
    drop(keys);
    host.finish(keyring);
}

fn idempotent(host: &mut Host) {
    let keyring = host.keyring();
    let (keys, _) = tenant(host, &keyring);
    let request = || named("second").idempotency_key("b1946ac9-2d07").expect("it is visible");
    host.reveal(block_on(keys.issue(request())).expect("there is room").token);
    drop(block_on(keys.issue(request())).expect_err("it was issued"));
    drop(keys);
    host.finish(keyring);
}

fn rotate(host: &mut Host) {
    let keyring = host.keyring();
    let (keys, id) = tenant(host, &keyring);
    for (newest, grace_period) in [(1, GracePeriod::UntilFirstUse), (2, GracePeriod::None)] {
        let version = block_on(keys.find(id)).expect("it is there").version();
        let rotated =
            block_on(keys.rotate(id, version, grace_period)).expect("nobody else changed it");
        host.reveal(rotated.token);
        let token = host.present(newest);
        block_on(keyring.verify(&*token)).expect("it is the newest");
    }
    drop(keys);
    host.finish(keyring);
}

fn verify(host: &mut Host) {
    let keyring = host.keyring();
    tenant(host, &keyring);
    let token = host.present(0);
    for _ in 0..3 {
        drop(block_on(keyring.verify(&*token)).expect("it is valid"));
    }
    drop(block_on(keyring.verify_as_of(&*token, Freshness::Now)).expect("it is valid"));
    drop(token);
    host.finish(keyring);
}

fn header(host: &mut Host) {
    let keyring = host.keyring();
    tenant(host, &keyring);
    for front in ["Bearer ", "bearer   secret-token:"] {
        let mut value = host.present(0);
        let len = value.len();
        // Room for both parts, since a vector that grows leaves its old content behind.
        let mut field = Zeroizing::new(Vec::with_capacity(front.len() + len));
        field.extend_from_slice(front.as_bytes());
        field.append(&mut value);
        drop(block_on(keyring.verify_authorization(Some(&*field))).expect("it is valid"));
    }
    host.finish(keyring);
}

fn guard(host: &mut Host) {
    let keyring = host.keyring();
    tenant(host, &keyring);
    let guard = Guard::new(&keyring).require(["reporting"]).expect("it is declared");
    let guard = guard.key_header("x-api-key").expect("it is a name");
    for freshness in [Freshness::Now, Freshness::Cached] {
        let token = host.present(0);
        let fields = [("x-api-key", &**token)];
        drop(block_on(guard.freshness(freshness).admit(&fields[..])).expect("it is valid"));
    }
    let mut token = host.present(0);
    damage(&mut token, 0);
    let fields = [("x-api-key", &**token)];
    drop(block_on(guard.admit(&fields[..])).expect_err("it is forged"));
    drop((token, guard));
    host.finish(keyring);
}

fn holder(host: &mut Host) {
    let keyring = host.keyring();
    tenant(host, &keyring);
    let token = host.present(0);
    drop(block_on(keyring.describe(&*token)).expect("it is a key's"));
    let reported = keyring.report_leak(&*token, "found", LeakResponse::Suspend);
    drop(block_on(reported).expect("it is a key's"));
    drop(block_on(keyring.verify(&*token)).expect_err("it is suspended"));
    block_on(keyring.revoke(&*token)).expect("it is a key's");
    drop(block_on(keyring.verify(&*token)).expect_err("it is gone"));
    drop(token);
    host.finish(keyring);
}

/// A tenant searches with a token, alone and among other text.
fn paste(host: &mut Host) {
    let keyring = host.keyring();
    let (keys, _) = tenant(host, &keyring);
    let token = host.present(0);
    let text = str::from_utf8(&token).expect("it is ASCII");
    assert_eq!(block_on(keys.search(text)).expect("the store is there").items.len(), 1);
    block_on(keys.find_by_token(&*token)).expect("it is the tenant's");
    let mut line = Zeroizing::new(String::with_capacity(text.len() + 40));
    line.push_str("export KEY=\"");
    line.push_str(text);
    line.push_str("\" # as of today");
    drop(block_on(keys.search(&line)).expect("the store is there"));
    drop((line, token, keys));
    host.finish(keyring);
}

fn malformed(host: &mut Host) {
    let keyring = host.keyring();
    tenant(host, &keyring);
    let mut token = host.present(0);
    token.pop();
    drop(block_on(keyring.verify(&*token)).expect_err("it is too short"));
    drop(block_on(keyring.describe(&*token)).expect_err("it is too short"));
    token[2] = b'-';
    drop(block_on(keyring.verify(&*token)).expect_err("it has another prefix"));
    let text = str::from_utf8(&token).expect("it is ASCII");
    let _ = text.parse::<KeyId>().expect_err("it is no id");
    drop(token);
    host.finish(keyring);
}

/// Changes a character, counted from the end.
pub fn damage(token: &mut [u8], from_end: usize) {
    let at = token.len() - 1 - from_end;
    token[at] = if token[at] == b'A' { b'B' } else { b'A' };
}

fn forged(host: &mut Host) {
    let keyring = host.keyring();
    tenant(host, &keyring);
    for from_end in [0, 20] {
        let mut token = host.present(0);
        damage(&mut token, from_end);
        drop(block_on(keyring.verify(&*token)).expect_err("it is forged"));
        drop(block_on(keyring.describe(&*token)).expect_err("it is forged"));
    }
    host.finish(keyring);
}

fn wrong_secret(host: &mut Host) {
    let keyring = host.keyring();
    let (keys, id) = tenant(host, &keyring);
    let rotated = block_on(keys.rotate(id, 1, GracePeriod::None)).expect("nobody else changed it");
    host.reveal(rotated.token);
    let token = host.present(0);
    for _ in 0..2 {
        drop(block_on(keyring.verify(&*token)).expect_err("it was rotated away"));
    }
    drop((token, keys));
    host.finish(keyring);
}

fn unknown(host: &mut Host) {
    let keyring = host.keyring();
    let (keys, id) = tenant(host, &keyring);
    block_on(keys.delete(id)).expect("it is there");
    let token = host.present(0);
    for _ in 0..2 {
        drop(block_on(keyring.verify(&*token)).expect_err("it was deleted"));
    }
    drop((token, keys));
    host.finish(keyring);
}

/// Mints a token for a key that the store refuses.
fn quota(host: &mut Host) {
    let keyring = host.keyring();
    let created = block_on(keyring.create_tenant_with("small", "lite", named("first")));
    let (keys, issued) = created.expect("an empty store");
    host.reveal(issued.token);
    drop(block_on(keys.issue(named("second"))).expect_err("there is no room"));
    let again = block_on(keyring.create_tenant_with("small", "lite", named("first")));
    drop(again.expect_err("it is there"));
    drop(keys);
    host.finish(keyring);
}

/// A lookup that fails every time.
struct Broken;

impl KeyLookup for Broken {
    async fn lookup(&self, _: KeyId) -> Result<Option<StoredKey>, StoreError> {
        Err(StoreError::unavailable("the disk is gone"))
    }

    async fn lookup_many(&self, ids: &[KeyId]) -> Result<keyway::store::Lookups, StoreError> {
        keyway::store::lookup_each(self, ids).await
    }

    fn max_lag(&self) -> core::time::Duration {
        core::time::Duration::ZERO
    }

    async fn marker(&self) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(None)
    }
}

/// A lookup that never returns.
struct Hanging;

impl KeyLookup for Hanging {
    async fn lookup(&self, _: KeyId) -> Result<Option<StoredKey>, StoreError> {
        pending().await
    }

    async fn lookup_many(&self, ids: &[KeyId]) -> Result<keyway::store::Lookups, StoreError> {
        keyway::store::lookup_each(self, ids).await
    }

    fn max_lag(&self) -> core::time::Duration {
        core::time::Duration::ZERO
    }

    async fn marker(&self) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(None)
    }
}

/// Creates two nodes with one pepper: one issues keys, and the other reads them from `lookup`.
fn two_nodes(host: &mut Host, lookup: impl KeyLookup) -> (Keyring, Verifier) {
    let bytes = host.pepper_bytes();
    let pepper = || Pepper::from_bytes(&**bytes).expect("32 bytes");
    let keyring = host.builder_under(pepper(), MemoryStore::new()).build();
    let verifier = Verifier::builder(policy(), pepper()).environment("live").lookup(lookup).build();
    (keyring.expect("all of it is there"), verifier.expect("all of it is there"))
}

fn outage(host: &mut Host) {
    let (keyring, verifier) = two_nodes(host, Broken);
    tenant(host, &keyring);
    let token = host.present(0);
    drop(block_on(verifier.verify(&*token)).expect_err("nobody can tell"));
    let fields = [("authorization", &b"Bearer"[..]), ("x-api-key", &**token)];
    let guard = Guard::new(&verifier).key_header("x-api-key").expect("it is a name");
    drop(block_on(guard.admit(&fields[..])).expect_err("it is two credentials"));
    drop(block_on(guard.admit(&fields[1..])).expect_err("nobody can tell"));
    drop((token, guard, verifier));
    host.finish(keyring);
}

/// Panics while a token is held, in each of its forms.
fn panicking(host: &mut Host) {
    let keyring = host.keyring();
    let (keys, _) = tenant(host, &keyring);
    let mut issued = Some(block_on(keys.issue(named("second"))).expect("there is room"));
    unwind(|| {
        let _held = issued.take();
        panic!("with a token that nobody has seen");
    });
    let issued = block_on(keys.issue(named("third"))).expect("there is room");
    unwind(|| {
        let _text = issued.token.reveal();
        panic!("with the text of a token");
    });
    let token = host.present(0);
    unwind(|| {
        drop(block_on(keyring.verify(&*token)).expect("it is valid"));
        let _token = token;
        panic!("with what a caller presented");
    });
    drop(keys);
    host.finish(keyring);
}

fn unwind(work: impl FnOnce()) {
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    catch_unwind(AssertUnwindSafe(work)).expect_err("it panics");
    panic::set_hook(hook);
}

/// The source of randomness panics between two batches, in the middle of a token.
fn panicking_randomness(host: &mut Host) {
    for left in 0..4 {
        let mut rng = host.rng();
        rng.left = left;
        let builder = host.builder(MemoryStore::new());
        let keyring = builder.rng(rng).build().expect("all of it is there");
        let keys = block_on(keyring.create_empty_tenant("acme", "advanced")).expect("it is empty");
        unwind(|| {
            for _ in 0..=left {
                drop(block_on(keys.issue(named("a key"))).expect("there is room"));
            }
        });
        drop(keys);
        host.finish(keyring);
    }
}

/// Polls a future until it has waited `waits` times, and drops it then, as when a caller disconnects.
fn give_up<F: Future>(future: F, waits: usize) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..waits {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return Some(output);
        }
        thread::sleep(Duration::from_millis(20));
    }
    None
}

fn verify_cancelled(host: &mut Host) {
    let (keyring, verifier) = two_nodes(host, Hanging);
    tenant(host, &keyring);
    for polls in [1, 2] {
        let token = host.present(0);
        assert!(give_up(verifier.verify(&*token), polls).is_none());
    }
    let token = host.present(0);
    let guard = Guard::new(&verifier).key_header("x-api-key").expect("it is a name");
    let fields = [("x-api-key", &**token)];
    assert!(give_up(guard.admit(&fields[..]), 1).is_none());
    drop((token, guard, verifier));
    host.finish(keyring);
}

fn in_sqlite(host: &mut Host) -> Keyring {
    let store = block_on(SqliteStore::in_memory()).expect("there is memory");
    host.builder(store).build().expect("all of it is there")
}

/// Drops the future after `waits` waits. The rehearsal lets it finish, so that it knows every secret that
/// there can be.
fn issue_cancelled(host: &mut Host, waits: usize) {
    let keyring = in_sqlite(host);
    let (keys, _) = tenant(host, &keyring);
    if host.is_rehearsing() {
        drop(block_on(keys.issue(named("second"))).expect("there is room"));
    } else {
        drop(give_up(keys.issue(named("second")), waits));
    }
    drop(keys);
    host.finish(keyring);
}

fn rotate_cancelled(host: &mut Host, waits: usize) {
    let keyring = in_sqlite(host);
    let (keys, id) = tenant(host, &keyring);
    let rotation = keys.rotate(id, 1, GracePeriod::UntilFirstUse);
    if host.is_rehearsing() {
        drop(block_on(rotation).expect("nobody else changed it"));
    } else {
        drop(give_up(rotation, waits));
    }
    drop(keys);
    host.finish(keyring);
}

/// The whole life of a key, in a database.
fn sqlite(host: &mut Host) {
    let keyring = in_sqlite(host);
    let (keys, id) = tenant(host, &keyring);
    let token = host.present(0);
    drop(block_on(keyring.verify(&*token)).expect("it is valid"));
    let rotated = block_on(keys.rotate(id, 1, GracePeriod::UntilFirstUse)).expect("it is there");
    host.reveal(rotated.token);
    let successor = host.present(1);
    drop(block_on(keyring.verify(&*successor)).expect("it is valid"));
    drop(block_on(keyring.verify(&*token)).expect_err("the new one was used"));
    let text = str::from_utf8(&successor).expect("it is ASCII");
    assert_eq!(block_on(keys.search(text)).expect("the store is there").items.len(), 1);
    block_on(keyring.revoke(&*successor)).expect("it is a key's");
    drop((token, successor, keys));
    host.finish(keyring);
}

#[derive(Clone, Copy)]
enum Foreign {
    Sha256,
    Sha512,
    Keyed256,
    Keyed512,
    PublicPart,
}

const FOREIGN_KEY: &[u8] = b"the key of the other system's digests";

impl Foreign {
    fn format(self) -> ForeignFormat {
        let whole = |hash| ForeignFormat::whole_token(hash).prefix("sk_live_");
        let format = match self {
            Self::Sha256 => whole(ForeignHash::Sha256),
            Self::Sha512 => whole(ForeignHash::Sha512),
            Self::Keyed256 => whole(ForeignHash::Sha256).and_then(|it| it.keyed(FOREIGN_KEY)),
            Self::Keyed512 => whole(ForeignHash::Sha512).and_then(|it| it.keyed(FOREIGN_KEY)),
            Self::PublicPart => ForeignFormat::prefixed_api_key("mycompany"),
        };
        format.expect("it is a format")
    }

    /// The text before the secret.
    fn front(self) -> &'static [u8] {
        match self {
            Self::PublicPart => b"mycompany_CEUsS4psCmc_",
            _ => b"sk_live_",
        }
    }

    fn digest(self, secret: &[u8]) -> Vec<u8> {
        let whole = [self.front(), secret].concat();
        match self {
            Self::Sha256 => Sha256::digest(whole).to_vec(),
            Self::Sha512 => Sha512::digest(whole).to_vec(),
            Self::Keyed256 => {
                let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(FOREIGN_KEY).expect("any");
                mac.update(&whole);
                mac.finalize().into_bytes().to_vec()
            }
            Self::Keyed512 => {
                let mut mac = <Hmac<Sha512> as KeyInit>::new_from_slice(FOREIGN_KEY).expect("any");
                mac.update(&whole);
                mac.finalize().into_bytes().to_vec()
            }
            Self::PublicPart => Sha256::digest(secret).to_vec(),
        }
    }
}

/// Imports a key. The searching process knows the secret. The searched one gets the digest first, as an
/// application that imports keys does, and then the token.
fn import(host: &mut Host, foreign: Foreign) {
    let builder = host.builder(MemoryStore::new()).accept_imported(foreign.format());
    let keyring = builder.build().expect("all of it is there");
    let keys = block_on(keyring.create_empty_tenant("acme", "advanced")).expect("it is empty");
    let mut made_up = Vec::new();
    let make = host.made_up(33);
    let digest = host.receive_foreign(|| {
        made_up = make();
        foreign.digest(&made_up)
    });
    let kept = ForeignDigest::from_bytes(&digest).expect("32 or 64 bytes");
    drop(digest);
    let request = match foreign {
        Foreign::PublicPart => {
            ImportedKey::with_public_part(&foreign.format(), "CEUsS4psCmc", kept, named("old"))
        }
        _ => ImportedKey::new(&foreign.format(), kept, named("old")),
    };
    drop(block_on(keys.import(request.expect("it fits"))).expect("there is room"));
    let mut secret = host.receive_foreign(|| std::mem::take(&mut made_up));
    let mut token = Zeroizing::new(Vec::with_capacity(foreign.front().len() + secret.len()));
    token.extend_from_slice(foreign.front());
    token.append(&mut secret);
    for freshness in [Freshness::Cached, Freshness::Cached, Freshness::Now] {
        drop(block_on(keyring.verify_as_of(&*token, freshness)).expect("it was imported"));
    }
    drop(block_on(keyring.describe(&*token)).expect("it was imported"));
    drop(block_on(keys.search(str::from_utf8(&token).expect("ASCII"))).expect("a store"));
    damage(&mut token, 0);
    drop(block_on(keyring.verify(&*token)).expect_err("it was not imported"));
    drop((token, secret, keys));
    host.finish(keyring);
}

/// Three generations of peppers, all of them used.
fn peppers(host: &mut Host) {
    let oldest = host.pepper_bytes();
    let store = MemoryStore::new();
    let pepper = |bytes: &[u8; 32]| Pepper::from_bytes(bytes).expect("32 bytes");
    let first = host.builder_under(pepper(&oldest), store.clone()).build().expect("all is there");
    tenant(host, &first);
    drop(first);
    let current = host.pepper().in_slot(2).expect("it is below 62");
    let retired = host.pepper().in_slot(1).expect("it is below 62");
    let ring = Peppers::new(current).retiring(pepper(&oldest)).expect("another slot");
    let ring = ring.retired(retired).expect("another slot");
    let keyring = host.builder_under(ring, store).build().expect("all of it is there");
    let token = host.present(0);
    drop(block_on(keyring.verify(&*token)).expect("it is valid"));
    drop(token);
    host.finish(keyring);
}

/// Reads a pepper from base64, as a secret file or a variable contains it, with and without padding.
fn pepper_base64(host: &mut Host) {
    for is_padded in [true, false] {
        let bytes = host.pepper_bytes();
        let text = host.receive(|_| {
            let text = base64_of_32(&bytes);
            text[..text.len() - usize::from(!is_padded)].to_vec()
        });
        drop(bytes);
        let pepper = Pepper::from_base64(str::from_utf8(&text).expect("ASCII")).expect("32 bytes");
        drop(text);
        let keyring = host.builder_under(pepper, MemoryStore::new()).build();
        let keyring = keyring.expect("all of it is there");
        tenant(host, &keyring);
        host.finish(keyring);
    }
}

/// Encodes 32 bytes, with the padding of a last group of two bytes.
fn base64_of_32(bytes: &[u8; 32]) -> Vec<u8> {
    let mut text = base64(&[&bytes[..], &[0]].concat());
    text[43] = b'=';
    text
}
