//! Whether the time of an answer tells two kinds of input apart, on the processor as it is.
//!
//! Every input is made beforehand, in a row of equal cells, and which kind the next one is of is random.
//! What is compared is said at each function; `planted_` ones have a leak in front of keyway's own way.

use std::{hint::black_box, ops::Range, sync::LazyLock};

use dudect_bencher::{BenchRng, Class, CtRunner, ctbench_main, rand::RngExt};
use keyway::store::KeyLookup;
use timing::{Held, PUBLIC, SCHEME, TOKEN, Value, World, at_once, change, value};

/// How many inputs a run has.
const SAMPLES: usize = 100_000;

/// How many secrets a key had before.
const SUPERSEDED: usize = 64;

/// Where the parts of a token are.
const ID: Range<usize> = PUBLIC - 15..PUBLIC;
const SECRET: Range<usize> = PUBLIC..TOKEN - 8;
const TAG: Range<usize> = TOKEN - 8..TOKEN;

static WORLD: LazyLock<World> = LazyLock::new(World::new);

/// Times `path` with inputs of two kinds.
fn compare<I>(
    runner: &mut CtRunner,
    rng: &mut BenchRng,
    mut left: impl FnMut(&mut BenchRng) -> I,
    mut right: impl FnMut(&mut BenchRng) -> I,
    path: impl Fn(&I) -> bool,
) {
    LazyLock::force(&WORLD);
    let inputs: Vec<(Class, I)> = (0..SAMPLES)
        .map(|_| match rng.random() {
            true => (Class::Left, left(rng)),
            false => (Class::Right, right(rng)),
        })
        .collect();
    for (class, input) in &inputs {
        runner.run_one(*class, || path(black_box(input)));
    }
}

/// The field with the token of `held`, of which these parts are made up.
fn made_up(held: &Held, parts: &[Range<usize>], rng: &mut BenchRng) -> Value {
    let mut token = held.token;
    let mut random = || rng.random();
    for part in parts {
        change(&mut token[part.clone()], &mut random);
    }
    value(&token)
}

/// Two kinds of forged tokens on the whole way of a request, each by whose token it is and what of it is
/// made up.
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

/// The right secret under a made-up tag, and a made-up one under a made-up tag.
fn right_or_wrong_secret(runner: &mut CtRunner, rng: &mut BenchRng) {
    let active = &WORLD.active;
    refused(runner, rng, (active, &[TAG]), (active, &[SECRET, TAG]), admits);
}

/// Under the right tag, a secret that is wrong in its first character alone, and one that is all wrong.
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

/// All is right but the first character of the tag, or all but its last.
fn tag_wrong_at_its_first_or_last_character(runner: &mut CtRunner, rng: &mut BenchRng) {
    let active = &WORLD.active;
    refused(runner, rng, (active, &[at(TAG.start)]), (active, &[at(TAG.end - 1)]), admits);
}

/// Secret and tag are made up, under an id that exists or a made-up one.
fn known_or_unknown_id(runner: &mut CtRunner, rng: &mut BenchRng) {
    let active = &WORLD.active;
    refused(runner, rng, (active, &[SECRET, TAG]), (active, &[ID, SECRET, TAG]), admits);
}

/// Secret and tag are made up, under the id of an active key or of a disabled one.
fn active_or_disabled_key(runner: &mut CtRunner, rng: &mut BenchRng) {
    let (active, disabled) = (&WORLD.active, &WORLD.disabled);
    refused(runner, rng, (active, &[SECRET, TAG]), (disabled, &[SECRET, TAG]), admits);
}

/// What has passed the tag: the present secret of a key and those that it had before, up to the one bit
/// that tells them apart.
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

/// There is a difference, and it is meant: who is admitted gets a principal, and who is refused an answer.
fn real_admitted_or_refused(runner: &mut CtRunner, rng: &mut BenchRng) {
    let active = &WORLD.active;
    refused(runner, rng, (active, &[]), (active, &[SECRET, TAG]), admits);
}

/// There is a difference, and it is meant: who holds the key is told what it is.
fn real_active_or_disabled_key_of_its_holder(runner: &mut CtRunner, rng: &mut BenchRng) {
    let (active, disabled) = (&WORLD.active, &WORLD.disabled);
    refused(runner, rng, (active, &[]), (disabled, &[]), admits);
}

/// In front of the guard, the token is compared with the right one up to the first difference.
fn planted_comparison_that_ends_early(runner: &mut CtRunner, rng: &mut BenchRng) {
    let active = &WORLD.active;
    let right = black_box(value(&active.token));
    let leaky = |value: &Value| {
        // A byte at a time, whatever the compiler would like to make of it.
        let pairs = value.iter().zip(&right);
        let same = pairs.take_while(|(left, right)| black_box(left) == right).count();
        black_box(same) == value.len() || admits(value)
    };
    let (first, last) = (at(SECRET.start), at(SECRET.end - 1));
    refused(runner, rng, (active, &[first]), (active, &[last]), leaky);
}

/// In front of the guard, the record is read of whatever id is presented.
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

/// In front of the guard, the state of the key is asked.
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
