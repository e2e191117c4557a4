//! Usage: every request of a proven key counts once, and every flush is added once.

use std::{
    collections::VecDeque,
    future::{Future, pending},
    num::NonZeroUsize,
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    task::{Context, Waker},
    thread,
};

use crate::support::{DAY, HOUR, World, block_on, overheard::RevealKnown as _, policy, tenant_id};
use keyway::{
    IssuedKey, KeyId, MemoryStore, NewKey, TenantId, TenantKeys, VerifyError,
    store::{StoreError, UsageStore},
    usage::{Counts, Day, DayUsage, KeyUsage, Period, Span, UsageFlush},
};

/// A store of usage with a list of faults for the next flushes.
#[derive(Clone, Default)]
struct Rehearsed {
    store: MemoryStore,
    next: Arc<Mutex<VecDeque<Fault>>>,
    flushes: Arc<Mutex<Vec<UsageFlush>>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// The flush does not reach the store.
    Lost,
    /// The flush is added, and the response is lost.
    ResponseLost,
    /// The flush is added, and there is no response.
    Silent,
}

impl UsageStore for Rehearsed {
    async fn add_usage(&self, flush: &UsageFlush) -> Result<(), StoreError> {
        self.flushes.lock().unwrap().push(flush.clone());
        let fault = self.next.lock().unwrap().pop_front();
        if fault == Some(Fault::Lost) {
            return Err(StoreError::unavailable("the connection broke"));
        }
        self.store.add_usage(flush).await?;
        match fault {
            Some(Fault::ResponseLost) => Err(StoreError::unavailable("the connection broke")),
            Some(Fault::Silent) => pending().await,
            _ => Ok(()),
        }
    }

    async fn key_usage(
        &self,
        tenant: &TenantId,
        keys: &[KeyId],
        span: Span,
    ) -> Result<Vec<KeyUsage>, StoreError> {
        self.store.key_usage(tenant, keys, span).await
    }

    async fn tenant_usage(
        &self,
        tenant: &TenantId,
        span: Span,
    ) -> Result<Vec<DayUsage>, StoreError> {
        self.store.tenant_usage(tenant, span).await
    }

    async fn roll_up_usage(&self, days: Day, months: Day) -> Result<u64, StoreError> {
        self.store.roll_up_usage(days, months).await
    }

    async fn delete_usage(&self, tenant: &TenantId) -> Result<(), StoreError> {
        self.store.delete_usage(tenant).await
    }

    async fn usage_rows(
        &self,
        period: Period,
        after: Option<&KeyUsage>,
        limit: NonZeroUsize,
    ) -> Result<Vec<KeyUsage>, StoreError> {
        self.store.usage_rows(period, after, limit).await
    }

    async fn raise_usage(&self, period: Period, rows: &[KeyUsage]) -> Result<(), StoreError> {
        self.store.raise_usage(period, rows).await
    }
}

fn world() -> (World, Rehearsed) {
    let usage = Rehearsed::default();
    let store = usage.clone();
    (World::with(policy(), |builder| builder.usage(store).max_staleness(HOUR)), usage)
}

/// A key and its token.
struct Held {
    id: KeyId,
    token: String,
}

impl Held {
    fn of(issued: IssuedKey) -> Self {
        Self { id: issued.key.id(), token: issued.token.reveal_known().to_string() }
    }
}

fn tenant(world: &World, id: &str) -> (TenantKeys, Held) {
    let request = NewKey::named("a key").scopes(["reporting"]);
    let created = block_on(world.keyring.create_tenant_with(id, "advanced", request));
    let (keys, issued) = created.unwrap();
    (keys, Held::of(issued))
}

fn verify(world: &World, held: &Held) -> Result<(), VerifyError> {
    block_on(world.keyring.verify(&held.token)).map(drop)
}

fn flush(world: &World) {
    block_on(world.keyring.flush_uses()).unwrap();
}

/// Returns all days of a tenant.
fn days(world: &World, tenant: &str) -> Vec<DayUsage> {
    let usage = world.keyring.usage().unwrap();
    block_on(usage.of_tenant(&tenant_id(tenant), Span::days(Day::MIN, Day::MAX))).unwrap()
}

fn total(world: &World, tenant: &str) -> Counts {
    days(world, tenant).iter().fold(Counts::ZERO, |sum, day| sum.plus(day.counts))
}

fn admitted(admitted: u64) -> Counts {
    Counts { admitted, ..Counts::ZERO }
}

#[test]
fn requests_count_by_key_day_and_outcome() {
    let (world, _) = world();
    let (keys, issued) = tenant(&world, "acme");
    let second = Held::of(block_on(keys.issue(NewKey::named("second"))).unwrap());
    (0..3).for_each(|_| verify(&world, &issued).unwrap());
    verify(&world, &second).unwrap();
    // Nobody knows whose request this is.
    block_on(world.keyring.verify("mm_live_made-up")).unwrap_err();
    world.clock.advance(DAY);
    (0..2).for_each(|_| verify(&world, &issued).unwrap());
    block_on(keys.disable(issued.id)).unwrap();
    (0..4).for_each(|_| assert!(verify(&world, &issued).is_err()));
    flush(&world);

    let first_day: Day = "2026-01-01".parse().unwrap();
    let expected = [
        (first_day, admitted(4)),
        (first_day.plus(1), Counts { admitted: 2, forbidden: 4, limited: 0 }),
    ];
    assert_eq!(days(&world, "acme"), expected.map(|(day, counts)| DayUsage { day, counts }));
    let usage = world.keyring.usage().unwrap();
    assert_eq!(usage.today(), first_day.plus(1));
    let ids = [issued.id, second.id];
    let span = Span::days(first_day, first_day);
    let mut rows = block_on(usage.of_keys(keys.id(), &ids, span)).unwrap();
    rows.sort_by_key(|row| row.counts.admitted);
    let found: Vec<_> = rows.iter().map(|row| (row.key, row.counts)).collect();
    assert_eq!(found, [(ids[1], admitted(1)), (ids[0], admitted(3))]);
    assert_eq!(block_on(usage.of_keys(&tenant_id("globex"), &ids, span)).unwrap(), []);
}

#[test]
fn repeated_flush_counts_once() {
    for fault in [Fault::Lost, Fault::ResponseLost] {
        let (world, usage) = world();
        let (_, issued) = tenant(&world, "acme");
        let mut expected = 0;
        for round in 1..=3 {
            usage.next.lock().unwrap().extend([fault; 2]);
            for attempt in 0..3 {
                (0..round).for_each(|_| verify(&world, &issued).unwrap());
                expected += round;
                let flushed = block_on(world.keyring.flush_uses());
                assert_eq!(flushed.is_err(), attempt < 2, "{attempt}");
            }
            assert_eq!(total(&world, "acme"), admitted(expected));
        }
        // The control: flushes were sent more than once, unchanged.
        let flushes = usage.flushes.lock().unwrap();
        let repeated = flushes.windows(2).filter(|pair| pair[0].number == pair[1].number);
        assert_eq!(repeated.clone().count(), 6);
        assert!(repeated.into_iter().all(|pair| pair[0] == pair[1]));
    }
}

#[test]
fn dropped_flush_counts_once() {
    let (world, usage) = world();
    let (_, issued) = tenant(&world, "acme");
    (0..5).for_each(|_| verify(&world, &issued).unwrap());
    usage.next.lock().unwrap().push_back(Fault::Silent);
    {
        let mut flushing = pin!(world.keyring.flush_uses());
        assert!(flushing.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    }
    (0..2).for_each(|_| verify(&world, &issued).unwrap());
    flush(&world);
    assert_eq!(total(&world, "acme"), admitted(7));
    assert_eq!(usage.flushes.lock().unwrap().len(), 3);
}

#[test]
fn counts_of_all_threads_add_up_during_flushes() {
    const THREADS: usize = 6;
    const KEYS: usize = 600;
    const REQUESTS: usize = 3_000;
    let (world, usage) = world();
    let held: Vec<Held> = (0..KEYS).map(|number| tenant(&world, &format!("t{number}")).1).collect();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let flushing = scope.spawn(|| {
            while !done.load(SeqCst) {
                flush(&world);
                thread::yield_now();
            }
        });
        let workers: Vec<_> = (0..THREADS)
            .map(|thread| {
                let (world, held) = (&world, &held);
                scope.spawn(move || {
                    for request in 0..REQUESTS {
                        // A few keys are hot, and the others take turns in the places of a thread.
                        let key = match request % 3 {
                            0 => request / 3 % 5,
                            1 => request * 7 % KEYS,
                            _ => thread,
                        };
                        verify(world, &held[key]).unwrap();
                    }
                })
            })
            .collect();
        for worker in workers {
            worker.join().unwrap();
        }
        done.store(true, SeqCst);
        flushing.join().unwrap();
    });
    flush(&world);
    let sum: u64 = (0..KEYS).map(|number| total(&world, &format!("t{number}")).admitted).sum();
    assert_eq!(sum, (THREADS * REQUESTS) as u64);
    // The control: more than one flush had a part of it.
    assert!(usage.flushes.lock().unwrap().len() > 1);
}

#[test]
fn keyrings_of_one_thread_count_apart() {
    let (one, _) = world();
    let (other, _) = world();
    let (_, of_one) = tenant(&one, "acme");
    let (_, of_other) = tenant(&other, "acme");
    for _ in 0..3 {
        verify(&one, &of_one).unwrap();
        (0..2).for_each(|_| verify(&other, &of_other).unwrap());
    }
    flush(&one);
    flush(&other);
    assert_eq!(total(&one, "acme"), admitted(3));
    assert_eq!(total(&other, "acme"), admitted(6));
    // A keyring that is gone takes its counts with it, and those that came later are right.
    drop(one);
    verify(&other, &of_other).unwrap();
    flush(&other);
    assert_eq!(total(&other, "acme"), admitted(7));
}

#[test]
fn nodes_add_to_the_same_usage() {
    let (world, usage) = world();
    let (_, issued) = tenant(&world, "acme");
    let store = usage.clone();
    let node = world.another_node_with(policy(), |builder| builder.usage(store));
    verify(&world, &issued).unwrap();
    (0..2).for_each(|_| verify(&node, &issued).unwrap());
    flush(&world);
    flush(&node);
    assert_eq!(total(&world, "acme"), admitted(3));
    let flushes = usage.flushes.lock().unwrap();
    assert!(flushes[0].node != flushes[1].node && flushes[0].number == flushes[1].number);
}

#[test]
fn verifier_without_a_keyring_flushes_its_counts() {
    let (world, usage) = world();
    let (_, issued) = tenant(&world, "acme");
    let verifier = world.verifier(|builder| builder.usage(usage.clone()));
    block_on(verifier.verify(&issued.token)).unwrap();
    assert_eq!(block_on(verifier.flush_usage()).unwrap(), 1);
    assert_eq!(block_on(verifier.flush_usage()).unwrap(), 0);
    assert_eq!(total(&world, "acme"), admitted(1));
}

#[test]
fn deleted_tenant_leaves_no_usage() {
    let (world, usage) = world();
    let (keys, issued) = tenant(&world, "acme");
    let (_, other) = tenant(&world, "globex");
    verify(&world, &issued).unwrap();
    verify(&world, &other).unwrap();
    flush(&world);
    block_on(world.keyring.delete_tenant(keys.id())).unwrap();
    assert_eq!(total(&world, "acme"), Counts::ZERO);
    assert_eq!(total(&world, "globex"), admitted(1));
    drop(usage);
}

#[test]
fn old_days_become_months_and_old_months_are_deleted() {
    let (world, _) = world();
    let (keys, issued) = tenant(&world, "acme");
    // 2026-01-01 to 2026-04-10.
    for _ in 0..100 {
        verify(&world, &issued).unwrap();
        world.clock.advance(DAY);
    }
    flush(&world);
    let usage = world.keyring.usage().unwrap();
    let months = || {
        let span = Span::months(Day::MIN, Day::MAX);
        let rows = block_on(usage.of_tenant(keys.id(), span)).unwrap();
        rows.iter().map(|row| (row.day.to_string(), row.counts.admitted)).collect::<Vec<_>>()
    };
    let month = |month: &str, admitted| (month.to_owned(), admitted);
    let expected = [
        month("2026-01-01", 31),
        month("2026-02-01", 28),
        month("2026-03-01", 31),
        month("2026-04-01", 10),
    ];
    assert_eq!(months(), expected);
    // It is 2026-04-11. The days from 2026-03-12 on stay, and with them the sum of every month.
    assert_eq!(block_on(usage.roll_up(30, 24)).unwrap(), 70);
    assert_eq!(days(&world, "acme").len(), 30);
    assert_eq!(months(), expected);
    assert_eq!(block_on(usage.roll_up(30, 24)).unwrap(), 0);
    // The months of January and February are older than one month before the present one.
    assert_eq!(block_on(usage.roll_up(30, 1)).unwrap(), 2);
    assert_eq!(months(), expected[2..]);
}

#[test]
fn keyring_without_a_usage_store_counts_nothing() {
    let world = World::new();
    let (_, issued) = tenant(&world, "acme");
    verify(&world, &issued).unwrap();
    flush(&world);
    assert!(world.keyring.usage().is_none());
    assert_eq!(block_on(world.keyring.verifier().flush_usage()).unwrap(), 0);
}
