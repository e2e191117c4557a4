//! The session: the caller, and the data with which the page starts.

use alloc::{sync::Arc, vec::Vec};
use core::time::Duration;

use axum::{extract::State, http::StatusCode};
use serde::Serialize;

use super::{
    app::App,
    auth::{Caller, TenantAdmin},
    body::json,
    children::max_lifetime_seconds,
    limits::{self, KindView},
    problem::ApiResult,
    scopes::ScopeView,
    settings::OperatorAction,
    views::TenantView,
};
use crate::{
    keyring::QuotaUse,
    record::{Exceptions, Owner},
    tier::Tier,
    time::Timestamp,
};

#[derive(Serialize)]
struct Session<'s> {
    role: &'static str,
    actor: &'s str,
    service: Service<'s>,
    tenant: Option<OwnTenant<'s>>,
    scopes: Vec<ScopeView<'s>>,
    resources: Vec<KindView<'s>>,
    tiers: Vec<TierView<'s>>,
    without: &'s [OperatorAction],
    max_child_lifetime_seconds: Option<u64>,
    /// Whether the caller may read allowances. Otherwise the page shows none.
    allowances: bool,
    /// Whether the service counts requests. Otherwise the page shows no usage.
    usage: bool,
    now: Timestamp,
}

#[derive(Serialize)]
struct Service<'s> {
    name: &'s str,
    logo: bool,
    curl: Option<&'s str>,
    support: Option<&'s str>,
}

#[derive(Serialize)]
struct TierView<'s> {
    name: &'s str,
    keys: u32,
    /// All limits of the tier, for operators, who make exceptions from them.
    #[serde(skip_serializing_if = "Option::is_none")]
    limits: Option<Exceptions>,
}

impl<'s> TierView<'s> {
    fn of(tier: &'s Tier, is_operator: bool) -> Self {
        let limits = is_operator.then(|| tier.to_exceptions());
        Self { name: &tier.name, keys: tier.keys, limits }
    }
}

#[derive(Serialize)]
struct OwnTenant<'s> {
    #[serde(flatten)]
    tenant: TenantView<'s>,
    max_lifetime: Option<u64>,
    /// The owner whose keys the caller manages. `None` for all keys of the tenant.
    owner: Option<&'s str>,
    disabled_owners: &'s [Owner],
}

/// Returns the caller, the service, the tenant, and the scopes that can be granted.
pub(super) async fn session(State(app): State<Arc<App>>, Caller(admin): Caller) -> ApiResult {
    let (policy, settings, now) = (app.keyring.policy(), &app.settings, app.now());
    let tenant_admin = TenantAdmin::of(&app, &admin);
    let quota = match &tenant_admin {
        Some(admin) => Some(admin.keys.quota().await?),
        None => None,
    };
    let terms = quota.as_ref().and_then(|quota| policy.terms(&quota.tenant));
    let ceiling = terms.as_ref().map(|terms| terms.scopes);
    let granter = tenant_admin.as_ref().map(|admin| admin.granter);
    let grantable = ceiling.zip(granter).map(|(ceiling, granter)| ceiling.meet(granter));
    let lifetime = terms.and_then(|terms| terms.max_lifetime);
    let owner = tenant_admin.as_ref().and_then(|admin| admin.owner.as_ref());
    let own = |quota| own_tenant(quota, owner, lifetime, now);
    let session = Session {
        role: if quota.is_some() { "tenant" } else { "operator" },
        actor: &admin.actor,
        service: Service {
            name: &settings.name,
            logo: settings.logo.is_some(),
            curl: settings.curl.as_deref(),
            support: settings.support.as_deref(),
        },
        tenant: quota.as_ref().map(own),
        scopes: app.scopes.view(grantable.unwrap_or(policy.catalog().none())),
        resources: limits::kinds(policy.catalog()),
        tiers: policy.tiers().iter().map(|tier| TierView::of(tier, quota.is_none())).collect(),
        without: &settings.without,
        max_child_lifetime_seconds: max_lifetime_seconds(policy),
        allowances: app.keyring.limits().is_some() && owner.is_none(),
        usage: app.keyring.usage().is_some(),
        now,
    };
    Ok(json(StatusCode::OK, &session))
}

fn own_tenant<'s>(
    quota: &'s QuotaUse,
    owner: Option<&'s Owner>,
    lifetime: Option<Duration>,
    now: Timestamp,
) -> OwnTenant<'s> {
    OwnTenant {
        tenant: TenantView::of(quota, now).for_tenant(),
        max_lifetime: lifetime.map(|lifetime| lifetime.as_secs()),
        owner: owner.map(Owner::as_str),
        // A member learns nothing of other owners.
        disabled_owners: match owner {
            Some(_) => &[],
            None => quota.tenant.disabled_owners(),
        },
    }
}
