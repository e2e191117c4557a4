//! The keyring of the example, with a company and a key for each purpose.

use std::collections::BTreeMap;

use keyway::{
    KeyEdit, KeyId, Keyring, MemoryStore, NewKey, Pepper, Policy, TenantKeys, grant::Resources,
};

use crate::Fault;

/// A company with its keys, by name.
pub struct Company {
    pub keyring: Keyring,
    pub keys: TenantKeys,
    issued: BTreeMap<&'static str, (KeyId, String)>,
}

impl Company {
    /// Creates the keyring with a company and these keys:
    ///
    /// | key | scope | machines |
    /// |---|---|---|
    /// | `dashboard` | `reporting` | two |
    /// | `edge` | `gateway` | all |
    /// | `floor` | `operator` | two |
    /// | `erp` | `erp` | none |
    /// | `observer` | `reporting` | all |
    pub async fn new() -> Result<Self, Fault> {
        let policy: Policy = serde_json::from_str(include_str!("../../machinemetrics.json"))?;
        // A service reads its own from the environment: Pepper::from_env("KEYWAY_PEPPER")?
        let pepper = Pepper::from_base64("bm90IGEgc2VjcmV0LCBvbmx5IHRoZSBleGFtcGxlIG9mIG9uZSE=")?;
        // A service opens a store on disk.
        let keyring = Keyring::builder(policy, pepper)
            .environment("live")
            .store(MemoryStore::new())
            .build()?;
        let keys = keyring.create_empty_tenant("acme", "advanced").await?;
        let mills = || Resources::only(["mill-1", "mill-2"]);
        let mut issued = BTreeMap::new();
        for (name, scope, machines) in [
            ("dashboard", "reporting", mills()?),
            ("edge", "gateway", Resources::All),
            ("floor", "operator", mills()?),
            ("erp", "erp", Resources::Nothing),
            ("observer", "reporting", Resources::All),
        ] {
            let new = NewKey::named(name).scopes([scope]).resources("machine", machines);
            let key = keys.issue(new).await?;
            issued.insert(name, (key.key.id(), key.token.reveal().to_string()));
        }
        Ok(Self { keyring, keys, issued })
    }

    /// Returns the names of the keys.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.issued.keys().copied()
    }

    /// Returns the value of `authorization` with the key `name`, or an empty one for an unknown name.
    pub fn bearer(&self, name: &str) -> String {
        self.issued.get(name).map(|(_, token)| format!("Bearer {token}")).unwrap_or_default()
    }

    /// Disables the key `name`.
    pub async fn disable(&self, name: &str) -> Result<(), Fault> {
        self.keys.disable(self.id(name)?).await?;
        Ok(())
    }

    /// Deletes the key `name`.
    pub async fn delete(&self, name: &str) -> Result<(), Fault> {
        self.keys.delete(self.id(name)?).await?;
        Ok(())
    }

    /// Leaves the key `name` only this scope.
    pub async fn narrow(&self, name: &str, scope: &str) -> Result<(), Fault> {
        let id = self.id(name)?;
        let version = self.keys.find(id).await?.version();
        self.keys.edit(id, version, KeyEdit::new().scopes([scope])).await?;
        Ok(())
    }

    /// Returns the id of the key `name`.
    pub fn id(&self, name: &str) -> Result<KeyId, String> {
        let found = self.issued.get(name).map(|(id, _)| *id);
        found.ok_or_else(|| format!("there is no key `{name}`"))
    }
}
