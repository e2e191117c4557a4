//! The needles of the search: every eight bytes in a row of each form that a secret takes in memory.

mod private_key;

pub use self::private_key::seed_of;

use std::{collections::HashMap, fmt};

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Sha256, block_api::compress256};

use crate::host::{ENVIRONMENT, ISSUER, Secrets};

/// SHA-256's initial state (FIPS 180-4, 5.3.3).
const INITIAL: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];

/// The keys that are derived from a pepper.
const KEYS: [(&str, &str); 5] = [
    ("token", "the key of tokens"),
    ("seal", "the key of seals"),
    ("import", "the key of imported tokens"),
    ("idempotency", "the key of idempotent ids"),
    ("child tag", "the key of child tags"),
];

/// The length of a window.
pub const WIDTH: usize = 8;

/// The secret and the form that a window is part of, and its index there.
#[derive(Clone, Copy, Debug)]
pub struct What {
    name: &'static str,
    form: &'static str,
    offset: usize,
    pub is_of_pepper: bool,
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{} from {} on", self.name, self.form, self.offset)
    }
}

/// Windows, each with the secret that it is part of.
#[derive(Default)]
pub struct Needles {
    windows: HashMap<u64, What>,
    /// A bit for each hash of a window, which rules out most memory quickly.
    bits: Vec<u64>,
}

const BITS: u32 = 20;

fn place(window: u64) -> usize {
    (window.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - BITS)) as usize
}

impl Needles {
    /// The secrets of tokens, keyway's and other systems', and the randomness that they are made of.
    pub fn of_tokens(secrets: &Secrets) -> Self {
        let mut needles = Self::default();
        for draw in &secrets.draws {
            needles.add("random bytes", "", draw);
            for six in draw.chunks_exact(6) {
                let word = six.iter().fold(0, |word, byte| word << 8 | u64::from(*byte));
                needles.add("random bytes", " in a register", &word.to_le_bytes());
            }
            let characters = base64url(draw);
            let behind = len_of_id(&characters);
            for (offset, window) in characters.array_windows().enumerate().skip(behind) {
                needles.insert("random characters", "", offset, *window);
            }
        }
        for token in &secrets.tokens {
            needles.add_words("a token", "", &token.as_bytes()[token.len() - 40..]);
        }
        private_key::add_all(&mut needles, secrets);
        for foreign in &secrets.foreign {
            needles.add_words("another system's token or its digest", "", foreign);
        }
        needles.index();
        needles
    }

    /// Peppers, and all keys that are derived from them.
    pub fn of_peppers(secrets: &Secrets) -> Self {
        let mut needles = Self::default();
        for pepper in &secrets.peppers {
            needles.add_key("a pepper", pepper);
            needles.add("a pepper", " in base64", &base64(pepper));
            for (purpose, name) in KEYS {
                let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(pepper)
                    .expect("HMAC takes keys of any length");
                mac.update(format!("keyway/v1/{purpose}\0{ISSUER}\0{ENVIRONMENT}").as_bytes());
                needles.add_key(name, &mac.finalize().into_bytes());
            }
        }
        for what in needles.windows.values_mut() {
            what.is_of_pepper = true;
        }
        needles.index();
        needles
    }

    pub fn merge(&mut self, other: Self) {
        self.windows.extend(other.windows);
        self.index();
    }

    fn insert(
        &mut self,
        name: &'static str,
        form: &'static str,
        offset: usize,
        window: [u8; WIDTH],
    ) {
        let what = What { name, form, offset, is_of_pepper: false };
        self.windows.insert(u64::from_ne_bytes(window), what);
    }

    fn add(&mut self, name: &'static str, form: &'static str, bytes: &[u8]) {
        for (offset, window) in bytes.array_windows().enumerate() {
            self.insert(name, form, offset, *window);
        }
    }

    /// Adds hashed bytes, also as SHA-2 reads them: as big-endian words of four or eight bytes.
    fn add_words(&mut self, name: &'static str, form: &'static str, bytes: &[u8]) {
        self.add(name, form, bytes);
        for width in [4, 8] {
            for start in 0..width.min(bytes.len()) {
                let words = bytes[start..].chunks_exact(width);
                let swapped: Vec<u8> = words.flat_map(|word| word.iter().rev().copied()).collect();
                self.add(name, form, &swapped);
            }
        }
    }

    /// Adds a key of HMAC: unchanged, in its two blocks, and as the two states after these blocks.
    fn add_key(&mut self, name: &'static str, key: &[u8]) {
        self.add_words(name, "", key);
        let forms = [(0x36, " in its inner block", " as the inner state")];
        let forms = forms.into_iter().chain([(0x5c, " in its outer block", " as the outer state")]);
        for (pad, in_block, as_state) in forms {
            let padded: Vec<u8> = key.iter().map(|byte| byte ^ pad).collect();
            self.add_words(name, in_block, &padded);
            let mut block = [pad; 64];
            block[..key.len()].copy_from_slice(&padded);
            let mut state = INITIAL;
            compress256(&mut state, &[block]);
            let bytes: Vec<u8> = state.iter().flat_map(|word| word.to_be_bytes()).collect();
            self.add_words(name, as_state, &bytes);
        }
    }

    fn index(&mut self) {
        self.bits = vec![0; 1 << (BITS - 6)];
        for window in self.windows.keys() {
            self.bits[place(*window) / 64] |= 1 << (place(*window) % 64);
        }
    }

    /// Returns every window in `memory`, with its index.
    pub fn find(&self, memory: &[u8]) -> Vec<(usize, What)> {
        let mut found = Vec::new();
        for (at, window) in memory.array_windows::<WIDTH>().enumerate() {
            let window = u64::from_ne_bytes(*window);
            let place = place(window);
            if self.bits[place / 64] >> (place % 64) & 1 == 1
                && let Some(what) = self.windows.get(&window)
            {
                found.push((at, *what));
            }
        }
        found
    }
}

/// Returns the length of the id, which the first characters of a new key are. It is public.
fn len_of_id(characters: &[u8]) -> usize {
    let groups = characters.chunks_exact(4).enumerate();
    let alphanumeric = groups.filter(|(_, group)| group.iter().all(u8::is_ascii_alphanumeric));
    alphanumeric.map(|(number, _)| 4 * number + 4).nth(3).unwrap_or(characters.len())
}

fn base64url(bytes: &[u8]) -> Vec<u8> {
    encode(bytes, *b"-_")
}

pub fn base64(bytes: &[u8]) -> Vec<u8> {
    encode(bytes, *b"+/")
}

/// Base64 (RFC 4648, section 4) of as many whole groups as there are.
fn encode(bytes: &[u8], last: [u8; 2]) -> Vec<u8> {
    let alphabet: Vec<u8> =
        (b'A'..=b'Z').chain(b'a'..=b'z').chain(b'0'..=b'9').chain(last).collect();
    let groups = bytes
        .chunks_exact(3)
        .map(|group| group.iter().fold(0_usize, |word, byte| word << 8 | usize::from(*byte)));
    groups.flat_map(|word| [18, 12, 6, 0].map(|shift| alphabet[word >> shift & 63])).collect()
}
