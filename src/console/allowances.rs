//! The allowances of a tenant: what is left of each.

use alloc::vec::Vec;

use axum::http::StatusCode;
use serde::Serialize;

use super::{
    app::App,
    auth::{Operator, TenantAdmin},
    body::{MAX_NUMBER, json},
    extract::Path,
    problem::{self, ApiResult},
};
use crate::{keyring::AllowanceState, record::TenantId, tier::Period, time::Timestamp};

/// The operations that read allowances, by their `operationId`. A console of a keyring without shared limits does not
/// document them.
pub(super) const OPERATIONS: [&str; 2] = ["allowances", "tenant_allowances"];

#[derive(Serialize)]
struct AllowancesView {
    items: Vec<AllowanceView>,
}

/// One allowance in its present window. The numbers are at most [`MAX_NUMBER`], so that JavaScript reads them exactly.
#[derive(Serialize)]
struct AllowanceView {
    units: u64,
    /// The length of the window, or `null` for a month.
    per_seconds: Option<u32>,
    used: u64,
    left: u64,
    ends_at: Timestamp,
}

impl From<AllowanceState> for AllowanceView {
    fn from(state: AllowanceState) -> Self {
        let [units, used, left] =
            [state.allowance.units, state.used, state.left()].map(|number| number.min(MAX_NUMBER));
        let per_seconds = match state.allowance.period {
            Period::Month => None,
            Period::Seconds(seconds) => Some(seconds),
        };
        Self { units, per_seconds, used, left, ends_at: state.window.end() }
    }
}

/// Returns the allowances of the administrator's tenant.
pub(super) async fn allowances(admin: TenantAdmin) -> ApiResult {
    // INVARIANT: a member sees the requests of the own keys only. The used units are those of all keys.
    if admin.owner.is_some() {
        return Err(problem::not_found());
    }
    of_tenant(&admin.app, admin.keys.id()).await
}

/// Returns the allowances of a tenant.
pub(super) async fn tenant_allowances(
    Operator { app, .. }: Operator,
    Path(tenant): Path<TenantId>,
) -> ApiResult {
    of_tenant(&app, &tenant).await
}

async fn of_tenant(app: &App, tenant: &TenantId) -> ApiResult {
    let limits = app.keyring.limits().ok_or_else(problem::not_found)?;
    let states = limits.of_tenant(tenant).await?;
    let items = states.into_iter().map(AllowanceView::from).collect();
    Ok(json(StatusCode::OK, &AllowancesView { items }))
}
