//! Shared by the test programs: a small policy, a world to act in, a store that fails on request, servers.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::expect_used,
    clippy::format_collect,
    clippy::format_push_string,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    clippy::panic,
    clippy::unwrap_used,
    reason = "no test program needs all of it, and a test that goes wrong stops"
)]

mod faulty_store;
pub mod figures;
pub mod forwarder;
pub mod limit_store;
pub mod moves;
pub mod overheard;
pub mod pure;
pub mod random;
#[cfg(unix)]
pub mod server;
pub mod windows;
pub mod wrapped_store;

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use keyway::{
    KeyRecord, Keyring, MemoryStore, NewKey, Pepper, Policy, ScopeCatalog, TenantId, TenantKeys,
    Tier, Timestamp,
    audit::{AuditEvent, AuditSink},
    keyring::KeyringBuilder,
    lowlevel::InsecureSeededRng,
    record::TenantRecord,
    scope::ScopeDeclaration,
    store::{Change, ChangeFeed, Follower},
    time::{Clock, ManualClock, SystemClock},
    verifier::{Verifier, VerifierBuilder},
};

#[allow(unused_imports, reason = "no test program needs all of it")]
pub use self::faulty_store::{FaultyStore, Switches};
use self::overheard::RevealKnown as _;

pub const HOUR: Duration = Duration::from_secs(3_600);
pub const DAY: Duration = Duration::from_secs(86_400);
/// The staleness bound of every world.
pub const MAX_STALENESS: Duration = Duration::from_secs(5);
/// The pepper of all worlds. No part of it is an English word, so a search for it in all texts finds nothing
/// else.
pub const PEPPER: &[u8; 32] = b"Rf6nYc3vQe8hTm1xUz5kWb9jLs2gPd7a";

pub fn pepper() -> Pepper {
    overheard::known_pepper(PEPPER);
    Pepper::from_bytes(PEPPER).unwrap()
}

pub fn catalog() -> ScopeCatalog {
    let declare = |name| ScopeDeclaration::new(name, "for tests");
    ScopeCatalog::new([
        declare("operator"),
        declare("operator.read"),
        declare("operator.jobs"),
        declare("reporting"),
        declare("erp").implies(["reporting"]),
        declare("manager"),
    ])
    .unwrap()
}

/// Returns a policy. Lite holds 1 key below `manager`, and Advanced holds 5 without a ceiling.
pub fn policy() -> Policy {
    overheard::listen();
    let tiers = [Tier::new("lite", 1).scopes(["operator", "erp"]), Tier::new("advanced", 5)];
    Policy::new("mm", catalog(), tiers).unwrap()
}

pub fn tenant_id(id: &str) -> TenantId {
    id.parse().unwrap()
}

pub fn block_on<F: Future>(future: F) -> F::Output {
    pollster::block_on(future)
}

/// One process of a service. The test controls everything that it depends on.
pub struct World {
    pub clock: ManualClock,
    pub store: FaultyStore,
    pub audit: Recorder,
    pub keyring: Keyring,
}

impl World {
    pub fn new() -> Self {
        Self::with(policy(), |builder| builder)
    }

    pub fn with(policy: Policy, change: impl FnOnce(KeyringBuilder) -> KeyringBuilder) -> Self {
        let start = "2026-01-01T00:00:00Z".parse().unwrap();
        let memory = MemoryStore::new();
        Self::over(memory, ManualClock::at(start), policy, change)
    }

    /// Creates another process of the same service: the same database and time, but its own cache and faults.
    pub fn another_node(&self) -> Self {
        self.another_node_with(policy(), |builder| builder)
    }

    pub fn another_node_with(
        &self,
        policy: Policy,
        change: impl FnOnce(KeyringBuilder) -> KeyringBuilder,
    ) -> Self {
        Self::over(self.store.memory().clone(), self.clock.clone(), policy, change)
    }

    fn over(
        memory: MemoryStore,
        clock: ManualClock,
        policy: Policy,
        change: impl FnOnce(KeyringBuilder) -> KeyringBuilder,
    ) -> Self {
        let store = FaultyStore::over(memory);
        let audit = Recorder::default();
        let builder = Keyring::builder(policy, pepper())
            .environment("live")
            .store(store.clone())
            .clock(clock.clone())
            .rng(fresh_rng())
            .audit(audit.clone())
            .max_staleness(MAX_STALENESS);
        Self { keyring: change(builder).build().unwrap(), clock, store, audit }
    }

    /// Creates a node that only verifies, over the same store with its faults.
    pub fn verifier(&self, change: impl FnOnce(VerifierBuilder) -> VerifierBuilder) -> Verifier {
        let builder = Verifier::builder(policy(), pepper())
            .environment("live")
            .lookup(self.store.clone())
            .clock(self.clock.clone())
            .audit(self.audit.clone())
            .max_staleness(MAX_STALENESS);
        change(builder).build().unwrap()
    }

    pub fn now(&self) -> Timestamp {
        self.clock.moment().now
    }

    pub fn after(&self, duration: Duration) -> Timestamp {
        self.now().checked_add(duration).unwrap()
    }

    /// Creates a tenant on Advanced with one key, which may read reports.
    pub fn tenant_with_key(&self, id: &str) -> Held {
        let request = NewKey::named("first").scopes(["reporting"]);
        let created = block_on(self.keyring.create_tenant_with(id, "advanced", request));
        let (keys, issued) = created.unwrap();
        Held { keys, key: issued.key, token: issued.token.reveal_known().to_string() }
    }
}

/// A tenant and the key that it holds.
pub struct Held {
    pub keys: TenantKeys,
    pub key: KeyRecord,
    pub token: String,
}

/// Returns a generator whose output no other one of this process repeats.
pub fn fresh_rng() -> InsecureSeededRng {
    static SEED: AtomicU64 = AtomicU64::new(1 << 32);
    InsecureSeededRng::new(SEED.fetch_add(1, Ordering::Relaxed))
}

/// An audit sink that remembers its events.
#[derive(Clone, Debug, Default)]
pub struct Recorder(Arc<Mutex<Vec<Event>>>);

/// An audit event that owns its data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub actor: String,
    pub tenant: Option<String>,
    pub key: Option<String>,
    pub child: Option<String>,
    /// The `Debug` text.
    pub kind: String,
}

impl Recorder {
    pub fn events(&self) -> Vec<Event> {
        self.0.lock().unwrap().clone()
    }

    pub fn kinds(&self) -> Vec<String> {
        self.events().into_iter().map(|event| event.kind).collect()
    }

    /// Returns the kinds of the events since the last call.
    pub fn take_kinds(&self) -> Vec<String> {
        let events = core::mem::take(&mut *self.0.lock().unwrap());
        events.into_iter().map(|event| event.kind).collect()
    }
}

impl AuditSink for Recorder {
    fn record(&self, event: &AuditEvent<'_>) {
        self.0.lock().unwrap().push(Event {
            actor: event.actor.into(),
            tenant: event.tenant.map(Into::into),
            key: event.key.map(|id| id.to_string()),
            child: event.child.map(|id| id.to_string()),
            kind: format!("{:?}", event.kind),
        });
    }
}

/// Yields once, so that other futures can run.
pub async fn pause() {
    let mut is_over = false;
    poll_fn(|context| {
        if is_over {
            return Poll::Ready(());
        }
        is_over = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Polls `future` at most `polls` times and then drops it, like a caller that gives up.
pub fn give_up_after<F: Future>(polls: usize, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    (0..polls).find_map(|_| match future.as_mut().poll(&mut context) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    })
}

/// Returns `key` as someone with access to the database could change it. Every text `from` in it becomes
/// `to`, and the seal is unchanged.
pub fn with_text(key: &KeyRecord, from: &str, to: &str) -> KeyRecord {
    KeyRecord::decode(&replace_text(&key.encode(), from, to)).unwrap()
}

/// Returns `tenant`, changed like the key in [`with_text`].
pub fn tenant_with_text(tenant: &TenantRecord, from: &str, to: &str) -> TenantRecord {
    TenantRecord::decode(&replace_text(&tenant.encode(), from, to)).unwrap()
}

/// Replaces a text in a record, where each text follows its length.
fn replace_text(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    let field = |text: &str| [&(text.len() as u64).to_be_bytes(), text.as_bytes()].concat();
    let (from, to) = (field(from), field(to));
    let mut replaced = Vec::new();
    let mut rest = bytes;
    while let Some(at) = rest.windows(from.len()).position(|part| part == from) {
        replaced.extend_from_slice(&rest[..at]);
        replaced.extend_from_slice(&to);
        rest = &rest[at + from.len()..];
    }
    assert!(rest.len() < bytes.len(), "there is no such text to replace");
    replaced.extend_from_slice(rest);
    replaced
}

/// Returns the text of an error and those of all its causes.
pub fn chain(error: &dyn core::error::Error) -> Vec<String> {
    let causes = core::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect()
}

/// Returns whether `text` contains any eight consecutive characters of the secret in `token`.
pub(crate) fn gives_away(text: &str, token: &str) -> bool {
    let secret = &token.as_bytes()[24..];
    secret.windows(8).any(|part| text.contains(std::str::from_utf8(part).unwrap()))
}

/// The events of a feed, without its proofs.
pub struct Events<F>(pub F);

impl<F: ChangeFeed> Events<F> {
    pub async fn next(&mut self) -> Option<Change> {
        let follower = Follower::new(SystemClock, MAX_STALENESS);
        loop {
            match self.0.next(&follower).await {
                Some(Change::Proof(_)) => {}
                event => return event,
            }
        }
    }
}
