//! The database and the pepper together forge no child.

use core::time::Duration;
use std::collections::BTreeMap;

use ed25519_dalek::{Signer as _, SigningKey};
use keyway::{KeyRecord, VerifyError, store::KeyLookup as _};
use sha2::{Digest as _, Sha256, Sha512};

use crate::{
    child_parent::{PURPOSE, Parent, hkdf, hmac, parts_of, present, spell, until, world},
    support::{DAY, PEPPER, World, block_on},
};

/// The purposes for which keyway derives keys from the pepper.
const PURPOSES: [&[u8]; 9] = [
    b"keyway/v1/child tag\0",
    b"keyway/v1/child\0",
    b"keyway/v1/token\0",
    b"keyway/v1/seal\0",
    b"keyway/v1/marker\0",
    b"keyway/v1/notice\0",
    b"keyway/v1/notice cipher\0",
    b"keyway/v1/import\0",
    b"keyway/v1/idempotency\0",
];

/// All that an attacker has who has read the database and the peppers, and has seen a child.
struct Loot {
    key: Vec<u8>,
    tenant: Vec<u8>,
    public_key: [u8; 32],
    child: String,
    prefix: String,
}

impl Loot {
    fn of(world: &World, parent: &Parent) -> Self {
        let stored = block_on(world.store.memory().lookup(parent.key.id())).unwrap().unwrap();
        let (key, tenant) = (stored.key.encode(), stored.tenant.encode());
        assert!(KeyRecord::decode(&key).is_ok_and(|read| read == stored.key));
        let public_key = parent.signing_key().verifying_key().to_bytes();
        // The attacker has the public key, since it is in the record.
        assert!(key.windows(32).any(|part| *part == public_key));
        // The private key is not.
        let private_key = parent.signing_key().to_bytes();
        assert!(!key.windows(32).any(|part| *part == private_key));
        let child = parent.mint(world.after(20 * DAY));
        Self { key, tenant, public_key, child, prefix: parent.prefix.clone() }
    }

    fn id(&self) -> &str {
        &self.prefix[8..24]
    }

    /// Returns the keys that follow from the pepper.
    fn derived() -> Vec<(String, [u8; 32])> {
        let of = |purpose: &[u8]| {
            let key = hmac(PEPPER, &[purpose, b"mm\0live"].concat());
            (format!("the key for {}", purpose.escape_ascii()), key)
        };
        let mut keys: Vec<_> = PURPOSES.map(of).into();
        keys.push(("the pepper".into(), *PEPPER));
        keys
    }

    /// Returns the texts from which a private key might follow.
    fn texts(&self) -> Vec<(String, Vec<u8>)> {
        let (caveats, signature) = parts_of(&self.child);
        let public = &self.prefix[..24];
        let mut texts: Vec<(String, Vec<u8>)> = [
            ("nothing", Vec::new()),
            ("the id", self.id().into()),
            ("the prefix and the id", public.into()),
            ("the child prefix", self.prefix.clone().into()),
            ("the public key", self.public_key.into()),
            ("the child", self.child.clone().into()),
            ("the caveats", caveats),
            ("the signature", signature.into()),
            ("R", signature[..32].into()),
            ("S", signature[32..].into()),
            ("the record", self.key.clone()),
            ("the tenant", self.tenant.clone()),
            ("the purpose and the prefix", [PURPOSE, public.as_bytes()].concat()),
            ("zeros behind the id", [self.id().as_bytes(), &[0; 32]].concat()),
        ]
        .map(|(name, text)| (name.to_string(), text))
        .into();
        // The digest of the secret is one of these parts.
        for (place, part) in self.key.windows(26).enumerate() {
            texts.push((format!("the bytes of the record from {place}"), part.to_vec()));
        }
        texts
    }

    /// Returns guesses of the private key, each with its name.
    fn seeds(&self) -> BTreeMap<[u8; 32], String> {
        let mut seeds = BTreeMap::new();
        let mut guess = |name: String, seed: [u8; 32]| {
            seeds.entry(seed).or_insert(name);
        };
        for (name, record) in [("record", &self.key), ("tenant", &self.tenant)] {
            for (place, part) in record.windows(32).enumerate() {
                guess(format!("the {name} from {place}"), part.try_into().unwrap());
            }
        }
        let public = [PURPOSE, &self.prefix.as_bytes()[..24]].concat();
        for (name, text) in self.texts() {
            guess(format!("the hash of {name}"), Sha256::digest(&text).into());
            let long = Sha512::digest(&text);
            guess(format!("the long hash of {name}"), long[..32].try_into().unwrap());
            guess(format!("derived from {name}"), hkdf(&text, &public));
            let mut padded = [0; 32];
            padded.iter_mut().zip(&text).for_each(|(place, byte)| *place = *byte);
            guess(format!("{name}, with zeros"), padded);
            for (of, key) in Self::derived() {
                guess(format!("{of}, of {name}"), hmac(&key, &text));
            }
        }
        for (name, key) in Self::derived() {
            guess(format!("derived from {name}"), hkdf(&key, &public));
            guess(format!("expanded from {name}"), hmac(&key, &[&*public, &[1]].concat()));
            guess(name, key);
        }
        seeds
    }
}

#[test]
fn database_and_pepper_forge_no_child() {
    let world = world();
    let parent = Parent::of(&world, "acme");
    let loot = Loot::of(&world, &parent);
    assert!(present(&world, &loot.child).is_ok());
    // The wish of the attacker: a child that lasts longer.
    let wanted = until(world.after(30 * DAY));
    let message = [PURPOSE, loot.prefix.as_bytes(), &wanted].concat();

    // No guess is the private key.
    let seeds = loot.seeds();
    assert_eq!(seeds.get(&parent.signing_key().to_bytes()), None);
    assert!(seeds.len() >= 3_500, "{} guesses", seeds.len());

    // The verifier refuses the guesses, and a sample of those from parts of records.
    let mut signatures: Vec<(String, Vec<u8>)> = Vec::new();
    for (seed, name) in &seeds {
        let is_part = ["record from", "tenant from"].iter().any(|part| name.contains(part));
        if is_part && seed[0] % 64 != 0 {
            continue;
        }
        let signature = SigningKey::from_bytes(seed).sign(&message);
        signatures.push((format!("signed with {name}"), signature.to_bytes().to_vec()));
    }
    // A symmetric signature under each key that is at hand.
    for (name, key) in Loot::derived() {
        let once = hmac(&key, &message);
        let again = hmac(&key, &once);
        signatures.push((format!("{name}, twice"), [once, once].concat()));
        signatures.push((format!("{name}, chained"), [once, again].concat()));
        signatures.push((format!("{name}, behind R"), [loot.public_key, once].concat()));
    }
    let (_, of_child) = parts_of(&loot.child);
    signatures.push(("the signature of the child".into(), of_child.into()));
    signatures.push(("the public key twice".into(), loot.public_key.repeat(2)));
    signatures.push(("the public key and zeros".into(), [loot.public_key, [0; 32]].concat()));
    assert!(signatures.len() >= 200, "{} signatures", signatures.len());
    for (name, signature) in signatures {
        world.clock.advance(Duration::from_secs(1));
        let outcome = present(&world, spell(&loot.prefix, &wanted, &signature));
        assert!(matches!(outcome, Err(VerifyError::Rejected)), "{name}: {outcome:?}");
    }
    // The control: the holder of the token makes just this child.
    assert!(present(&world, parent.sign(&wanted)).is_ok());
}

/// The symmetric variant: the server signs children itself, with a key that follows from its pepper.
struct Symmetric {
    key: [u8; 32],
}

impl Symmetric {
    fn new(pepper: &[u8]) -> Self {
        Self { key: hmac(pepper, b"keyway/v1/child\0mm\0live") }
    }

    fn sign(&self, prefix: &str, caveats: &[u8]) -> [u8; 32] {
        hmac(&self.key, &[PURPOSE, prefix.as_bytes(), caveats].concat())
    }
}

/// The control: with signatures that the server could make itself, the same loot forges a child.
#[test]
fn pepper_forges_children_of_a_symmetric_variant() {
    let world = world();
    let parent = Parent::of(&world, "acme");
    let loot = Loot::of(&world, &parent);
    let wanted = until(world.after(30 * DAY));
    let server = Symmetric::new(PEPPER);
    let accepts = |signature: &[u8]| server.sign(&parent.prefix, &wanted)[..] == *signature;
    let message = [PURPOSE, loot.prefix.as_bytes(), &wanted].concat();
    let forged = Loot::derived().into_iter().filter(|(_, key)| accepts(&hmac(key, &message)));
    assert_eq!(forged.count(), 1);
    // The same signature is worth nothing here.
    let signature = server.sign(&loot.prefix, &wanted).repeat(2);
    let outcome = present(&world, spell(&loot.prefix, &wanted, &signature));
    assert!(matches!(outcome, Err(VerifyError::Rejected)));
}
