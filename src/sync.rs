//! The synchronization that the cache is built on. Model checkers replace it with their own.

#[cfg(not(any(keyway_loom, keyway_shuttle)))]
pub(crate) use core::sync::atomic::{AtomicU32, AtomicU64};
#[cfg(not(any(keyway_loom, keyway_shuttle)))]
pub(crate) use std::{sync::RwLock, thread_local};

#[cfg(keyway_loom)]
pub(crate) use loom::{
    sync::{
        RwLock,
        atomic::{AtomicU32, AtomicU64},
    },
    thread_local,
};
#[cfg(keyway_shuttle)]
pub(crate) use shuttle::{
    sync::{
        RwLock,
        atomic::{AtomicU32, AtomicU64},
    },
    thread_local,
};
