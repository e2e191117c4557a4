//! Keys that are missing from the cache at the same time: how many requests their loads take, and what happens to
//! them when a request is slow, fails or is given up.

use std::{
    collections::HashSet,
    future::{Future, poll_fn},
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
    time::Duration,
};

use crate::support::{World, overheard::RevealKnown as _, pepper, policy};
use keyway::{
    KeyId, MemoryStore, NewKey, Policy, Principal, Tier, VerifyError,
    store::{KeyLookup, Lookups, StoreError, StoredKey},
    time::ManualClock,
    verifier::Verifier,
};

/// A store that holds each request until the test lets it through.
#[derive(Clone)]
struct Held(Arc<State>);

struct State {
    store: MemoryStore,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    /// The number of keys of each request.
    requests: Vec<usize>,
    /// The requests with a lower number are let through.
    open: usize,
    wakers: Vec<Waker>,
    corrupt: HashSet<KeyId>,
    is_down: bool,
    leaves_out: bool,
}

impl Held {
    fn requests(&self) -> Vec<usize> {
        self.0.inner.lock().unwrap().requests.clone()
    }

    /// Lets requests through, from the first one on.
    fn open(&self, number: usize) {
        let mut inner = self.0.inner.lock().unwrap();
        inner.open = number;
        inner.wakers.drain(..).for_each(Waker::wake);
    }

    fn change(&self, change: impl FnOnce(&mut Inner)) {
        change(&mut self.0.inner.lock().unwrap());
    }

    async fn request(&self, keys: usize) -> Result<(), StoreError> {
        let number = {
            let mut inner = self.0.inner.lock().unwrap();
            inner.requests.push(keys);
            inner.requests.len()
        };
        poll_fn(|context| {
            let mut inner = self.0.inner.lock().unwrap();
            if number <= inner.open {
                return Poll::Ready(());
            }
            inner.wakers.push(context.waker().clone());
            Poll::Pending
        })
        .await;
        if self.0.inner.lock().unwrap().is_down {
            return Err(StoreError::unavailable("down"));
        }
        Ok(())
    }

    async fn one(&self, id: KeyId) -> Result<Option<StoredKey>, StoreError> {
        let is_corrupt = self.0.inner.lock().unwrap().corrupt.contains(&id);
        if is_corrupt {
            return Err(keyway::record::RecordError::UnreadableKey(Some(id)).into());
        }
        self.0.store.lookup(id).await
    }
}

impl KeyLookup for Held {
    async fn lookup(&self, id: KeyId) -> Result<Option<StoredKey>, StoreError> {
        self.request(1).await?;
        self.one(id).await
    }

    async fn lookup_many(&self, ids: &[KeyId]) -> Result<Lookups, StoreError> {
        self.request(ids.len()).await?;
        let mut found = Vec::new();
        for id in ids {
            found.push(self.one(*id).await);
        }
        if self.0.inner.lock().unwrap().leaves_out {
            found.pop();
        }
        Ok(found)
    }

    fn max_lag(&self) -> Duration {
        Duration::ZERO
    }

    async fn marker(&self) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(None)
    }
}

type Verifying = Pin<Box<dyn Future<Output = Result<Principal, VerifyError>>>>;

struct Node {
    verifier: Verifier,
    store: Held,
    clock: ManualClock,
    tokens: Vec<String>,
    ids: Vec<KeyId>,
}

/// Creates a node that has just started, and this number of keys.
fn node(keys: u32) -> Node {
    let catalog = policy().catalog().clone();
    let policy = || Policy::new("mm", catalog.clone(), [Tier::new("big", keys)]).unwrap();
    let world = World::with(policy(), |builder| builder);
    let tenant =
        crate::support::block_on(world.keyring.create_empty_tenant("acme", "big")).unwrap();
    let (mut tokens, mut ids) = (Vec::new(), Vec::new());
    for number in 0..keys {
        let request = NewKey::named(format!("key {number}"));
        let issued = crate::support::block_on(tenant.issue(request)).unwrap();
        tokens.push(issued.token.reveal_known().to_string());
        ids.push(issued.key.id());
    }
    let state = State { store: world.store.memory().clone(), inner: Mutex::default() };
    let (store, clock) = (Held(Arc::new(state)), world.clock.clone());
    let builder = Verifier::builder(policy(), pepper()).environment("live");
    let verifier = builder.lookup(store.clone()).clock(clock.clone()).build().unwrap();
    Node { verifier, store, clock, tokens, ids }
}

impl Node {
    fn verify(&self, number: usize) -> Verifying {
        let (verifier, token) = (self.verifier.clone(), self.tokens[number].clone());
        Box::pin(async move { verifier.verify(token).await })
    }

    /// Begins to verify each key.
    fn begin(&self) -> Vec<Verifying> {
        let mut all: Vec<_> = (0..self.tokens.len()).map(|number| self.verify(number)).collect();
        for one in &mut all {
            assert!(poll(one).is_pending());
        }
        all
    }
}

fn poll(one: &mut Verifying) -> Poll<Result<Principal, VerifyError>> {
    one.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

/// Polls all until each has a result.
fn finish(all: &mut [Verifying]) -> Vec<Result<Principal, VerifyError>> {
    let mut results: Vec<_> = all.iter().map(|_| None).collect();
    for _ in 0..10_000 {
        for (one, result) in all.iter_mut().zip(&mut results) {
            if result.is_none()
                && let Poll::Ready(done) = poll(one)
            {
                *result = Some(done);
            }
        }
        if results.iter().all(Option::is_some) {
            return results.into_iter().flatten().collect();
        }
    }
    panic!("a verification does not end");
}

#[test]
fn single_miss_is_asked_for_at_once() {
    let node = node(1);
    let mut one = node.verify(0);
    assert!(poll(&mut one).is_pending());
    assert_eq!(node.store.requests(), [1]);
}

#[test]
fn keys_missed_at_once_share_requests() {
    let node = node(5_000);
    let mut all = node.begin();
    assert_eq!(node.store.requests(), [1; 4]);
    node.store.open(usize::MAX);
    for (number, result) in finish(&mut all).into_iter().enumerate() {
        assert_eq!(result.unwrap().name(), format!("key {number}"));
    }
    let requests = node.store.requests();
    assert_eq!(requests.iter().sum::<usize>(), 5_000);
    assert!(
        requests.len() <= 5_000 / 50 && requests.iter().all(|keys| *keys <= 500),
        "{requests:?}"
    );
}

#[test]
fn unknown_and_unreadable_keys_do_not_affect_the_others() {
    let node = node(20);
    node.store.change(|inner| {
        inner.corrupt.insert(node.ids[10]);
    });
    let tenant = "acme".parse().unwrap();
    let gone =
        keyway::store::KeyStore::delete_key(&node.store.0.store, &tenant, node.ids[12], None, &[]);
    pollster::block_on(gone).unwrap();
    let mut all = node.begin();
    node.store.open(usize::MAX);
    for (number, result) in finish(&mut all).into_iter().enumerate() {
        match (number, result) {
            (10, Err(error)) => assert!(error.is_unavailable(), "{error:?}"),
            (12, Err(VerifyError::Rejected)) => {}
            (_, result) => assert_eq!(result.unwrap().name(), format!("key {number}")),
        }
    }
    assert_eq!(node.store.requests(), [1, 1, 1, 1, 13, 1, 1, 1]);
}

#[test]
fn store_that_leaves_out_results_is_unavailable() {
    let node = node(20);
    node.store.change(|inner| inner.leaves_out = true);
    let mut all = node.begin();
    node.store.open(usize::MAX);
    // The first four, and three that got a turn of their own.
    let results = finish(&mut all);
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 7);
    assert!(
        results.iter().filter_map(|result| result.as_ref().err()).all(VerifyError::is_unavailable)
    );
}

#[test]
fn dropped_leaders_hand_over() {
    for kept in [4, 5, 19] {
        let node = node(20);
        let mut all = node.begin();
        // The four that wait for the store are dropped, then some that wait for those.
        let mut rest = all.split_off(kept);
        drop(all);
        node.store.open(usize::MAX);
        assert!(finish(&mut rest).iter().all(Result::is_ok), "{kept}");
    }
}

#[test]
fn caller_that_was_about_to_lead_hands_over_when_dropped() {
    let node = node(20);
    let mut all = node.begin();
    node.store.open(1);
    assert!(matches!(poll(&mut all[0]), Poll::Ready(Ok(_))));
    // The turn went to the fifth, which is dropped without being polled again.
    drop(all.remove(4));
    drop(all.drain(..1));
    node.store.open(usize::MAX);
    assert!(finish(&mut all).iter().all(Result::is_ok));
}

#[test]
fn slow_request_does_not_block_later_ones() {
    let node = node(20);
    let mut all: Vec<_> = (0..19).map(|number| node.verify(number)).collect();
    for one in &mut all {
        assert!(poll(one).is_pending());
    }
    assert_eq!(node.store.requests(), [1; 4]);
    // Requests that have taken so long no longer count. The next miss asks for all keys that wait.
    node.clock.advance(Duration::from_millis(100));
    all.push(node.verify(19));
    assert!(poll(&mut all[19]).is_pending());
    assert_eq!(node.store.requests(), [1, 1, 1, 1, 16]);
    node.store.open(usize::MAX);
    assert!(finish(&mut all).iter().all(Result::is_ok));
}

#[test]
fn waiting_requests_fail_with_the_store() {
    let node = node(50);
    let mut all = node.begin();
    node.clock.advance(Duration::from_secs(1));
    node.store.change(|inner| inner.is_down = true);
    node.store.open(4);
    // The first four fail after a second, which opens the breaker. The others do not ask the store any more.
    let results = finish(&mut all);
    assert!(results.iter().all(|result| result.as_ref().unwrap_err().is_unavailable()));
    assert_eq!(node.store.requests().len(), 4);
}
