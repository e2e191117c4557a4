//! Tenants and keys as JSON and as cells of tables.

use keyway::{
    KeyRecord, KeyState, Policy,
    rate::Rate,
    record::{Suspension, TenantRecord},
};
use serde_json::{Value, json};

use crate::{
    children::switch_text,
    table::{Table, or_dash},
    times::now,
};

/// Returns a tenant as JSON.
pub fn tenant_value(tenant: &TenantRecord) -> Value {
    json!({
        "id": tenant.id(),
        "tier": tenant.tier(),
        "exceptions": tenant.exceptions(),
        "suspension": tenant.suspension(),
        "suspended": is_suspended(tenant.suspension()),
        "disabled_owners": tenant.disabled_owners(),
        "created_at": tenant.created_at(),
        "version": tenant.version(),
    })
}

/// Returns a table of tenants.
pub fn tenant_table(tenants: &[TenantRecord]) -> Table {
    let mut table = Table::new(&["id", "tier", "exceptions", "suspended", "created"]);
    for tenant in tenants {
        table.row(vec![
            tenant.id().to_string(),
            tenant.tier().to_owned(),
            tenant.exceptions().to_string(),
            suspension_text(tenant.suspension()),
            tenant.created_at().to_string(),
        ]);
    }
    table
}

/// Returns a key as JSON: its record, its state now, and the time at which it ends.
pub fn key_value(key: &KeyRecord, tenant: &TenantRecord, policy: &Policy) -> Value {
    let mut value = json!(key);
    if let Some(fields) = value.as_object_mut() {
        let state = KeyState::of(key, tenant, policy, now());
        fields.insert("state".into(), json!(state.as_str()));
        fields.insert("effective_expires_at".into(), json!(ends(key, tenant, policy)));
    }
    value
}

/// Returns the heading of a table of keys.
pub fn key_table() -> Table {
    Table::new(&["id", "tenant", "name", "state", "scopes", "owner", "ends", "last used"])
}

/// Returns the cells of a key.
pub fn key_row(key: &KeyRecord, tenant: &TenantRecord, policy: &Policy) -> Vec<String> {
    vec![
        key.id().to_string(),
        key.tenant().to_string(),
        key.name().to_owned(),
        KeyState::of(key, tenant, policy, now()).to_string(),
        or_dash(Some(scopes_text(key))),
        or_dash(key.owner()),
        or_dash(ends(key, tenant, policy)),
        or_dash(key.last_used()),
    ]
}

/// Returns all fields of a key, for people.
pub fn key_fields(key: &KeyRecord, tenant: &TenantRecord, policy: &Policy) -> Table {
    let resources = key.resources().map(|(kind, ids)| format!("{kind} {}", json!(ids)));
    let labels = key.labels().iter().map(|(name, value)| format!("{name}={value}"));
    Table::of_fields(vec![
        ("id", key.id().to_string()),
        ("tenant", key.tenant().to_string()),
        ("name", key.name().to_owned()),
        ("masked", key.masked().to_owned()),
        ("state", KeyState::of(key, tenant, policy, now()).to_string()),
        ("scopes", or_dash(Some(scopes_text(key)))),
        ("resources", or_dash(Some(resources.collect::<Vec<_>>().join("; ")))),
        ("networks", networks_text(&json!(key.networks()))),
        ("owner", or_dash(key.owner())),
        ("children", switch_text(key)),
        ("labels", or_dash(Some(labels.collect::<Vec<_>>().join(", ")))),
        ("not before", or_dash(key.not_before())),
        ("expires", or_dash(key.expires_at())),
        ("ends", or_dash(ends(key, tenant, policy))),
        ("suspended", suspension_text(key.suspension())),
        ("created", key.created_at().to_string()),
        ("created by", or_dash(Some(key.created_by()))),
        ("rotated", or_dash(key.rotated_at())),
        ("old secrets", or_dash(key.grace_until().map(|end| format!("until {end}")))),
        ("last used", or_dash(key.last_used())),
        ("imported", if key.imported() { "yes" } else { "no" }.into()),
        ("version", key.version().to_string()),
    ])
}

/// Returns the words by which people recognize a key.
pub fn masked_key(key: &KeyRecord) -> String {
    format!("key {} `{}` of {} ({})", key.id(), key.name(), key.tenant(), key.masked())
}

/// Returns the scopes of a key, separated by spaces.
pub fn scopes_text(key: &KeyRecord) -> String {
    key.scopes().iter().map(keyway::scope::Scope::as_str).collect::<Vec<_>>().join(" ")
}

/// Returns a rate, for people.
pub fn rate_text(rate: Option<Rate>) -> String {
    rate.map_or("unlimited".into(), |rate| format!("{} per {} s", rate.requests, rate.per_seconds))
}

/// Returns networks, for people.
pub fn networks_text(networks: &Value) -> String {
    match networks.as_array() {
        None => "any".into(),
        Some(list) => list.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" "),
    }
}

fn ends(key: &KeyRecord, tenant: &TenantRecord, policy: &Policy) -> Option<keyway::Timestamp> {
    policy.terms(tenant).map_or(key.expires_at(), |terms| key.effective_expiry(&terms))
}

fn is_suspended(suspension: Option<&Suspension>) -> bool {
    suspension.is_some_and(|suspension| suspension.holds(now()))
}

/// Returns a suspension that holds, for people.
pub fn suspension_text(suspension: Option<&Suspension>) -> String {
    let holding = suspension.filter(|suspension| suspension.holds(now()));
    or_dash(holding.map(|suspension| match suspension.end() {
        Some(end) => format!("until {end}: {}", suspension.reason()),
        None => suspension.reason().to_owned(),
    }))
}
