//! A worker that does one operation after another, and reports each outcome.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use keyway::{
    GracePeriod, IssuedKey, KeyEdit, KeyId, Keyring, KeyringError, NewKey, TenantKeys,
    record::{Exceptions, Suspension},
    store::AnyEventStore,
};
use tokio::{sync::Mutex, time::sleep};

use crate::{
    Random,
    databases::{Database, keyring},
    faults::Fault,
    ledger::{Operation, State},
    workers::{Worker, say, told},
};

const TASKS: u64 = 4;

/// How long a task waits for a server that is unavailable.
const PAUSE: Duration = Duration::from_millis(50);

/// Starts a process that writes until it ends. The ids of its tenants begin with `prefix`. Each tenant sees
/// about this many operations.
pub fn start(
    database: &Database,
    fault: Option<Fault>,
    prefix: &str,
    operations: usize,
    seed: u64,
) -> Worker {
    let (operations, seed) = (operations.to_string(), seed.to_string());
    let writer = Worker::start("writer", database, fault, &[prefix, &operations, &seed]);
    assert_eq!(writer.hear().as_deref(), Some("ready"));
    writer
}

/// Runs as the worker.
pub async fn run(store: &AnyEventStore, arguments: &[&str]) {
    let [prefix, operations, seed] = arguments else { panic!("{arguments:?}") };
    let (operations, seed): (usize, u64) = (operations.parse().unwrap(), seed.parse().unwrap());
    let keyring = keyring(store);
    let flush = Arc::default();
    for task in 0..TASKS {
        let random = Random(seed.wrapping_mul(TASKS).wrapping_add(task));
        let prefix = format!("{prefix}.{task}");
        tokio::spawn(write(keyring.clone(), Arc::clone(&flush), prefix, operations, random));
    }
    // Ends with its input, whatever the tasks are doing.
    tokio::task::spawn_blocking(|| told().for_each(drop)).await.unwrap();
}

async fn write(
    keyring: Keyring,
    flush: Arc<Mutex<()>>,
    prefix: String,
    operations: usize,
    mut random: Random,
) {
    for number in 0.. {
        let mut tenant = Writer::new(&keyring, &flush, &format!("{prefix}.{number}"));
        for step in 0..operations {
            let operation = tenant.choose(step, step * 2 > operations, &mut random);
            if !tenant.perform(operation).await {
                // The server is unavailable. The outcome for this tenant is unknown, and the next one is
                // tried soon.
                sleep(PAUSE).await;
                break;
            }
            if tenant.state.is_none() {
                break;
            }
        }
    }
}

/// Writes the keys of one tenant.
pub struct Writer {
    keyring: Keyring,
    keys: TenantKeys,
    /// Held while uses are flushed. Without it a flush could return before the uses that another one has
    /// taken are written.
    flush: Arc<Mutex<()>>,
    pub state: State,
    tokens: BTreeMap<KeyId, String>,
}

impl Writer {
    pub fn new(keyring: &Keyring, flush: &Arc<Mutex<()>>, tenant: &str) -> Self {
        Self {
            keyring: keyring.clone(),
            keys: keyring.tenant(tenant.parse().unwrap()),
            flush: Arc::clone(flush),
            state: None,
            tokens: BTreeMap::new(),
        }
    }

    fn choose(&self, step: usize, is_old: bool, random: &mut Random) -> Operation {
        let Some(tenant) = &self.state else {
            return Operation::Create(
                if random.below(4) == 0 { "lite" } else { "advanced" }.into(),
            );
        };
        let ids: Vec<KeyId> = tenant.keys.keys().copied().collect();
        let tier = if tenant.tier == "lite" { "advanced" } else { "lite" };
        if ids.is_empty() {
            return Operation::Issue(format!("n{step}"));
        }
        let id = *random.pick(&ids);
        let key = &tenant.keys[&id];
        match random.below(22) {
            0..5 => Operation::Issue(format!("n{step}")),
            5..8 => {
                let scope = *random.pick(&["-", "read", "write"]);
                Operation::Edit(id, format!("n{step}"), scope.into())
            }
            8..11 if key.enabled => Operation::Disable(id),
            8..11 => Operation::Enable(id),
            11..13 => Operation::Rotate(id),
            13 if key.enabled && !key.used && !tenant.suspended => Operation::Use(id),
            13..17 => Operation::Delete(id),
            17 => Operation::Tier(tier.into()),
            18 if tenant.suspended => Operation::Resume,
            18 => Operation::Suspend,
            19 if tenant.exception.is_some() => Operation::Except(None),
            19 | 20 => Operation::Except(Some(*random.pick(&[0, 2, 3, 7]))),
            _ if is_old => Operation::DeleteTenant,
            _ => Operation::Issue(format!("n{step}")),
        }
    }

    /// Reports the operation before it starts, and then the outcome. Returns `false` if the outcome is
    /// unknown.
    pub async fn perform(&mut self, operation: Operation) -> bool {
        let tenant = self.keys.id().as_str().to_owned();
        say(&format!("try {tenant} {operation}"));
        match self.act(&operation).await {
            Ok(issued) => {
                let new = issued.as_ref().map(|issued| issued.key.id());
                let mut said = format!("ok {tenant}");
                if let Some(IssuedKey { key, token }) = issued {
                    let token = token.reveal().to_string();
                    said = format!("{said} {} {token}", key.id());
                    self.tokens.insert(key.id(), token);
                }
                say(&said);
                self.state = operation.after(&self.state, new);
                true
            }
            Err(Trouble::Full) if self.is_full() => {
                say(&format!("no {tenant}"));
                true
            }
            Err(Trouble::Unavailable) => {
                say(&format!("doubt {tenant}"));
                false
            }
            Err(trouble) => {
                say(&format!("wrong {tenant} {operation}: {trouble:?}"));
                false
            }
        }
    }

    async fn act(&self, operation: &Operation) -> Result<Option<IssuedKey>, Trouble> {
        let (keyring, keys, tenant) = (&self.keyring, &self.keys, self.keys.id());
        let version = |id: &KeyId| {
            let key = self.state.as_ref().and_then(|tenant| tenant.keys.get(id));
            key.unwrap().version
        };
        match operation {
            Operation::Create(tier) => {
                return Ok(Some(keyring.create_tenant(tenant.as_str(), tier).await?.1));
            }
            Operation::Issue(name) => return Ok(Some(keys.issue(NewKey::named(name)).await?)),
            Operation::Rotate(id) => {
                return Ok(Some(keys.rotate(*id, version(id), GracePeriod::None).await?));
            }
            Operation::Edit(id, name, scope) => {
                let scopes: &[&str] = if scope == "-" { &[] } else { &[scope] };
                let edit = KeyEdit::new().name(name).scopes(scopes.iter().copied());
                keys.edit(*id, version(id), edit).await.map(drop)
            }
            Operation::Disable(id) => keys.disable(*id).await.map(drop),
            Operation::Enable(id) => keys.enable(*id).await.map(drop),
            Operation::Use(id) => {
                let _one_at_a_time = self.flush.lock().await;
                match keyring.verify(&self.tokens[id]).await {
                    Ok(_) => {}
                    Err(error) if error.is_unavailable() => return Err(Trouble::Unavailable),
                    Err(error) => return Err(Trouble::Wrong(format!("{error:?}"))),
                }
                keyring.flush_uses().await.map(drop)
            }
            Operation::Delete(id) => keys.delete(*id).await,
            Operation::Tier(tier) => keyring.set_tier(tenant, tier).await.map(drop),
            Operation::Except(keys) => {
                let exceptions = keys.map(|keys| Exceptions::new().keys(keys));
                let version = self.state.as_ref().map_or(0, |tenant| tenant.version);
                let set = keyring.set_exceptions(tenant, version, exceptions.unwrap_or_default());
                set.await.map(drop)
            }
            Operation::Suspend => {
                let suspension = Suspension::permanent("for tests").unwrap();
                keyring.suspend_tenant(tenant, suspension).await.map(drop)
            }
            Operation::Resume => keyring.resume_tenant(tenant).await.map(drop),
            Operation::DeleteTenant => keyring.delete_tenant(tenant).await,
        }
        .map_err(Trouble::from)
        .map(|()| None)
    }

    fn is_full(&self) -> bool {
        self.state.as_ref().is_some_and(|tenant| tenant.keys.len() >= tenant.quota())
    }
}

/// The reason why an operation was not done.
#[derive(Debug)]
enum Trouble {
    Full,
    Unavailable,
    /// An outcome that no correct store leads to.
    Wrong(#[allow(dead_code, reason = "is shown")] String),
}

impl From<KeyringError> for Trouble {
    fn from(error: KeyringError) -> Self {
        match error {
            KeyringError::QuotaExceeded { .. } => Self::Full,
            error if error.is_unavailable() => Self::Unavailable,
            error => Self::Wrong(format!("{error:?}")),
        }
    }
}
