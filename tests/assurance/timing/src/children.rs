//! A service whose keys have children: some of a key that is cached, and some of a key that is not.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use keyway::{
    Guard, Keyring, MemoryStore, NewKey, Timestamp,
    children::{ChildMinter, NewChild, Place},
    lowlevel::InsecureSeededRng,
    time::ManualClock,
    verifier::Verifier,
};

use crate::{Counting, PUBLIC, at_once, bytes, pepper, policy};

/// The length of the text with which all children of a key begin: prefix, id, tag and a mark.
pub const CHILD_PREFIX: usize = PUBLIC + 8 + 1;
/// The length of a child without limits: 11 bytes for its end and 64 for its signature, in base64url.
pub const CHILD: usize = CHILD_PREFIX + 100;

/// The value of the header.
pub type Value = [u8; 7 + CHILD];

/// One process of a service. Its clock stands still, so that no cache entry becomes stale.
pub struct World {
    pub guard: Guard,
    pub verifier: Verifier,
    pub cached: Parent,
    pub uncached: Parent,
    /// How often the verifier has read its store.
    look_ups: Arc<AtomicU64>,
}

/// A key that has children.
pub struct Parent {
    minter: ChildMinter,
    now: Timestamp,
}

impl World {
    #[must_use]
    pub fn new() -> Self {
        let store = MemoryStore::new();
        let now = Timestamp::from_millis(1_767_225_600_000).unwrap();
        let clock = ManualClock::at(now);
        let policy = policy().with_children(Duration::from_secs(86_400)).unwrap();
        let keyring = Keyring::builder(policy.clone(), pepper())
            .environment("live")
            .store(store.clone())
            .clock(clock.clone())
            .rng(InsecureSeededRng::new(1))
            .build()
            .unwrap();
        let look_ups = Arc::default();
        let verifier = Verifier::builder(policy, pepper())
            .environment("live")
            .lookup(Counting { store, look_ups: Arc::clone(&look_ups) })
            .clock(clock)
            .build()
            .unwrap();
        let guard = Guard::new(&verifier).require(["reporting"]).unwrap();
        let guard = guard.accepts_children(Place::new());
        let parent = |tenant| {
            let request = NewKey::named("ERP nightly sync").scopes(["reporting"]).children(true);
            let created = keyring.create_tenant_with(tenant, "advanced", request);
            let (_, issued) = at_once(created).unwrap();
            Parent { minter: keyring.child_minter(&issued.token).unwrap(), now }
        };
        let (cached, uncached) = (parent("acme"), parent("globex"));
        let world = Self { guard, verifier, cached, uncached, look_ups };
        // One of the keys and its child are known from here on.
        for _ in 0..4 {
            assert!(world.admits(&value(&world.cached.child())));
        }
        world.check_cached();
        world
    }

    /// Checks that the key of one child is cached, and that of the other is not.
    pub fn check_cached(&self) {
        assert_eq!(self.look_ups.load(Relaxed), 1);
    }

    /// Runs the path of a request, from its headers to whether it is admitted.
    #[inline(never)]
    #[must_use]
    pub fn admits(&self, value: &Value) -> bool {
        let fields = [("accept", &b"*/*"[..]), ("authorization", value)];
        at_once(self.guard.admit(&fields[..])).is_ok()
    }
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

impl Parent {
    /// Makes a child, which is the same each time.
    #[must_use]
    pub fn child(&self) -> [u8; CHILD] {
        let request = NewChild::lasting(Duration::from_secs(3_600));
        bytes(self.minter.mint_at(&request, self.now).unwrap().reveal().as_bytes())
    }
}

/// Returns the value of the header that presents `child`.
#[must_use]
pub fn value(child: &[u8; CHILD]) -> Value {
    bytes(&[crate::SCHEME, child].concat())
}
