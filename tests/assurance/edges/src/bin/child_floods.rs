//! Floods a verifier with made-up children: `child_floods NUMBER`, with that many of each kind.
//!
//! The clock is set by hand. So the look-ups and checks of one second are counted, however long they take.

use std::{
    env,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use keyway::{
    KeyId, Keyring, MemoryStore, NewKey, Pepper, Policy, ScopeCatalog, Tier, Timestamp,
    VerifyError,
    children::{ChildMinter, NewChild, Place},
    lowlevel::InsecureSeededRng,
    scope::ScopeDeclaration,
    store::{KeyLookup, Lookups, StoreError, StoredKey, lookup_each},
    time::{Clock as _, ManualClock},
    verifier::{Freshness, Verifier},
};

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
/// The place of the tag in a child: behind the prefix and the id.
const TAG: usize = 8 + 16;
/// The length of a signature in base64url, and a little more.
const SIGNATURE: usize = 87;
const SECOND: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let Some(number) = env::args().nth(1).and_then(|number| number.parse().ok()) else {
        eprintln!("child_floods NUMBER");
        return ExitCode::from(2);
    };
    wrong_tags(number);
    wrong_signatures(number);
    ExitCode::SUCCESS
}

fn wrong_tags(number: usize) {
    let world = World::new();
    let child = world.child(&world.minter, 0);
    assert!(world.present(child.as_bytes()).is_ok());
    let before = world.look_ups();
    let mut admitted = 0_u64;
    for number in 0..number {
        let mut text = child.clone().into_bytes();
        // All characters of the tag differ in the course of the flood.
        let mut rest = number + 1;
        for character in &mut text[TAG..TAG + 8] {
            let value = ALPHABET.iter().position(|letter| letter == character).unwrap_or(0);
            *character = ALPHABET[(value + rest) % 64];
            rest /= 64;
        }
        admitted += u64::from(world.present(&text).is_ok());
    }
    let look_ups = world.look_ups() - before;
    println!("figure {look_ups} = 0 look-ups for {number} children with a wrong tag");
    println!("figure {admitted} = 0 of these admitted");
}

fn wrong_signatures(number: usize) {
    let world = World::new();
    let known = world.child(&world.minter, 0);
    assert!(world.present(known.as_bytes()).is_ok());
    let made_up = |number: usize| {
        let mut text = known.clone().into_bytes();
        let place = text.len() - SIGNATURE / 2;
        let mut rest = number + 1;
        for character in &mut text[place..place + 8] {
            let value = ALPHABET.iter().position(|letter| letter == character).unwrap_or(0);
            *character = ALPHABET[(value + rest) % 64];
            rest /= 64;
        }
        text
    };
    let before = world.look_ups();
    let (mut admitted, mut checked) = (0_u64, 0_u64);
    let (mut refused, mut tries) = (0_u64, 0_u64);
    for number in 0..number {
        match world.present(&made_up(number)) {
            Ok(()) => admitted += 1,
            // A signature that is not checked has no result.
            Err(VerifyError::Unavailable(_)) => {}
            Err(_) => checked += 1,
        }
        if number % 1_000 == 0 {
            tries += 2;
            refused += u64::from(world.present(known.as_bytes()).is_err());
            let new = world.child(&world.other, number);
            refused += u64::from(world.present(new.as_bytes()).is_err());
        }
    }
    let look_ups = world.look_ups() - before;
    println!(
        "figure {checked} <= 20 signatures checked of {number} wrong ones of one parent in one second"
    );
    // The children of the other parent are proven with the one read of that parent.
    println!("figure {} <= 20 look-ups for them", look_ups.saturating_sub(1));
    println!("figure {admitted} = 0 of them with a wrong signature admitted");
    println!(
        "figure {refused} = 0 of {tries} refused meanwhile, of known children of the parent and of new ones of another"
    );
    let new = world.child(&world.minter, 1);
    let waits =
        world.present(new.as_bytes()).is_err_and(|error| error.retry_after() == Some(SECOND));
    world.clock.advance(SECOND);
    let is_late = world.present(new.as_bytes()).is_err();
    println!(
        "figure {} = 0 seconds too late is a new child of the parent admitted",
        u8::from(is_late)
    );
    println!("control {} = 1 new child of the parent told to wait for a second", u8::from(waits));

    // Over as many seconds as there are children, each is checked and read for.
    let before = world.look_ups();
    let mut checked = 0;
    for number in 0..1_000 {
        world.clock.advance(SECOND);
        checked += u64::from(matches!(world.present(&made_up(number)), Err(VerifyError::Rejected)));
    }
    let look_ups = world.look_ups() - before;
    println!("control {checked} = 1000 signatures checked of 1000 wrong ones in 1000 seconds");
    println!("control {look_ups} >= 1000 look-ups for these");
}

struct World {
    clock: ManualClock,
    verifier: Verifier,
    look_ups: Arc<AtomicU64>,
    minter: ChildMinter,
    /// The minter of another key.
    other: ChildMinter,
    end: Timestamp,
}

impl World {
    fn new() -> Self {
        let now = Timestamp::from_millis(1_800_000_000_000).expect("a time");
        let clock = ManualClock::at(now);
        let store = MemoryStore::new();
        let keyring = Keyring::builder(policy(), pepper())
            .environment("live")
            .store(store.clone())
            .clock(clock.clone())
            .rng(InsecureSeededRng::new(1))
            .build()
            .expect("an environment and a store");
        let minter_of = |tenant: &str| {
            let request = NewKey::named("k").children(true);
            let created = keyring.create_tenant_with(tenant, "free", request);
            let (_, issued) = pollster::block_on(created).expect("there is room");
            keyring.child_minter(&issued.token).expect("the policy allows children")
        };
        let (minter, other) = (minter_of("acme"), minter_of("globex"));
        let look_ups = Arc::default();
        let verifier = Verifier::builder(policy(), pepper())
            .environment("live")
            .lookup(Counting { store, look_ups: Arc::clone(&look_ups) })
            .clock(clock.clone())
            .build()
            .expect("an environment and a store");
        let end = now.checked_add(86_400 * SECOND).expect("a time");
        Self { clock, verifier, look_ups, minter, other, end }
    }

    fn look_ups(&self) -> u64 {
        self.look_ups.load(Relaxed)
    }

    fn child(&self, minter: &ChildMinter, number: usize) -> String {
        let request = NewChild::until(self.end).nonce(&number.to_be_bytes()).expect("short");
        let child = minter.mint_at(&request, self.clock.moment().now).expect("it is short");
        child.reveal().to_string()
    }

    fn present(&self, text: &[u8]) -> Result<(), VerifyError> {
        let place = Place::new();
        let verified = self.verifier.verify_at(text, Freshness::Cached, None, &place);
        pollster::block_on(verified).map(drop)
    }
}

fn policy() -> Policy {
    let catalog = ScopeCatalog::new([ScopeDeclaration::new("read", "")]).expect("one scope");
    let policy = Policy::new("mm", catalog, [Tier::new("free", 1)]).expect("an issuer and a tier");
    policy.with_children(31 * 86_400 * SECOND).expect("not too long")
}

fn pepper() -> Pepper {
    Pepper::from_bytes(&[7; 32]).expect("32 bytes")
}

/// A store that counts its look-ups.
struct Counting {
    store: MemoryStore,
    look_ups: Arc<AtomicU64>,
}

impl KeyLookup for Counting {
    async fn lookup(&self, id: KeyId) -> Result<Option<StoredKey>, StoreError> {
        self.look_ups.fetch_add(1, Relaxed);
        self.store.lookup(id).await
    }

    async fn lookup_many(&self, ids: &[KeyId]) -> Result<Lookups, StoreError> {
        lookup_each(self, ids).await
    }

    fn max_lag(&self) -> Duration {
        Duration::ZERO
    }

    async fn marker(&self) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(None)
    }
}
