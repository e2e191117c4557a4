//! Tenants with five keys each, which every database of a run holds.

use std::{cell::Cell, sync::Arc, time::Duration};

use keyway::{
    KeyRecord, Keyring, NewKey, Pepper, Policy, ScopeCatalog, Tier, Timestamp,
    keyring::KeyringBuilder,
    lowlevel::{Authority, InsecureSeededRng},
    record::TenantRecord,
    scope::ScopeDeclaration,
    store::KeyStore,
    time::{Clock, SystemClock},
};

/// The quota of the tier that all tenants are on.
pub(crate) const KEYS: usize = 5;

pub(crate) struct Population {
    pub(crate) authority: Authority,
    pub(crate) now: Timestamp,
    pub(crate) tenants: Vec<TenantRecord>,
    /// The keys. Those of one tenant are adjacent.
    pub(crate) keys: Vec<KeyRecord>,
    /// The tokens, in the order of the keys.
    pub(crate) tokens: Arc<[String]>,
    /// The number of tenants that were made without a key.
    empty: Cell<usize>,
}

impl Population {
    pub(crate) fn new(tenants: usize) -> Self {
        let authority = Authority::new(policy(), "live", &pepper().into()).unwrap();
        let now = SystemClock.moment().now;
        let mut rng = InsecureSeededRng::new(1);
        let (mut records, mut keys, mut tokens) = (Vec::new(), Vec::new(), Vec::new());
        for tenant in 0..tenants {
            let id = format!("tenant-{tenant:06}").parse().unwrap();
            let tenant = authority.create_tenant(id, "advanced", now).unwrap();
            for _ in 0..KEYS {
                let (key, token) = authority.issue(&tenant, request(), now, &mut rng).unwrap();
                keys.push(key);
                tokens.push(token.reveal().to_string());
            }
            records.push(tenant);
        }
        let empty = Cell::new(0);
        Self { authority, now, tenants: records, keys, tokens: tokens.into(), empty }
    }

    /// Returns the first of the tenants, with their keys.
    pub(crate) fn first(&self, tenants: usize) -> (&[TenantRecord], &[KeyRecord]) {
        (&self.tenants[..tenants], &self.keys[..tenants * KEYS])
    }

    /// Returns new tenants without a key.
    pub(crate) fn empty_tenants(&self, number: usize) -> Vec<TenantRecord> {
        let first = self.empty.replace(self.empty.get() + number);
        let ids = (first..first + number).map(|tenant| format!("empty-{tenant:06}"));
        let create =
            |id: String| self.authority.create_tenant(id.parse().unwrap(), "advanced", self.now);
        ids.map(|id| create(id).unwrap()).collect()
    }

    /// Returns a key such as the keyring issues to `tenant`.
    pub(crate) fn key_of(&self, tenant: &TenantRecord) -> KeyRecord {
        let mut rng = getrandom::SysRng;
        self.authority.issue(tenant, request(), self.now, &mut rng).unwrap().0
    }
}

/// Returns a keyring that caches nothing.
pub(crate) fn uncached(store: impl KeyStore) -> Keyring {
    builder(store).cache_capacity(0).build().unwrap()
}

pub(crate) fn builder(store: impl KeyStore) -> KeyringBuilder {
    Keyring::builder(policy(), pepper())
        .environment("live")
        .store(store)
        .max_staleness(Duration::from_secs(86_400))
}

pub(crate) fn request() -> NewKey {
    NewKey::named("ERP nightly sync").scopes(["reporting"])
}

pub(crate) fn policy() -> Policy {
    let scopes = ["reporting", "operator", "operator.jobs", "manager"];
    let scopes = scopes.map(|name| ScopeDeclaration::new(name, "a scope"));
    Policy::new("mm", ScopeCatalog::new(scopes).unwrap(), Tier::built_in()).unwrap()
}

pub(crate) fn pepper() -> Pepper {
    Pepper::from_bytes(&[7; 32]).unwrap()
}

/// Iterates over all items repeatedly, in a scattered order.
pub(crate) struct Rotation {
    number: usize,
    next: usize,
}

impl Rotation {
    pub(crate) fn of(number: usize) -> Self {
        Self { number, next: 0 }
    }

    pub(crate) fn next(&mut self) -> usize {
        // The step is a prime, so that all items come before one comes again.
        self.next = (self.next + 7_919) % self.number;
        self.next
    }
}
