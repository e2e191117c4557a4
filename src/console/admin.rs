//! The caller of a request: an administrator of a tenant, or an operator.

use alloc::{format, string::String};

use crate::{
    authority::NewKey,
    decision::Principal,
    grant::Grant,
    record::{Owner, TenantId},
    scope::ScopeSet,
    text,
};

/// A person or program that may manage keys. The application creates it for a request that it has
/// authenticated.
///
/// There is no default: without a decision of the application, a request may do nothing.
#[derive(Clone, Debug)]
pub struct Admin {
    pub(super) role: Role,
    pub(super) actor: String,
}

/// The keys and tenants that an administrator can see and change.
#[derive(Clone, Debug)]
pub(super) enum Role {
    /// The keys of one tenant, or those of one owner in it.
    Tenant { tenant: TenantId, granter: Grant, owner: Option<Owner> },
    /// All tenants.
    Operator,
}

impl Admin {
    /// Creates an administrator of the keys of `tenant`, who can grant at most `granter`: the whole
    /// [catalog](crate::scope::ScopeCatalog::all), or the scopes that the administrator holds. The tenant's
    /// tier limits the scopes further. The administrator can grant all resources, from any network. For a key as the
    /// administrator use [`of_caller`](Self::of_caller), which keeps the limits of the key.
    ///
    /// `actor` is the administrator's name in the application. New keys and audit events carry it. Characters
    /// that cannot be shown on one line are removed, and at most 200 characters are kept.
    pub fn of_tenant(tenant: TenantId, granter: ScopeSet, actor: impl Into<String>) -> Self {
        Self::with_grant(tenant, Grant::unlimited(granter), None, actor.into())
    }

    /// Creates a member of `tenant` who manages only the keys of `owner`, and can grant at most `granter`. The member
    /// sees no other key, and new keys belong to `owner`. Otherwise it is like [`of_tenant`](Self::of_tenant).
    pub fn of_member(
        tenant: TenantId,
        owner: Owner,
        granter: ScopeSet,
        actor: impl Into<String>,
    ) -> Self {
        Self::with_grant(tenant, Grant::unlimited(granter), Some(owner), actor.into())
    }

    fn with_grant(tenant: TenantId, granter: Grant, owner: Option<Owner>, actor: String) -> Self {
        Self { role: Role::Tenant { tenant, granter, owner }, actor: one_line(actor) }
    }

    /// Creates an operator of the service. An operator sees all tenants and their keys, moves tenants to
    /// other tiers, and suspends tenants and keys. An operator cannot create keys.
    pub fn operator(actor: impl Into<String>) -> Self {
        Self { role: Role::Operator, actor: one_line(actor.into()) }
    }

    /// Creates an administrator of `caller`'s tenant, who can grant at most what `caller`'s key may do. If the key has an
    /// owner, the administrator manages only the keys of that owner. Use
    /// it with a console that [allows API keys](super::Console::allow_api_keys); others refuse such a request
    /// before the application sees it.
    pub fn of_caller(caller: &Principal) -> Self {
        let tenant = TenantId::of_record(caller.tenant());
        let actor = format!("API key {}", caller.key_id());
        Self::with_grant(tenant, caller.grant(), caller.owner().cloned(), actor)
    }

    /// Returns the id of the tenant. `None` for an operator.
    pub(super) fn tenant(&self) -> Option<&TenantId> {
        match &self.role {
            Role::Tenant { tenant, .. } => Some(tenant),
            Role::Operator => None,
        }
    }
}

/// Removes characters that cannot be shown on one line, and truncates. An unusual display name must not lock
/// an administrator out.
fn one_line(actor: String) -> String {
    let is_fine = |character: char| text::check(character.encode_utf8(&mut [0; 4]), 1).is_ok();
    if text::check(&actor, NewKey::MAX_ACTOR_LEN).is_ok() {
        return actor;
    }
    actor.chars().filter(|character| is_fine(*character)).take(NewKey::MAX_ACTOR_LEN).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actor_of_any_text_is_kept_as_one_line() {
        for (name, kept) in [
            ("Anna", "Anna"),
            ("Anna \u{200f}א", "Anna א"),
            ("two\nlines", "twolines"),
            ("", ""),
            (&"W".repeat(300), &"W".repeat(200)),
            (&"א".repeat(300), &"א".repeat(200)),
        ] {
            assert_eq!(Admin::operator(name).actor, kept);
        }
    }
}
