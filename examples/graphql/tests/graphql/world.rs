//! A running service with a company, whose keys have different grants.

use graphql_service::{
    client::{self, summary},
    service::Running,
};
use keyway::{KeyRecord, Keyring, NewKey, Policy, TenantKeys, grant::Resources, testing};
use serde_json::{Value, json};

/// The policy of the factory.
pub fn policy() -> Policy {
    policy_with(|_| {})
}

/// The policy of the factory with a change.
pub fn policy_with(change: impl FnOnce(&mut Value)) -> Policy {
    let text = include_str!("../../../machinemetrics.json");
    let mut policy: Value = serde_json::from_str(text).unwrap();
    change(&mut policy);
    serde_json::from_value(policy).unwrap()
}

pub struct World {
    pub keyring: Keyring,
    pub acme: TenantKeys,
    pub running: Running,
}

impl World {
    pub async fn start() -> Self {
        Self::start_with(policy()).await
    }

    pub async fn start_with(policy: Policy) -> Self {
        let keyring = testing::keyring(policy).unwrap();
        let acme = keyring.create_empty_tenant("acme", "advanced").await.unwrap();
        let running = Running::start(&keyring).await.unwrap();
        Self { keyring, acme, running }
    }

    pub async fn issue(&self, scopes: &[&str], machines: Resources) -> (KeyRecord, String) {
        let request = NewKey::named("test").scopes(scopes.iter().copied());
        self.issue_key(request.resources("machine", machines)).await
    }

    pub async fn issue_key(&self, request: NewKey) -> (KeyRecord, String) {
        let issued = self.acme.issue(request).await.unwrap();
        let value = format!("Bearer {}", *issued.token.reveal());
        (issued.key, value)
    }

    /// The value of `Authorization` of a new key.
    pub async fn key(&self, scopes: &[&str], machines: Resources) -> String {
        self.issue(scopes, machines).await.1
    }

    /// The response to a query, in short.
    pub async fn ask(&self, key: &str, query: &str) -> String {
        summary(&self.post(key, &json!({ "query": query })).await)
    }

    /// The response to a request. An empty key is none.
    pub async fn post(&self, key: &str, request: &Value) -> Value {
        let key = Some(key).filter(|key| !key.is_empty());
        client::post(self.running.address, key, request).await.unwrap()
    }
}

/// The mills, which are two of the three machines.
pub fn mills() -> Resources {
    Resources::only(["mill-1", "mill-2"]).unwrap()
}
