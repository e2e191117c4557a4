//! Limits of a grant: the scopes of the tier and of the granter, and the longest lifetime.

use alloc::{string::String, vec::Vec};

use super::{Authority, ChangeError, NewKey};
use crate::{
    grant::{Grant, StoredLimits},
    record::{KeyRecord, TenantRecord},
    scope::Scope,
    tier::Terms,
    time::Timestamp,
};

impl Authority {
    /// Returns the scopes and the expiry that `request` grants, if `tenant` may have such a key.
    pub(super) fn check_request(
        &self,
        tenant: &TenantRecord,
        request: &NewKey,
        now: Timestamp,
    ) -> Result<(Vec<Scope>, Option<Timestamp>), ChangeError> {
        self.seals.check_tenant(tenant)?;
        KeyRecord::check_name(&request.name)?;
        let terms = self.terms(tenant)?;
        if let Some(owner) = request.owner.as_ref().filter(|owner| tenant.is_disabled(Some(owner)))
        {
            return Err(ChangeError::OwnerDisabled(owner.clone()));
        }
        let scopes = self.grant(&request.scopes, &[], tenant, request.granter.as_ref())?;
        self.check_limits(&request.limits, &StoredLimits::default(), request.granter.as_ref())?;
        let expires_at = request.expires.map(|expiry| expiry.at(now)).or_else(|| {
            // Without a requested expiry, a key lives as long as its tier allows.
            terms.max_lifetime.map(|lifetime| now.checked_add(lifetime).unwrap_or(Timestamp::MAX))
        });
        check_lifetime(tenant, &terms, now, expires_at)?;
        check_future(expires_at, now)?;
        check_begins(request.not_before, expires_at)?;
        Ok((scopes, expires_at))
    }

    /// Returns the canonical names of `scopes`, if both the tier's ceiling and the granter cover them.
    ///
    /// Any of the names in `held`, which the key already has, may be kept, even if the ceiling or the
    /// catalog does not contain them: keeping them adds nothing. Otherwise a key could not be narrowed after
    /// a move to a lower tier without losing everything that the tier withholds.
    pub(super) fn grant(
        &self,
        scopes: &[String],
        held: &[Scope],
        tenant: &TenantRecord,
        granter: Option<&Grant>,
    ) -> Result<Vec<Scope>, ChangeError> {
        let catalog = self.policy.catalog();
        let (held, unknown) = catalog.set_of_known(held);
        let is_kept = |name: &str| unknown.iter().any(|held| held.as_str() == name);
        let wanted = scopes.iter().filter(|name| !is_kept(name));
        let refused = |name: &String| ChangeError::UnknownScope(name.clone());
        let set = catalog.set_or_unknown(wanted).map_err(refused)?;
        let allowed = self.terms(tenant)?.scopes.join(held);
        if !allowed.covers(set) {
            return Err(ChangeError::AboveCeiling {
                tier: tenant.tier.clone(),
                scopes: catalog.names_above(set, allowed),
            });
        }
        let mut names = catalog.names(set);
        names.extend(
            unknown.iter().filter(|held| scopes.iter().any(|name| name == held.as_str())).cloned(),
        );
        names.sort();
        self.check_covered(&names, granter)?;
        Ok(names)
    }

    /// Checks that the catalog declares the kinds of `limits`, and that `granter` may pass the limits on. A kind that the
    /// key has in `held` may be kept as it is, even if the catalog does not declare it.
    ///
    /// Kinds that the catalog does not declare are above every granter, as scopes are.
    pub(super) fn check_limits(
        &self,
        limits: &StoredLimits,
        held: &StoredLimits,
        granter: Option<&Grant>,
    ) -> Result<(), ChangeError> {
        for (kind, resources) in &limits.resources {
            let is_declared = self.policy.catalog().resource(kind).is_ok();
            if !is_declared && held.of_kind(kind) != resources {
                return Err(ChangeError::UnknownResource(kind.clone()));
            }
            let is_passed_on = granter.is_none_or(|granter| {
                is_declared && granter.limits().resources.of_kind(kind).covers(resources)
            });
            if !is_passed_on {
                return Err(ChangeError::ResourcesAboveGranter(kind.clone()));
            }
        }
        if granter.is_some_and(|granter| !granter.limits().networks.covers(&limits.networks)) {
            return Err(ChangeError::NetworksAboveGranter);
        }
        Ok(())
    }

    /// Checks that `granter` covers every name that `key` holds.
    pub(super) fn check_held(
        &self,
        key: &KeyRecord,
        granter: Option<&Grant>,
    ) -> Result<(), ChangeError> {
        self.check_covered(&key.scopes, granter)
    }

    /// Checks that `granter` covers every one of `names`. A granter of another catalog covers nothing.
    ///
    /// Names that the catalog does not declare count too. During a rolling deploy another node may already
    /// know them, so a key that holds them is above every granter of this node.
    fn check_covered(&self, names: &[Scope], granter: Option<&Grant>) -> Result<(), ChangeError> {
        let Some(granter) = granter.map(Grant::scopes) else { return Ok(()) };
        let catalog = self.policy.catalog();
        let above = catalog.names_not_covered(names, granter);
        if above.is_empty() && granter.covers(catalog.none()) {
            return Ok(());
        }
        Err(ChangeError::AboveGranter(above))
    }
}

/// Checks that `expires_at` is in the future.
pub(super) fn check_future(
    expires_at: Option<Timestamp>,
    now: Timestamp,
) -> Result<(), ChangeError> {
    match expires_at {
        Some(end) if end <= now => Err(ChangeError::ExpiryInPast(end)),
        _ => Ok(()),
    }
}

/// Checks that a key that ends at `end` begins before that.
pub(super) fn check_begins(
    not_before: Option<Timestamp>,
    end: Option<Timestamp>,
) -> Result<(), ChangeError> {
    match (not_before, end) {
        (Some(start), Some(end)) if start >= end => Err(ChangeError::EndsBeforeStart),
        _ => Ok(()),
    }
}

/// Returns the time from which the longest lifetime of `key` counts once its expiry is `expires_at`.
///
/// An edit that does not extend the key leaves this time unchanged and is never rejected because of its
/// length. For an edit that extends the key, the lifetime counts from the creation of the present secret. A
/// rotated key can therefore be renewed in place.
pub(super) fn lifetime_after_edit(
    tenant: &TenantRecord,
    terms: &Terms,
    key: &KeyRecord,
    expires_at: Option<Timestamp>,
) -> Result<Timestamp, ChangeError> {
    let is_later_than = |end: Option<Timestamp>| match (expires_at, end) {
        (_, None) => false,
        (None, Some(_)) => true,
        (Some(new), Some(end)) => new > end,
    };
    if !is_later_than(key.effective_expiry(terms)) {
        return Ok(key.lifetime_from);
    }
    let secret_made_at = key.rotated_at.unwrap_or(key.created_at);
    match check_lifetime(tenant, terms, secret_made_at, expires_at) {
        Ok(()) => Ok(secret_made_at),
        // The edit moves the expiry to an earlier time, but the tier ends the key before that anyway.
        Err(_) if !is_later_than(key.expires_at) => Ok(key.lifetime_from),
        Err(error) => Err(error),
    }
}

/// Checks that a key of `tenant` may end at `expires_at`, with its lifetime counted from `from`.
fn check_lifetime(
    tenant: &TenantRecord,
    terms: &Terms,
    from: Timestamp,
    expires_at: Option<Timestamp>,
) -> Result<(), ChangeError> {
    match terms.max_lifetime {
        Some(lifetime) if expires_at.is_none_or(|end| end.saturating_since(from) > lifetime) => {
            Err(ChangeError::LifetimeTooLong {
                tier: tenant.tier.clone(),
                allowed: lifetime,
                latest: from.checked_add(lifetime).unwrap_or(Timestamp::MAX),
            })
        }
        _ => Ok(()),
    }
}
