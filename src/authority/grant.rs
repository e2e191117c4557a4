//! What may be granted: at most what the tier allows and the granter has, for as long as the tier
//! says.

use alloc::{string::String, vec::Vec};

use super::{Authority, ChangeError, NewKey};
use crate::{
    record::{KeyRecord, TenantRecord},
    scope::{Scope, ScopeSet},
    tier::Tier,
    time::Timestamp,
};

/// What was asked for, as far as it depends on the tenant.
pub(super) struct Granted {
    pub(super) scopes: Vec<Scope>,
    pub(super) expires_at: Option<Timestamp>,
}

impl Authority {
    /// What `request` grants, if `tenant` may have such a key.
    pub(super) fn check_request(
        &self,
        tenant: &TenantRecord,
        request: &NewKey,
        now: Timestamp,
    ) -> Result<Granted, ChangeError> {
        self.seals.check_tenant(tenant)?;
        KeyRecord::check_name(&request.name)?;
        let tier = self.tier(&tenant.tier)?;
        let scopes = self.grant(&request.scopes, tenant, request.granter)?;
        let expires_at = request.expires_at.or_else(|| {
            // Without a wish, a key lives as long as its tier allows.
            tier.max_lifetime.map(|lifetime| now.checked_add(lifetime).unwrap_or(Timestamp::MAX))
        });
        check_times(tier, request.not_before, expires_at, now, now)?;
        Ok(Granted { scopes, expires_at })
    }

    /// The canonical names of `scopes`, if both the tier's ceiling and the granter cover them.
    pub(super) fn grant(
        &self,
        scopes: &[String],
        tenant: &TenantRecord,
        granter: Option<ScopeSet>,
    ) -> Result<Vec<Scope>, ChangeError> {
        let catalog = self.policy.catalog();
        let set = catalog.set(scopes)?;
        let ceiling = self
            .policy
            .ceiling(&tenant.tier)
            .ok_or_else(|| ChangeError::UnknownTier(tenant.tier.clone()))?;
        if !ceiling.covers(set) {
            return Err(ChangeError::AboveCeiling {
                tier: tenant.tier.clone(),
                scopes: catalog.names_above(set, ceiling),
            });
        }
        if let Some(granter) = granter {
            self.check_granter(set, granter)?;
        }
        Ok(catalog.names(set))
    }

    pub(super) fn check_granter(
        &self,
        set: ScopeSet,
        granter: ScopeSet,
    ) -> Result<(), ChangeError> {
        if granter.covers(set) {
            return Ok(());
        }
        Err(ChangeError::AboveGranter(self.policy.catalog().names_above(set, granter)))
    }
}

/// Succeeds if a key of `tier` may live from `not_before` to `expires_at`.
pub(super) fn check_times(
    tier: &Tier,
    not_before: Option<Timestamp>,
    expires_at: Option<Timestamp>,
    created_at: Timestamp,
    now: Timestamp,
) -> Result<(), ChangeError> {
    let too_long =
        |lifetime| ChangeError::LifetimeTooLong { tier: tier.name.clone(), allowed: lifetime };
    let Some(expires_at) = expires_at else {
        return tier.max_lifetime.map_or(Ok(()), |lifetime| Err(too_long(lifetime)));
    };
    if expires_at <= now {
        return Err(ChangeError::ExpiryInPast(expires_at));
    }
    if not_before.is_some_and(|start| start >= expires_at) {
        return Err(ChangeError::EndsBeforeStart);
    }
    match tier.max_lifetime {
        Some(lifetime) if expires_at.saturating_since(created_at) > lifetime => {
            Err(too_long(lifetime))
        }
        _ => Ok(()),
    }
}
