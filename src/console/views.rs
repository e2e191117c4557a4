//! Keys and tenants as the API returns them. `openapi.json` describes the fields. Only [`IssuedView`] contains
//! a token. No other view contains any part of a secret.

use alloc::{
    collections::BTreeMap,
    string::{String, ToString},
    vec::Vec,
};

use serde::Serialize;

use super::children::{ChildSwitch, switch_of};
use crate::{
    decision::KeyState,
    grant::{Networks, Resources},
    keyring::QuotaUse,
    policy::Policy,
    record::{Exceptions, KeyRecord, Labels, Owner, RecordError, Suspension, TenantRecord},
    scope::Scope,
    store::BrokenRow,
    time::Timestamp,
    token::KeyId,
};

#[derive(Serialize)]
pub(super) struct KeyView<'k> {
    id: KeyId,
    tenant: &'k str,
    name: &'k str,
    masked: &'k str,
    imported: bool,
    scopes: &'k [Scope],
    labels: &'k Labels,
    /// Kinds that are missing have no resources.
    resources: BTreeMap<&'k str, &'k Resources>,
    networks: &'k Networks,
    enabled: bool,
    state: &'static str,
    suspension: Option<&'k Suspension>,
    not_before: Option<Timestamp>,
    expires_at: Option<Timestamp>,
    effective_expires_at: Option<Timestamp>,
    idle_until: Option<Timestamp>,
    created_at: Timestamp,
    created_by: &'k str,
    owner: Option<&'k str>,
    rotated_at: Option<Timestamp>,
    grace_until: Option<Timestamp>,
    last_used: Option<Timestamp>,
    children: ChildSwitch,
    version: u64,
}

impl<'k> KeyView<'k> {
    /// Returns the view of `key`, which `tenant` holds, at `now`.
    pub(super) fn of(
        key: &'k KeyRecord,
        tenant: &TenantRecord,
        policy: &Policy,
        now: Timestamp,
    ) -> Self {
        let terms = policy.terms(tenant);
        Self {
            id: key.id(),
            tenant: key.tenant().as_str(),
            name: key.name(),
            masked: key.masked(),
            imported: key.imported(),
            scopes: key.scopes(),
            labels: key.labels(),
            resources: key.resources().collect(),
            networks: key.networks(),
            enabled: key.enabled(),
            state: KeyState::of(key, tenant, policy, now).as_str(),
            suspension: key.suspension().filter(|suspension| suspension.holds(now)),
            not_before: key.not_before(),
            expires_at: key.expires_at(),
            effective_expires_at: key.effective_expiry_on(terms.as_ref()),
            idle_until: terms.and_then(|terms| key.idle_until(&terms)),
            created_at: key.created_at(),
            created_by: key.created_by(),
            owner: key.owner().map(Owner::as_str),
            rotated_at: key.rotated_at(),
            grace_until: key.grace_until().filter(|until| now < *until),
            last_used: key.last_used(),
            children: switch_of(key),
            version: key.version(),
        }
    }
}

/// A page of keys.
#[derive(Serialize)]
pub(super) struct KeysView<'k> {
    pub(super) items: Vec<KeyView<'k>>,
    pub(super) next: Option<String>,
    pub(super) held: u32,
    pub(super) allowed: u32,
    pub(super) broken: Vec<BrokenView>,
}

/// The result of a search.
#[derive(Serialize)]
pub(super) struct FoundView<'k> {
    pub(super) items: Vec<KeyView<'k>>,
    pub(super) broken: Vec<BrokenView>,
}

/// A key with a new secret.
#[derive(Serialize)]
pub(super) struct IssuedView<'t> {
    pub(super) key: KeyView<'t>,
    pub(super) token: Option<&'t str>,
    /// The text with which the children of the key begin. It is not secret.
    pub(super) child_prefix: Option<String>,
    pub(super) replayed: bool,
}

/// A key or a tenant whose record cannot be read, or was changed in the store by another party.
#[derive(Serialize)]
pub(super) struct BrokenView {
    id: Option<String>,
    problem: &'static str,
}

/// Returns the views of the rows of a page that cannot be shown.
pub(super) fn broken(rows: &[BrokenRow]) -> Vec<BrokenView> {
    let view = |row: &BrokenRow| BrokenView {
        id: if row.is_key() {
            row.key().map(|id| id.to_string())
        } else {
            row.tenant().map(ToString::to_string)
        },
        problem: match row.problem() {
            RecordError::UnreadableKey(_) | RecordError::UnreadableTenant => "unreadable",
            _ => "tampered",
        },
    };
    rows.iter().map(view).collect()
}

#[derive(Serialize)]
pub(super) struct TenantView<'t> {
    id: &'t str,
    tier: &'t str,
    state: &'static str,
    suspension: Option<&'t Suspension>,
    held: u32,
    allowed: u32,
    created_at: Timestamp,
    /// Only operators change tenants, so only they get the exceptions and the version.
    #[serde(skip_serializing_if = "Option::is_none")]
    exceptions: Option<&'t Exceptions>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u64>,
}

impl<'t> TenantView<'t> {
    /// Returns the view of a tenant at `now`, for an operator.
    pub(super) fn of(quota: &'t QuotaUse, now: Timestamp) -> Self {
        let QuotaUse { tenant, held, allowed } = quota;
        let suspension = tenant.suspension().filter(|suspension| suspension.holds(now));
        Self {
            id: tenant.id().as_str(),
            tier: tenant.tier(),
            state: if suspension.is_some() { "suspended" } else { "active" },
            suspension,
            held: *held,
            allowed: *allowed,
            created_at: tenant.created_at(),
            exceptions: Some(tenant.exceptions()),
            version: Some(tenant.version()),
        }
    }

    /// Returns the view for an administrator of the tenant.
    pub(super) fn for_tenant(self) -> Self {
        Self { exceptions: None, version: None, ..self }
    }
}

/// A page of tenants.
#[derive(Serialize)]
pub(super) struct TenantsView<'t> {
    pub(super) items: Vec<TenantView<'t>>,
    pub(super) next: Option<String>,
    pub(super) broken: Vec<BrokenView>,
}
