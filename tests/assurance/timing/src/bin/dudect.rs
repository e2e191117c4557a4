//! Measures whether the response time distinguishes two classes of input on this processor.
//!
//! All inputs are made beforehand, in a row of equal cells. The class of each is random. Each function names
//! the classes that it compares. The functions that begin with `planted_` have a leak before keyway's own
//! path.

use std::{hint::black_box, ops::Range, sync::LazyLock};

use dudect_bencher::{BenchRng, CtRunner, ctbench_main, rand::RngExt};
use keyway::store::KeyLookup;
use timing::{Held, PUBLIC, SCHEME, TOKEN, Value, World, at_once, change, compare, value};

/// How many former secrets the key has.
const SUPERSEDED: usize = 64;

/// The indexes of the parts of a token.
const ID: Range<usize> = PUBLIC - 15..PUBLIC;
const SECRET: Range<usize> = PUBLIC..TOKEN - 8;
const TAG: Range<usize> = TOKEN - 8..TOKEN;

static WORLD: LazyLock<World> = LazyLock::new(World::new);

/// Returns the header with the token of `held`, in which these parts are random.
fn made_up(held: &Held, parts: &[Range<usize>], rng: &mut BenchRng) -> Value {
    let mut token = held.token;
    let mut random = || rng.random();
    for part in parts {
        change(&mut token[part.clone()], &mut random);
    }
    value(&token)
}

/// Compares two classes of forged tokens on the whole path of a request. Each class is a key and the parts of
/// its token that are random.
fn refused(
    runner: &mut CtRunner,
    rng: &mut BenchRng,
    (left, left_parts): (&Held, &[Range<usize>]),
    (right, right_parts): (&Held, &[Range<usize>]),
    path: impl Fn(&Value) -> bool,
) {
    compare(
        runner,
        rng,
        |rng| made_up(left, left_parts, rng),
        |rng| made_up(right, right_parts, rng),
        path,
    );
}

fn admits(value: &Value) -> bool {
    WORLD.admits(value)
}

const fn at(place: usize) -> Range<usize> {
    place..place + 1
}

/// The right secret with a random tag, and a random secret with a random tag.
fn right_or_wrong_secret(runner: &mut CtRunner, rng: &mut BenchRng) {
    let active = &WORLD.active;
    refused(runner, rng, (active, &[TAG]), (active, &[SECRET, TAG]), admits);
}

/// With the right tag: a secret that is wrong in its first character alone, and one that is wrong everywhere.
fn secret_wrong_at_its_first_character(runner: &mut CtRunner, rng: &mut BenchRng) {
    let active = &WORLD.active;
    refused(runner, rng, (active, &[at(SECRET.start)]), (active, &[SECRET]), admits);
}

fn secret_wrong_at_its_middle_character(runner: &mut CtRunner, rng: &mut BenchRng) {
    let active = &WORLD.active;
    refused(runner, rng, (active, &[at(SECRET.start + 16)]), (active, &[SECRET]), admits);
}

fn secret_wrong_at_its_last_character(runner: &mut CtRunner, rng: &mut BenchRng) {
    let active = &WORLD.active;
    refused(runner, rng, (active, &[at(SECRET.end - 1)]), (active, &[SECRET]), admits);
}

/// A token that is wrong only in the first character of its tag, and one that is wrong only in the last.
fn tag_wrong_at_its_first_or_last_character(runner: &mut CtRunner, rng: &mut BenchRng) {
    let active = &WORLD.active;
    refused(runner, rng, (active, &[at(TAG.start)]), (active, &[at(TAG.end - 1)]), admits);
}

/// A random secret and tag, with an id that exists and with a random one.
fn known_or_unknown_id(runner: &mut CtRunner, rng: &mut BenchRng) {
    let active = &WORLD.active;
    refused(runner, rng, (active, &[SECRET, TAG]), (active, &[ID, SECRET, TAG]), admits);
}

/// A random secret and tag, with the id of an active key and of a disabled one.
fn active_or_disabled_key(runner: &mut CtRunner, rng: &mut BenchRng) {
    let (active, disabled) = (&WORLD.active, &WORLD.disabled);
    refused(runner, rng, (active, &[SECRET, TAG]), (disabled, &[SECRET, TAG]), admits);
}

/// Tokens that have passed the tag check: with the key's present secret and with its former ones, up to the
/// one bit that distinguishes them.
fn present_or_superseded_digest(runner: &mut CtRunner, rng: &mut BenchRng) {
    let mut world = World::new();
    let superseded = world.rotate_active(SUPERSEDED);
    let key = world.resolve(&world.active);
    let check = |token: &[u8; TOKEN]| world.verifier.format().check(token).unwrap();
    let present = check(&world.active.token);
    compare(
        runner,
        rng,
        |_| present.clone(),
        |rng| check(&superseded[usize::from(rng.random::<u8>()) % SUPERSEDED]),
        |claim| key.is_proven_by(claim, world.now),
    );
}

/// The difference is intended: an admitted caller gets a principal, and a rejected one an error response.
fn real_admitted_or_refused(runner: &mut CtRunner, rng: &mut BenchRng) {
    let active = &WORLD.active;
    refused(runner, rng, (active, &[]), (active, &[SECRET, TAG]), admits);
}

/// The difference is intended: the holder of a key learns the key's state.
fn real_active_or_disabled_key_of_its_holder(runner: &mut CtRunner, rng: &mut BenchRng) {
    let (active, disabled) = (&WORLD.active, &WORLD.disabled);
    refused(runner, rng, (active, &[]), (disabled, &[]), admits);
}

/// Before the guard, the token is compared with the right one up to the first difference.
fn planted_comparison_that_ends_early(runner: &mut CtRunner, rng: &mut BenchRng) {
    let active = &WORLD.active;
    let right = black_box(value(&active.token));
    let leaky = |value: &Value| {
        // One byte at a time. `black_box` keeps the compiler from merging the comparisons.
        let pairs = value.iter().zip(&right);
        let same = pairs.take_while(|(left, right)| black_box(left) == right).count();
        black_box(same) == value.len() || admits(value)
    };
    let (first, last) = (at(SECRET.start), at(SECRET.end - 1));
    refused(runner, rng, (active, &[first]), (active, &[last]), leaky);
}

/// Before the guard, the record of the presented id is read, whatever the id is.
fn planted_look_up_before_the_tag(runner: &mut CtRunner, rng: &mut BenchRng) {
    let active = &WORLD.active;
    let leaky = |value: &Value| {
        let id = str::from_utf8(&value[SCHEME.len()..][PUBLIC - 16..PUBLIC]);
        let id = id.ok().and_then(|id| id.parse().ok());
        let stored = id.map(|id| at_once(WORLD.store.lookup(id)));
        black_box(stored).is_none() || admits(value)
    };
    refused(runner, rng, (active, &[SECRET, TAG]), (active, &[ID, SECRET, TAG]), leaky);
}

/// Before the guard, the state of the key is checked.
fn planted_state_before_the_tag(runner: &mut CtRunner, rng: &mut BenchRng) {
    let (active, disabled) = (&WORLD.active, &WORLD.disabled);
    let leaky = |value: &Value| {
        let is_disabled =
            value[SCHEME.len()..][PUBLIC - 16..PUBLIC] == disabled.key.id().as_bytes()[..];
        !black_box(is_disabled) && admits(value)
    };
    refused(runner, rng, (active, &[SECRET, TAG]), (disabled, &[SECRET, TAG]), leaky);
}

ctbench_main!(
    right_or_wrong_secret,
    secret_wrong_at_its_first_character,
    secret_wrong_at_its_middle_character,
    secret_wrong_at_its_last_character,
    tag_wrong_at_its_first_or_last_character,
    known_or_unknown_id,
    active_or_disabled_key,
    present_or_superseded_digest,
    real_admitted_or_refused,
    real_active_or_disabled_key_of_its_holder,
    planted_comparison_that_ends_early,
    planted_look_up_before_the_tag,
    planted_state_before_the_tag
);
