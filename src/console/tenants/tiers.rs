//! Moving tenants to other tiers, and the effect on their keys.

use alloc::{string::String, vec::Vec};

use axum::{http::StatusCode, response::Response};
use serde::{Deserialize, Serialize};

use super::{
    super::{
        auth::Operator,
        body::{Json, json, versioned},
        extract::{IfMatch, Path, TierName},
        problem::{self, ApiResult, invalid_field},
    },
    find_version,
};
use crate::{
    audit::ChangeKind,
    keyring::{KeyringError, TermsPreview},
    record::TenantId,
    scope::Scope,
    time::Timestamp,
    token::KeyId,
};

/// The effect of another tier or other exceptions, before or after the change.
#[derive(Serialize)]
struct TierChangeView<'p> {
    tenant: &'p TenantId,
    from: &'p str,
    to: &'p str,
    held: u32,
    allowed: u32,
    /// The number of keys above `allowed`. The tenant keeps them.
    over: u32,
    narrowed: Vec<NarrowedKey<'p>>,
    ended: Vec<EndedKey<'p>>,
    version: u64,
    complete: bool,
}

#[derive(Serialize)]
struct NarrowedKey<'p> {
    id: KeyId,
    name: &'p str,
    loses: &'p [Scope],
}

#[derive(Serialize)]
struct EndedKey<'p> {
    id: KeyId,
    name: &'p str,
    ends_at: Timestamp,
}

/// Responds with the effect of a change of terms. `version` is the present version of the tenant.
pub(super) fn effect_response(preview: &TermsPreview, version: u64) -> Response {
    let narrowed = preview.affected.iter().filter(|key| !key.loses.is_empty());
    let ended = preview.affected.iter().filter_map(|key| Some((key, key.ends_at?)));
    let view = TierChangeView {
        tenant: preview.tenant.id(),
        from: preview.tenant.tier(),
        to: &preview.tier,
        held: preview.held,
        allowed: preview.terms.keys,
        over: preview.held.saturating_sub(preview.terms.keys),
        narrowed: narrowed
            .map(|key| NarrowedKey { id: key.id, name: &key.name, loses: &key.loses })
            .collect(),
        ended: ended
            .map(|(key, ends_at)| EndedKey { id: key.id, name: &key.name, ends_at })
            .collect(),
        version,
        complete: preview.complete,
    };
    versioned(version, json(StatusCode::OK, &view))
}

/// Returns the effect that a move to another tier would have.
pub(in super::super) async fn preview_tier(
    Operator { keyring, .. }: Operator,
    Path(tenant): Path<TenantId>,
    Path(TierName(tier)): Path<TierName>,
) -> ApiResult {
    let to = keyring.policy().tier(&tier).ok_or_else(problem::not_found)?;
    let preview = keyring.preview_tier(&tenant, &to.name).await?;
    Ok(effect_response(&preview, preview.tenant.version()))
}

/// A request to move a tenant to a tier.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct TierBody {
    tier: String,
}

/// Moves a tenant to another tier, and returns the effect.
pub(in super::super) async fn set_tier(
    Operator { keyring, .. }: Operator,
    Path(tenant): Path<TenantId>,
    if_match: IfMatch,
    Json(TierBody { tier }): Json<TierBody>,
) -> ApiResult {
    let tenant = find_version(&keyring, ChangeKind::SetTier, &tenant, &if_match).await?;
    let to = keyring.policy().tier(&tier);
    let to = to.ok_or_else(|| invalid_field("tier", "there is no such tier"))?;
    let preview = keyring.preview_tier(tenant.id(), &to.name).await?;
    // INVARIANT: the version is compared here as well as in the write. The preview has read the tenant again.
    // If another process has moved the tenant to `to` in between, there is no write that would compare the
    // version.
    if preview.tenant.version() != tenant.version() {
        let error = KeyringError::Conflict;
        return Err(keyring.refused(ChangeKind::SetTier, tenant.id(), None, error).await.into());
    }
    let mut version = preview.tenant.version();
    if preview.tenant.tier() != to.name {
        version = keyring.move_tenant(&tenant, &to.name).await?.tenant.version();
    }
    Ok(effect_response(&preview, version))
}
