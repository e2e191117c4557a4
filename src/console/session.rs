//! Who asks, and what the page has to know of them at first.

use alloc::{string::String, sync::Arc, vec::Vec};

use axum::{extract::State, http::StatusCode, response::Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    admin::Admin,
    app::App,
    body::json,
    problem::Problem,
    scopes::ScopeView,
    views::{SuspensionView, TenantState},
};
use crate::{keyring::QuotaUse, policy::Policy, time::Timestamp};

/// Who asks, the service, the tenant, and what can be granted.
#[utoipa::path(get, path = "/api/session", tag = "session",
    responses((status = 200, body = Session)))]
pub(super) async fn session(
    State(app): State<Arc<App>>,
    admin: Admin,
) -> Result<Response, Problem> {
    let policy = app.keyring.policy();
    let now = app.now();
    let mut grantable = policy.catalog().none();
    let mut tenant = None;
    if let Some(admin) = admin.keys(&app.keyring) {
        let quota = admin.keys.quota().await?;
        let ceiling = policy.ceiling(quota.tenant.tier());
        grantable = ceiling.map_or(grantable, |ceiling| ceiling.meet(admin.granter));
        tenant = Some(OwnTenant::of(&quota, policy, now));
    }
    let settings = &app.settings;
    let session = Session {
        role: if tenant.is_some() { Role::Tenant } else { Role::Operator },
        actor: admin.actor(),
        service: Service {
            name: &settings.name,
            logo: settings.logo.is_some(),
            curl: settings.curl.as_deref(),
            support: settings.support.as_deref(),
        },
        tenant,
        scopes: app.scopes.view(grantable),
        tiers: policy
            .tiers()
            .iter()
            .map(|tier| TierView { name: &tier.name, keys: tier.keys })
            .collect(),
        now,
    };
    Ok(json(StatusCode::OK, &session))
}

/// Who asks, and what the page has to know of them.
#[derive(Serialize, ToSchema)]
pub(super) struct Session<'s> {
    role: Role,
    /// Who it is, in the words of the service.
    actor: &'s str,
    service: Service<'s>,
    /// The tenant whose keys it is about; none for an operator.
    tenant: Option<OwnTenant>,
    /// Each behind its parent.
    scopes: Vec<ScopeView<'s>>,
    /// In ascending order.
    tiers: Vec<TierView<'s>>,
    /// The time by the clock of the service.
    #[schema(value_type = String, format = DateTime)]
    now: Timestamp,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Role {
    Tenant,
    Operator,
}

#[derive(Serialize, ToSchema)]
struct Service<'s> {
    name: &'s str,
    /// Whether there is a logo at `/logo`.
    logo: bool,
    /// A line that uses a key, with `{token}` where that goes.
    curl: Option<&'s str>,
    /// Whom to ask for what cannot be done here.
    support: Option<&'s str>,
}

#[derive(Serialize, ToSchema)]
struct TierView<'s> {
    name: &'s str,
    keys: u32,
}

/// The tenant of whoever asks.
#[derive(Serialize, ToSchema)]
struct OwnTenant {
    id: String,
    tier: String,
    state: TenantState,
    suspension: Option<SuspensionView>,
    /// How many keys it holds.
    held: u32,
    /// How many its tier allows.
    allowed: u32,
    /// The longest time from the creation of a key to its expiry.
    max_lifetime_days: Option<u64>,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
}

impl OwnTenant {
    fn of(quota: &QuotaUse, policy: &Policy, now: Timestamp) -> Self {
        let tenant = &quota.tenant;
        let suspension = SuspensionView::of(tenant.suspension(), now);
        let lifetime = policy.tier(tenant.tier()).and_then(|tier| tier.max_lifetime);
        Self {
            id: tenant.id().as_str().into(),
            tier: tenant.tier().into(),
            state: TenantState::of(suspension.as_ref()),
            suspension,
            held: quota.held,
            allowed: quota.allowed,
            max_lifetime_days: lifetime.map(|lifetime| lifetime.as_secs() / 86_400),
            created_at: tenant.created_at(),
        }
    }
}
