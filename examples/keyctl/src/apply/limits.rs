//! The limits of the tenant as the manifest leaves it, checked before anything is changed.

use keyway::{KeyRecord, Policy, record::TenantRecord};

use super::{
    manifest::{KeySpec, TenantSpec},
    plan::Plan,
};
use crate::{exceptions::ExceptionLimits, times::now};

/// Adds a problem for each key that the tenant's tier and exceptions do not allow.
pub fn check_limits(
    policy: &Policy,
    spec: &TenantSpec,
    limits: &ExceptionLimits,
    record: Option<&TenantRecord>,
    keys: &[KeyRecord],
    plan: &mut Plan,
) {
    let tier = policy.tier(&spec.tier);
    let of_tier = tier.and_then(|tier| tier.max_lifetime).map(|lifetime| lifetime.as_secs());
    let lifetime = limits.max_lifetime_seconds.unwrap_or(of_tier);
    for key in &spec.keys {
        let held = keys.iter().find(|held| held.name() == key.name);
        check_scopes(policy, spec, limits, key, held, plan);
        let field = || format!("{}.expires_at", key.place);
        match key.expires_at {
            Some(None)
                if lifetime.is_some() && held.is_none_or(|held| held.expires_at().is_some()) =>
            {
                let message = "the tier limits the lifetime: leave the field out, or name a time";
                plan.problem(field(), message);
            }
            Some(Some(end)) if held.is_none_or(|held| held.expires_at() != Some(end)) => {
                if end <= now() {
                    plan.problem(field(), format!("{end} is not in the future"));
                }
                // The lifetime of a key that exists counts from its creation or rotation, and is checked by the edit.
                let left = end.saturating_since(now()).as_secs();
                if let Some(limit) = lifetime.filter(|limit| held.is_none() && left > *limit) {
                    plan.problem(
                        field(),
                        format!("the tier allows a lifetime of {limit} s at most"),
                    );
                }
            }
            _ => {}
        }
        if let (None, Some(Some(owner)), Some(record)) = (held, &key.owner, record)
            && record.disabled_owners().contains(owner)
        {
            plan.problem(
                format!("{}.owner", key.place),
                format!("the owner `{owner}` is disabled"),
            );
        }
    }
}

fn check_scopes(
    policy: &Policy,
    spec: &TenantSpec,
    limits: &ExceptionLimits,
    key: &KeySpec,
    held: Option<&KeyRecord>,
    plan: &mut Plan,
) {
    let catalog = policy.catalog();
    let (Some(wanted), Some(ceiling)) = (key.scopes, limits.ceiling(policy, &spec.tier)) else {
        return;
    };
    // A key keeps the scopes that it holds, even if its tier no longer allows them.
    let held = held.into_iter().flat_map(KeyRecord::scopes);
    let held = held.filter_map(|scope| catalog.set([scope]).ok());
    let allowed = held.fold(ceiling, keyway::scope::ScopeSet::join);
    let is_above =
        |name: &keyway::scope::Scope| catalog.set([name]).is_ok_and(|scope| !allowed.covers(scope));
    let above: Vec<_> = catalog.names(wanted).into_iter().filter(is_above).collect();
    if !above.is_empty() {
        let names: Vec<_> = above.iter().map(|scope| scope.as_str()).collect();
        let message = format!("tier `{}` does not allow {}", spec.tier, names.join(", "));
        plan.problem(format!("{}.scopes", key.place), message);
    }
}
