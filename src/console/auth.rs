//! Authentication: which requests are admitted, and what their caller may do.

use alloc::{string::String, sync::Arc};
use core::fmt::Write as _;

use axum::{
    extract::{FromRequestParts, Request, State},
    http::{HeaderMap, HeaderName, header::AUTHORIZATION, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};

use super::{
    admin::{Admin, Role},
    app::App,
    children::{has_presented_child, is_child},
    csrf, problem,
};
use crate::{
    bearer::bearer_token,
    decision::Principal,
    http::{Guard, problem::Problem},
    keyring::{Keyring, KeyringError, TenantKeys},
    record::{Owner, TenantRecord},
    scope::ScopeSet,
    verifier::VerifyError,
};

/// Admits requests of the console's own page and of programs if the application identifies their caller.
pub(super) async fn admit(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    if let Err(problem) = csrf::check(&parts) {
        return problem.into_response();
    }
    match identify(&app, &mut parts).await {
        Ok(admin) if !is_meant_for(&admin, &parts.headers) => problem::signed_out().into_response(),
        Ok(admin) => {
            parts.extensions.insert(admin);
            next.run(Request::from_parts(parts, body)).await
        }
        Err(response) => response,
    }
}

/// The header in which the page names the tenant whose keys it shows, escaped as in a path. The page's cookie
/// may belong to another user by now: one who has signed in from another window of the same browser.
const TENANT: HeaderName = HeaderName::from_static("keyway-tenant");

fn is_meant_for(admin: &Admin, headers: &HeaderMap) -> bool {
    let tenant = admin.tenant().map(|tenant| escaped(tenant.as_str()));
    let mut named = headers.get_all(TENANT).into_iter();
    named.all(|named| tenant.as_ref().is_some_and(|tenant| named.as_bytes() == tenant.as_bytes()))
}

/// Escapes `id` as ECMAScript's `encodeURIComponent` does.
fn escaped(id: &str) -> String {
    let mut escaped = String::with_capacity(id.len());
    for byte in id.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.!~*'()".contains(&byte) {
            escaped.push(byte.into());
        } else {
            // Writing to a `String` does not fail.
            _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

/// Marks a response of the application's function. The console adds no headers to it.
#[derive(Clone, Copy)]
pub(super) struct OfApplication;

/// Identifies the caller. If the application rejects the request, its response is returned unchanged.
pub(super) async fn identify(app: &App, request: &mut Parts) -> Result<Admin, Response> {
    if let Some(guard) = &app.guard {
        verify_api_key(app, guard, request).await?;
    } else if presents_api_key(&app.keyring, request).await? {
        return Err(problem::api_key_not_allowed().into_response());
    }
    (app.who)(request.clone()).await.map_err(|mut response| {
        response.extensions_mut().insert(OfApplication);
        response
    })
}

/// Checks whether the request presents an API key of this service or a child of one, in any state and even if it was
/// deleted.
async fn presents_api_key(keyring: &Keyring, request: &Parts) -> Result<bool, Response> {
    if request.extensions.get::<Principal>().is_some() {
        return Ok(true);
    }
    for token in bearer_tokens(request) {
        match keyring.verifier().format().check(token) {
            Ok(_) => return Ok(true),
            Err(_) if is_child(keyring, token) => return Ok(true),
            // A bearer token of the application's own sessions costs no lookup in the store.
            Err(rejection) => {
                let authority = &keyring.verifier().engine().authority;
                if authority.foreign_claims(token, rejection).is_empty() {
                    continue;
                }
            }
        }
        match keyring.verify(token).await {
            Err(VerifyError::Rejected | VerifyError::Missing | VerifyError::BadRequest) => {}
            Err(VerifyError::Unavailable(_)) => return Err(problem::unavailable().into_response()),
            Ok(_)
            | Err(
                VerifyError::Inactive(_)
                | VerifyError::Tampered
                | VerifyError::Forbidden(_)
                | VerifyError::Limited { .. }
                | VerifyError::UsedUp { .. },
            ) => return Ok(true),
        }
    }
    Ok(false)
}

fn bearer_tokens(request: &Parts) -> impl Iterator<Item = &[u8]> {
    let values = request.headers.get_all(AUTHORIZATION).into_iter();
    values.filter_map(|value| bearer_token(value.as_bytes().trim_ascii()).ok())
}

/// Verifies an API key and puts its [`Principal`] into the extensions, unless a guard has done so already.
async fn verify_api_key(app: &App, guard: &Guard, request: &mut Parts) -> Result<(), Response> {
    if let Some(caller) = request.extensions.get::<Principal>() {
        // A principal of another keyring is refused: the same tenant id may mean another tenant there. A child is refused
        // too: it could make a key that outlives it.
        let is_ours = app.keyring.verifier().has_admitted(caller);
        let refuse = || problem::api_key_not_allowed().into_response();
        return (is_ours && !has_presented_child(caller)).then_some(()).ok_or_else(refuse);
    }
    if !presents_api_key(&app.keyring, request).await? {
        return Ok(());
    }
    let mut admission = guard.admit(&request.headers).await.map_err(IntoResponse::into_response)?;
    if let Some(principal) = admission.take_principal() {
        request.extensions.insert(principal);
        request.headers.remove(AUTHORIZATION);
    }
    Ok(())
}

/// Extracts the caller, of either role, that [`admit`] has admitted.
///
/// INVARIANT: [`admit`] wraps every route of the API and inserts the `Admin`. A request that it has not admitted
/// has none, and gets 404.
pub(super) struct Caller(pub(super) Admin);

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts.extensions.get().cloned().map(Self).ok_or_else(problem::not_found)
    }
}

/// Extracts the keys of the calling administrator's tenant. Any other caller gets 404 and the handler does
/// not run.
pub(super) struct TenantAdmin {
    pub(super) app: Arc<App>,
    pub(super) keys: TenantKeys,
    /// The scopes that the administrator can grant at most.
    pub(super) granter: ScopeSet,
    /// The owner whose keys the administrator manages. `None` for all keys of the tenant.
    pub(super) owner: Option<Owner>,
}

impl TenantAdmin {
    /// Returns access to the keys of `admin`'s tenant. `None` for an operator.
    pub(super) fn of(app: &Arc<App>, admin: &Admin) -> Option<Self> {
        let Role::Tenant { tenant, granter, owner } = &admin.role else { return None };
        let keys = app.keyring.acting_as(&admin.actor).tenant(tenant.clone());
        let mut keys = keys.granting_at_most(granter);
        if let Some(owner) = owner {
            keys = keys.owned_by(owner.clone());
        }
        let (app, owner) = (Arc::clone(app), owner.clone());
        Some(Self { app, keys, granter: granter.scopes(), owner })
    }

    pub(super) async fn tenant(&self) -> Result<TenantRecord, KeyringError> {
        self.app.keyring.find_tenant(self.keys.id()).await
    }
}

impl FromRequestParts<Arc<App>> for TenantAdmin {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let Caller(admin) = Caller::from_request_parts(parts, app).await?;
        Self::of(app, &admin).ok_or_else(problem::not_found)
    }
}

/// Extracts the keyring, acting as the calling operator. Any other caller gets 404 and the handler does not
/// run.
pub(super) struct Operator {
    pub(super) app: Arc<App>,
    pub(super) keyring: Keyring,
}

impl FromRequestParts<Arc<App>> for Operator {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let Caller(admin) = Caller::from_request_parts(parts, app).await?;
        match admin.role {
            Role::Operator => {
                Ok(Self { app: Arc::clone(app), keyring: app.keyring.acting_as(&admin.actor) })
            }
            Role::Tenant { .. } => Err(problem::not_found()),
        }
    }
}
