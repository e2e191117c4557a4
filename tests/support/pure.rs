//! A small service with its policy, authority and tenants.

use std::sync::Arc;

use keyway::{
    KeyRecord, NewKey, Pepper, Peppers, Policy, Principal, ScopeCatalog, Tier, Timestamp,
    lowlevel::{Authority, Denial, decide},
    record::TenantRecord,
    scope::ScopeDeclaration,
};

use super::{
    overheard::{self, RevealKnown as _},
    random::Seeded,
};

pub(crate) const DAY: i64 = 86_400_000;

/// Returns the time `millis` milliseconds after the start of 2026.
pub(crate) fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(1_767_225_600_000 + millis).unwrap()
}

pub(crate) fn pepper(byte: u8) -> Pepper {
    overheard::known_pepper(&[byte; 32]);
    Pepper::from_bytes(&[byte; 32]).unwrap()
}

pub(crate) fn catalog(names: &[&str]) -> ScopeCatalog {
    ScopeCatalog::new(names.iter().map(|name| ScopeDeclaration::new(*name, ""))).unwrap()
}

pub(crate) const SCOPES: [&str; 5] =
    ["operator", "operator.jobs", "operator.read", "reporting", "user"];

/// Returns a policy in which `lite` allows every scope but `user`. Neither tier limits the lifetime of keys.
pub(crate) fn policy() -> Policy {
    let lite = Tier::new("lite", 1).scopes(["operator", "reporting"]);
    Policy::new("mm", catalog(&SCOPES), [lite, Tier::new("advanced", 5)]).unwrap()
}

pub(crate) fn authority_under(peppers: impl Into<Peppers>) -> Authority {
    Authority::new(policy(), "live", &peppers.into()).unwrap()
}

/// Returns the authority under a pepper of sevens.
pub(crate) fn authority() -> Authority {
    authority_under(pepper(7))
}

pub(crate) fn tenant(authority: &Authority, id: &str, tier: &str) -> TenantRecord {
    authority.create_tenant(id.parse().unwrap(), tier, at(0)).unwrap()
}

/// Issues a key, and returns it with the text of its token.
pub(crate) fn issue(
    authority: &Authority,
    tenant: &TenantRecord,
    request: NewKey,
    seed: u64,
) -> (KeyRecord, String) {
    let (key, token) = authority.issue(tenant, request, at(0), &mut Seeded::new(seed)).unwrap();
    (key, token.reveal_known().to_string())
}

/// Takes a token's text through all steps to a decision.
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
