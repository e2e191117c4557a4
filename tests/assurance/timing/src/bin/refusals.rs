//! Measures the cost of a rejection.
//!
//! - `refusals count N` presents N forged tokens and counts the lookups in the store.
//! - `refusals run KIND N` makes N rejections of a kind and nothing else that depends on N, for callgrind.
//! - `refusals time` measures how fast SHA-256 is, which shows whether the processor's instructions for it
//!   are used.

use std::{
    env, hint::black_box, ops::Range, process::ExitCode, sync::atomic::Ordering::Relaxed,
    time::Instant,
};

use keyway::{
    Pepper,
    lowlevel::{InsecureSeededRng, TokenFormat},
    store::KeyLookup,
};
use sha2::block_api::compress256;
use timing::{PUBLIC, TOKEN, World, at_once, change, pepper, seeded, value};

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["count", number] => count(number.parse().unwrap()),
        ["run", kind, number] => run(kind, number.parse().unwrap()),
        ["time"] => println!("measured {}ns one compression of SHA-256", compression()),
        _ => return ExitCode::from(2),
    }
    ExitCode::SUCCESS
}

/// Returns the time of one compression in nanoseconds, at best.
fn compression() -> u128 {
    let mut state = [0; 8];
    let blocks = vec![[7; 64]; 1_000];
    let times = (0..100).map(|_| {
        let began = Instant::now();
        compress256(black_box(&mut state), black_box(&blocks));
        began.elapsed().as_nanos() / 1_000
    });
    times.min().unwrap_or_default()
}

/// The ways to forge a token, each with the part that is random. The rest is that of an active key.
const FORGERIES: [(&str, Range<usize>); 6] = [
    ("secret and tag of a key that exists", PUBLIC..TOKEN),
    ("all behind the slot", PUBLIC - 15..TOKEN),
    ("the tag", TOKEN - 8..TOKEN),
    ("the last character of the tag", TOKEN - 1..TOKEN),
    ("one character of the secret", PUBLIC + 16..PUBLIC + 17),
    ("one character of the id", PUBLIC - 1..PUBLIC),
];

fn count(number: u64) {
    let world = World::new();
    let mut random = seeded(4_711);
    let before = world.look_ups.load(Relaxed);
    let mut accepted = 0_u64;
    for number in 0..number {
        let mut token = world.active.token;
        let way = usize::try_from(number / 2).unwrap() % FORGERIES.len();
        change(&mut token[FORGERIES[way].1.clone()], &mut random);
        let is_accepted =
            if number % 2 == 0 { world.admits(&value(&token)) } else { world.verifies(&token) };
        accepted += u64::from(is_accepted);
    }
    let look_ups = world.look_ups.load(Relaxed) - before;
    println!(
        "figure {look_ups} = 0 look-ups for {number} forged tokens, half of them through a guard"
    );
    println!("figure {accepted} = 0 of them admitted");

    let before = world.look_ups.load(Relaxed);
    for length in 0..=200 {
        for token in malformed(&world, length) {
            assert!(!world.verifies(&token));
        }
    }
    let look_ups = world.look_ups.load(Relaxed) - before;
    println!(
        "figure {look_ups} = 0 look-ups for tokens of every other length to 200, or with another prefix"
    );

    // Anyone who knows the pepper can make valid tags for random tokens.
    let known = 1_000;
    let look_ups = tagged(&world, pepper(), known);
    println!("control {look_ups} = {known} look-ups for {known} made-up tokens with the right tag");
    let look_ups = tagged(&world, Pepper::public(), known);
    println!(
        "figure {look_ups} = 0 look-ups for {known} made-up tokens that are tagged under another pepper"
    );
}

/// Returns tokens of this length, and one with another prefix.
fn malformed(world: &World, length: usize) -> Vec<Vec<u8>> {
    let token = world.active.token;
    let mut cut = token.repeat(4);
    cut.truncate(length);
    let mut other = token;
    other[length % 8] ^= 1;
    if length == TOKEN { vec![other.into()] } else { vec![cut, other.into()] }
}

/// Counts the lookups of keys that do not exist, with tokens that were minted under `pepper`.
fn tagged(world: &World, pepper: Pepper, number: u64) -> u64 {
    let format = TokenFormat::new("mm", "live", &pepper.into()).unwrap();
    let mut rng = InsecureSeededRng::new(2);
    let before = world.look_ups.load(Relaxed);
    for _ in 0..number {
        let minted = format.mint(&mut rng).unwrap();
        assert!(!world.verifies(minted.token.reveal().as_bytes()));
    }
    world.look_ups.load(Relaxed) - before
}

fn run(kind: &str, number: u64) {
    let world = World::new();
    let mut forged = world.active.token;
    change(&mut forged[PUBLIC..], &mut seeded(1));
    let mut other_prefix = world.active.token;
    other_prefix[0] ^= 1;
    let id = world.disabled.key.id();
    let mut state = [0; 8];
    let blocks = [[7; 64]; 2];
    let (by_verifier, by_guard) = (
        |token: &[u8]| assert!(!world.verifies(black_box(token))),
        |token: &[u8; TOKEN]| assert!(!world.admits(black_box(&value(token)))),
    );
    for _ in 0..number {
        match kind {
            "forged" => by_verifier(&forged),
            "other_prefix" => by_verifier(&other_prefix),
            "other_length" => by_verifier(&forged[1..]),
            "forged_at_guard" => by_guard(&forged),
            "other_prefix_at_guard" => by_guard(&other_prefix),
            "two_compressions" => compress256(&mut state, black_box(&blocks)),
            "one_compression_more" => {
                compress256(&mut state, black_box(&blocks[..1]));
                by_verifier(&forged);
            }
            "look_up_more" => {
                _ = black_box(at_once(world.store.lookup(id)));
                by_verifier(&forged);
            }
            _ => panic!("there is no refusal of the kind {kind}"),
        }
    }
    black_box(state);
}
