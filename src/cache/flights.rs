//! One load at a time for each of what is missing.

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
/// Everybody who waits for a load drives it, so it goes on whoever of them gives up, and ends when
/// nobody waits any more.
pub(crate) struct Flights<K, T>(Arc<Mutex<UnderWay<K, T>>>)
where
    K: Hash + Eq;

/// The hasher of the standard library would panic where the system has no randomness to give.
type UnderWay<K, T> = HashMap<K, Flight<T>, RandomState>;

struct Flight<T> {
    ticket: Ticket,
    load: WeakShared<Load<T>>,
}

impl<K, T> Flights<K, T>
where
    K: Clone + Hash + Eq + Send + 'static,
    T: Clone + Send + Sync + 'static,
{
    pub(crate) fn new() -> Self {
        Self(Arc::default())
    }

    /// The load of `id` under way, if there is one and `is_current` says that it sees what the caller
    /// has to see. Otherwise `begin` makes one.
    pub(crate) fn join<F: Future<Output = T> + Send + 'static>(
        &self,
        id: K,
        ticket: Ticket,
        is_current: impl Fn(Ticket) -> bool,
        begin: impl FnOnce() -> F,
    ) -> Shared<Load<T>> {
        let mut flights = lock(&self.0);
        // Only what is returned is upgraded: a load that is dropped here would wait for this lock.
        if let Some(flight) = flights.get(&id)
            && is_current(flight.ticket)
            && let Some(load) = flight.load.upgrade()
        {
            return load;
        }
        let landing = Landing { flights: Arc::clone(&self.0), id: id.clone(), ticket };
        let load = begin();
        let load: Load<T> = Box::pin(async move {
            let _landing = landing;
            load.await
        });
        let load = load.shared();
        if let Some(weak) = load.downgrade() {
            flights.insert(id, Flight { ticket, load: weak });
        }
        load
    }
}

/// Strikes a load off the list when it ends or is dropped.
struct Landing<K: Hash + Eq, T> {
    flights: Arc<Mutex<UnderWay<K, T>>>,
    id: K,
    ticket: Ticket,
}

impl<K: Hash + Eq, T> Drop for Landing<K, T> {
    fn drop(&mut self) {
        let mut flights = lock(&self.flights);
        // A later load of the same key stays on the list.
        if flights.get(&self.id).is_some_and(|flight| flight.ticket == self.ticket) {
            flights.remove(&self.id);
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

    /// A load that answers once `gate` is open.
    fn gated(gate: &Arc<AtomicUsize>, answer: u32) -> impl Future<Output = u32> + use<> {
        let gate = Arc::clone(gate);
        poll_fn(move |_| match gate.load(SeqCst) {
            0 => Poll::Pending,
            _ => Poll::Ready(answer),
        })
    }

    #[test]
    fn all_who_wait_share_one_load() {
        let (flights, gate) = (Flights::new(), Arc::new(AtomicUsize::new(0)));
        let mut first = flights.join(id(), ticket(0), ANY, || gated(&gate, 1));
        let mut second =
            flights.join(id(), ticket(0), ANY, || -> futures_util::future::Ready<u32> {
                panic!("a second load")
            });
        assert_eq!(poll(&mut first), Poll::Pending);
        assert_eq!(poll(&mut second), Poll::Pending);
        gate.store(1, SeqCst);
        // Whoever is polled first drives the load for both.
        assert_eq!(poll(&mut second), Poll::Ready(1));
        assert_eq!(poll(&mut first), Poll::Ready(1));
    }

    #[test]
    fn a_load_goes_on_when_who_began_it_gives_up() {
        let (flights, gate) = (Flights::new(), Arc::new(AtomicUsize::new(0)));
        let mut first = flights.join(id(), ticket(0), ANY, || gated(&gate, 1));
        assert_eq!(poll(&mut first), Poll::Pending);
        let mut second = flights.join(id(), ticket(0), ANY, || gated(&gate, 2));
        drop(first);
        gate.store(1, SeqCst);
        assert_eq!(poll(&mut second), Poll::Ready(1));
    }

    #[test]
    fn keys_do_not_wait_for_each_other() {
        let flights = Flights::new();
        let _stuck = flights.join(id(), ticket(0), ANY, pending::<u32>);
        let other = "AAAAAAAAAAAAAAAB".parse().unwrap();
        let mut load = flights.join(other, ticket(0), ANY, || ready(2));
        assert_eq!(poll(&mut load), Poll::Ready(2));
    }

    #[test]
    fn what_has_ended_is_off_the_list() {
        let flights = Flights::new();
        let mut done = flights.join(id(), ticket(0), ANY, || ready(1));
        assert_eq!(poll(&mut done), Poll::Ready(1));
        assert!(lock(&flights.0).is_empty());

        let given_up = flights.join(id(), ticket(0), ANY, pending);
        assert_eq!(lock(&flights.0).len(), 1);
        drop(given_up);
        assert!(lock(&flights.0).is_empty());

        let mut again = flights.join(id(), ticket(0), ANY, || ready(2));
        assert_eq!(poll(&mut again), Poll::Ready(2));
    }

    #[test]
    fn a_load_that_is_fenced_off_is_not_joined() {
        let (flights, gate) = (Flights::new(), Arc::new(AtomicUsize::new(0)));
        let mut old = flights.join(id(), ticket(0), ANY, || gated(&gate, 1));
        let mut new = flights.join(id(), ticket(1), |of| of == ticket(1), || gated(&gate, 2));
        gate.store(1, SeqCst);
        // The end of the old load does not strike off the new one.
        assert_eq!(poll(&mut old), Poll::Ready(1));
        assert_eq!(lock(&flights.0).len(), 1);
        let mut joined = flights.join(id(), ticket(1), ANY, || gated(&gate, 3));
        assert_eq!(poll(&mut joined), Poll::Ready(2));
        assert_eq!(poll(&mut new), Poll::Ready(2));
    }

    #[test]
    fn a_load_that_panics_does_not_spoil_the_next() {
        let flights = Flights::new();
        let mut bad = flights.join(id(), ticket(0), ANY, || {
            poll_fn(|_| -> Poll<u32> { panic!("a store that panics") })
        });
        assert!(catch_unwind(AssertUnwindSafe(|| poll(&mut bad))).is_err());
        drop(bad);
        let mut good = flights.join(id(), ticket(0), ANY, || ready(2));
        assert_eq!(poll(&mut good), Poll::Ready(2));
    }
}
