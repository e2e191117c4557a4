//! A model of tenants that says what a store must hold by the acknowledged operations, and the check against
//! it.
//!
//! A writer prints `try TENANT OPERATION` before it begins. Then it prints `ok TENANT [KEY TOKEN]` if the
//! operation was acknowledged, `no TENANT` if it was refused, or `doubt TENANT` if the outcome is unknown.
//! After a doubt it does not touch that tenant again. So each tenant has at most one operation that is
//! neither acknowledged nor refused. Such an operation must have happened as a whole or not at all.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::{self, Display},
    time::Duration,
};

use keyway::{
    KeyId, KeyRecord, Keyring, KeyringError,
    event::StoredEvent,
    keyring::Events,
    record::Exceptions,
    store::{AnyEventStore, KeyLookup, KeyQuery},
};
use tokio::time::sleep;

/// The state of a tenant. `None` if the tenant does not exist.
pub type State = Option<Tenant>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenant {
    pub tier: String,
    /// The number of keys, if it is an exception from the tier.
    pub exception: Option<u32>,
    pub suspended: bool,
    pub version: u64,
    pub keys: BTreeMap<KeyId, Key>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    pub name: String,
    /// A scope, or `-` for none.
    pub scope: String,
    pub enabled: bool,
    pub used: bool,
    pub version: u64,
}

impl Tenant {
    pub fn quota(&self) -> usize {
        match self.exception {
            Some(keys) => keys as usize,
            None if self.tier == "lite" => 1,
            None => 5,
        }
    }
}

impl Key {
    fn new(name: &str) -> Self {
        let (name, scope) = (name.to_owned(), "-".to_owned());
        Self { name, scope, enabled: true, used: false, version: 1 }
    }

    fn of(record: &KeyRecord) -> Self {
        Self {
            name: record.name().to_owned(),
            scope: record.scopes().first().map_or("-", |scope| scope.as_str()).to_owned(),
            enabled: record.enabled(),
            used: record.last_used().is_some(),
            version: record.version(),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Creates a tenant on this tier with its first key.
    Create(String),
    /// Issues a key of this name.
    Issue(String),
    /// Sets another name and another scope.
    Edit(KeyId, String, String),
    Disable(KeyId),
    Enable(KeyId),
    Rotate(KeyId),
    /// Writes the last use.
    Use(KeyId),
    Delete(KeyId),
    Tier(String),
    /// Sets the number of keys as an exception, or takes the exception away.
    Except(Option<u32>),
    Suspend,
    Resume,
    DeleteTenant,
}

impl Operation {
    /// Returns the state after this operation on `state`. A key that it creates gets the id `new`.
    pub fn after(&self, state: &State, new: Option<KeyId>) -> State {
        let Some(mut tenant) = state.clone() else {
            let Self::Create(tier) = self else { return None };
            let keys = BTreeMap::from([(new?, Key::new("default"))]);
            return Some(Tenant {
                tier: tier.clone(),
                exception: None,
                suspended: false,
                version: 1,
                keys,
            });
        };
        let mut change = |id: &KeyId, change: &dyn Fn(&mut Key)| {
            let key = tenant.keys.get_mut(id).unwrap();
            change(key);
            key.version += 1;
        };
        match self {
            Self::Create(_) | Self::DeleteTenant => return None,
            Self::Issue(name) => {
                tenant.keys.insert(new?, Key::new(name));
            }
            Self::Edit(id, name, scope) => change(id, &|key| {
                (key.name, key.scope) = (name.clone(), scope.clone());
            }),
            Self::Disable(id) => change(id, &|key| key.enabled = false),
            Self::Enable(id) => change(id, &|key| key.enabled = true),
            Self::Rotate(id) => change(id, &|_| ()),
            Self::Use(id) => tenant.keys.get_mut(id).unwrap().used = true,
            Self::Delete(id) => {
                tenant.keys.remove(id);
            }
            Self::Tier(tier) => (tenant.tier, tenant.version) = (tier.clone(), tenant.version + 1),
            Self::Except(keys) => {
                (tenant.exception, tenant.version) = (*keys, tenant.version + 1);
            }
            Self::Suspend | Self::Resume => {
                tenant.suspended = *self == Self::Suspend;
                tenant.version += 1;
            }
        }
        Some(tenant)
    }

    /// Returns the kinds of the events of this operation.
    fn events(&self) -> &'static [&'static str] {
        match self {
            Self::Create(_) => &["tenant_created", "key_issued"],
            Self::Issue(_) => &["key_issued"],
            Self::Edit(..) | Self::Disable(_) | Self::Enable(_) => &["key_edited"],
            Self::Rotate(_) => &["key_rotated"],
            Self::Use(_) => &[],
            Self::Delete(_) => &["key_deleted"],
            Self::Tier(_) => &["tier_changed"],
            Self::Except(_) => &["exceptions_changed"],
            Self::Suspend => &["tenant_suspended"],
            Self::Resume => &["tenant_resumed"],
            Self::DeleteTenant => &["tenant_deleted"],
        }
    }

    fn parse(text: &str) -> Self {
        let words: Vec<&str> = text.split(' ').collect();
        let id = || words[1].parse().unwrap();
        let text = |place: usize| words[place].to_owned();
        match words[0] {
            "create" => Self::Create(text(1)),
            "issue" => Self::Issue(text(1)),
            "edit" => Self::Edit(id(), text(2), text(3)),
            "disable" => Self::Disable(id()),
            "enable" => Self::Enable(id()),
            "rotate" => Self::Rotate(id()),
            "use" => Self::Use(id()),
            "delete" => Self::Delete(id()),
            "tier" => Self::Tier(text(1)),
            "except" => Self::Except(words[1].parse().ok()),
            "suspend" => Self::Suspend,
            "resume" => Self::Resume,
            "delete-tenant" => Self::DeleteTenant,
            other => panic!("no operation is called {other}"),
        }
    }
}

impl Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Create(tier) => write!(f, "create {tier}"),
            Self::Issue(name) => write!(f, "issue {name}"),
            Self::Edit(id, name, scope) => write!(f, "edit {id} {name} {scope}"),
            Self::Disable(id) => write!(f, "disable {id}"),
            Self::Enable(id) => write!(f, "enable {id}"),
            Self::Rotate(id) => write!(f, "rotate {id}"),
            Self::Use(id) => write!(f, "use {id}"),
            Self::Delete(id) => write!(f, "delete {id}"),
            Self::Tier(tier) => write!(f, "tier {tier}"),
            Self::Except(Some(keys)) => write!(f, "except {keys}"),
            Self::Except(None) => f.write_str("except none"),
            Self::Suspend => f.write_str("suspend"),
            Self::Resume => f.write_str("resume"),
            Self::DeleteTenant => f.write_str("delete-tenant"),
        }
    }
}

/// The state of all tenants, from the lines of the writers.
#[derive(Debug, Default)]
pub struct Ledger {
    accounts: BTreeMap<String, Account>,
    pub acknowledged: usize,
    pub doubts: usize,
}

#[derive(Debug, Default)]
struct Account {
    state: State,
    open: Option<Operation>,
    /// The newest token of each key.
    tokens: BTreeMap<KeyId, String>,
    /// Deleted keys, with the last token of each.
    deleted: BTreeMap<KeyId, String>,
    revoked: BTreeSet<KeyId>,
    /// The kinds of the events of the acknowledged operations.
    events: Vec<&'static str>,
}

/// The result of the check for one tenant.
#[derive(Debug)]
#[allow(dead_code, reason = "is shown")]
pub struct Finding {
    tenant: String,
    what: String,
    /// How many deleted or disabled keys of this tenant can be used again.
    pub revocations_undone: usize,
}

impl Ledger {
    pub fn note_all<S: AsRef<str>>(&mut self, lines: impl IntoIterator<Item = S>) {
        for line in lines {
            self.note(line.as_ref());
        }
    }

    pub fn note(&mut self, line: &str) {
        let (what, rest) = line.split_once(' ').unwrap_or((line, ""));
        let (tenant, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        if what == "ready" {
            return;
        }
        let account = self.accounts.entry(tenant.to_owned()).or_default();
        match what {
            "try" => {
                assert_eq!(account.open, None, "{line}");
                account.open = Some(Operation::parse(rest));
            }
            "ok" => {
                self.acknowledged += 1;
                account.acknowledge(rest);
            }
            "no" => account.open = None,
            "doubt" => self.doubts += 1,
            _ => panic!("{line}"),
        }
    }

    /// Returns the keys that can be used by the acknowledged state.
    pub fn usable(&self) -> BTreeSet<KeyId> {
        let tenants = self.accounts.values().filter_map(|account| account.state.as_ref());
        let keys = tenants.flat_map(|tenant| &tenant.keys);
        keys.filter(|(_, key)| key.enabled).map(|(id, _)| *id).collect()
    }

    /// Returns the keys whose deletion or disabling was acknowledged, alone or with their tenant.
    pub fn revoked(&self) -> BTreeSet<KeyId> {
        self.accounts.values().flat_map(|account| account.revoked.clone()).collect()
    }

    /// Returns the differences between the acknowledged and the stored state, for the tenants whose id begins
    /// with `prefix`.
    ///
    /// A server that has not noticed yet that its client is gone may still run the last statement. So the
    /// check is repeated if it finds a difference.
    pub async fn check(
        &self,
        keyring: &Keyring,
        store: &AnyEventStore,
        prefix: &str,
    ) -> Vec<Finding> {
        let findings = self.compare(keyring, store, prefix).await;
        if findings.is_empty() {
            return findings;
        }
        sleep(Duration::from_millis(500)).await;
        self.compare(keyring, store, prefix).await
    }

    /// Checks as [`check`](Self::check) does, once and without waiting. Nothing may be running any more.
    pub async fn compare(
        &self,
        keyring: &Keyring,
        store: &AnyEventStore,
        prefix: &str,
    ) -> Vec<Finding> {
        let mut findings = Vec::new();
        for (tenant, account) in
            self.accounts.iter().filter(|(tenant, _)| tenant.starts_with(prefix))
        {
            let what = match stored(keyring, tenant).await {
                Ok(state) => account.check(keyring, store, tenant, &state).await,
                // A record is unreadable, or its seal is broken.
                Err(error) => Err((format!("{error:?}"), 0)),
            };
            if let Err((what, revocations_undone)) = what {
                findings.push(Finding { tenant: tenant.clone(), what, revocations_undone });
            }
        }
        findings
    }
}

impl Account {
    fn acknowledge(&mut self, rest: &str) {
        let operation = self.open.take().unwrap();
        // A new or rotated key comes with its new token.
        let issued =
            rest.split_once(' ').map(|(id, token)| (id.parse().unwrap(), token.to_owned()));
        let new = issued.as_ref().map(|(id, _)| *id);
        self.tokens.extend(issued);
        match &operation {
            Operation::Disable(id) | Operation::Delete(id) => {
                self.revoked.insert(*id);
            }
            Operation::Enable(id) => {
                self.revoked.remove(id);
            }
            Operation::DeleteTenant => {
                let ids = self.state.iter().flat_map(|tenant| tenant.keys.keys());
                self.revoked.extend(ids);
            }
            _ => {}
        }
        self.events.extend(operation.events());
        let before = self.state.take();
        self.state = operation.after(&before, new);
        let remains =
            |id: &KeyId| self.state.as_ref().is_some_and(|tenant| tenant.keys.contains_key(id));
        for id in before.iter().flat_map(|tenant| tenant.keys.keys()).filter(|id| !remains(id)) {
            self.deleted.insert(*id, self.tokens.remove(id).unwrap());
        }
    }

    async fn check(
        &self,
        keyring: &Keyring,
        store: &AnyEventStore,
        tenant: &str,
        found: &State,
    ) -> Result<(), (String, usize)> {
        let is_acknowledged = *found == self.state;
        let is_open_one_done = || {
            let open = self.open.as_ref()?;
            let known = |id: &&KeyId| {
                !self.state.as_ref().is_some_and(|tenant| tenant.keys.contains_key(*id))
            };
            let new = found.iter().flat_map(|tenant| tenant.keys.keys()).find(known);
            (*found == open.after(&self.state, new.copied())).then_some(())
        };
        if !is_acknowledged && is_open_one_done().is_none() {
            let Self { state, open, .. } = self;
            let text = format!("expected {state:?}, or after {open:?}, and found {found:?}");
            return Err((text, self.undone(found)));
        }
        self.check_events(keyring, tenant, is_acknowledged).await?;
        for (id, token) in &self.deleted {
            let lookup = store.lookup(*id).await;
            if !matches!(lookup, Ok(None)) {
                return Err((format!("the deleted key {id} is {lookup:?}"), 1));
            }
            match keyring.describe(token).await {
                Err(KeyringError::Rejected) => {}
                described => return Err((format!("the deleted key is {described:?}"), 1)),
            }
        }
        // The secrets are those that were issued, except that the open operation may be a rotation.
        let keys = keyring.tenant(tenant.parse().unwrap());
        for (id, token) in found
            .iter()
            .flat_map(|tenant| tenant.keys.keys())
            .filter_map(|id| Some((id, self.tokens.get(id)?)))
        {
            let is_rotated = self.open == Some(Operation::Rotate(*id)) && !is_acknowledged;
            match keys.find_by_token(token).await {
                Ok(_) if !is_rotated => {}
                Err(KeyringError::NoKey) if is_rotated => {}
                key => return Err((format!("by the token of {id} was found {key:?}"), 0)),
            }
        }
        Ok(())
    }

    /// Checks that each change of the tenant has its event, and that no event is without its change. The last use of a key,
    /// which changes the state without an event, may be the open operation.
    async fn check_events(
        &self,
        keyring: &Keyring,
        tenant: &str,
        is_acknowledged: bool,
    ) -> Result<(), (String, usize)> {
        let events = keyring.events().unwrap();
        let found = events.of_tenant(&tenant.parse().unwrap(), None, None, Events::MAX_READ).await;
        let mut found =
            found.map_err(|error| (format!("the events cannot be read: {error:?}"), 0))?;
        found.reverse();
        let numbers: Vec<u64> = found.iter().map(|event| event.number).collect();
        let refused = |event: &&StoredEvent| event.event.kind == "change_refused";
        let made: Vec<_> =
            found.iter().filter(|event| !refused(event)).map(|event| &*event.event.kind).collect();
        let mut expected = self.events.clone();
        let open = self.open.as_ref();
        if !is_acknowledged {
            expected.extend(open.map_or(&[][..], Operation::events));
        }
        let is_gapless = numbers.iter().copied().eq(1..=found.len() as u64);
        if made != expected || !is_gapless {
            let text = format!("expected the events {expected:?}, and found {made:?}, {numbers:?}");
            return Err((text, 0));
        }
        Ok(())
    }

    /// Returns how many revoked keys can be used in `found`.
    fn undone(&self, found: &State) -> usize {
        let is_undone = |(id, key): &(&KeyId, &Key)| {
            key.enabled && self.revoked.contains(id) && self.open != Some(Operation::Enable(**id))
        };
        found.iter().flat_map(|tenant| &tenant.keys).filter(is_undone).count()
    }
}

/// Returns the number of keys that these exceptions set.
fn exception(exceptions: &Exceptions) -> Option<u32> {
    (0..10).find(|keys| *exceptions == Exceptions::new().keys(*keys))
}

/// Returns the stored state of a tenant. The keyring checks the seals.
async fn stored(keyring: &Keyring, id: &str) -> Result<State, KeyringError> {
    let keys = keyring.tenant(id.parse().unwrap());
    let records = keys.list(&KeyQuery::all()).await?.items;
    match keyring.find_tenant(keys.id()).await {
        Ok(record) => Ok(Some(Tenant {
            tier: record.tier().to_owned(),
            exception: exception(record.exceptions()),
            suspended: record.suspension().is_some(),
            version: record.version(),
            keys: records.iter().map(|record| (record.id(), Key::of(record))).collect(),
        })),
        // Keys without a tenant are the result of an operation that was not done as a whole, so this is an
        // error.
        Err(KeyringError::NoTenant(_)) if records.is_empty() => Ok(None),
        Err(error) => Err(error),
    }
}
