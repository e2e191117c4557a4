//! Owners of keys inside a tenant: disabling and enabling all keys of one of them.

use axum::http::StatusCode;
use serde::Serialize;

use super::{
    auth::TenantAdmin,
    body::json,
    extract::Path,
    problem::{self, ApiResult},
};
use crate::{http::problem::Problem, record::Owner};

#[derive(Serialize)]
struct OwnerView<'o> {
    owner: &'o str,
    disabled: bool,
}

/// Disables an owner: none of the owner's keys can be used.
pub(super) async fn disable_owner(admin: TenantAdmin, Path(owner): Path<Owner>) -> ApiResult {
    check_role(&admin)?;
    admin.keys.disable_owner(&owner).await?;
    Ok(json(StatusCode::OK, &OwnerView { owner: owner.as_str(), disabled: true }))
}

/// Enables an owner again. Each key has the state that it had before.
pub(super) async fn enable_owner(admin: TenantAdmin, Path(owner): Path<Owner>) -> ApiResult {
    check_role(&admin)?;
    admin.keys.enable_owner(&owner).await?;
    Ok(json(StatusCode::OK, &OwnerView { owner: owner.as_str(), disabled: false }))
}

/// Checks that the administrator manages all keys of the tenant, and not only those of one owner.
fn check_role(admin: &TenantAdmin) -> Result<(), Problem> {
    if admin.owner.is_none() { Ok(()) } else { Err(problem::not_found()) }
}
