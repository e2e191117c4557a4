//! The difference between a key and its description in the manifest.

use std::collections::BTreeMap;

use keyway::{
    KeyEdit, KeyRecord, NewKey, Policy,
    grant::{Networks, Resources},
    record::Labels,
};
use serde_json::{Value, json};

use super::manifest::KeySpec;

/// A property that changes.
#[derive(Clone, Debug)]
pub struct Change {
    /// The name of the property.
    pub field: &'static str,
    /// The value that it has.
    pub from: Value,
    /// The value that it gets.
    pub to: Value,
}

impl Change {
    /// Creates a change of a property.
    pub fn new(field: &'static str, from: impl Into<Value>, to: impl Into<Value>) -> Self {
        Self { field, from: from.into(), to: to.into() }
    }
}

/// Returns the changes that make `key` what `spec` describes, and the edit that makes them.
pub fn changes(spec: &KeySpec, key: &KeyRecord, policy: &Policy) -> (Vec<Change>, KeyEdit) {
    let (mut changes, mut edit) = (Vec::new(), KeyEdit::new());
    if let Some(set) = spec.scopes {
        let names = policy.catalog().names(set);
        // A key may also hold names that the policy no longer declares. They are a difference.
        if names != key.scopes() {
            changes.push(Change::new("scopes", json!(key.scopes()), json!(names)));
            edit = edit.scopes(names.iter().map(|scope| scope.as_str()));
        }
    }
    if let Some(wanted) = &spec.resources {
        let held = granted(key.resources());
        let wanted = granted(wanted.iter().map(|(kind, resources)| (kind.as_str(), resources)));
        if wanted != held {
            changes.push(Change::new("resources", json!(held), json!(wanted)));
            for kind in held.keys().filter(|kind| !wanted.contains_key(*kind)) {
                edit = edit.resources(kind, Resources::Nothing);
            }
            for (kind, resources) in wanted {
                edit = edit.resources(kind, resources.clone());
            }
        }
    }
    if let Some(networks) = spec.networks.as_ref().filter(|networks| *networks != key.networks()) {
        changes.push(Change::new("networks", json!(key.networks()), json!(networks)));
        edit = edit.networks(networks.clone());
    }
    if let Some(labels) = spec.labels.as_ref().filter(|labels| *labels != key.labels()) {
        changes.push(Change::new("labels", json!(key.labels()), json!(labels)));
        edit = edit.labels(labels.clone());
    }
    if let Some(owner) = spec.owner.as_ref().filter(|owner| owner.as_ref() != key.owner()) {
        changes.push(Change::new("owner", json!(key.owner()), json!(owner)));
        edit = edit.owner(owner.clone());
    }
    if let Some(end) = spec.expires_at.filter(|end| *end != key.expires_at()) {
        changes.push(Change::new("expires_at", json!(key.expires_at()), json!(end)));
        edit = edit.expires_at(end);
    }
    if let Some(enabled) = spec.enabled.filter(|enabled| *enabled != key.enabled()) {
        changes.push(Change::new("enabled", key.enabled(), enabled));
        edit = edit.enabled(enabled);
    }
    (changes, edit)
}

/// Returns the kinds with any resource. A kind without one is the same as a kind that is left out.
fn granted<'a>(
    kinds: impl Iterator<Item = (&'a str, &'a Resources)>,
) -> BTreeMap<&'a str, &'a Resources> {
    kinds.filter(|(_, resources)| **resources != Resources::Nothing).collect()
}

/// Returns the request for a key that does not exist, and its properties.
pub fn creation(spec: &KeySpec, policy: &Policy) -> (Vec<Change>, NewKey) {
    let names = policy.catalog().names(spec.scopes.unwrap_or(policy.catalog().none()));
    let mut request = NewKey::named(&spec.name).scopes(names.iter().map(|scope| scope.as_str()));
    let mut properties = vec![Change::new("scopes", Value::Null, json!(names))];
    if let Some(resources) = &spec.resources {
        properties.push(Change::new("resources", Value::Null, json!(resources)));
        for (kind, resources) in resources {
            request = request.resources(kind, resources.clone());
        }
    }
    if let Some(networks) = spec.networks.as_ref().filter(|networks| **networks != Networks::Any) {
        properties.push(Change::new("networks", Value::Null, json!(networks)));
        request = request.networks(networks.clone());
    }
    if let Some(labels) = spec.labels.as_ref().filter(|labels| !Labels::is_empty(labels)) {
        properties.push(Change::new("labels", Value::Null, json!(labels)));
        request = request.labels(labels.clone());
    }
    if let Some(Some(owner)) = &spec.owner {
        properties.push(Change::new("owner", Value::Null, json!(owner)));
        request = request.owner(owner.clone());
    }
    if let Some(Some(end)) = spec.expires_at {
        properties.push(Change::new("expires_at", Value::Null, json!(end)));
        request = request.expires_at(end);
    }
    if spec.enabled == Some(false) {
        properties.push(Change::new("enabled", Value::Null, false));
    }
    (properties, request)
}
