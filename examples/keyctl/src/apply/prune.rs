//! Deletion of what the manifest does not name.

use keyway::KeyRecord;

use super::{
    manifest::{Manifest, TenantSpec},
    plan::{Action, Plan},
    saved::Seen,
};
use crate::{failure::Failure, session::Session};

/// Plans the deletion of keys that the manifest does not name. Returns their number.
pub fn prune_keys(
    spec: &TenantSpec,
    keys: &[KeyRecord],
    saved: Option<&Seen>,
    plan: &mut Plan,
) -> usize {
    let mut pruned = 0;
    for key in keys {
        if spec.keys.iter().any(|named| named.name == key.name()) {
            continue;
        }
        let action = match saved.map(|saved| saved.key(&spec.id, key.id())) {
            Some(None) => Action::Conflict("the key was created since the plan, and is kept"),
            seen => {
                pruned += 1;
                let version = seen.flatten().unwrap_or(key.version());
                Action::DeleteKey { id: key.id(), version }
            }
        };
        plan.step(&spec.id, Some(key.name()), action);
    }
    pruned
}

/// Plans the deletion of tenants that the manifest does not name.
pub async fn prune_tenants(
    session: &Session,
    manifest: &Manifest,
    saved: Option<&Seen>,
    plan: &mut Plan,
) -> Result<(), Failure> {
    let mut after = None;
    loop {
        let page = session.keyring.tenants(after.as_ref(), 1_000).await?;
        for row in page.broken {
            plan.problem("tenants", format!("a row of the store is broken: {row}"));
        }
        for tenant in page.items {
            if manifest.tenants.iter().any(|spec| spec.id == *tenant.id()) {
                continue;
            }
            plan.seen.add(&tenant, &[]);
            let action = match saved.map(|saved| saved.tenant(tenant.id())) {
                Some(None) => {
                    Action::Conflict("the tenant was created since the plan, and is kept")
                }
                seen => {
                    Action::DeleteTenant { version: seen.flatten().unwrap_or(tenant.version()) }
                }
            };
            plan.step(tenant.id(), None, action);
        }
        after = page.next;
        if after.is_none() {
            return Ok(());
        }
    }
}
