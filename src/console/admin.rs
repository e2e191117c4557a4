//! Of whom a request is.

use alloc::{format, string::String, sync::Arc};

use axum::{extract::FromRequestParts, http::request::Parts};

use super::{app::App, problem::Problem};
use crate::{
    authority::NewKey,
    decision::Principal,
    keyring::{Keyring, TenantKeys},
    record::TenantId,
    scope::ScopeSet,
    text,
};

/// Somebody who may manage keys, made by the host for a request that it knows to be theirs.
///
/// There is no default: whatever a host does not decide, nobody may do.
#[derive(Clone, Debug)]
pub struct Admin {
    role: Role,
    actor: String,
}

/// What an administrator may reach.
#[derive(Clone, Debug)]
enum Role {
    /// The keys of one tenant.
    Tenant { tenant: TenantId, granter: ScopeSet },
    /// All tenants.
    Operator,
}

impl Admin {
    /// An administrator of the keys of `tenant`, who can grant at most `granter`: all of the
    /// [catalogue](crate::scope::ScopeCatalog::all), or what they hold themselves. The tenant's tier bounds
    /// that further.
    ///
    /// `actor` is who it is, in the host's words: new keys and the audit sink name it. Of a longer name the
    /// first 200 characters are taken, and none that cannot be shown on a line.
    pub fn of_tenant(tenant: TenantId, granter: ScopeSet, actor: impl Into<String>) -> Self {
        Self { role: Role::Tenant { tenant, granter }, actor: one_line(actor.into()) }
    }

    /// An operator of the service, who sees all tenants and their keys, moves and suspends them, and makes
    /// no keys.
    pub fn operator(actor: impl Into<String>) -> Self {
        Self { role: Role::Operator, actor: one_line(actor.into()) }
    }

    /// Whoever holds the API key of `caller`: an administrator of its tenant, who can grant at most what the
    /// key may do. No request comes that far unless the console
    /// [allows API keys](super::Console::allow_api_keys).
    pub fn of_caller(caller: &Principal) -> Self {
        let tenant = TenantId::of_record(caller.tenant());
        Self::of_tenant(tenant, caller.scopes(), format!("API key {}", caller.key_id()))
    }

    /// The id of the tenant, if it is an administrator of one.
    pub(super) fn tenant(&self) -> Option<&str> {
        match &self.role {
            Role::Tenant { tenant, .. } => Some(tenant.as_str()),
            Role::Operator => None,
        }
    }

    pub(super) fn actor(&self) -> &str {
        &self.actor
    }

    /// The tenant's keys, if it is an administrator of one.
    pub(super) fn keys(&self, keyring: &Keyring) -> Option<TenantAdmin> {
        match &self.role {
            Role::Tenant { tenant, granter } => Some(TenantAdmin {
                keys: keyring
                    .acting_as(&self.actor)
                    .tenant(tenant.clone())
                    .granting_at_most(*granter),
                granter: *granter,
            }),
            Role::Operator => None,
        }
    }
}

/// What of a name can be kept. Nobody is kept from their keys for the name that they have.
fn one_line(actor: String) -> String {
    let is_fine = |character: char| text::check(character.encode_utf8(&mut [0; 4]), 1).is_ok();
    if text::check(&actor, NewKey::MAX_ACTOR_LEN).is_ok() {
        return actor;
    }
    actor.chars().filter(|character| is_fine(*character)).take(NewKey::MAX_ACTOR_LEN).collect()
}

/// The keys of the tenant whose administrator asks. Nobody else gets an answer of a handler with this.
pub(super) struct TenantAdmin {
    pub(super) keys: TenantKeys,
    pub(super) granter: ScopeSet,
}

impl FromRequestParts<Arc<App>> for TenantAdmin {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        // INVARIANT: the gate stands before every route, and whoever has not passed it is nobody.
        let admin = parts.extensions.get::<Admin>().ok_or_else(Problem::not_found)?;
        admin.keys(&app.keyring).ok_or_else(Problem::not_found)
    }
}

/// The keyring for the operator who asks. Nobody else gets an answer of a handler with this.
pub(super) struct Operator(pub(super) Keyring);

impl FromRequestParts<Arc<App>> for Operator {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let admin = parts.extensions.get::<Admin>().ok_or_else(Problem::not_found)?;
        match admin.role {
            Role::Operator => Ok(Self(app.keyring.acting_as(&admin.actor))),
            Role::Tenant { .. } => Err(Problem::not_found()),
        }
    }
}

/// Whoever it is that has passed the gate.
impl FromRequestParts<Arc<App>> for Admin {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<App>) -> Result<Self, Problem> {
        parts.extensions.get::<Self>().cloned().ok_or_else(Problem::not_found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_name_can_be_kept() {
        for (name, kept) in [
            ("Anna", "Anna"),
            ("Anna \u{200f}א", "Anna א"),
            ("two\nlines", "twolines"),
            ("", ""),
            (&"W".repeat(300), &"W".repeat(200)),
            (&"א".repeat(300), &"א".repeat(200)),
        ] {
            assert_eq!(Admin::operator(name).actor(), kept);
        }
    }
}
