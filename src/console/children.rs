//! Children of keys in the API: whether the policy allows them, and which keys may have some. Without the feature
//! `children` no key has any.

use alloc::string::String;

use super::problem::invalid_field;
#[cfg(feature = "children")]
pub(super) use crate::record::ChildSwitch;
use crate::{
    decision::Principal, http::problem::Problem, keyring::Keyring, policy::Policy,
    record::KeyRecord,
};

/// Whether the holder of a key may derive children from it.
#[cfg(not(feature = "children"))]
#[derive(serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ChildSwitch {
    Off,
}

/// Returns the longest time for which a child is valid, in seconds, or `None` if no key has children.
#[cfg(feature = "children")]
pub(super) fn max_lifetime_seconds(policy: &Policy) -> Option<u64> {
    policy.max_child_lifetime().map(|lifetime| lifetime.as_secs())
}

#[cfg(not(feature = "children"))]
pub(super) fn max_lifetime_seconds(_: &Policy) -> Option<u64> {
    None
}

/// Checks that a body with the member `children` asks for what the policy allows.
pub(super) fn check(member: Option<bool>, policy: &Policy) -> Result<(), Problem> {
    if member.is_some() && max_lifetime_seconds(policy).is_none() {
        let detail = "the service does not let keys have children; leave this out";
        return Err(invalid_field("children", detail));
    }
    Ok(())
}

/// Returns whether the holder of `key` may derive children from it.
#[cfg(feature = "children")]
pub(super) fn switch_of(key: &KeyRecord) -> ChildSwitch {
    key.children()
}

#[cfg(not(feature = "children"))]
pub(super) fn switch_of(_: &KeyRecord) -> ChildSwitch {
    ChildSwitch::Off
}

/// Returns the text with which all children of `key` begin, or `None` if it has none.
#[cfg(feature = "children")]
pub(super) fn prefix_of(keyring: &Keyring, key: &KeyRecord) -> Option<String> {
    keyring.child_prefix(key)
}

#[cfg(not(feature = "children"))]
pub(super) fn prefix_of(_: &Keyring, _: &KeyRecord) -> Option<String> {
    None
}

/// Returns whether `token` is a child whose tag is right. Its signature may be wrong.
#[cfg(feature = "children")]
pub(super) fn is_child(keyring: &Keyring, token: &[u8]) -> bool {
    let format = keyring.verifier().engine().authority.children();
    format.is_some_and(|format| format.check(token).is_some())
}

#[cfg(not(feature = "children"))]
pub(super) fn is_child(_: &Keyring, _: &[u8]) -> bool {
    false
}

/// Returns whether `caller` has presented a child.
#[cfg(feature = "children")]
pub(super) fn has_presented_child(caller: &Principal) -> bool {
    caller.child().is_some()
}

#[cfg(not(feature = "children"))]
pub(super) fn has_presented_child(_: &Principal) -> bool {
    false
}
