//! Stores that fail open, or closed in the wrong way. The tests must catch them.

use std::{
    any::Any,
    collections::HashMap,
    future::Future,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use keyway::store::{AnyStore, StoreError};

use crate::support::wrapped_store::{Call, Faults, Wrapped};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// Returns "not found" in place of an error.
    FindsNothing,
    /// Returns its last successful result in place of an error, however old that is.
    Remembers,
    /// Returns an error later, by this time.
    IsLate(Duration),
    /// After its first error, fails every later call.
    StaysAway,
}

/// A fault in the reads of a store.
pub struct WrongReads {
    wrong: Wrong,
    told: Mutex<HashMap<Call, Box<dyn Any + Send>>>,
    is_away: AtomicBool,
}

/// Returns the store with a fault in its reads.
pub fn planted(store: &AnyStore, wrong: Wrong) -> Wrapped<AnyStore, WrongReads> {
    let faults = WrongReads { wrong, told: Mutex::default(), is_away: AtomicBool::new(false) };
    Wrapped::new(store.clone(), faults)
}

impl Faults for WrongReads {
    async fn read<T: Clone + Send + 'static>(
        &self,
        call: Call,
        nothing: T,
        read: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        if self.is_away.load(SeqCst) {
            return Err(StoreError::unavailable("the store has failed before"));
        }
        let error = match read.await {
            Ok(found) => {
                self.told.lock().unwrap().insert(call, Box::new(found.clone()));
                return Ok(found);
            }
            Err(error) => error,
        };
        match self.wrong {
            Wrong::FindsNothing => return Ok(nothing),
            Wrong::Remembers => {
                let told = self.told.lock().unwrap();
                return told.get(&call).and_then(|told| told.downcast_ref()).cloned().ok_or(error);
            }
            Wrong::IsLate(late) => tokio::time::sleep(late).await,
            Wrong::StaysAway => self.is_away.store(true, SeqCst),
        }
        Err(error)
    }
}
