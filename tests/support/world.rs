//! A small service: its policy, its authority, its tenants.

#![allow(dead_code, reason = "each test file uses some of these")]

#[path = "overheard.rs"]
pub(crate) mod overheard;

use std::sync::Arc;

use keyway::{
    authority::{Authority, NewKey},
    decision::{Denial, Principal, decide},
    pepper::{Pepper, Peppers},
    policy::Policy,
    record::{KeyRecord, TenantRecord},
    scope::{ScopeCatalog, ScopeDeclaration},
    tier::Tier,
    time::Timestamp,
};

use self::overheard::RevealKnown as _;
use super::random::Seeded;

pub(crate) const DAY: i64 = 86_400_000;

/// `millis` after the start of 2026.
pub(crate) fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(1_767_225_600_000 + millis).unwrap()
}

pub(crate) fn pepper(byte: u8) -> Pepper {
    Pepper::from_bytes(&[byte; 32]).unwrap()
}

pub(crate) fn catalog(names: &[&str]) -> ScopeCatalog {
    ScopeCatalog::new(names.iter().map(|name| ScopeDeclaration::new(*name, ""))).unwrap()
}

pub(crate) const SCOPES: [&str; 5] =
    ["operator", "operator.jobs", "operator.read", "reporting", "user"];

/// `lite` may do anything but `user`, and both tiers keep keys for as long as they like.
pub(crate) fn policy() -> Policy {
    let lite = Tier::new("lite", 1).scopes(["operator", "reporting"]);
    Policy::new("mm", catalog(&SCOPES), [lite, Tier::new("advanced", 5)]).unwrap()
}

pub(crate) fn authority_under(peppers: impl Into<Peppers>) -> Authority {
    Authority::new(policy(), "live", &peppers.into()).unwrap()
}

/// The authority under a pepper of sevens.
pub(crate) fn authority() -> Authority {
    authority_under(pepper(7))
}

pub(crate) fn tenant(authority: &Authority, id: &str, tier: &str) -> TenantRecord {
    authority.create_tenant(id.parse().unwrap(), tier, at(0)).unwrap()
}

/// A key and the text of its token.
pub(crate) fn issue(
    authority: &Authority,
    tenant: &TenantRecord,
    request: NewKey,
    seed: u64,
) -> (KeyRecord, String) {
    let (key, token) = authority.issue(tenant, request, at(0), &mut Seeded::new(seed)).unwrap();
    (key, token.reveal_known().to_string())
}

/// The whole way from a token's text to a decision.
pub(crate) fn present(
    authority: &Authority,
    tenant: &TenantRecord,
    key: &KeyRecord,
    text: &str,
    now: Timestamp,
) -> Result<Principal, Denial> {
    let claim = authority.check(text.as_bytes()).map_err(Denial::Rejected)?;
    decide(&claim, &Arc::new(authority.resolve(key, tenant).unwrap()), now)
}
