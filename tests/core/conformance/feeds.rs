//! The clauses of feeds, on a feed of a store in memory: without faults, and with each fault that a clause names.

use std::{
    future::{Future, poll_fn},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::Poll,
};

use keyway::{
    KeyId, MemoryStore, TenantId,
    store::{
        AnyStore, Change, ChangeFeed, Follower, StoreError,
        conformance::{FollowedStore, feed_clauses},
    },
    time::Moment,
};

use super::controls::panics;
use crate::support::wrapped_store::{Call, Faults, Wrapped};

/// A fault of a feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    BeginsWithoutAGap,
    ForgetsTenants,
    ForgetsTheFirstChange,
    ProvesAMomentOfTheFuture,
    ProvesTheMomentOfTheReply,
    KeepsOneChange,
    LosesWhatADroppedWaitTook,
    ReportsLastUses,
    ProvesAcrossACut,
}
use Fault::*;

/// The faults, and the clause that is there for each.
const FAULTS: [(Fault, &str); 9] = [
    (BeginsWithoutAGap, "a_feed_begins_with_a_gap"),
    (ForgetsTenants, "every_change_comes_before_its_proof"),
    (ForgetsTheFirstChange, "every_change_comes_before_its_proof"),
    (ProvesAMomentOfTheFuture, "no_proof_is_from_the_future"),
    (ProvesTheMomentOfTheReply, "a_proof_covers_what_was_committed_while_it_was_under_way"),
    (KeepsOneChange, "changes_that_nobody_waits_for_are_kept"),
    (LosesWhatADroppedWaitTook, "a_dropped_wait_loses_nothing"),
    (ReportsLastUses, "a_last_use_is_no_change"),
    (ProvesAcrossACut, "no_proof_crosses_a_cut"),
];

/// The changes of a store, in the order of their commits, and the number of cuts.
#[derive(Default)]
struct Log {
    changes: Mutex<Vec<Change>>,
    cuts: AtomicUsize,
    reports_uses: bool,
}

impl Faults for Arc<Log> {
    async fn write(
        &self,
        call: Call,
        write: impl Future<Output = Result<(), StoreError>> + Send + 'static,
    ) -> Result<(), StoreError> {
        write.await?;
        let change = match call.method {
            "update_key" | "delete_key" => Change::Key(call.arguments.parse::<KeyId>().unwrap()),
            "update_tenant" | "delete_tenant" => {
                Change::Tenant(call.arguments.parse::<TenantId>().unwrap())
            }
            "record_uses" if self.reports_uses => Change::Gap,
            _ => return Ok(()),
        };
        self.changes.lock().unwrap().push(change);
        Ok(())
    }
}

struct Followed {
    store: Wrapped<MemoryStore, Arc<Log>>,
    log: Arc<Log>,
    fault: Option<Fault>,
}

impl Followed {
    fn with(fault: Option<Fault>) -> Self {
        let log = Arc::new(Log { reports_uses: fault == Some(ReportsLastUses), ..Log::default() });
        let store = Wrapped::new(MemoryStore::new(), Arc::clone(&log));
        Self { store, log, fault }
    }
}

impl FollowedStore for Followed {
    type Feed = LogFeed;

    fn store(&self) -> AnyStore {
        AnyStore::new(self.store.clone())
    }

    fn feed(&self) -> LogFeed {
        LogFeed {
            log: Arc::clone(&self.log),
            fault: self.fault,
            read: None,
            cuts: 0,
            proof: None,
            forgets: true,
        }
    }

    async fn cut(&self) {
        self.log.cuts.fetch_add(1, SeqCst);
    }
}

struct LogFeed {
    log: Arc<Log>,
    fault: Option<Fault>,
    /// The number of changes that were read. `None` before the feed has begun.
    read: Option<usize>,
    cuts: usize,
    /// The proof under way: its moment, and the number of changes when it was asked for.
    proof: Option<(Moment, usize)>,
    forgets: bool,
}

impl LogFeed {
    fn has(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    fn number(&self) -> usize {
        self.log.changes.lock().unwrap().len()
    }

    /// Returns the next change, unless a fault keeps it back.
    fn change(&mut self, read: usize) -> Option<Change> {
        let changes = self.log.changes.lock().unwrap();
        let skips = if self.has(KeepsOneChange) { changes.len().saturating_sub(1) } else { read };
        let place = read.max(skips);
        let change = changes.get(place)?.clone();
        drop(changes);
        self.read = Some(place + 1);
        let is_tenant = matches!(change, Change::Tenant(_));
        if is_tenant && self.has(ForgetsTenants) {
            return None;
        }
        if self.has(ForgetsTheFirstChange) && core::mem::take(&mut self.forgets) {
            return None;
        }
        Some(change)
    }
}

/// Waits for one poll.
async fn later() {
    let mut is_later = false;
    poll_fn(|context| {
        context.waker().wake_by_ref();
        if core::mem::replace(&mut is_later, true) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

impl ChangeFeed for LogFeed {
    async fn next(&mut self, follower: &Follower) -> Option<Change> {
        loop {
            let cuts = self.log.cuts.load(SeqCst);
            let is_cut = core::mem::replace(&mut self.cuts, cuts) != cuts;
            if is_cut || self.read.is_none() {
                let is_first = self.read.is_none();
                // Everything committed until now is within the gap.
                self.read = Some(self.number());
                if !self.has(ProvesAcrossACut) {
                    self.proof = None;
                }
                let is_silent = is_first && self.has(BeginsWithoutAGap)
                    || !is_first && self.has(ProvesAcrossACut);
                if !is_silent {
                    return Some(Change::Gap);
                }
            }
            let read = self.read.unwrap();
            if let Some((moment, number)) = self.proof
                && read >= number
            {
                self.proof = None;
                let mut moment = moment;
                if self.has(ProvesTheMomentOfTheReply) {
                    moment = follower.moment();
                }
                if self.has(ProvesAMomentOfTheFuture) {
                    moment.uptime += 1;
                }
                return Some(Change::Proof(moment));
            }
            if let Some(change) = self.change(read) {
                if self.has(LosesWhatADroppedWaitTook) {
                    later().await;
                }
                return Some(change);
            }
            if self.proof.is_none() {
                self.proof = Some((follower.moment(), self.number()));
            }
            // The store takes a while to reply.
            later().await;
        }
    }
}

#[test]
fn a_feed_without_a_fault_keeps_every_clause() {
    for clause in feed_clauses::<Followed>() {
        let followed = Followed::with(None);
        assert!(!panics(|| pollster::block_on(clause.run(&followed))), "{clause:?}");
    }
}

#[test]
fn each_fault_of_a_feed_is_caught_by_its_clause() {
    for (fault, name) in FAULTS {
        let followed = Followed::with(Some(fault));
        let clauses = feed_clauses::<Followed>();
        let clause = clauses.iter().find(|clause| clause.name() == name).unwrap();
        assert!(panics(|| pollster::block_on(clause.run(&followed))), "{name} misses {fault:?}");
    }
}

#[test]
fn every_clause_of_feeds_catches_a_fault() {
    for clause in feed_clauses::<Followed>() {
        assert!(FAULTS.iter().any(|(_, name)| *name == clause.name()), "{clause:?}");
    }
}
