//! The tiers of the policy.

use keyway::{Policy, Tier};
use serde_json::{Value, json};

use crate::{failure::Failure, output::Output, table::Table, views::rate_text};

/// Lists the tiers, in ascending order. It needs no store.
pub fn list(out: Output, policy: &Policy) -> Result<(), Failure> {
    let values: Vec<_> = policy.tiers().iter().map(|tier| value(policy, tier)).collect();
    out.list(&values, || {
        let mut table = Table::new(&["tier", "keys", "rate", "tenant rate", "lifetime", "scopes"]);
        for tier in policy.tiers() {
            let days = tier.max_lifetime.map(|lifetime| lifetime.as_secs() / 86_400);
            table.row(vec![
                tier.name.clone(),
                tier.keys.to_string(),
                rate_text(tier.rate),
                rate_text(tier.tenant_rate),
                days.map_or("unlimited".into(), |days| format!("{days} d")),
                scopes(policy, tier).map_or("all".into(), |names| names.join(" ")),
            ]);
        }
        table
    })
}

fn value(policy: &Policy, tier: &Tier) -> Value {
    json!({
        "name": tier.name,
        "keys": tier.keys,
        "rate": tier.rate,
        "tenant_rate": tier.tenant_rate,
        "max_lifetime_seconds": tier.max_lifetime.map(|lifetime| lifetime.as_secs()),
        "scopes": scopes(policy, tier).map_or(json!("all"), |names| json!(names)),
    })
}

/// Returns the scopes that the keys of a tier may have. `None` means all.
fn scopes(policy: &Policy, tier: &Tier) -> Option<Vec<String>> {
    let catalog = policy.catalog();
    let set = policy.ceiling(&tier.name).unwrap_or(catalog.none());
    if set == catalog.all() {
        return None;
    }
    Some(catalog.names(set).iter().map(ToString::to_string).collect())
}
