//! The description of an active key (RFC 7662, section 2.2).

#[cfg(feature = "children")]
use alloc::string::ToString as _;
use alloc::{collections::BTreeMap, string::String, vec::Vec};

use serde::Serialize;

use crate::{
    decision::Principal,
    grant::{Networks, ResourceLimits, Resources},
    policy::Policy,
    record::{Labels, Owner},
    scope::Scope,
    time::Timestamp,
    token::KeyId,
};

/// The members of RFC 7662, and those of keyway with a prefix.
#[derive(Serialize)]
struct Members<'k> {
    active: bool,
    scope: String,
    client_id: &'k str,
    sub: &'k str,
    token_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    exp: Option<i64>,
    iss: &'k str,
    jti: KeyId,
    #[serde(skip_serializing_if = "Option::is_none")]
    keyway_owner: Option<&'k Owner>,
    #[serde(skip_serializing_if = "Labels::is_empty")]
    keyway_attributes: &'k Labels,
    #[serde(skip_serializing_if = "Option::is_none")]
    keyway_resources: Option<BTreeMap<&'k str, &'k Resources>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    keyway_networks: Option<&'k Networks>,
    #[cfg(feature = "children")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    aud: Vec<String>,
    #[cfg(feature = "children")]
    #[serde(skip_serializing_if = "Option::is_none")]
    keyway_child: Option<String>,
}

/// Returns the body for `key`, which may be used at `now`.
///
/// INVARIANT: `scope` has implied scopes too, since resource servers compare names. Without them they would refuse a
/// key that a guard admits.
pub(super) fn describe(key: &Principal, policy: &Policy, now: Timestamp) -> String {
    let catalog = policy.catalog();
    let scopes: Vec<_> = catalog.all_names(key.scopes()).map(Scope::as_str).collect();
    let limits = key.limits();
    let resources = limits.filter(|limits| limits.resources != ResourceLimits::Unlimited);
    let of_kind = |kind| resources.map(|limits| (kind, limits.resources.of_kind(kind)));
    let members = Members {
        active: true,
        scope: scopes.join(" "),
        client_id: key.tenant(),
        sub: key.tenant(),
        token_type: "Bearer",
        // Rounded down, so that no resource server uses the key for longer.
        exp: key.token_expiry(now).map(|expiry| expiry.as_millis().div_euclid(1_000)),
        iss: policy.issuer(),
        jti: key.key_id(),
        keyway_owner: key.owner(),
        keyway_attributes: key.attributes(),
        keyway_resources: resources
            .map(|_| catalog.resource_kinds().names().filter_map(of_kind).collect()),
        keyway_networks: limits
            .map(|limits| &limits.networks)
            .filter(|networks| **networks != Networks::Any),
        #[cfg(feature = "children")]
        aud: key.child().iter().flat_map(|child| child.audience()).collect(),
        #[cfg(feature = "children")]
        keyway_child: key.child().map(|child| child.id().to_string()),
    };
    // Serializing this type never fails. Without a body the response is not active.
    serde_json::to_string(&members).unwrap_or_default()
}
