//! The shared part of the programs: a service with some keys, and the tokens that are presented to it.

#![allow(clippy::missing_panics_doc, reason = "for the programs of this crate alone")]

#[cfg(feature = "children")]
pub mod children;
mod compare;

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll, Waker},
};

use keyway::{
    GracePeriod, Guard, KeyId, KeyRecord, Keyring, MemoryStore, NewKey, Pepper, Policy,
    ScopeCatalog, TenantKeys, Tier, Timestamp,
    lowlevel::{Authority, InsecureSeededRng, ResolvedKey},
    scope::ScopeDeclaration,
    store::{KeyLookup, StoreError, StoredKey},
    time::ManualClock,
    verifier::Verifier,
};
use rand_core::TryRng;

pub use self::compare::compare;

/// The text before a token in its header.
pub const SCHEME: &[u8] = b"Bearer ";
/// The length of the prefix and the id of a token.
pub const PUBLIC: usize = 8 + 16;
/// The length of a token.
pub const TOKEN: usize = PUBLIC + 32 + 8;

/// The value of the header.
pub type Value = [u8; 7 + TOKEN];

/// One process of a service. Its clock stands still, so that no cache entry becomes stale.
pub struct World {
    keyring: Keyring,
    pub store: MemoryStore,
    pub verifier: Verifier,
    pub guard: Guard,
    /// How often the verifier has read its store.
    pub look_ups: Arc<AtomicU64>,
    pub now: Timestamp,
    pub active: Held,
    pub disabled: Held,
}

/// A key, and the token of its holder.
pub struct Held {
    keys: TenantKeys,
    pub key: KeyRecord,
    pub token: [u8; TOKEN],
}

impl World {
    #[must_use]
    pub fn new() -> Self {
        let store = MemoryStore::new();
        let now = Timestamp::from_millis(1_767_225_600_000).unwrap();
        let clock = ManualClock::at(now);
        let keyring = Keyring::builder(policy(), pepper())
            .environment("live")
            .store(store.clone())
            .clock(clock.clone())
            .rng(InsecureSeededRng::new(1))
            .build()
            .unwrap();
        let look_ups = Arc::default();
        let lookup = Counting { store: store.clone(), look_ups: Arc::clone(&look_ups) };
        let verifier = Verifier::builder(policy(), pepper())
            .environment("live")
            .lookup(lookup)
            .clock(clock)
            .build()
            .unwrap();
        let guard = Guard::new(&verifier).require(["reporting"]).unwrap();
        let (active, mut disabled) = (Held::of(&keyring, "acme"), Held::of(&keyring, "globex"));
        disabled.key = at_once(disabled.keys.disable(disabled.key.id())).unwrap();
        let world = Self { keyring, store, verifier, guard, look_ups, now, active, disabled };
        // Both keys are cached from here on.
        for _ in 0..4 {
            assert!(world.admits(&value(&world.active.token)));
            assert!(!world.admits(&value(&world.disabled.token)));
        }
        assert_eq!(world.look_ups.load(Relaxed), 2);
        world
    }

    /// Runs the path of a request, from its headers to whether it is admitted.
    #[inline(never)]
    #[must_use]
    pub fn admits(&self, value: &Value) -> bool {
        let fields = [("accept", &b"*/*"[..]), ("authorization", value)];
        at_once(self.guard.admit(&fields[..])).is_ok()
    }

    /// Runs the path of a token without HTTP.
    #[inline(never)]
    #[must_use]
    pub fn verifies(&self, token: &[u8]) -> bool {
        at_once(self.verifier.verify(token)).is_ok()
    }

    /// Resolves a key for decisions.
    #[must_use]
    pub fn resolve(&self, held: &Held) -> ResolvedKey {
        let tenant = at_once(self.keyring.find_tenant(held.key.tenant())).unwrap();
        let authority = Authority::new(policy(), "live", &pepper().into()).unwrap();
        authority.resolve(&held.key, &tenant).unwrap()
    }

    /// Rotates the active key this many times, and returns its former tokens.
    pub fn rotate_active(&mut self, times: usize) -> Vec<[u8; TOKEN]> {
        let Held { keys, key, token } = &mut self.active;
        let mut superseded = Vec::new();
        for _ in 0..times {
            let rotation = keys.rotate(key.id(), key.version(), GracePeriod::None);
            let rotated = at_once(rotation).unwrap();
            superseded.push(*token);
            *token = bytes(rotated.token.reveal().as_bytes());
            *key = rotated.key;
        }
        superseded
    }
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

impl Held {
    fn of(keyring: &Keyring, tenant: &str) -> Self {
        let request = NewKey::named("ERP nightly sync").scopes(["reporting"]);
        let created = keyring.create_tenant_with(tenant, "advanced", request);
        let (keys, issued) = at_once(created).unwrap();
        Self { keys, key: issued.key, token: bytes(issued.token.reveal().as_bytes()) }
    }
}

/// A store that counts its lookups.
#[derive(Clone)]
pub(crate) struct Counting {
    pub(crate) store: MemoryStore,
    pub(crate) look_ups: Arc<AtomicU64>,
}

impl KeyLookup for Counting {
    async fn lookup(&self, id: KeyId) -> Result<Option<StoredKey>, StoreError> {
        self.look_ups.fetch_add(1, Relaxed);
        self.store.lookup(id).await
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

pub(crate) fn policy() -> Policy {
    let catalog = ScopeCatalog::new([ScopeDeclaration::new("reporting", "Read reports")]);
    Policy::new("mm", catalog.unwrap(), Tier::built_in()).unwrap()
}

/// Returns the pepper of the application.
#[must_use]
pub fn pepper() -> Pepper {
    Pepper::from_bytes(&[7; 32]).unwrap()
}

/// Returns the output of a future that is ready at once.
pub fn at_once<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("a store in memory makes nobody wait"),
    }
}

/// Returns the value of the header that presents `token`.
#[must_use]
pub fn value(token: &[u8; TOKEN]) -> Value {
    bytes(&[SCHEME, token].concat())
}

#[must_use]
pub fn bytes<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().unwrap()
}

/// Replaces each of these characters with another letter or digit.
pub fn change(token: &mut [u8], random: &mut impl FnMut() -> u8) {
    const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    for character in token {
        let other = ALPHABET[usize::from(random()) % 62];
        *character = if other == *character { ALPHABET[usize::from(other == b'A')] } else { other };
    }
}

/// Returns random bytes that are derived from a seed.
pub fn seeded(seed: u64) -> impl FnMut() -> u8 {
    let mut rng = InsecureSeededRng::new(seed);
    let mut batch = [0; 32];
    let mut used = batch.len();
    move || {
        if used == batch.len() {
            let Ok(()) = rng.try_fill_bytes(&mut batch);
            used = 0;
        }
        used += 1;
        batch[used - 1]
    }
}
