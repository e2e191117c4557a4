//! The whole path of a request: from its headers through guard, verifier, cache and store to the response.
//!
//! A presented secret is compared with every digest that may be the key's: the cached one, the one in the
//! store, and those in the negative cache. Each comparison is one branch.

use std::{
    ops::RangeInclusive,
    pin::pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use keyway::{
    GracePeriod, Guard, KeyRecord, Keyring, MemoryStore, NewKey, Pepper, Policy, ScopeCatalog,
    TenantKeys, Tier, Timestamp, lowlevel::InsecureSeededRng, scope::ScopeDeclaration,
    time::ManualClock, verifier::Verifier,
};

use super::{
    Report, TAG, TAG_AND_DIGEST, TAG_AND_TWO_DIGESTS, UNDEFINED, count, count_in, exactly, header,
    imported::{PREFIXED, PUBLIC},
    with_changed,
};

/// A secret that is not the cached one causes a read of the store. It is compared with both digests. When the
/// read ends, it is found twice among the running ones.
const READ_AGAIN: usize = TAG + 2 + 2;

/// One branch on whether a token of another length has the characters of one.
const READABLE: usize = 1;

/// If the compiler computes a result without a branch, the caller's branch on that result is one more report.
fn once_more(reports: usize) -> RangeInclusive<usize> {
    reports..=reports + 1
}

pub fn subjects(report: &mut Report) {
    for (function, admits) in WAYS {
        let world = World::new();
        let mut check = |case: &str, node: &Verifier, token: &[u8], accepted, expected| {
            let (answer, reports) = count(&header(token), |value| admits(node, value));
            report.subject(function, case, reports, expected);
            report.require(answer == accepted, "the answer to the last subject is wrong");
        };
        let one = || exactly(TAG);
        let two = || exactly(TAG_AND_DIGEST);
        // For an admitted caller, the same bit decides whether a grace period ends.
        let admitted = || once_more(TAG_AND_DIGEST);

        let active = world.key("active");
        let token = &active.token;
        let node = &world.node();
        check("loaded", node, token, true, admitted());
        // The second verification in a row copies the entry into the cache of this thread. The third one uses
        // the copy.
        for case in ["cached", "copied", "of_the_copy"] {
            check(case, node, token, true, admitted());
        }
        check("forged_secret", node, &with_changed(token, UNDEFINED - 12), false, one());
        check("forged_tag", node, &with_changed(token, 1), false, one());
        check("forged_id", node, &with_changed(token, UNDEFINED + 3), false, one());

        let deleted = world.key("deleted");
        at_once(deleted.keys.delete(deleted.key.id())).unwrap();
        check("unknown", node, &deleted.token, false, one());
        check("unknown_refuted", node, &deleted.token, false, two());

        let disabled = world.key("disabled");
        at_once(disabled.keys.disable(disabled.key.id())).unwrap();
        check("disabled", node, &disabled.token, false, two());
        check("disabled_cached", node, &disabled.token, false, two());
        check("disabled_forged", node, &with_changed(&disabled.token, 9), false, one());

        let mut rotated = world.key("rotated");
        let first = rotated.token.clone();
        let second = rotated.rotate(GracePeriod::None);
        check("superseded", node, &first, false, two());
        check("superseded_refuted", node, &first, false, once_more(TAG_AND_DIGEST + 1));
        let [node, other, third_node] = [(); 3].map(|()| world.node());
        for (case, node) in [("successor", &node), ("successor_elsewhere", &other)] {
            check(case, node, &second, true, admitted());
        }
        check("superseded_cached", &node, &first, false, exactly(READ_AGAIN));
        let third = rotated.rotate(GracePeriod::None);
        check("renewed_elsewhere", &other, &third, true, once_more(READ_AGAIN));
        let fourth = rotated.rotate(GracePeriod::For(Duration::from_secs(3_600)));
        for (case, token) in [("in_grace_current", &fourth), ("in_grace_previous", &third)] {
            check(case, &third_node, token, true, TAG_AND_TWO_DIGESTS);
        }
    }
    in_other_fields(report);
}

/// Keys in another header, and keys of another system.
fn in_other_fields(report: &mut Report) {
    let world = World::new();
    let active = world.key("active");
    let admits = |field: &str, value: &[u8]| {
        let guard = Guard::new(&world.keyring).key_header("x-api-key").unwrap();
        at_once(guard.admit(&[(field, value)][..])).is_ok()
    };
    for case in ["loaded", "cached"] {
        let (answer, reports) = count(&active.token, |value| admits("x-api-key", value));
        report.subject("Guard::admit", &format!("key_header/{case}"), reports, once_more(2));
        report.require(answer, "the answer to the last subject is wrong");
    }
    // A leak before the whole path.
    let (_, reports) = count(&active.token, |value| {
        value.iter().all(u8::is_ascii_graphic) && admits("x-api-key", value)
    });
    report.control("guard_behind_a_check", reports.saturating_sub(TAG_AND_DIGEST));

    // White space after a token, which HTTP/2 allows, is found by the length of the token.
    for field in ["x-api-key", "authorization"] {
        let token =
            if field == "authorization" { header(&active.token) } else { active.token.clone() };
        let secret = token.len() - UNDEFINED..token.len();
        let value = [&token[..], b" \t"].concat();
        let (answer, reports) = count_in(secret, &value, |value| admits(field, value));
        report.subject("Guard::admit", &format!("{field}/white_space"), reports, once_more(2));
        report.require(answer, "the answer to the last subject is wrong");
    }

    // The token of another system has another length, and must have the characters of a token. The rest of
    // its path is measured without the guard, since there the id is derived from the secret.
    let value = header(PREFIXED);
    let secret = value.len() - PREFIXED.len() + PUBLIC..value.len();
    let (answer, reports) = count_in(secret, &value, |value| admits("authorization", value));
    report.subject("Guard::admit", "another_length", reports, exactly(READABLE));
    report.require(!answer, "the answer to the last subject is wrong");
}

/// A way to present a key.
type Way = (&'static str, fn(&Verifier, &[u8]) -> bool);

const WAYS: [Way; 2] = [
    ("Guard::admit", |verifier, value| {
        let guard = Guard::new(verifier).require(["reporting"]).unwrap();
        let fields = [("accept", &b"*/*"[..]), ("authorization", value)];
        at_once(guard.admit(&fields[..])).is_ok()
    }),
    ("Verifier::verify_authorization", |verifier, value| {
        at_once(verifier.verify_authorization(Some(value))).is_ok()
    }),
];

/// Returns the output of a future that is ready at once.
pub fn at_once<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("a store in memory makes nobody wait"),
    }
}

/// A service that issues keys, and its store.
struct World {
    store: MemoryStore,
    clock: ManualClock,
    keyring: Keyring,
}

struct Held {
    keys: TenantKeys,
    key: KeyRecord,
    token: Vec<u8>,
}

impl World {
    fn new() -> Self {
        let store = MemoryStore::new();
        let clock = ManualClock::at(Timestamp::from_millis(1_767_225_600_000).unwrap());
        let keyring = Keyring::builder(policy(), pepper())
            .environment("live")
            .store(store.clone())
            .clock(clock.clone())
            .rng(InsecureSeededRng::new(1));
        Self { keyring: keyring.build().unwrap(), store, clock }
    }

    /// Creates a process that verifies, with its own cache.
    fn node(&self) -> Verifier {
        Verifier::builder(policy(), pepper())
            .environment("live")
            .lookup(self.store.clone())
            .clock(self.clock.clone())
            .build()
            .unwrap()
    }

    fn key(&self, tenant: &str) -> Held {
        let request = NewKey::named("ERP nightly sync").scopes(["reporting"]);
        let (keys, issued) =
            at_once(self.keyring.create_tenant_with(tenant, "advanced", request)).unwrap();
        Held { keys, key: issued.key, token: issued.token.reveal().as_bytes().to_vec() }
    }
}

impl Held {
    /// Rotates the key.
    fn rotate(&mut self, grace_period: GracePeriod) -> Vec<u8> {
        let (id, version) = (self.key.id(), self.key.version());
        let rotated = at_once(self.keys.rotate(id, version, grace_period)).unwrap();
        self.key = rotated.key;
        rotated.token.reveal().as_bytes().to_vec()
    }
}

fn policy() -> Policy {
    let catalog = ScopeCatalog::new([
        ScopeDeclaration::new("reporting", "Read reports"),
        ScopeDeclaration::new("billing", "Read bills"),
    ]);
    Policy::new("mm", catalog.unwrap(), Tier::built_in()).unwrap()
}

fn pepper() -> Pepper {
    Pepper::from_bytes(&[7; 32]).unwrap()
}
