//! The operator's routes: tenants, their keys and their tiers.

pub(super) mod exceptions;
pub(super) mod leaks;
pub(super) mod suspension;
pub(super) mod tiers;

use alloc::{string::ToString, vec::Vec};

use axum::{http::StatusCode, response::Response};

use super::{
    app::App,
    auth::Operator,
    body::{json, versioned},
    extract::{IfMatch, Parameters, Path},
    keys::{page_of, query},
    problem::{ApiResult, invalid_field},
    views::{TenantView, TenantsView, broken},
};
use crate::{
    audit::ChangeKind,
    http::problem::Problem,
    keyring::{Keyring, QuotaUse},
    record::{TenantId, TenantRecord},
};

/// Returns one page of all tenants, in the order of their ids.
pub(super) async fn list_tenants(operator: Operator, parameters: Parameters) -> ApiResult {
    let Operator { app, keyring } = &operator;
    let limit = parameters.limit()?;
    let after = parameters.get("after")?.map(TenantId::stored).transpose();
    let after = after.map_err(|_| invalid_field("after", "this is not the id of a tenant"))?;
    let page = keyring.tenants(after.as_ref(), limit).await?;
    let mut tenants = Vec::with_capacity(page.items.len());
    for tenant in page.items {
        tenants.push(keyring.quota_use(tenant).await?);
    }
    let now = app.now();
    let items = tenants.iter().map(|tenant| TenantView::of(tenant, now)).collect();
    let next = page.next.as_ref().map(ToString::to_string);
    Ok(json(StatusCode::OK, &TenantsView { items, next, broken: broken(&page.broken) }))
}

/// Returns one tenant.
pub(super) async fn get_tenant(operator: Operator, Path(tenant): Path<TenantId>) -> ApiResult {
    let quota = operator.keyring.tenant(tenant).quota().await?;
    Ok(tenant_response(&operator.app, &quota))
}

/// Responds with a tenant, and its version as the `ETag`.
fn tenant_response(app: &App, quota: &QuotaUse) -> Response {
    versioned(quota.tenant.version(), json(StatusCode::OK, &TenantView::of(quota, app.now())))
}

/// Returns the tenant `id` if `if_match` names its version. Otherwise records the refused change in the
/// audit.
async fn find_version(
    keyring: &Keyring,
    change: ChangeKind,
    id: &TenantId,
    if_match: &IfMatch,
) -> Result<TenantRecord, Problem> {
    let named = |tenant: TenantRecord| if_match.check(tenant.version()).map(|()| tenant);
    let found = keyring.find_tenant(id).await.and_then(named);
    match found {
        Ok(tenant) => Ok(tenant),
        Err(error) => Err(keyring.refused(change, id, None, error).await.into()),
    }
}

/// Returns one page of a tenant's keys, in the order of their creation.
pub(super) async fn list_tenant_keys(
    Operator { app, keyring }: Operator,
    Path(tenant): Path<TenantId>,
    parameters: Parameters,
) -> ApiResult {
    let (limit, after) = (parameters.limit()?, parameters.after_key()?);
    let record = keyring.find_tenant(&tenant).await?;
    let page = keyring.tenant(tenant).list(&query(limit, after)).await?;
    page_of(&app, record, page, after.is_none()).await
}
