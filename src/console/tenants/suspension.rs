//! Suspending and resuming tenants and keys, and reports of leaked tokens.

use alloc::{string::String, sync::Arc, vec::Vec};

use axum::{extract::State, http::StatusCode, response::Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::super::{
    admin::Operator,
    app::App,
    body::{Json, check_pasted, json, time},
    keys::tell,
    parts::{KeyPath, TenantPath},
    problem::Problem,
    refusal::invalid_text,
    views::{KeyView, TenantView},
};
use crate::{
    authority::LeakResponse,
    keyring::{Keyring, KeyringError},
    record::{KeyRecord, Suspension, TenantId, TenantRecord},
    time::Timestamp,
};

/// Why, and for how long.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewSuspension)]
pub(in super::super) struct SuspensionBody {
    /// One line, which the tenant may read.
    #[schema(min_length = 1, max_length = 500)]
    reason: String,
    /// When it ends by itself; without it, it is for good.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    until: Option<String>,
}

impl SuspensionBody {
    fn check(self, now: Timestamp) -> Result<Suspension, Problem> {
        let suspension = match self.until {
            None => Suspension::for_good(self.reason),
            Some(until) => {
                let until = time("until", &until)?;
                if until <= now {
                    return Err(Problem::invalid_field("until", "this is not in the future"));
                }
                Suspension::until(until, self.reason)
            }
        };
        suspension.map_err(invalid_text("reason"))
    }
}

/// Suspends a tenant: none of its keys can be used.
#[utoipa::path(put, path = "/api/tenants/{tenant}/suspension", tag = "tenants",
    request_body = SuspensionBody,
    params(("tenant" = String, Path, description = "The id of the tenant")),
    responses((status = 200, body = TenantView)))]
pub(in super::super) async fn suspend_tenant(
    State(app): State<Arc<App>>,
    Operator(keyring): Operator,
    TenantPath(tenant): TenantPath,
    Json(body): Json<SuspensionBody>,
) -> Result<Response, Problem> {
    let suspension = body.check(app.now())?;
    let tenant = keyring.suspend_tenant(&tenant, suspension).await?;
    tell_tenant(&app, &keyring, tenant).await
}

/// Lifts the suspension of a tenant.
#[utoipa::path(delete, path = "/api/tenants/{tenant}/suspension", tag = "tenants",
    params(("tenant" = String, Path, description = "The id of the tenant")),
    responses((status = 200, body = TenantView)))]
pub(in super::super) async fn resume_tenant(
    State(app): State<Arc<App>>,
    Operator(keyring): Operator,
    TenantPath(tenant): TenantPath,
) -> Result<Response, Problem> {
    let found = keyring.find_tenant(&tenant).await?;
    let resumed = match found.suspension() {
        Some(_) => keyring.resume_tenant(&tenant).await?,
        None => found,
    };
    tell_tenant(&app, &keyring, resumed).await
}

async fn tell_tenant(
    app: &App,
    keyring: &Keyring,
    tenant: TenantRecord,
) -> Result<Response, Problem> {
    let quota = keyring.quota_use(tenant).await?;
    Ok(json(StatusCode::OK, &TenantView::of(&quota, app.now())))
}

/// Suspends a key. Its tenant cannot lift that.
#[utoipa::path(put, path = "/api/tenants/{tenant}/keys/{id}/suspension", tag = "tenants",
    request_body = SuspensionBody,
    params(
        ("tenant" = String, Path, description = "The id of the tenant"),
        ("id" = String, Path, description = "The id of the key", pattern = "^[0-9A-Za-z]{16}$"),
    ),
    responses((status = 200, body = KeyView, headers(("etag" = String)))))]
pub(in super::super) async fn suspend_key(
    State(app): State<Arc<App>>,
    Operator(keyring): Operator,
    TenantPath(tenant): TenantPath,
    KeyPath(id): KeyPath,
    Json(body): Json<SuspensionBody>,
) -> Result<Response, Problem> {
    let suspension = body.check(app.now())?;
    let (key, tenant) = find(&keyring, tenant, id).await?;
    let key = keyring.suspend_key(key.id(), suspension).await?;
    Ok(tell(&app, &key, &tenant))
}

/// Lifts the suspension of a key.
#[utoipa::path(delete, path = "/api/tenants/{tenant}/keys/{id}/suspension", tag = "tenants",
    params(
        ("tenant" = String, Path, description = "The id of the tenant"),
        ("id" = String, Path, description = "The id of the key", pattern = "^[0-9A-Za-z]{16}$"),
    ),
    responses((status = 200, body = KeyView, headers(("etag" = String)))))]
pub(in super::super) async fn resume_key(
    State(app): State<Arc<App>>,
    Operator(keyring): Operator,
    TenantPath(tenant): TenantPath,
    KeyPath(id): KeyPath,
) -> Result<Response, Problem> {
    let (key, tenant) = find(&keyring, tenant, id).await?;
    let resumed = match key.suspension() {
        Some(_) => keyring.resume_key(id).await?,
        None => key,
    };
    Ok(tell(&app, &resumed, &tenant))
}

/// The key `id`, if that tenant holds it.
async fn find(
    keyring: &Keyring,
    tenant: TenantId,
    id: crate::token::KeyId,
) -> Result<(KeyRecord, TenantRecord), Problem> {
    let record = keyring.find_tenant(&tenant).await?;
    Ok((keyring.tenant(tenant).find(id).await?, record))
}

/// A token that was found where it should not be. It has no `Debug`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = LeakReport)]
pub(in super::super) struct LeakBody {
    /// The whole token, which nobody notes down.
    #[schema(max_length = 2000)]
    token: String,
    /// One line, which the tenant may read.
    #[schema(min_length = 1, max_length = 500)]
    reason: String,
    response: Reaction,
}

/// What is done about the key.
#[derive(Clone, Copy, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = LeakResponse)]
enum Reaction {
    /// It is suspended for good.
    Suspend,
    /// It stays as it is.
    ReportOnly,
}

/// What became of the report.
#[derive(Serialize, ToSchema)]
#[schema(as = LeakOutcome)]
pub(in super::super) struct LeakView<'k> {
    /// Whether it is the token of a key.
    found: bool,
    key: Option<KeyView<'k>>,
    response: Reaction,
}

/// Reports a token that was found where it should not be, and suspends its key if that is wanted.
#[utoipa::path(post, path = "/api/leaks", tag = "leaks", request_body = LeakBody,
    responses((status = 200, body = LeakView)))]
pub(in super::super) async fn report_leak(
    State(app): State<Arc<App>>,
    Operator(keyring): Operator,
    Json(LeakBody { token, reason, response }): Json<LeakBody>,
) -> Result<Response, Problem> {
    check_pasted("token", &token)?;
    // Whether or not the token is of a key.
    Suspension::for_good(&*reason).map_err(invalid_text("reason"))?;
    let done = match response {
        Reaction::Suspend => LeakResponse::Suspend,
        Reaction::ReportOnly => LeakResponse::ReportOnly,
    };
    let found = match keyring.report_leak(token.trim(), &reason, done).await {
        Ok(key) => {
            let tenant = keyring.find_tenant(key.tenant()).await?;
            Some((key, tenant))
        }
        Err(KeyringError::Rejected) => None,
        Err(error) => return Err(error.into()),
    };
    let key = found.as_ref().map(|(key, tenant)| KeyView::of(key, tenant, app.now()));
    Ok(json(StatusCode::OK, &LeakView { found: key.is_some(), key, response }))
}
