//! Measures as `dudect` does whether the response time distinguishes two classes of children.
//!
//! All of them have a wrong tag, since nobody without the key can make a right one. The functions that begin
//! with `planted_` have a leak before keyway's own path.

use std::{collections::HashMap, hint::black_box, ops::Range, sync::LazyLock};

use dudect_bencher::{BenchRng, CtRunner, ctbench_main, rand::RngExt};
use timing::{
    PUBLIC, SCHEME, change,
    children::{CHILD, CHILD_PREFIX, Parent, Value, World, value},
    compare,
};

static WORLD: LazyLock<World> = LazyLock::new(World::new);

/// The indexes of the parts of a child.
const ID: Range<usize> = PUBLIC - 15..PUBLIC;
const TAG: Range<usize> = PUBLIC..CHILD_PREFIX - 1;
const SIGNATURE: Range<usize> = CHILD - 85..CHILD;

/// Compares two classes of children on the whole path of a request. Each class is a key and the parts of its
/// child that are random.
fn refused(
    runner: &mut CtRunner,
    rng: &mut BenchRng,
    (left, left_parts): (&Parent, &[Range<usize>]),
    (right, right_parts): (&Parent, &[Range<usize>]),
    path: impl Fn(&Value) -> bool,
) {
    let (left, right) = (left.child(), right.child());
    compare(
        runner,
        rng,
        |rng| made_up(left, left_parts, rng),
        |rng| made_up(right, right_parts, rng),
        path,
    );
    // No child with a wrong tag has caused a look-up, so that both classes are what they should be.
    WORLD.check_cached();
}

/// Returns the header with a child, in which these parts are random.
fn made_up(mut child: [u8; CHILD], parts: &[Range<usize>], rng: &mut BenchRng) -> Value {
    let mut random = || rng.random();
    for part in parts {
        change(&mut child[part.clone()], &mut random);
    }
    value(&child)
}

fn admits(value: &Value) -> bool {
    WORLD.admits(value)
}

const fn at(place: usize) -> Range<usize> {
    place..place + 1
}

/// A tag whose first half is right, and one that is wrong everywhere.
fn child_tag_right_in_its_first_half_or_nowhere(runner: &mut CtRunner, rng: &mut BenchRng) {
    let cached = &WORLD.cached;
    refused(runner, rng, (cached, &[TAG.start + 4..TAG.end]), (cached, &[TAG]), admits);
}

/// The signature is random, so that each class has many texts. A text is sought by a seeded hash first, in a part of a table
/// that may be empty. One character alone gives a class 61 texts, and two such classes differ by the chance of the seed.
fn child_tag_wrong_at_its_first_or_last_character(runner: &mut CtRunner, rng: &mut BenchRng) {
    let cached = &WORLD.cached;
    let (first, last) = (at(TAG.start), at(TAG.end - 1));
    refused(runner, rng, (cached, &[first, SIGNATURE]), (cached, &[last, SIGNATURE]), admits);
}

/// A random tag, for a child of a key that is cached and of one that is not.
fn child_of_cached_or_uncached_key(runner: &mut CtRunner, rng: &mut BenchRng) {
    let (cached, uncached) = (&WORLD.cached, &WORLD.uncached);
    refused(runner, rng, (cached, &[TAG]), (uncached, &[TAG]), admits);
}

/// A random tag, with the id of a cached key and with a random one.
fn child_of_known_or_unknown_key(runner: &mut CtRunner, rng: &mut BenchRng) {
    let cached = &WORLD.cached;
    refused(runner, rng, (cached, &[TAG]), (cached, &[ID, TAG]), admits);
}

/// A random tag, with the right signature of a child that is remembered and with a random one.
fn child_with_right_or_wrong_signature(runner: &mut CtRunner, rng: &mut BenchRng) {
    let cached = &WORLD.cached;
    refused(runner, rng, (cached, &[TAG]), (cached, &[TAG, SIGNATURE]), admits);
}

/// The difference is intended: a child that is admitted gets a principal.
fn real_child_admitted_or_refused(runner: &mut CtRunner, rng: &mut BenchRng) {
    let cached = &WORLD.cached;
    refused(runner, rng, (cached, &[]), (cached, &[TAG]), admits);
}

/// Before the guard, the characters of the tag are computed and compared one after another, up to the first
/// difference. The check of a key's token takes as long as such a computation.
fn planted_child_tag_compared_early(runner: &mut CtRunner, rng: &mut BenchRng) {
    let cached = &WORLD.cached;
    let right = black_box(cached.child());
    let leaky = |value: &Value| {
        let presented = &value[SCHEME.len()..];
        let same = TAG.take_while(|place| {
            let computed = WORLD.verifier.format().check(&right[..PUBLIC + 40]);
            black_box(computed).is_err() && presented[*place] == right[*place]
        });
        black_box(same.count()) > CHILD || admits(value)
    };
    refused(runner, rng, (cached, &[at(TAG.start)]), (cached, &[at(TAG.end - 1)]), leaky);
}

/// Before the guard, the key is sought among the cached ones, and the child is compared with what is
/// remembered of it.
fn planted_cached_key_before_the_tag(runner: &mut CtRunner, rng: &mut BenchRng) {
    let (cached, uncached) = (&WORLD.cached, &WORLD.uncached);
    let child = cached.child();
    let remembered = HashMap::from([(child[..PUBLIC].to_vec(), WORLD.verifier.format())]);
    let leaky = |value: &Value| {
        let presented = &value[SCHEME.len()..];
        let format = remembered.get(&presented[..PUBLIC]);
        let checked = format.map(|format| format.check(&presented[..PUBLIC + 40]).is_ok());
        black_box(checked) == Some(true) || admits(value)
    };
    refused(runner, rng, (cached, &[TAG]), (uncached, &[TAG]), leaky);
}

ctbench_main!(
    child_tag_right_in_its_first_half_or_nowhere,
    child_tag_wrong_at_its_first_or_last_character,
    child_of_cached_or_uncached_key,
    child_of_known_or_unknown_key,
    child_with_right_or_wrong_signature,
    real_child_admitted_or_refused,
    planted_child_tag_compared_early,
    planted_cached_key_before_the_tag
);
