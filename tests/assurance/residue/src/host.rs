//! The application around keyway: the source of its randomness, its peppers and its callers' tokens.
//!
//! All of them are derived from a number, so that a scenario does the same in two processes. The searching
//! process rehearses the scenario first, which reveals the secrets. The searched process gets the secrets
//! only through keyway, and wipes what it receives.

use std::{
    convert::Infallible,
    fs::File,
    hint::black_box,
    io::Read,
    sync::{Arc, Mutex},
    time::Duration,
};

use keyway::{
    Keyring, MemoryStore, OneTimeToken, Pepper, Peppers, Policy, ScopeCatalog, Tier,
    keyring::KeyringBuilder, scope::ScopeDeclaration, store::KeyStore,
};
use rand_core::{TryCryptoRng, TryRng};
use zeroize::Zeroizing;

pub const ISSUER: &str = "mm";
pub const ENVIRONMENT: &str = "live";

/// The secrets that a rehearsal reveals.
#[derive(Clone, Debug, Default)]
pub struct Secrets {
    /// Every batch of random bytes that was drawn.
    pub draws: Vec<Vec<u8>>,
    /// Every token that was revealed, in order.
    pub tokens: Vec<String>,
    /// Every child that was revealed, in order.
    pub children: Vec<String>,
    /// Every text or digest of another system's token.
    pub foreign: Vec<Vec<u8>>,
    /// The peppers that keyway was given.
    pub peppers: Vec<Vec<u8>>,
    /// Everything that was presented, in order.
    pub presented: Vec<Vec<u8>>,
}

pub struct Host {
    seed: u64,
    streams: u64,
    /// Whether keyrings stay alive when the scenario is over.
    pub keeps: bool,
    rehearsal: Option<Arc<Mutex<Secrets>>>,
    input: Option<File>,
}

impl Host {
    /// Creates the application in the searching process.
    pub fn rehearsing(seed: u64) -> (Self, Arc<Mutex<Secrets>>) {
        let secrets = Arc::<Mutex<Secrets>>::default();
        let rehearsal = Some(Arc::clone(&secrets));
        (Self { seed, streams: 0, keeps: false, rehearsal, input: None }, secrets)
    }

    /// Creates the application in the searched process. The input is not buffered, since a buffered reader
    /// would keep what it read.
    pub fn performing(seed: u64, keeps: bool) -> Self {
        let input = File::open("/dev/stdin").expect("the pipe to the process that searches");
        Self { seed, streams: 0, keeps, rehearsal: None, input: Some(input) }
    }

    pub fn is_rehearsing(&self) -> bool {
        self.rehearsal.is_some()
    }

    fn learn(&self, learn: impl FnOnce(&mut Secrets)) {
        if let Some(secrets) = &self.rehearsal {
            learn(&mut secrets.lock().expect("no thread fails while it has this"));
        }
    }

    fn next_stream(&mut self) -> u64 {
        self.streams += 1;
        mix(self.seed, self.streams)
    }

    /// Returns a source of randomness that repeats no other one.
    pub fn rng(&mut self) -> Stream {
        let seed = self.next_stream();
        Stream { seed, drawn: 0, left: usize::MAX, rehearsal: self.rehearsal.clone() }
    }

    /// Returns the bytes of a new pepper. They are in a box, since a move leaves a copy behind.
    pub fn pepper_bytes(&mut self) -> Box<Zeroizing<[u8; 32]>> {
        let mut bytes = Box::new(Zeroizing::new([0; 32]));
        fill(self.next_stream(), &mut 0, &mut **bytes);
        self.learn(|secrets| secrets.peppers.push(bytes.to_vec()));
        bytes
    }

    pub fn pepper(&mut self) -> Pepper {
        Pepper::from_bytes(&**self.pepper_bytes()).expect("32 bytes")
    }

    pub fn builder(&mut self, store: impl KeyStore) -> KeyringBuilder {
        let peppers = self.pepper();
        self.builder_under(peppers, store)
    }

    pub fn builder_under(
        &mut self,
        peppers: impl Into<Peppers>,
        store: impl KeyStore,
    ) -> KeyringBuilder {
        let rng = self.rng();
        Keyring::builder(policy(), peppers).environment(ENVIRONMENT).store(store).rng(rng)
    }

    pub fn keyring(&mut self) -> Keyring {
        self.builder(MemoryStore::new()).build().expect("all of it is there")
    }

    /// Drops a keyring, or leaks it so that it stays alive.
    pub fn finish(&self, keyring: Keyring) {
        if self.keeps {
            std::mem::forget(keyring);
        }
    }

    /// Gives a token to its holder, who reads it and drops it.
    pub fn reveal(&self, token: OneTimeToken) {
        self.reveal_text(&token.reveal());
    }

    /// Reads the text of a token.
    pub fn reveal_text(&self, text: &str) {
        self.learn(|secrets| secrets.tokens.push(text.to_string()));
        black_box(text.as_bytes());
    }

    /// Gives a child to its holder, who reads it and drops it.
    pub fn reveal_child(&self, child: OneTimeToken) {
        self.reveal_child_text(&child.reveal());
    }

    /// Reads the text of a child.
    pub fn reveal_child_text(&self, text: &str) {
        self.learn(|secrets| secrets.children.push(text.to_string()));
        black_box(text.as_bytes());
    }

    /// Returns the child that was revealed as number `n`, for a request that presents it.
    pub fn present_child(&mut self, n: usize) -> Zeroizing<Vec<u8>> {
        self.receive(|secrets| secrets.children[n].clone().into_bytes())
    }

    /// Returns the token that was revealed as number `n`, for its holder to present.
    pub fn present(&mut self, n: usize) -> Zeroizing<Vec<u8>> {
        self.receive(|secrets| secrets.tokens[n].clone().into_bytes())
    }

    /// Returns bytes that only the searching process can make, such as another system's token.
    pub fn receive_foreign(&mut self, make: impl FnOnce() -> Vec<u8>) -> Zeroizing<Vec<u8>> {
        self.receive(|secrets| {
            let bytes = make();
            secrets.foreign.push(bytes.clone());
            bytes
        })
    }

    /// Returns bytes from outside, which only the searching process makes.
    pub fn receive(&mut self, make: impl FnOnce(&mut Secrets) -> Vec<u8>) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(Vec::new());
        self.learn(|secrets| {
            let made = make(secrets);
            secrets.presented.push(made.clone());
            *bytes = made;
        });
        if let Some(input) = &mut self.input {
            let mut len = [0];
            input.read_exact(&mut len).expect("the length of what is presented");
            bytes.resize(len[0].into(), 0);
            input.read_exact(&mut bytes).expect("what is presented");
        }
        bytes
    }

    /// Returns a function that makes a unique text of letters and digits. The searching process makes another
    /// system's token of it.
    pub fn made_up(&mut self, len: usize) -> impl FnOnce() -> Vec<u8> + use<> {
        let seed = self.next_stream();
        move || {
            let mut bytes = vec![0; len];
            fill(seed, &mut 0, &mut bytes);
            let alphanumeric: Vec<u8> =
                (b'0'..=b'9').chain(b'A'..=b'Z').chain(b'a'..=b'z').collect();
            bytes.iter().map(|byte| alphanumeric[usize::from(*byte) % 62]).collect()
        }
    }
}

/// Randomness that is derived from a seed and leaves no copy of itself.
pub struct Stream {
    seed: u64,
    drawn: u64,
    /// How many more draws succeed. The draw after them panics.
    pub left: usize,
    rehearsal: Option<Arc<Mutex<Secrets>>>,
}

impl TryRng for Stream {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        unreachable!("keyway draws bytes")
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        unreachable!("keyway draws bytes")
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        fill(self.seed, &mut self.drawn, bytes);
        if let Some(secrets) = &self.rehearsal {
            secrets.lock().expect("no thread fails while it has this").draws.push(bytes.to_vec());
        }
        // The bytes have been written before the panic, as a device may fail halfway.
        self.left = self.left.checked_sub(1).expect("the device is gone");
        Ok(())
    }
}

impl TryCryptoRng for Stream {}

fn fill(seed: u64, drawn: &mut u64, bytes: &mut [u8]) {
    for chunk in bytes.chunks_mut(8) {
        *drawn += 1;
        let word = mix(seed, *drawn);
        for (index, byte) in chunk.iter_mut().enumerate() {
            *byte = (word >> (8 * index)) as u8;
        }
    }
}

/// Returns the value of `SplitMix64` at one index of its sequence.
fn mix(seed: u64, place: u64) -> u64 {
    let mut word = seed.wrapping_add(place.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

pub fn policy() -> Policy {
    let scopes = [ScopeDeclaration::new("reporting", "Read reports")];
    let catalog = ScopeCatalog::new(scopes).expect("one scope");
    let tiers = [Tier::new("lite", 1), Tier::new("advanced", 50)];
    let policy = Policy::new(ISSUER, catalog, tiers).expect("two tiers");
    // A private key is derived from each new token.
    policy.with_children(Duration::from_secs(86_400)).expect("a day")
}
