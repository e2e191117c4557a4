//! One timing class for everything that is not the token of a key that may be used.
//!
//! Each read of the store takes a millisecond, and nothing is cached. So the work differs a thousandfold between a
//! token that is refused at once and one whose key is read. The ranks of the times of two classes are compared by the
//! test of Mann and Whitney.

use std::{
    future::Future,
    ops::AsyncFn,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use keyway::{
    MemoryStore,
    http::{Introspection, Response, Revocation},
    store::StoreError,
};

use super::{
    FORM, INACTIVE, issue, on_tokio, one_response::inactive_bodies, policy, reporting, tenant,
};
use crate::support::{
    World, figures,
    random::Seeded,
    wrapped_store::{Call, Faults, Wrapped},
};

/// Reads take this long once the store is slow.
const READ: Duration = Duration::from_millis(1);
const STEP: Duration = Duration::from_millis(10);
/// A step that is shorter than a read.
const EARLY: Duration = Duration::from_micros(1);
const ROUNDS: usize = 100;
/// A larger deviation of the ranks occurs by chance once in two million comparisons.
const LIMIT: f64 = 5.0;

/// A store whose reads take a while, like those of a database.
#[derive(Default)]
struct SlowReads(AtomicBool);

impl Faults for SlowReads {
    async fn read<T: Clone + Send + 'static>(
        &self,
        _: Call,
        _: T,
        read: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        if self.0.load(Ordering::SeqCst) {
            tokio::time::sleep(READ).await;
        }
        read.await
    }
}

/// One kind of tokens, which a caller must not distinguish from the other kinds.
struct Class {
    name: &'static str,
    bodies: Vec<String>,
}

struct Bench {
    world: World,
    slow: World,
    reads: Wrapped<MemoryStore, SlowReads>,
    own: String,
}

impl Bench {
    fn new() -> Self {
        let world = World::with(policy(), |builder| builder);
        let services = tenant(&world, "services");
        let key = keyway::NewKey::named("service").scopes(["introspect", "revoke"]);
        let own = issue(&services, key);
        let reads = Wrapped::new(world.store.memory().clone(), SlowReads::default());
        let store = reads.clone();
        let slow =
            |builder: keyway::keyring::KeyringBuilder| builder.store(store).cache_capacity(0);
        let slow = world.another_node_with(policy(), slow);
        Self { world, slow, reads, own }
    }

    /// Returns the largest deviation of the ranks of a class from those of the first one, and its name.
    fn measure(
        &self,
        classes: &[Class],
        ask: impl AsyncFn(&[(&str, &[u8])], &[u8]) -> Response,
        title: &str,
    ) -> f64 {
        let value = format!("Bearer {}", self.own);
        let fields = [("authorization", value.as_bytes()), ("content-type", FORM.as_bytes())];
        self.reads.0.store(true, Ordering::SeqCst);
        let mut times = vec![Vec::new(); classes.len()];
        let mut order: Vec<_> = (0..classes.len()).collect();
        let mut random = Seeded::new(7);
        on_tokio(async {
            for round in 0..ROUNDS {
                shuffle(&mut order, &mut random);
                for class in &order {
                    let bodies = &classes[*class].bodies;
                    let body = &bodies[round % bodies.len()];
                    let began = Instant::now();
                    let answer = ask(&fields, body.as_bytes()).await;
                    times[*class].push(began.elapsed());
                    assert_eq!(answer.status(), 200);
                    assert!(matches!(answer.body(), "" | INACTIVE), "{}", classes[*class].name);
                }
            }
        });
        self.reads.0.store(false, Ordering::SeqCst);
        let mut largest = 0_f64;
        for (class, of_class) in classes.iter().zip(&times) {
            let deviation = deviation(of_class, &times[0]);
            largest = largest.max(deviation.abs());
            let text = format!("{title}, {}: median, deviation {deviation:.2}", class.name);
            figures::measured(format!("{:?}", median(of_class)), &text);
        }
        largest
    }
}

fn shuffle(order: &mut [usize], random: &mut Seeded) {
    for last in (1..order.len()).rev() {
        let Ok(drawn) = rand_core::TryRng::try_next_u32(random);
        order.swap(last, drawn as usize % (last + 1));
    }
}

fn median(times: &[Duration]) -> Duration {
    let mut times = times.to_vec();
    times.sort_unstable();
    times[times.len() / 2]
}

/// Returns the statistic of Mann and Whitney in units of its standard deviation, as if both came from one distribution.
#[allow(clippy::cast_precision_loss, reason = "there are few measurements")]
fn deviation(left: &[Duration], right: &[Duration]) -> f64 {
    let wins = |time: &Duration| -> f64 {
        let won = right.iter().filter(|other| time > *other).count() as f64;
        won + right.iter().filter(|other| time == *other).count() as f64 / 2.0
    };
    let (wins, left, right): (f64, _, _) =
        (left.iter().map(wins).sum(), left.len() as f64, right.len() as f64);
    (wins - left * right / 2.0) / (left * right * (left + right + 1.0) / 12.0).sqrt()
}

/// Returns classes of tokens that are inactive, the first of which costs no work.
fn inactive(bench: &Bench) -> Vec<Class> {
    let names = [
        "malformed",
        "of another environment",
        "forged",
        "unknown",
        "superseded",
        "deleted",
        "disabled",
        "of a suspended tenant",
        "expired",
        "of another network",
        "of unchecked resources",
    ];
    let bodies = inactive_bodies(&bench.world);
    let of_name = |name| {
        let found = bodies.iter().filter(|(other, _)| *other == name);
        let bodies: Vec<_> = found.map(|(_, body)| body.clone()).collect();
        assert!(!bodies.is_empty(), "{name}");
        Class { name, bodies }
    };
    names.map(of_name).into()
}

fn introspection(bench: &Bench, step: Duration) -> Introspection {
    // The key of the resource server is cached, so that its time is not part of the measurement.
    let guard = bench.world.keyring.require(["introspect"]).unwrap();
    Introspection::new(&bench.slow.keyring, &guard).unwrap().inactive_after(step)
}

#[test]
fn inactive_tokens_are_of_one_timing_class() {
    let bench = Bench::new();
    let classes = inactive(&bench);
    let introspection = introspection(&bench, STEP);
    let ask =
        async |fields: &[(&str, &[u8])], body: &[u8]| introspection.introspect(fields, body).await;
    let largest = bench.measure(&classes, ask, "introspection");
    figures::figure(format!("{largest:.2}"), "<", LIMIT, "deviation of ranks of a class");
    assert!(largest < LIMIT, "a class differs: {largest}");
}

/// The control: a time that is shorter than a read. Tokens without a read get an early response.
#[test]
fn early_response_shows_that_nothing_was_read() {
    let bench = Bench::new();
    let classes = inactive(&bench);
    let introspection = introspection(&bench, EARLY);
    let ask =
        async |fields: &[(&str, &[u8])], body: &[u8]| introspection.introspect(fields, body).await;
    let largest = bench.measure(&classes, ask, "early");
    assert!(largest > LIMIT, "an early response is not noticed: {largest}");
}

#[test]
fn revocations_are_of_one_timing_class() {
    let bench = Bench::new();
    let elsewhere = World::with(policy(), |builder| builder);
    let unknown = tenant(&elsewhere, "acme");
    let live = tenant(&bench.world, "acme");
    let of = |keys| (0..ROUNDS).map(|_| format!("token={}", issue(keys, reporting()))).collect();
    let classes = [
        Class { name: "malformed", bodies: vec!["token=made_up".into()] },
        Class { name: "unknown", bodies: of(&unknown) },
        Class { name: "live", bodies: of(&live) },
    ];
    let guard = bench.world.keyring.require(["revoke"]).unwrap();
    let revocation = Revocation::new(&bench.slow.keyring, &guard).unwrap().done_after(STEP);
    let ask = async |fields: &[(&str, &[u8])], body: &[u8]| revocation.revoke(fields, body).await;
    let largest = bench.measure(&classes, ask, "revocation");
    assert!(largest < LIMIT, "a class differs: {largest}");
    let gone = on_tokio(bench.slow.keyring.verify(&classes[2].bodies[0]["token=".len()..]));
    assert!(gone.is_err());
    // The control.
    let revocation = revocation.done_after(EARLY);
    let ask = async |fields: &[(&str, &[u8])], body: &[u8]| revocation.revoke(fields, body).await;
    let largest = bench.measure(&classes, ask, "early revocation");
    assert!(largest > LIMIT, "an early response is not noticed: {largest}");
}
