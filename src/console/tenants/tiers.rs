//! Moving tenants to other tiers, with what becomes of their keys.

use alloc::{
    string::{String, ToString},
    vec::Vec,
};

use axum::{http::StatusCode, response::Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::super::{
    admin::Operator,
    body::{Json, json},
    keys::query,
    parts::{TenantPath, TierPath},
    problem::Problem,
    views::names,
};
use crate::{
    keyring::{Keyring, QuotaUse},
    record::KeyRecord,
    scope::ScopeSet,
    store::KeyQuery,
    tier::Tier,
};

/// The most keys that are looked at.
const MAX_READ: usize = 5_000;

/// What a move to another tier does, or has done.
#[derive(Serialize, ToSchema)]
#[schema(as = TierChange)]
pub(in super::super) struct TierChangeView {
    tenant: String,
    from: String,
    to: String,
    /// How many keys the tenant holds.
    held: u32,
    /// How many it may hold then.
    allowed: u32,
    /// By how many it is over. It keeps them, and gets no new ones until it is under again.
    over: u32,
    /// The keys that may do less then.
    narrowed: Vec<NarrowedKey>,
    /// Whether all keys were looked at. If not, there may be others that may do less.
    complete: bool,
}

/// A key that may do less.
#[derive(Serialize, ToSchema)]
struct NarrowedKey {
    id: String,
    name: String,
    /// The scopes that it has no longer in full.
    loses: Vec<String>,
}

/// What a move to another tier would do.
#[utoipa::path(get, path = "/api/tenants/{tenant}/tiers/{tier}", tag = "tenants",
    params(
        ("tenant" = String, Path, description = "The id of the tenant"),
        ("tier" = String, Path, description = "The name of the other tier"),
    ),
    responses((status = 200, body = TierChangeView)))]
pub(in super::super) async fn preview_tier(
    Operator(keyring): Operator,
    TenantPath(tenant): TenantPath,
    TierPath(tier): TierPath,
) -> Result<Response, Problem> {
    let to = keyring.policy().tier(&tier).ok_or_else(Problem::not_found)?;
    let quota = keyring.tenant(tenant).quota().await?;
    Ok(json(StatusCode::OK, &preview(&keyring, &quota, to).await?))
}

/// The tier that a tenant is to be on.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewTier)]
pub(in super::super) struct TierBody {
    #[schema(min_length = 1, max_length = 64)]
    tier: String,
}

/// Moves a tenant to another tier, and tells what that did.
#[utoipa::path(put, path = "/api/tenants/{tenant}/tier", tag = "tenants", request_body = TierBody,
    params(("tenant" = String, Path, description = "The id of the tenant")),
    responses((status = 200, body = TierChangeView)))]
pub(in super::super) async fn set_tier(
    Operator(keyring): Operator,
    TenantPath(tenant): TenantPath,
    Json(TierBody { tier }): Json<TierBody>,
) -> Result<Response, Problem> {
    let quota = keyring.tenant(tenant).quota().await?;
    let to = keyring.policy().tier(&tier);
    let to = to.ok_or_else(|| Problem::invalid_field("tier", "there is no such tier"))?;
    let change = preview(&keyring, &quota, to).await?;
    if change.from != change.to {
        keyring.set_tier(quota.tenant.id(), &to.name).await?;
    }
    Ok(json(StatusCode::OK, &change))
}

async fn preview(
    keyring: &Keyring,
    quota: &QuotaUse,
    to: &Tier,
) -> Result<TierChangeView, Problem> {
    let policy = keyring.policy();
    let nothing = policy.catalog().none();
    let before = policy.ceiling(quota.tenant.tier()).unwrap_or(nothing);
    let after = policy.ceiling(&to.name).unwrap_or(nothing);
    let keys = keyring.tenant(quota.tenant.id().clone());
    let (mut narrowed, mut cursor, mut complete) = (Vec::new(), None, false);
    for _ in 0..MAX_READ / KeyQuery::MAX_LIMIT {
        let page = keys.list(&query(KeyQuery::MAX_LIMIT, cursor)).await?;
        narrowed.extend(page.items.iter().filter_map(|key| narrow(keyring, key, before, after)));
        cursor = page.next;
        if cursor.is_none() {
            complete = true;
            break;
        }
    }
    Ok(TierChangeView {
        tenant: quota.tenant.id().to_string(),
        from: quota.tenant.tier().into(),
        to: to.name.clone(),
        held: quota.held,
        allowed: to.keys,
        over: quota.held.saturating_sub(to.keys),
        narrowed,
        complete,
    })
}

/// What `key` loses, if it loses anything.
fn narrow(
    keyring: &Keyring,
    key: &KeyRecord,
    before: ScopeSet,
    after: ScopeSet,
) -> Option<NarrowedKey> {
    let catalog = keyring.policy().catalog();
    let (granted, _) = catalog.set_of_known(key.scopes());
    let lost = catalog.names_above(granted.meet(before), after);
    let loses = (!lost.is_empty()).then(|| names(&lost))?;
    Some(NarrowedKey { id: key.id().to_string(), name: key.name().into(), loses })
}
