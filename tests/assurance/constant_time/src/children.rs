//! Children: the private key that is derived from the secret of a token, the signatures that it makes, and the
//! tag of a presented child.
//!
//! The signature of a presented child is checked with a public key, and is compared with nothing that is
//! secret. So of the check only the tag is measured here: the one that it should be follows from the pepper,
//! which is undefined.

use std::{ops::RangeInclusive, time::Duration};

use curve25519_dalek::{constants::ED25519_BASEPOINT_POINT, edwards::EdwardsPoint, scalar::Scalar};
use keyway::{
    Guard, KeyRecord, Keyring, MemoryStore, NewKey, Pepper, Policy, ScopeCatalog, Tier, Timestamp,
    children::{ChildMinter, NewChild, Place},
    lowlevel::InsecureSeededRng,
    scope::ScopeDeclaration,
    time::ManualClock,
    verifier::{Freshness, Verifier},
};

use super::{
    PREFIXES, Report, TAG, UNDEFINED, count, count_in, exactly, guard::at_once, header, valgrind,
    with_changed,
};

/// One branch on whether all characters are those of a token.
const FORM: usize = 1;
/// Whether tag and digest are right, then the digest again with the state of the key, the form, the public
/// key, and the form once more for the private key.
const OWN_CHILD: RangeInclusive<usize> = 6..=6;
/// One branch on each of the seals of tenant and key, which are read for a child with a right tag.
const SEALS: usize = 2;

/// The length of a child tag, and of the character behind it.
const CHILD_TAG: usize = 8;
const MARK: usize = 1;

const PEPPER: [u8; 32] = [7; 32];

pub fn subjects(report: &mut Report) {
    for (issuer, environment) in PREFIXES {
        let world = World::new(issuer, environment);
        minting(report, &world, &format!("{issuer}_{environment}"));
    }
    let world = World::new("mm", "live");
    tags(report, &world);
    controls(report, &world);
}

/// Derives and signs with an undefined secret.
fn minting(report: &mut Report, world: &World, prefix: &str) {
    let mut check =
        |function: &str, case: &str, token: &[u8], expected, path: &dyn Fn(&[u8]) -> bool| {
            let (answer, reports) = count(token, path);
            report.subject(function, &format!("{case}/{prefix}"), reports, expected);
            report.require(answer, "the answer to the last subject is wrong");
        };
    let World { token, child_prefix, .. } = world;
    let new = "ChildMinter::new";
    check(new, "right", token, exactly(FORM), &|token| minter(token, child_prefix).is_some());
    // Undefined, but not of the alphabet.
    let mut malformed = token.clone();
    malformed[token.len() - UNDEFINED + 12] = b'-';
    check(new, "malformed", &malformed, exactly(FORM), &|token| {
        minter(token, child_prefix).is_none()
    });
    check(new, "other_prefix", token, exactly(FORM), &|token| {
        minter(token, &child_prefix[1..]).is_none()
    });
    for (case, request) in [("plain", plain()), ("limited", limited())] {
        let expected = world.child_of(&request);
        check("ChildMinter::mint_at", case, token, exactly(FORM), &|token| {
            let minted = minter(token, child_prefix).unwrap().mint_at(&request, world.now);
            is_child(minted.unwrap().reveal().as_bytes(), &expected)
        });
        check("Keyring::mint_own_child", case, token, OWN_CHILD, &|token| {
            let minted = at_once(world.keyring.mint_own_child(token, &request, None));
            is_child(minted.unwrap().token.reveal().as_bytes(), &expected)
        });
    }
}

/// Compares the tags of presented children with that of an undefined pepper.
fn tags(report: &mut Report, world: &World) {
    let child = &world.child_of(&plain());
    let behind = child.len() - world.child_prefix.len() + MARK;
    let (first, last) = (with_changed(child, behind + CHILD_TAG), with_changed(child, behind + 1));
    let mut nowhere = child.clone();
    nowhere[world.child_prefix.len() - CHILD_TAG - MARK..][..CHILD_TAG].fill(b'-');
    let forged = [
        ("tag_wrong_at_its_first", first),
        ("tag_wrong_at_its_last", last),
        ("tag_right_nowhere", nowhere),
    ];
    for (function, admits) in WAYS {
        let mut check = |case: &str, child: &[u8], accepted, expected| {
            let (answer, reports) =
                count_in(0..PEPPER.len(), &PEPPER, |pepper| admits(&world.node(pepper), child));
            report.subject(function, &format!("child/{case}"), reports, exactly(expected));
            report.require(answer == accepted, "the answer to the last subject is wrong");
        };
        for (case, child) in &forged {
            check(case, child, false, TAG);
        }
        check("right", child, true, TAG + SEALS);
        check("wrong_signature", &with_changed(child, 30), false, TAG + SEALS);
    }
}

/// Planted leaks before and behind the derivation, in the multiplication, and in the comparison of a tag.
fn controls(report: &mut Report, world: &World) {
    let World { token, child_prefix, .. } = world;
    let (_, reports) = count(token, |token| {
        let secret = &token[token.len() - UNDEFINED..];
        secret.iter().all(u8::is_ascii_alphanumeric) && minter(token, child_prefix).is_some()
    });
    report.control("child_minter_behind_a_check", reports.saturating_sub(FORM));

    // The private key is undefined when it signs, and so is the signature.
    let expected = world.child_of(&plain());
    let (_, reports) = count(token, |token| {
        let minted = minter(token, child_prefix).unwrap().mint_at(&plain(), world.now);
        minted.unwrap().reveal().as_bytes() == expected
    });
    report.control("child_compared_as_text", reports.saturating_sub(FORM));

    let (_, reports) = count(token, |token| {
        let secret = token[token.len() - UNDEFINED..].first_chunk().unwrap();
        let scalar = Scalar::from_bytes_mod_order(*secret);
        let base = &ED25519_BASEPOINT_POINT;
        let product =
            EdwardsPoint::vartime_double_scalar_mul_basepoint(&scalar, base, &Scalar::ZERO);
        let mut product = product.compress().to_bytes();
        valgrind::make_defined(&mut product);
        product != [0; 32]
    });
    report.control("multiplication_in_variable_time", reports);

    let mut early = [0, CHILD_TAG - 1].into_iter().map(|right| {
        let mut presented = child_prefix.as_bytes()[..child_prefix.len() - MARK].to_vec();
        presented[child_prefix.len() - MARK - CHILD_TAG + right] = b'.';
        let (_, reports) = count_in(0..PEPPER.len(), &PEPPER, |pepper| {
            let own = world.keyring_under(pepper).child_prefix(&world.key).unwrap();
            // One byte at a time, as a loop over both does.
            own.bytes().zip(&presented).all(|(own, presented)| own == *presented)
        });
        reports
    });
    let (at_first, at_last) = (early.next().unwrap(), early.next().unwrap());
    report.control("child_tag_compared_as_text", at_last);
    report.control("child_tag_comparison_ends_early", at_last.saturating_sub(at_first));
}

/// Returns the minter of a token whose bytes are undefined.
#[inline(never)]
fn minter(token: &[u8], child_prefix: &str) -> Option<ChildMinter> {
    // SAFETY: all bytes are ASCII. A check would be a branch on each character.
    let token = unsafe { str::from_utf8_unchecked(token) };
    ChildMinter::new(token, child_prefix).ok()
}

/// Returns whether an undefined text is this child, without a report.
fn is_child(text: &[u8], expected: &[u8]) -> bool {
    let mut text = text.to_vec();
    valgrind::make_defined(&mut text);
    text == expected
}

fn plain() -> NewChild {
    NewChild::lasting(Duration::from_secs(3_600))
}

fn limited() -> NewChild {
    let request = plain().scopes(["reporting"]).unwrap().host("reports").unwrap();
    request.operation("read").unwrap().nonce(&[5; 32]).unwrap()
}

/// A way to present a child.
type Way = (&'static str, fn(&Verifier, &[u8]) -> bool);

const WAYS: [Way; 2] = [
    ("Guard::admit", |verifier, child| {
        let guard = Guard::new(verifier).require(["reporting"]).unwrap();
        let value = header(child);
        let fields = [("accept", &b"*/*"[..]), ("authorization", &value)];
        at_once(guard.accepts_children(Place::new()).admit(&fields[..])).is_ok()
    }),
    ("Verifier::verify_at", |verifier, child| {
        at_once(verifier.verify_at(child, Freshness::Cached, None, &Place::new())).is_ok()
    }),
];

/// A service with one key, which may have children.
struct World {
    policy: Policy,
    environment: &'static str,
    store: MemoryStore,
    clock: ManualClock,
    now: Timestamp,
    keyring: Keyring,
    key: KeyRecord,
    token: Vec<u8>,
    child_prefix: String,
}

impl World {
    fn new(issuer: &str, environment: &'static str) -> Self {
        let catalog = ScopeCatalog::new([ScopeDeclaration::new("reporting", "Read reports")]);
        let policy = Policy::new(issuer, catalog.unwrap(), Tier::built_in()).unwrap();
        let policy = policy.with_children(Duration::from_secs(86_400)).unwrap();
        let store = MemoryStore::new();
        let now = Timestamp::from_millis(1_767_225_600_000).unwrap();
        let clock = ManualClock::at(now);
        let keyring = keyring(&policy, environment, &store, &clock, &PEPPER);
        let request = NewKey::named("ERP nightly sync").scopes(["reporting"]).children(true);
        let (_, issued) = at_once(keyring.create_tenant_with("acme", "lite", request)).unwrap();
        let child_prefix = keyring.child_prefix(&issued.key).unwrap();
        let token = issued.token.reveal().as_bytes().to_vec();
        Self {
            policy,
            environment,
            store,
            clock,
            now,
            keyring,
            key: issued.key,
            token,
            child_prefix,
        }
    }

    /// Creates a process that verifies, under this pepper.
    fn node(&self, pepper: &[u8]) -> Verifier {
        Verifier::builder(self.policy.clone(), Pepper::from_bytes(pepper).unwrap())
            .environment(self.environment)
            .lookup(self.store.clone())
            .clock(self.clock.clone())
            .build()
            .unwrap()
    }

    fn keyring_under(&self, pepper: &[u8]) -> Keyring {
        keyring(&self.policy, self.environment, &self.store, &self.clock, pepper)
    }

    /// Makes a child of the key from its token, of which nothing is undefined.
    fn child_of(&self, request: &NewChild) -> Vec<u8> {
        let minted = minter(&self.token, &self.child_prefix).unwrap().mint_at(request, self.now);
        minted.unwrap().reveal().as_bytes().to_vec()
    }
}

fn keyring(
    policy: &Policy,
    environment: &str,
    store: &MemoryStore,
    clock: &ManualClock,
    pepper: &[u8],
) -> Keyring {
    Keyring::builder(policy.clone(), Pepper::from_bytes(pepper).unwrap())
        .environment(environment)
        .store(store.clone())
        .clock(clock.clone())
        .rng(InsecureSeededRng::new(1))
        .build()
        .unwrap()
}
