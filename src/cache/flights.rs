//! One load at a time for each missing key.

use alloc::{boxed::Box, sync::Arc};
use core::{future::Future, pin::Pin};
use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use futures_util::future::{FutureExt, Shared, WeakShared};

use super::Ticket;
use crate::token::KeyId;

type Load<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// The loads under way, by key.
///
/// Everybody who waits for a load drives it, so it goes on whoever of them gives up, and ends when
/// nobody waits any more.
pub(crate) struct Flights<T>(Arc<Mutex<HashMap<KeyId, Flight<T>>>>);

struct Flight<T> {
    ticket: Ticket,
    load: WeakShared<Load<T>>,
}

impl<T: Clone + Send + Sync + 'static> Flights<T> {
    pub(crate) fn new() -> Self {
        Self(Arc::default())
    }

    /// The load of `id` under way, if there is one and `is_current` says that it sees what the caller
    /// has to see. Otherwise `begin` makes one.
    pub(crate) fn join<F: Future<Output = T> + Send + 'static>(
        &self,
        id: KeyId,
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
        let landing = Landing {
            flights: Arc::clone(&self.0),
            id,
            ticket,
        };
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
struct Landing<T> {
    flights: Arc<Mutex<HashMap<KeyId, Flight<T>>>>,
    id: KeyId,
    ticket: Ticket,
}

impl<T> Drop for Landing<T> {
    fn drop(&mut self) {
        let mut flights = lock(&self.flights);
        // A later load of the same key stays on the list.
        if flights
            .get(&self.id)
            .is_some_and(|flight| flight.ticket == self.ticket)
        {
            flights.remove(&self.id);
        }
    }
}

fn lock<T>(mutex: &Mutex<HashMap<KeyId, Flight<T>>>) -> MutexGuard<'_, HashMap<KeyId, Flight<T>>> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
