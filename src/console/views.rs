//! Keys and tenants as the API tells them. No part of a secret is in any of it, but in [`Issued`].

use alloc::{
    string::{String, ToString},
    vec::Vec,
};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    decision::KeyState,
    keyring::QuotaUse,
    record::{KeyRecord, Labels, Suspension, TenantRecord},
    scope::Scope,
    time::Timestamp,
    token::KeyId,
};

/// A key.
#[derive(Serialize, ToSchema)]
#[schema(as = Key)]
pub(super) struct KeyView<'k> {
    #[schema(value_type = String)]
    id: KeyId,
    tenant: &'k str,
    name: &'k str,
    /// The masked token.
    hint: &'k str,
    /// Another system made its present secret.
    imported: bool,
    #[schema(value_type = Vec<String>)]
    scopes: &'k [Scope],
    #[schema(value_type = alloc::collections::BTreeMap<String, String>)]
    labels: &'k Labels,
    enabled: bool,
    state: StateView,
    suspension: Option<SuspensionView>,
    #[schema(value_type = Option<String>, format = DateTime)]
    not_before: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    created_by: &'k str,
    #[schema(value_type = Option<String>, format = DateTime)]
    rotated_at: Option<Timestamp>,
    /// Until when the secret before the last rotation is accepted at the latest.
    #[schema(value_type = Option<String>, format = DateTime)]
    overlap_until: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    last_used: Option<Timestamp>,
    /// Grows with every change; the `ETag` is this in quotes.
    version: u64,
}

impl<'k> KeyView<'k> {
    /// `key`, which `tenant` holds, at `now`.
    pub(super) fn of(key: &'k KeyRecord, tenant: &TenantRecord, now: Timestamp) -> Self {
        Self {
            id: key.id(),
            tenant: key.tenant().as_str(),
            name: key.name(),
            hint: key.hint(),
            imported: key.imported(),
            scopes: key.scopes(),
            labels: key.labels(),
            enabled: key.enabled(),
            state: KeyState::of(key, tenant, now).into(),
            suspension: SuspensionView::of(key.suspension(), now),
            not_before: key.not_before(),
            expires_at: key.expires_at(),
            created_at: key.created_at(),
            created_by: key.created_by(),
            rotated_at: key.rotated_at(),
            overlap_until: key.overlap_until().filter(|until| now < *until),
            last_used: key.last_used(),
            version: key.version(),
        }
    }
}

/// Scopes by their names.
pub(super) fn names(scopes: &[Scope]) -> Vec<String> {
    scopes.iter().map(ToString::to_string).collect()
}

/// What a key is now. Of several it is the first: `tenant_suspended`, `suspended`, `disabled`,
/// `not_yet_valid`, `expired`, `active`.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = KeyState)]
pub(super) enum StateView {
    Active,
    Disabled,
    Suspended,
    TenantSuspended,
    Expired,
    NotYetValid,
}

impl From<KeyState> for StateView {
    fn from(state: KeyState) -> Self {
        match state {
            KeyState::TenantSuspended { .. } => Self::TenantSuspended,
            KeyState::KeySuspended { .. } => Self::Suspended,
            KeyState::Disabled => Self::Disabled,
            KeyState::NotYetValid { .. } => Self::NotYetValid,
            KeyState::Expired { .. } => Self::Expired,
            KeyState::Active => Self::Active,
        }
    }
}

/// An operator's ban that holds.
#[derive(Serialize, ToSchema)]
#[schema(as = Suspension)]
pub(super) struct SuspensionView {
    reason: String,
    /// When it ends by itself.
    #[schema(value_type = Option<String>, format = DateTime)]
    until: Option<Timestamp>,
}

impl SuspensionView {
    pub(super) fn of(suspension: Option<&Suspension>, now: Timestamp) -> Option<Self> {
        let suspension = suspension.filter(|suspension| suspension.holds(now))?;
        Some(Self { reason: suspension.reason().into(), until: suspension.end() })
    }
}

/// A page of keys.
#[derive(Serialize, ToSchema)]
#[schema(as = Keys)]
pub(super) struct KeysView<'k> {
    pub(super) items: Vec<KeyView<'k>>,
    /// What `after` is to be for the next page, if there is one.
    pub(super) next: Option<String>,
    /// How many keys the tenant holds.
    pub(super) held: u32,
    /// How many its tier allows.
    pub(super) allowed: u32,
}

/// The keys that a text finds.
#[derive(Serialize, ToSchema)]
#[schema(as = FoundKeys)]
pub(super) struct FoundView<'k> {
    pub(super) items: Vec<KeyView<'k>>,
}

/// A key with a new secret.
#[derive(Serialize, ToSchema)]
#[schema(as = IssuedKey)]
pub(super) struct IssuedView<'t> {
    pub(super) key: KeyView<'t>,
    /// The token, which is never told again.
    pub(super) token: Option<&'t str>,
    /// The request was a repetition, and its first answer had the token.
    pub(super) replayed: bool,
}

/// A tenant.
#[derive(Serialize, ToSchema)]
#[schema(as = Tenant)]
pub(super) struct TenantView {
    id: String,
    tier: String,
    state: TenantState,
    suspension: Option<SuspensionView>,
    /// How many keys it holds.
    held: u32,
    /// How many its tier allows.
    allowed: u32,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    version: u64,
}

impl TenantView {
    pub(super) fn of(quota: &QuotaUse, now: Timestamp) -> Self {
        let tenant = &quota.tenant;
        let suspension = SuspensionView::of(tenant.suspension(), now);
        Self {
            id: tenant.id().to_string(),
            tier: tenant.tier().into(),
            state: TenantState::of(suspension.as_ref()),
            suspension,
            held: quota.held,
            allowed: quota.allowed,
            created_at: tenant.created_at(),
            version: tenant.version(),
        }
    }
}

/// What a tenant is now.
#[derive(Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum TenantState {
    Active,
    Suspended,
}

impl TenantState {
    pub(super) fn of(suspension: Option<&SuspensionView>) -> Self {
        if suspension.is_some() { Self::Suspended } else { Self::Active }
    }
}

/// A page of tenants.
#[derive(Serialize, ToSchema)]
#[schema(as = Tenants)]
pub(super) struct TenantsView {
    pub(super) items: Vec<TenantView>,
    /// What `after` is to be for the next page, if there is one.
    pub(super) next: Option<String>,
}
