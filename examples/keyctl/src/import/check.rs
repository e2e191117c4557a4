//! The check of all lines against the store, before anything is imported.

use std::collections::BTreeMap;

use keyway::{KeyId, KeyringError, TenantId, lowlevel::Authority, record::TenantRecord};

use super::{Import, Problem, Row};
use crate::{failure::Failure, session::Session, settings::Settings, times::now};

/// The rows of a file that can be imported.
pub struct Checked {
    /// The rows, and whether their keys were imported before.
    pub rows: Vec<(Row, State)>,
    /// The tenants that do not exist yet, without repetition.
    pub missing: Vec<TenantId>,
}

/// Whether the key of a row was imported before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The key will be imported.
    New,
    /// The key exists.
    Known,
}

/// A tenant of the file.
struct Tenant {
    record: TenantRecord,
    exists: bool,
    /// Number of keys that it will hold.
    held: u32,
    allowed: u32,
}

/// Checks what an import would do with each row. Adds what is wrong to `problems`.
///
/// The keys are made here as the import makes them, and thrown away. So every rule on scopes, lifetimes and
/// digests is checked without a second copy of it.
pub async fn check(
    session: &Session,
    settings: &Settings,
    import: &Import,
    rows: Vec<Row>,
    problems: &mut Vec<Problem>,
) -> Result<Checked, Failure> {
    let policy = session.keyring.policy().clone();
    let authority = Authority::new(policy, settings.environment(), &settings.peppers()?)?
        .accept_imported(import.format()?)?;
    let mut tenants: BTreeMap<TenantId, Result<Tenant, String>> = BTreeMap::new();
    let mut lines: BTreeMap<KeyId, u64> = BTreeMap::new();
    let mut checked = Checked { rows: Vec::new(), missing: Vec::new() };
    for row in rows {
        if !tenants.contains_key(&row.tenant) {
            let tenant = find(session, &authority, import, &row.tenant).await?;
            if tenant.as_ref().is_ok_and(|tenant| !tenant.exists) {
                checked.missing.push(row.tenant.clone());
            }
            tenants.insert(row.tenant.clone(), tenant);
        }
        let Some(tenant) = tenants.get_mut(&row.tenant) else { continue };
        match check_row(session, &authority, import, &row, tenant, &mut lines).await? {
            Ok(state) => checked.rows.push((row, state)),
            Err(message) => problems.push(Problem { line: row.line, message }),
        }
    }
    Ok(checked)
}

async fn find(
    session: &Session,
    authority: &Authority,
    import: &Import,
    id: &TenantId,
) -> Result<Result<Tenant, String>, Failure> {
    match session.keyring.tenant(id.clone()).quota().await {
        Ok(quota) => {
            let (held, allowed) = (quota.held, quota.allowed);
            Ok(Ok(Tenant { record: quota.tenant, exists: true, held, allowed }))
        }
        Err(KeyringError::NoTenant(_)) => Ok(match &import.create_tenants {
            None => Err(format!("tenant: there is no tenant `{id}`; --create-tenants creates it")),
            Some(tier) => match authority.create_tenant(id.clone(), tier, now()) {
                Err(error) => Err(format!("--create-tenants: {error}")),
                Ok(record) => {
                    let allowed = authority.policy().terms(&record).map_or(0, |terms| terms.keys);
                    Ok(Tenant { record, exists: false, held: 0, allowed })
                }
            },
        }),
        Err(error) if error.is_unavailable() => Err(error.into()),
        Err(error) => Ok(Err(format!("tenant: {error}"))),
    }
}

async fn check_row(
    session: &Session,
    authority: &Authority,
    import: &Import,
    row: &Row,
    tenant: &mut Result<Tenant, String>,
    lines: &mut BTreeMap<KeyId, u64>,
) -> Result<Result<State, String>, Failure> {
    let tenant = match tenant {
        Ok(tenant) => tenant,
        Err(problem) => return Ok(Err(problem.clone())),
    };
    let key = match authority.import(&tenant.record, row.key.clone(), now()) {
        Ok(key) => key,
        Err(error) => return Ok(Err(error.to_string())),
    };
    if let Some(line) = lines.insert(key.id(), row.line) {
        return Ok(Err(format!("digest: line {line} has the same one")));
    }
    match session.keyring.find_key(key.id()).await {
        Ok(found) if found.tenant.id() == &row.tenant => return Ok(Ok(State::Known)),
        Ok(found) => {
            let holder = found.tenant.id();
            return Ok(Err(format!("digest: it was imported before, for tenant `{holder}`")));
        }
        Err(KeyringError::NoKey) => {}
        Err(error) if error.is_unavailable() => return Err(error.into()),
        Err(error) => return Ok(Err(error.to_string())),
    }
    tenant.held = tenant.held.saturating_add(1);
    if tenant.held > tenant.allowed && !import.over_quota {
        let (tier, allowed) = (tenant.record.tier(), tenant.allowed);
        let message =
            format!("tier `{tier}` allows {allowed} keys; --over-quota imports further ones");
        return Ok(Err(message));
    }
    Ok(Ok(State::New))
}
