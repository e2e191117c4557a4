//! A stream ends with the key of its caller: for each cause, within the bound of requests, and for nothing else.

use std::{
    collections::VecDeque,
    future::{Future, poll_fn},
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
    time::{Duration, Instant},
};

use crate::support::{
    DAY, HOUR, Held, MAX_STALENESS, World, block_on, catalog, overheard::RevealKnown as _,
};
use keyway::{
    GracePeriod, KeyEdit, KeyState, NewKey, Policy, Principal, Tier, VerifyError,
    grant::{Networks, OutsideGrant, ResourceDeclaration, Resources},
    operations::{Needs, OperationError, Operations},
    record::Suspension,
    store::{Change, ChangeFeed, Follower},
    time::Clock,
    verifier::{Ended, Freshness},
};

/// The time within which a stream ends whose end is due. Two looks of the thread and a read fit in it many times.
const SOON: Duration = Duration::from_secs(10);
/// The time after which a stream is taken to stay open: several looks.
pub(crate) const SOME_LOOKS: Duration = Duration::from_millis(450);

pub(crate) struct Unpark(Thread, AtomicUsize);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.1.fetch_add(1, SeqCst);
        self.0.unpark();
    }
}

/// A stream that is open, as its task sees it.
pub(crate) struct Stream {
    ended: Pin<Box<Ended>>,
    wakes: Arc<Unpark>,
    /// The number of wakes before the last poll.
    seen: usize,
}

impl Stream {
    pub(crate) fn of(ended: Ended) -> Self {
        let wakes = Arc::new(Unpark(thread::current(), AtomicUsize::new(0)));
        let mut stream = Self { ended: Box::pin(ended), wakes, seen: 0 };
        assert!(stream.poll().is_pending(), "the stream ends before anything has happened");
        stream
    }

    fn poll(&mut self) -> Poll<VerifyError> {
        self.seen = self.wakes.1.load(SeqCst);
        let waker = Waker::from(Arc::clone(&self.wakes));
        self.ended.as_mut().poll(&mut Context::from_waker(&waker))
    }

    /// Waits for the end, for at most `wait`. The stream is polled only after it was woken, so that one that nothing wakes
    /// stays open.
    pub(crate) fn end_within(&mut self, wait: Duration) -> Option<VerifyError> {
        let until = Instant::now() + wait;
        loop {
            while self.wakes.1.load(SeqCst) == self.seen {
                let left = until.checked_duration_since(Instant::now())?;
                thread::park_timeout(left);
            }
            if let Poll::Ready(error) = self.poll() {
                return Some(error);
            }
        }
    }

    #[track_caller]
    pub(crate) fn ends(&mut self) -> VerifyError {
        self.end_within(SOON).expect("the stream stays open")
    }

    /// Polls the stream, as tasks do for reasons of their own, and whenever it is woken.
    #[track_caller]
    pub(crate) fn stays_open(&mut self) {
        let ended = match self.poll() {
            Poll::Ready(error) => Some(error),
            Poll::Pending => self.end_within(SOME_LOOKS),
        };
        assert!(ended.is_none(), "the stream has ended: {ended:?}");
    }
}

/// Scopes and two kinds of resources. Lite lacks `manager`.
fn policy() -> Policy {
    let kinds = ["machine", "site"].map(|name| ResourceDeclaration::new(name, "for tests"));
    let tiers = [Tier::new("lite", 5).scopes(["operator", "erp"]), Tier::new("advanced", 5)];
    Policy::new("mm", catalog().with_resources(kinds).unwrap(), tiers).unwrap()
}

fn world() -> World {
    World::with(policy(), |builder| builder)
}

fn another_node(world: &World) -> World {
    world.another_node_with(policy(), |builder| builder)
}

fn request() -> NewKey {
    NewKey::named("first")
        .scopes(["reporting", "manager"])
        .resources("machine", Resources::only(["press-1", "press-2"]).unwrap())
        .resources("site", Resources::All)
        .networks(Networks::only(["192.0.2.0/24"]).unwrap())
        .owner("ann".parse().unwrap())
        .expires_in(DAY)
}

fn acme(world: &World) -> Held {
    let created = block_on(world.keyring.create_tenant_with("acme", "advanced", request()));
    let (keys, issued) = created.unwrap();
    Held { keys, key: issued.key, token: issued.token.reveal_known().to_string() }
}

fn caller(world: &World, token: &str) -> Principal {
    let address = "192.0.2.7".parse().unwrap();
    let verifier = world.keyring.verifier();
    block_on(verifier.verify_from(token, Freshness::Cached, Some(address))).unwrap()
}

/// Returns the stream of a caller that must hold `reporting`.
fn reading(world: &World, token: &str) -> Stream {
    let reporting = world.keyring.requirement(["reporting"]).unwrap();
    Stream::of(caller(world, token).ended().requiring(&reporting))
}

fn edit(held: &Held, edit: KeyEdit) {
    let key = block_on(held.keys.find(held.key.id())).unwrap();
    block_on(held.keys.edit(key.id(), key.version(), edit)).unwrap();
}

fn suspension() -> Suspension {
    Suspension::permanent("unpaid").unwrap()
}

type Cause = (&'static str, fn(&World, &Held), fn(&VerifyError) -> bool);

/// Each change that ends a stream of a key which must hold `reporting`, and the error.
const CAUSES: &[Cause] = &[
    (
        "deleted",
        |_, held| block_on(held.keys.delete(held.key.id())).unwrap(),
        |error| matches!(error, VerifyError::Rejected),
    ),
    (
        "disabled",
        |_, held| drop(block_on(held.keys.disable(held.key.id())).unwrap()),
        |error| matches!(error, VerifyError::Inactive(KeyState::Disabled)),
    ),
    (
        "suspended",
        |world, held| {
            drop(block_on(world.keyring.suspend_key(held.key.id(), suspension())).unwrap());
        },
        |error| matches!(error, VerifyError::Inactive(KeyState::KeySuspended { .. })),
    ),
    (
        "tenant suspended",
        |world, held| {
            drop(block_on(world.keyring.suspend_tenant(held.keys.id(), suspension())).unwrap());
        },
        |error| matches!(error, VerifyError::Inactive(KeyState::TenantSuspended { .. })),
    ),
    (
        "owner disabled",
        |_, held| drop(block_on(held.keys.disable_owner(&"ann".parse().unwrap())).unwrap()),
        |error| matches!(error, VerifyError::Inactive(KeyState::OwnerDisabled)),
    ),
    (
        "rotated without a grace period",
        |_, held| {
            let rotated = held.keys.rotate(held.key.id(), held.key.version(), GracePeriod::None);
            drop(block_on(rotated).unwrap());
        },
        |error| matches!(error, VerifyError::Rejected),
    ),
    (
        "scope taken away",
        |_, held| edit(held, KeyEdit::new().scopes(["manager"])),
        |error| matches!(error, VerifyError::Forbidden(OutsideGrant::Scope(_))),
    ),
    (
        "expiry brought forward",
        |world, held| {
            edit(held, KeyEdit::new().expires_at(world.after(Duration::from_secs(1))));
            world.clock.advance(Duration::from_secs(2));
        },
        |error| matches!(error, VerifyError::Inactive(KeyState::Expired { .. })),
    ),
    (
        "resources narrowed",
        |_, held| {
            let one = Resources::only(["press-1"]).unwrap();
            edit(held, KeyEdit::new().resources("machine", one));
        },
        |error| matches!(error, VerifyError::Forbidden(OutsideGrant::Resource(_))),
    ),
    (
        "networks narrowed",
        |_, held| edit(held, KeyEdit::new().networks(Networks::only(["192.0.2.1"]).unwrap())),
        |error| matches!(error, VerifyError::Forbidden(OutsideGrant::Network)),
    ),
    (
        "tenant deleted",
        |world, held| {
            block_on(held.keys.delete(held.key.id())).unwrap();
            block_on(world.keyring.delete_tenant(held.keys.id())).unwrap();
        },
        |error| matches!(error, VerifyError::Rejected),
    ),
];

/// Changes that leave the stream open.
const OTHERS: &[(&str, fn(&World, &Held))] = &[
    ("renamed", |_, held| edit(held, KeyEdit::new().name("second"))),
    ("other scope taken away", |_, held| edit(held, KeyEdit::new().scopes(["reporting"]))),
    ("scope replaced by a higher one", |_, held| edit(held, KeyEdit::new().scopes(["erp"]))),
    ("resources widened", |_, held| {
        edit(held, KeyEdit::new().resources("machine", Resources::All));
    }),
    ("networks widened", |_, held| edit(held, KeyEdit::new().networks(Networks::Any))),
    ("rotated with a grace period", |_, held| {
        let grace = GracePeriod::For(HOUR);
        drop(block_on(held.keys.rotate(held.key.id(), held.key.version(), grace)).unwrap());
    }),
    ("moved to a tier with the scope", |world, held| {
        drop(block_on(world.keyring.set_tier(held.keys.id(), "lite")).unwrap());
    }),
    ("another owner disabled", |_, held| {
        drop(block_on(held.keys.disable_owner(&"bob".parse().unwrap())).unwrap());
    }),
    ("another tenant suspended", |world, _| {
        let other = block_on(world.keyring.create_empty_tenant("globex", "lite")).unwrap();
        drop(block_on(world.keyring.suspend_tenant(other.id(), suspension())).unwrap());
    }),
];

#[test]
fn stream_ends_for_each_cause_on_the_node_itself() {
    for (name, change, is_expected) in CAUSES {
        let world = world();
        let held = acme(&world);
        let mut stream = reading(&world, &held.token);
        change(&world, &held);
        let error = stream.ends();
        assert!(is_expected(&error), "{name}: {error:?}");
        // The same error again.
        assert!(matches!(stream.poll(), Poll::Ready(error) if is_expected(&error)), "{name}");
        // A request gets the same error.
        let address = Some("192.0.2.1".parse().unwrap());
        let verified = world.keyring.verify_from(&held.token, Freshness::Cached, address);
        match block_on(verified) {
            Err(refused) => assert!(is_expected(&refused), "{name}: {refused:?}"),
            Ok(_) => assert!(error.is_denied(), "{name}"),
        }
    }
}

#[test]
fn stream_stays_open_for_what_it_does_not_need() {
    let worlds: Vec<_> = OTHERS
        .iter()
        .map(|(name, change)| {
            let world = world();
            let held = acme(&world);
            let stream = reading(&world, &held.token);
            change(&world, &held);
            (*name, world, held, stream)
        })
        .collect();
    for (name, world, held, mut stream) in worlds {
        let ended = stream.end_within(SOME_LOOKS);
        assert!(ended.is_none(), "{name}: {ended:?}");
        // The control: the same stream ends.
        block_on(held.keys.delete(held.key.id())).unwrap();
        assert!(matches!(stream.ends(), VerifyError::Rejected), "{name}");
        drop(world);
    }
}

#[test]
fn other_nodes_change_ends_the_stream_within_the_bound() {
    for (name, change, is_expected) in CAUSES {
        let writes = world();
        let held = acme(&writes);
        let reads = another_node(&writes);
        let mut stream = reading(&reads, &held.token);
        change(&writes, &held);
        // Just before the bound, while a request is still served from the cache, the key has been read again.
        reads.clock.advance(MAX_STALENESS - Duration::from_millis(200));
        let error = stream.ends();
        assert!(is_expected(&error), "{name}: {error:?}");
    }
}

#[test]
fn stream_of_a_silent_store_ends_at_the_bound() {
    let writes = world();
    let held = acme(&writes);
    let reads = another_node(&writes);
    for is_silent in [false, true] {
        let mut stream = reading(&reads, &held.token);
        if is_silent {
            reads.store.hold("lookup");
            reads.store.hold("lookup_many");
        } else {
            reads.store.set_down(true);
        }
        // A read begins in time, and fails or hangs.
        reads.clock.advance(MAX_STALENESS - Duration::from_millis(1_400));
        stream.stays_open();
        reads.clock.advance(Duration::from_millis(1_200));
        stream.stays_open();
        reads.clock.advance(Duration::from_millis(300));
        let error = stream.ends();
        assert!(error.is_unavailable(), "{error:?}");
        reads.store.set_down(false);
        reads.store.release("lookup");
        reads.store.release("lookup_many");
        reads.clock.advance(Duration::from_secs(10));
    }
}

#[test]
fn stream_outlasts_a_short_outage() {
    let writes = world();
    let held = acme(&writes);
    let reads = another_node(&writes);
    let mut stream = reading(&reads, &held.token);
    reads.store.set_down(true);
    reads.clock.advance(MAX_STALENESS - Duration::from_secs(1));
    stream.stays_open();
    reads.store.set_down(false);
    stream.stays_open();
    for _ in 0..5 {
        reads.clock.advance(MAX_STALENESS - Duration::from_secs(1));
        stream.stays_open();
    }
    block_on(held.keys.delete(held.key.id())).unwrap();
    reads.clock.advance(MAX_STALENESS - Duration::from_millis(200));
    assert!(matches!(stream.ends(), VerifyError::Rejected));
}

#[test]
fn stream_ends_when_the_key_expires() {
    let world = world();
    let held = acme(&world);
    let mut stream = reading(&world, &held.token);
    world.clock.advance(DAY - Duration::from_millis(1));
    stream.stays_open();
    world.clock.advance(Duration::from_millis(1));
    assert!(matches!(stream.ends(), VerifyError::Inactive(KeyState::Expired { .. })));
}

#[test]
fn stream_of_an_old_secret_ends_with_its_grace_period() {
    let world = world();
    let held = acme(&world);
    let mut stream = reading(&world, &held.token);
    let rotate = |grace| {
        let key = block_on(held.keys.find(held.key.id())).unwrap();
        let rotated = block_on(held.keys.rotate(key.id(), key.version(), grace)).unwrap();
        rotated.token.reveal_known().to_string()
    };
    let second = rotate(GracePeriod::For(HOUR));
    let mut of_second = reading(&world, &second);
    let third = rotate(GracePeriod::For(2 * HOUR));
    let mut of_third = reading(&world, &third);
    // The first secret is the oldest of three now, and one of its streams begins only here.
    let mut of_first = reading(&world, &held.token);
    world.clock.advance(HOUR - Duration::from_secs(1));
    stream.stays_open();
    of_first.stays_open();
    world.clock.advance(Duration::from_secs(1));
    assert!(matches!(stream.ends(), VerifyError::Rejected));
    assert!(matches!(of_first.ends(), VerifyError::Rejected));
    of_second.stays_open();
    world.clock.advance(HOUR);
    assert!(matches!(of_second.ends(), VerifyError::Rejected));
    of_third.stays_open();
}

#[test]
fn first_use_of_a_new_secret_ends_streams_of_the_old() {
    let world = world();
    let held = acme(&world);
    let mut stream = reading(&world, &held.token);
    let grace = GracePeriod::UntilFirstUse;
    let rotated = block_on(held.keys.rotate(held.key.id(), held.key.version(), grace)).unwrap();
    stream.stays_open();
    // A stream is no use: it does not end the grace period.
    let new = rotated.token.reveal_known().to_string();
    caller(&world, &new);
    assert!(matches!(stream.ends(), VerifyError::Rejected));
}

#[test]
fn resource_of_a_stream_is_exact_if_it_is_named() {
    let world = world();
    let held = acme(&world);
    let machine = world.keyring.policy().catalog().resource("machine").unwrap();
    let on = |id: &str| Stream::of(caller(&world, &held.token).ended().touching(&machine, id));
    let (mut first, mut second) = (on("press-1"), on("press-2"));
    edit(&held, KeyEdit::new().resources("machine", Resources::only(["press-2"]).unwrap()));
    assert!(matches!(
        first.ends(),
        VerifyError::Forbidden(OutsideGrant::Resource(kind)) if &*kind == "machine"
    ));
    second.stays_open();
    // Another kind is narrowed, of which nothing is known.
    edit(&held, KeyEdit::new().resources("site", Resources::Nothing));
    assert!(matches!(
        second.ends(),
        VerifyError::Forbidden(OutsideGrant::Resource(kind)) if &*kind == "site"
    ));
}

#[test]
fn stream_without_a_requirement_keeps_without_scopes() {
    let world = world();
    let held = acme(&world);
    let mut stream = Stream::of(caller(&world, &held.token).ended());
    edit(&held, KeyEdit::new().scopes(["operator.read"]));
    stream.stays_open();
    block_on(held.keys.disable(held.key.id())).unwrap();
    assert!(matches!(stream.ends(), VerifyError::Inactive(_)));
}

#[test]
fn stream_of_an_operation_ends_with_its_grant() {
    let world = world();
    let held = acme(&world);
    let table = Operations::new(world.keyring.policy())
        .operation("watch", Needs::all(["reporting"]).resource("machine").touches_no("site"))
        .operation("ping", Needs::nothing())
        .build(["watch", "ping"])
        .unwrap();
    let caller = caller(&world, &held.token);
    let watch = |id| table.ended("watch", Some(&caller), &[("machine", id)]);
    assert!(matches!(watch("press-9"), Err(OperationError::Outside(_))));
    assert!(matches!(table.ended("gone", Some(&caller), &[]), Err(OperationError::Unknown)));
    assert!(matches!(table.ended("ping", None, &[]), Err(OperationError::Missing)));
    let mut ping = Stream::of(table.ended("ping", Some(&caller), &[]).unwrap());
    let mut first = Stream::of(watch("press-1").unwrap());
    let mut second = Stream::of(watch("press-2").unwrap());
    edit(&held, KeyEdit::new().resources("machine", Resources::only(["press-2"]).unwrap()));
    assert!(matches!(first.ends(), VerifyError::Forbidden(OutsideGrant::Resource(_))));
    // It touches no site.
    edit(&held, KeyEdit::new().resources("site", Resources::Nothing));
    second.stays_open();
    edit(&held, KeyEdit::new().scopes(["manager"]));
    assert!(matches!(second.ends(), VerifyError::Forbidden(OutsideGrant::Scope(_))));
    // It names no machine, so the loss of one counts.
    assert!(matches!(ping.ends(), VerifyError::Forbidden(OutsideGrant::Resource(_))));
}

#[test]
fn stream_of_a_dropped_or_missing_verifier_ends() {
    let world = world();
    let held = acme(&world);
    let caller = caller(&world, &held.token);
    let mut stream = Stream::of(caller.ended());
    drop((world, held));
    assert!(stream.ends().is_unavailable());
    // A stream that begins afterwards ends at once.
    assert!(block_on(caller.ended()).is_unavailable());
}

#[test]
fn suspended_machine_reads_before_it_goes_on() {
    let world = world();
    let held = acme(&world);
    let reads = another_node(&world);
    let mut stream = reading(&reads, &held.token);
    // As while a laptop sleeps: the time of day runs ahead of the uptime.
    let asleep = world.after(HOUR);
    reads.clock.set(asleep);
    stream.stays_open();
    block_on(held.keys.delete(held.key.id())).unwrap();
    reads.clock.set(asleep.checked_add(HOUR).unwrap());
    assert!(matches!(stream.ends(), VerifyError::Rejected));
}

/// A feed that returns the changes passed to it.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<VecDeque<Change>>>);

impl ChangeFeed for Told {
    async fn next(&mut self, _: &Follower) -> Option<Change> {
        let next = || self.0.lock().unwrap().pop_front();
        poll_fn(|_| next().map_or(Poll::Pending, |change| Poll::Ready(Some(change)))).await
    }
}

#[test]
fn streams_under_a_feed_read_nothing_for_hours() {
    let world = world();
    let held = acme(&world);
    let reads = another_node(&world);
    let feed = Told::default();
    let mut following = Box::pin(reads.keyring.verifier().follow(feed.clone()));
    let mut tell = |change| {
        feed.0.lock().unwrap().push_back(change);
        let mut context = Context::from_waker(Waker::noop());
        assert!(following.as_mut().poll(&mut context).is_pending());
    };
    tell(Change::Gap);
    let mut streams: Vec<_> = (0..3).map(|_| reading(&reads, &held.token)).collect();
    let reads_so_far = || reads.store.calls("lookup") + reads.store.calls("lookup_many");
    let before = reads_so_far();
    for _ in 0..10_000 {
        reads.clock.advance(Duration::from_secs(1));
        tell(Change::Proof(reads.clock.moment()));
    }
    for stream in &mut streams {
        stream.stays_open();
    }
    assert_eq!(reads_so_far(), before, "a stream was read for nothing");
    // The feed falls silent. The streams read again in time, once, and stay open.
    reads.clock.advance(Duration::from_secs(4));
    for stream in &mut streams {
        stream.stays_open();
    }
    assert_eq!(reads_so_far(), before + 1);
    // It reports a change, which ends them without a wait.
    tell(Change::Proof(reads.clock.moment()));
    block_on(held.keys.delete(held.key.id())).unwrap();
    tell(Change::Key(held.key.id()));
    for stream in &mut streams {
        assert!(matches!(stream.ends(), VerifyError::Rejected));
    }
}

#[test]
fn change_during_the_load_of_a_caller_ends_its_stream() {
    let changes: [fn(&World, &Held); 3] = [
        |world, held| {
            drop(block_on(world.keyring.suspend_tenant(held.keys.id(), suspension())).unwrap());
        },
        |_, held| drop(block_on(held.keys.disable_owner(&"ann".parse().unwrap())).unwrap()),
        |_, held| drop(block_on(held.keys.disable(held.key.id())).unwrap()),
    ];
    for change in changes {
        let writes = world();
        let held = acme(&writes);
        let reads = another_node(&writes);
        let feed = Told::default();
        let mut following = Box::pin(reads.keyring.verifier().follow(feed.clone()));
        let mut tell = |change| {
            feed.0.lock().unwrap().push_back(change);
            let mut context = Context::from_waker(Waker::noop());
            assert!(following.as_mut().poll(&mut context).is_pending());
        };
        tell(Change::Gap);
        // The store has replied, and the verification continues only after the change was heard of.
        reads.store.set_slow(true);
        let verifier = reads.keyring.verifier();
        let address = Some("192.0.2.7".parse().unwrap());
        let mut verifying =
            Box::pin(verifier.verify_from(&*held.token, Freshness::Cached, address));
        let mut context = Context::from_waker(Waker::noop());
        let mut polls = 0;
        let caller = loop {
            polls += 1;
            if polls == 3 {
                change(&writes, &held);
                tell(Change::Tenant(held.keys.id().clone()));
                tell(Change::Key(held.key.id()));
            }
            if let Poll::Ready(verified) = verifying.as_mut().poll(&mut context) {
                break verified;
            }
        };
        assert!(polls >= 3, "the change comes too late: {polls}");
        // A caller that came before the change may be admitted. Its stream ends, whatever the feed proves.
        let Ok(caller) = caller else { continue };
        tell(Change::Proof(reads.clock.moment()));
        let mut stream = Box::pin(caller.ended());
        let unpark = Arc::new(Unpark(thread::current(), AtomicUsize::new(0)));
        let waker = Waker::from(unpark);
        let until = Instant::now() + SOON;
        loop {
            match stream.as_mut().poll(&mut Context::from_waker(&waker)) {
                Poll::Ready(error) => break assert!(error.is_denied(), "{error:?}"),
                Poll::Pending => assert!(Instant::now() < until, "the stream stays open"),
            }
            thread::park_timeout(Duration::from_millis(20));
        }
    }
}

#[test]
fn task_that_did_not_look_in_time_may_still_read() {
    let writes = world();
    let held = acme(&writes);
    let reads = another_node(&writes);
    reads.store.set_slow(true);
    let mut stream = reading(&reads, &held.token);
    for _ in 0..3 {
        // The task waits for its client while the thread finds the data too old.
        reads.clock.advance(MAX_STALENESS - Duration::from_millis(1_400));
        thread::sleep(SOME_LOOKS);
        reads.clock.advance(MAX_STALENESS);
        thread::sleep(SOME_LOOKS);
        stream.stays_open();
    }
    block_on(held.keys.delete(held.key.id())).unwrap();
    reads.clock.advance(2 * MAX_STALENESS);
    thread::sleep(SOME_LOOKS);
    assert!(matches!(stream.ends(), VerifyError::Rejected));
}

#[test]
fn change_ends_a_stream_whose_read_hangs() {
    let world = world();
    let held = acme(&world);
    let mut stream = reading(&world, &held.token);
    world.store.hold("lookup");
    world.clock.advance(MAX_STALENESS - Duration::from_millis(1_400));
    stream.stays_open();
    let reads = world.store.calls("lookup");
    block_on(held.keys.delete(held.key.id())).unwrap();
    // The read that hangs began before the change. Another one takes its place.
    stream.stays_open();
    assert!(world.store.calls("lookup") > reads, "the stream waits for the old read");
    world.store.release("lookup");
    assert!(matches!(stream.ends(), VerifyError::Rejected));
}

#[test]
fn streams_hold_with_a_small_bound_or_no_cache() {
    for change in [
        (|builder| builder.cache_capacity(0)) as fn(keyway::keyring::KeyringBuilder) -> _,
        |builder| builder.max_staleness(Duration::ZERO),
        |builder| builder.max_staleness(Duration::from_millis(300)),
    ] {
        let writes = world();
        let held = acme(&writes);
        let reads = writes.another_node_with(policy(), change);
        let mut stream = reading(&reads, &held.token);
        for _ in 0..5 {
            reads.clock.advance(Duration::from_millis(500));
            stream.stays_open();
        }
        block_on(held.keys.delete(held.key.id())).unwrap();
        for _ in 0..12 {
            reads.clock.advance(Duration::from_millis(500));
            if let Some(error) = stream.end_within(SOME_LOOKS) {
                assert!(matches!(error, VerifyError::Rejected), "{error:?}");
                break;
            }
        }
        assert!(stream.poll().is_ready(), "the stream stays open");
    }
}

#[test]
fn stream_is_woken_where_it_was_polled_last() {
    let world = world();
    let held = acme(&world);
    let mut stream = reading(&world, &held.token);
    let first = Arc::clone(&stream.wakes);
    stream.wakes = Arc::new(Unpark(thread::current(), AtomicUsize::new(0)));
    assert!(stream.poll().is_pending());
    block_on(held.keys.delete(held.key.id())).unwrap();
    assert!(matches!(stream.ends(), VerifyError::Rejected));
    assert_eq!(first.1.load(SeqCst), 0);
    assert!(stream.wakes.1.load(SeqCst) > 0);
}

#[test]
fn many_short_streams_share_one_thread() {
    let world = world();
    let held = acme(&world);
    let caller = caller(&world, &held.token);
    for _ in 0..200 {
        drop(Stream::of(caller.ended()));
    }
    let mut stream = Stream::of(caller.ended());
    block_on(held.keys.disable(held.key.id())).unwrap();
    assert!(matches!(stream.ends(), VerifyError::Inactive(_)));
}
