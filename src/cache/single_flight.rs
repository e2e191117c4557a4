//! One load at a time for each missing entry: the line `single_flight` of `benches/ratios.rs` counts the reads.

use alloc::{boxed::Box, sync::Arc};
use core::{future::Future, hash::Hash, pin::Pin};
use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use foldhash::fast::RandomState;
use futures_util::future::{FutureExt, Shared, WeakShared};

use super::Ticket;

type Load<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// The loads under way, by what is loaded.
///
/// Every waiter drives the load. It continues when some of them give up, and is dropped when nobody waits any
/// more.
pub(crate) struct SingleFlight<K, T>(Arc<Mutex<UnderWay<K, T>>>)
where
    K: Hash + Eq;

/// The list of loads. The standard library's hasher would panic if the system has no randomness to give.
type UnderWay<K, T> = HashMap<K, Flight<T>, RandomState>;

struct Flight<T> {
    ticket: Ticket,
    load: WeakShared<Load<T>>,
}

impl<K, T> SingleFlight<K, T>
where
    K: Clone + Hash + Eq + Send + 'static,
    T: Clone + Send + Sync + 'static,
{
    pub(crate) fn new() -> Self {
        Self(Arc::default())
    }

    /// Returns the load of `id` that is under way, if `is_current` accepts its ticket. Otherwise starts the
    /// load that `begin` returns.
    pub(crate) fn join<F: Future<Output = T> + Send + 'static>(
        &self,
        id: K,
        ticket: Ticket,
        is_current: impl Fn(Ticket) -> bool,
        begin: impl FnOnce() -> F,
    ) -> Shared<Load<T>> {
        let mut single_flight = lock(&self.0);
        // Only the load that is returned is upgraded. A strong reference dropped here could drop the load,
        // and `Landing` would deadlock on this lock.
        if let Some(flight) = single_flight.get(&id)
            && is_current(flight.ticket)
            && let Some(load) = flight.load.upgrade()
        {
            return load;
        }
        let landing = Landing { single_flight: Arc::clone(&self.0), id: id.clone(), ticket };
        let load = begin();
        let load: Load<T> = Box::pin(async move {
            let _landing = landing;
            load.await
        });
        let load = load.shared();
        if let Some(weak) = load.downgrade() {
            single_flight.insert(id, Flight { ticket, load: weak });
        }
        load
    }
}

/// Removes a load from the list when it ends or is dropped.
struct Landing<K: Hash + Eq, T> {
    single_flight: Arc<Mutex<UnderWay<K, T>>>,
    id: K,
    ticket: Ticket,
}

impl<K: Hash + Eq, T> Drop for Landing<K, T> {
    fn drop(&mut self) {
        let mut single_flight = lock(&self.single_flight);
        // A later load of the same key stays on the list.
        if single_flight.get(&self.id).is_some_and(|flight| flight.ticket == self.ticket) {
            single_flight.remove(&self.id);
        }
    }
}

fn lock<K, T>(mutex: &Mutex<UnderWay<K, T>>) -> MutexGuard<'_, UnderWay<K, T>> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use core::panic::AssertUnwindSafe;
    use core::{
        sync::atomic::{AtomicUsize, Ordering::SeqCst},
        task::{Context, Poll, Waker},
    };
    use std::panic::catch_unwind;

    use futures_util::future::{pending, poll_fn, ready};

    use super::*;
    use crate::token::KeyId;

    const ANY: fn(Ticket) -> bool = |_| true;

    fn id() -> KeyId {
        "AAAAAAAAAAAAAAAA".parse().unwrap()
    }

    fn ticket(began: u32) -> Ticket {
        Ticket { key_generation: 0, tenant_changes: 0, began }
    }

    fn poll<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
        Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
    }

    /// Returns a load that resolves to `answer` once `gate` is open.
    fn gated(gate: &Arc<AtomicUsize>, answer: u32) -> impl Future<Output = u32> + use<> {
        let gate = Arc::clone(gate);
        poll_fn(move |_| match gate.load(SeqCst) {
            0 => Poll::Pending,
            _ => Poll::Ready(answer),
        })
    }

    #[test]
    fn waiters_share_one_load() {
        let (single_flight, gate) = (SingleFlight::new(), Arc::new(AtomicUsize::new(0)));
        let mut first = single_flight.join(id(), ticket(0), ANY, || gated(&gate, 1));
        let mut second =
            single_flight.join(id(), ticket(0), ANY, || -> futures_util::future::Ready<u32> {
                panic!("a second load")
            });
        assert_eq!(poll(&mut first), Poll::Pending);
        assert_eq!(poll(&mut second), Poll::Pending);
        gate.store(1, SeqCst);
        // The first waiter to be polled drives the load for both.
        assert_eq!(poll(&mut second), Poll::Ready(1));
        assert_eq!(poll(&mut first), Poll::Ready(1));
    }

    #[test]
    fn load_continues_when_its_first_waiter_drops() {
        let (single_flight, gate) = (SingleFlight::new(), Arc::new(AtomicUsize::new(0)));
        let mut first = single_flight.join(id(), ticket(0), ANY, || gated(&gate, 1));
        assert_eq!(poll(&mut first), Poll::Pending);
        let mut second = single_flight.join(id(), ticket(0), ANY, || gated(&gate, 2));
        drop(first);
        gate.store(1, SeqCst);
        assert_eq!(poll(&mut second), Poll::Ready(1));
    }

    #[test]
    fn load_does_not_block_other_keys() {
        let single_flight = SingleFlight::new();
        let _stuck = single_flight.join(id(), ticket(0), ANY, pending::<u32>);
        let other = "AAAAAAAAAAAAAAAB".parse().unwrap();
        let mut load = single_flight.join(other, ticket(0), ANY, || ready(2));
        assert_eq!(poll(&mut load), Poll::Ready(2));
    }

    #[test]
    fn ended_load_leaves_the_list() {
        let single_flight = SingleFlight::new();
        let mut done = single_flight.join(id(), ticket(0), ANY, || ready(1));
        assert_eq!(poll(&mut done), Poll::Ready(1));
        assert!(lock(&single_flight.0).is_empty());

        let given_up = single_flight.join(id(), ticket(0), ANY, pending);
        assert_eq!(lock(&single_flight.0).len(), 1);
        drop(given_up);
        assert!(lock(&single_flight.0).is_empty());

        let mut again = single_flight.join(id(), ticket(0), ANY, || ready(2));
        assert_eq!(poll(&mut again), Poll::Ready(2));
    }

    #[test]
    fn fenced_load_is_not_joined() {
        let (single_flight, gate) = (SingleFlight::new(), Arc::new(AtomicUsize::new(0)));
        let mut old = single_flight.join(id(), ticket(0), ANY, || gated(&gate, 1));
        let mut new = single_flight.join(id(), ticket(1), |of| of == ticket(1), || gated(&gate, 2));
        gate.store(1, SeqCst);
        // The end of the old load does not remove the new one.
        assert_eq!(poll(&mut old), Poll::Ready(1));
        assert_eq!(lock(&single_flight.0).len(), 1);
        let mut joined = single_flight.join(id(), ticket(1), ANY, || gated(&gate, 3));
        assert_eq!(poll(&mut joined), Poll::Ready(2));
        assert_eq!(poll(&mut new), Poll::Ready(2));
    }

    #[test]
    fn panicking_load_does_not_affect_the_next() {
        let single_flight = SingleFlight::new();
        let mut bad = single_flight.join(id(), ticket(0), ANY, || {
            poll_fn(|_| -> Poll<u32> { panic!("a store that panics") })
        });
        assert!(catch_unwind(AssertUnwindSafe(|| poll(&mut bad))).is_err());
        drop(bad);
        let mut good = single_flight.join(id(), ticket(0), ANY, || ready(2));
        assert_eq!(poll(&mut good), Poll::Ready(2));
    }
}
