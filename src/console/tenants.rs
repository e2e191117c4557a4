//! What an operator sees: tenants and their keys.

pub(super) mod suspension;
pub(super) mod tiers;

use alloc::{
    string::{String, ToString},
    sync::Arc,
    vec::Vec,
};

use axum::{extract::State, http::StatusCode, response::Response};

use super::{
    admin::Operator,
    app::App,
    body::json,
    keys::{query, tell_page},
    paging::Parameters,
    parts::TenantPath,
    problem::Problem,
    views::{KeysView, TenantView, TenantsView},
};
use crate::record::TenantId;

/// One page of all tenants, in the order of their ids.
#[utoipa::path(get, path = "/api/tenants", tag = "tenants",
    params(
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 200, description = "50 without it"),
        ("after" = Option<String>, Query, description = "The id behind which the page begins",
            min_length = 1, max_length = 128),
    ),
    responses((status = 200, body = TenantsView)))]
pub(super) async fn list_tenants(
    State(app): State<Arc<App>>,
    Operator(keyring): Operator,
    parameters: Parameters,
) -> Result<Response, Problem> {
    let limit = parameters.limit()?;
    let after = parameters.get("after")?.map(TenantId::try_from).transpose();
    let after =
        after.map_err(|_| Problem::invalid_field("after", "this is not the id of a tenant"))?;
    let page = keyring.tenants(after.as_ref(), limit).await?;
    let now = app.now();
    let mut items = Vec::with_capacity(page.items.len());
    for tenant in page.items {
        items.push(TenantView::of(&keyring.quota_use(tenant).await?, now));
    }
    let next = page.next.as_ref().map(ToString::to_string);
    Ok(json(StatusCode::OK, &TenantsView { items, next }))
}

/// One tenant.
#[utoipa::path(get, path = "/api/tenants/{tenant}", tag = "tenants",
    params(("tenant" = String, Path, description = "The id of the tenant")),
    responses((status = 200, body = TenantView)))]
pub(super) async fn get_tenant(
    State(app): State<Arc<App>>,
    Operator(keyring): Operator,
    TenantPath(tenant): TenantPath,
) -> Result<Response, Problem> {
    let quota = keyring.tenant(tenant).quota().await?;
    Ok(json(StatusCode::OK, &TenantView::of(&quota, app.now())))
}

/// One page of a tenant's keys, in the order of their creation.
#[utoipa::path(get, path = "/api/tenants/{tenant}/keys", tag = "tenants",
    params(
        ("tenant" = String, Path, description = "The id of the tenant"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 200, description = "50 without it"),
        ("after" = Option<String>, Query, description = "The `next` of the page before",
            pattern = "^-?[0-9]{1,15}[.][0-9A-Za-z]{16}$"),
    ),
    responses((status = 200, body = KeysView)))]
pub(super) async fn list_tenant_keys(
    State(app): State<Arc<App>>,
    Operator(keyring): Operator,
    TenantPath(tenant): TenantPath,
    parameters: Parameters,
) -> Result<Response, Problem> {
    let (limit, after) = (parameters.limit()?, parameters.after_key()?);
    let record = keyring.find_tenant(&tenant).await?;
    let page = keyring.tenant(tenant).list(&query(limit, after)).await?;
    tell_page(&app, record, page, after.is_none()).await
}
