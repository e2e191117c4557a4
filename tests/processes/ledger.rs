//! What a store must hold, by what was acknowledged: a model of tenants, and the check against it.
//!
//! A writer says `try TENANT OPERATION` before it begins, and then `ok TENANT [KEY TOKEN]` when it
//! has the acknowledgement, `no TENANT` when it was refused, or `doubt TENANT` when nobody knows. After
//! a doubt it leaves that tenant alone. So there is one operation at most per tenant that is neither
//! acknowledged nor refused, and it must have happened as a whole or not at all.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::{self, Display},
    time::Duration,
};

use keyway::{
    keyring::{Keyring, KeyringError},
    record::KeyRecord,
    store::{AnyStore, KeyLookup, KeyQuery},
    token::KeyId,
};
use tokio::time::sleep;

/// A tenant, if there is one.
pub type State = Option<Tenant>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenant {
    pub tier: String,
    pub suspended: bool,
    pub version: u64,
    pub keys: BTreeMap<KeyId, Key>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    pub name: String,
    /// A scope or `-`.
    pub scope: String,
    pub enabled: bool,
    pub used: bool,
    pub version: u64,
}

impl Tenant {
    pub fn quota(&self) -> usize {
        if self.tier == "lite" { 1 } else { 5 }
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
    /// A tenant on this tier with its first key.
    Create(String),
    /// A key of this name.
    Issue(String),
    /// Another name and another scope.
    Edit(KeyId, String, String),
    Disable(KeyId),
    Enable(KeyId),
    Rotate(KeyId),
    /// The last use is written.
    Use(KeyId),
    Delete(KeyId),
    Tier(String),
    Suspend,
    Resume,
    DeleteTenant,
}

impl Operation {
    /// What is there when it has happened to `state`. A key that it makes has the id `new`.
    pub fn after(&self, state: &State, new: Option<KeyId>) -> State {
        let Some(mut tenant) = state.clone() else {
            let Self::Create(tier) = self else { return None };
            let keys = BTreeMap::from([(new?, Key::new("default"))]);
            return Some(Tenant { tier: tier.clone(), suspended: false, version: 1, keys });
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
            Self::Suspend | Self::Resume => {
                tenant.suspended = *self == Self::Suspend;
                tenant.version += 1;
            }
        }
        Some(tenant)
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
            Self::Suspend => f.write_str("suspend"),
            Self::Resume => f.write_str("resume"),
            Self::DeleteTenant => f.write_str("delete-tenant"),
        }
    }
}

/// What has been heard of writers.
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
}

/// What the check finds at one tenant.
#[derive(Debug)]
#[allow(dead_code, reason = "is shown")]
pub struct Finding {
    tenant: String,
    what: String,
    /// How many of its keys can be used again that had been deleted or switched off.
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

    /// The keys that can be used, as acknowledged.
    pub fn usable(&self) -> BTreeSet<KeyId> {
        let tenants = self.accounts.values().filter_map(|account| account.state.as_ref());
        let keys = tenants.flat_map(|tenant| &tenant.keys);
        keys.filter(|(_, key)| key.enabled).map(|(id, _)| *id).collect()
    }

    /// The keys that, as acknowledged, were deleted or switched off, by themselves or with their tenant.
    pub fn revoked(&self) -> BTreeSet<KeyId> {
        self.accounts.values().flat_map(|account| account.revoked.clone()).collect()
    }

    /// What is not as it was acknowledged, of the tenants whose id begins with `prefix`.
    ///
    /// A server that does not know yet that its client is gone may still be at the last statement, so
    /// where something is found, it is looked at once more.
    pub async fn check(&self, keyring: &Keyring, store: &AnyStore, prefix: &str) -> Vec<Finding> {
        let findings = self.compare(keyring, store, prefix).await;
        if findings.is_empty() {
            return findings;
        }
        sleep(Duration::from_millis(500)).await;
        self.compare(keyring, store, prefix).await
    }

    /// As [`check`](Self::check), where nothing is under way any more.
    pub async fn compare(&self, keyring: &Keyring, store: &AnyStore, prefix: &str) -> Vec<Finding> {
        let mut findings = Vec::new();
        for (tenant, account) in
            self.accounts.iter().filter(|(tenant, _)| tenant.starts_with(prefix))
        {
            let what = match stored(keyring, tenant).await {
                Ok(state) => account.check(keyring, store, tenant, &state).await,
                // Unreadable, or with a broken seal.
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
        // With the new token of a key that is new or rotated.
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
        store: &AnyStore,
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
        // The secrets are those that were handed out, except that the open operation may be a rotation.
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

    /// How many keys can be used in `found` that must not be.
    fn undone(&self, found: &State) -> usize {
        let is_undone = |(id, key): &(&KeyId, &Key)| {
            key.enabled && self.revoked.contains(id) && self.open != Some(Operation::Enable(**id))
        };
        found.iter().flat_map(|tenant| &tenant.keys).filter(is_undone).count()
    }
}

/// What is stored of a tenant, with its seals checked.
async fn stored(keyring: &Keyring, id: &str) -> Result<State, KeyringError> {
    let keys = keyring.tenant(id.parse().unwrap());
    let records = keys.list(&KeyQuery::all()).await?.items;
    match keyring.find_tenant(keys.id()).await {
        Ok(record) => Ok(Some(Tenant {
            tier: record.tier().to_owned(),
            suspended: record.suspension().is_some(),
            version: record.version(),
            keys: records.iter().map(|record| (record.id(), Key::of(record))).collect(),
        })),
        // Keys without a tenant are whatever was not done as a whole.
        Err(KeyringError::NoTenant(_)) if records.is_empty() => Ok(None),
        Err(error) => Err(error),
    }
}
