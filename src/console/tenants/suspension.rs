//! Suspending and resuming tenants and keys.

use alloc::string::String;

use serde::Deserialize;

use super::{
    super::{
        auth::Operator,
        body::{Json, Time},
        extract::{IfMatch, Path},
        keys::{self, key_response},
        problem::{ApiResult, invalid_field, invalid_text},
    },
    find_version, tenant_response,
};
use crate::{
    audit::ChangeKind,
    http::problem::Problem,
    keyring::Keyring,
    record::{KeyRecord, Suspension, TenantId, TenantRecord},
    time::Timestamp,
    token::KeyId,
};

/// A request for a suspension: its reason, and its end unless it is permanent.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct SuspensionBody {
    reason: String,
    until: Option<Time>,
}

impl SuspensionBody {
    fn check(self, now: Timestamp) -> Result<Suspension, Problem> {
        let suspension = match self.until {
            None => Suspension::permanent(self.reason),
            Some(Time(until)) if until <= now => {
                return Err(invalid_field("until", "this is not in the future"));
            }
            Some(Time(until)) => Suspension::until(until, self.reason),
        };
        suspension.map_err(invalid_text("reason"))
    }
}

/// Suspends a tenant: none of its keys can be used.
pub(in super::super) async fn suspend_tenant(
    Operator { app, keyring }: Operator,
    Path(tenant): Path<TenantId>,
    if_match: IfMatch,
    Json(body): Json<SuspensionBody>,
) -> ApiResult {
    let suspension = body.check(app.now())?;
    let tenant = find_version(&keyring, ChangeKind::SuspendTenant, &tenant, &if_match).await?;
    let suspended = keyring.set_tenant_suspension(&tenant, Some(suspension)).await?;
    Ok(tenant_response(&app, &keyring.quota_use(suspended).await?))
}

/// Lifts the suspension of a tenant.
pub(in super::super) async fn resume_tenant(
    Operator { app, keyring }: Operator,
    Path(tenant): Path<TenantId>,
    if_match: IfMatch,
) -> ApiResult {
    let mut tenant = find_version(&keyring, ChangeKind::ResumeTenant, &tenant, &if_match).await?;
    if tenant.suspension().is_some() {
        tenant = keyring.set_tenant_suspension(&tenant, None).await?;
    }
    Ok(tenant_response(&app, &keyring.quota_use(tenant).await?))
}

/// Suspends a key. The tenant cannot lift the suspension.
pub(in super::super) async fn suspend_key(
    Operator { app, keyring }: Operator,
    Path(tenant): Path<TenantId>,
    Path(id): Path<KeyId>,
    if_match: IfMatch,
    Json(body): Json<SuspensionBody>,
) -> ApiResult {
    let suspension = body.check(app.now())?;
    let (key, tenant) = find_key(&keyring, ChangeKind::SuspendKey, tenant, id, &if_match).await?;
    let key = keyring.set_key_suspension(&key, Some(suspension)).await?;
    Ok(key_response(&app, &key, &tenant))
}

/// Lifts the suspension of a key.
pub(in super::super) async fn resume_key(
    Operator { app, keyring }: Operator,
    Path(tenant): Path<TenantId>,
    Path(id): Path<KeyId>,
    if_match: IfMatch,
) -> ApiResult {
    let (mut key, tenant) =
        find_key(&keyring, ChangeKind::ResumeKey, tenant, id, &if_match).await?;
    if key.suspension().is_some() {
        key = keyring.set_key_suspension(&key, None).await?;
    }
    Ok(key_response(&app, &key, &tenant))
}

/// Returns the key `id` and its tenant if `tenant` holds the key and `if_match` names its version. Otherwise
/// records the refused change in the audit.
async fn find_key(
    keyring: &Keyring,
    change: ChangeKind,
    tenant: TenantId,
    id: KeyId,
    if_match: &IfMatch,
) -> Result<(KeyRecord, TenantRecord), Problem> {
    let keys = keyring.tenant(tenant);
    let tenant = keyring.find_tenant(keys.id()).await;
    let tenant = match tenant {
        Ok(tenant) => tenant,
        Err(error) => return Err(keys.refused(change, id, error).await.into()),
    };
    Ok((keys::find_version(&keys, change, id, if_match).await?, tenant))
}
