//! Creates the records that the clauses write: complete and sealed, by an [`Authority`].

use alloc::{
    format,
    string::{String, ToString},
};
use core::sync::atomic::{AtomicU64, Ordering};

use super::expect::made;
use crate::{
    authority::{Authority, KeyEdit, NewKey},
    grant::ResourceDeclaration,
    pepper::Pepper,
    policy::Policy,
    record::{KeyRecord, Suspension, TenantId, TenantRecord},
    scope::{ScopeCatalog, ScopeDeclaration},
    tier::Tier,
    time::Timestamp,
    token::{InsecureSeededRng, KeyId},
};

/// The number of scopes of the maximum length in the catalog.
const LONG_SCOPES: usize = 20;

/// The number of kinds of resources in the catalog.
pub(super) const KINDS: usize = 8;

/// Issues and changes keys. Every run issues the same keys.
pub(super) struct Issuer {
    authority: Authority,
    /// The number of random sources drawn so far, which seeds the next one.
    drawn: AtomicU64,
}

impl Issuer {
    pub(super) fn new() -> Self {
        let authority = Authority::new(policy(), "test", &pepper().into());
        Self { authority: made(authority), drawn: AtomicU64::new(0) }
    }

    pub(super) fn authority(&self) -> &Authority {
        &self.authority
    }

    pub(super) fn tenant(&self, id: &str) -> TenantRecord {
        self.tenant_at(id, "advanced", at(0))
    }

    pub(super) fn tenant_at(&self, id: &str, tier: &str, now: Timestamp) -> TenantRecord {
        made(self.authority.create_tenant(tenant_id(id), tier, now))
    }

    pub(super) fn key(&self, tenant: &TenantRecord, name: &str) -> KeyRecord {
        self.key_at(tenant, name, at(0))
    }

    pub(super) fn key_at(&self, tenant: &TenantRecord, name: &str, now: Timestamp) -> KeyRecord {
        self.issue(tenant, NewKey::named(name), now)
    }

    pub(super) fn issue(
        &self,
        tenant: &TenantRecord,
        request: NewKey,
        now: Timestamp,
    ) -> KeyRecord {
        let mut rng = self.rng();
        made(self.authority.issue(tenant, request, now, &mut rng)).0
    }

    /// Returns a sealed key of `tenant` with this id. Issuing never gives a chosen id, so the id is set
    /// afterwards.
    pub(super) fn with_id(&self, id: KeyId, tenant: &TenantRecord, name: &str) -> KeyRecord {
        let mut key = self.key(tenant, name);
        key.id = id;
        self.authority.seals().seal_key(&mut key);
        key
    }

    /// Returns the next version of `key`, with another name.
    pub(super) fn renamed(
        &self,
        key: &KeyRecord,
        tenant: &TenantRecord,
        name: impl Into<String>,
    ) -> KeyRecord {
        self.edited(key, tenant, KeyEdit::new().name(name))
    }

    /// Returns the next version of `key`, with these changes.
    pub(super) fn edited(
        &self,
        key: &KeyRecord,
        tenant: &TenantRecord,
        edit: KeyEdit,
    ) -> KeyRecord {
        made(self.authority.edit(key, tenant, edit, at(0)))
    }

    /// Returns the next version of `tenant`, suspended for this reason.
    pub(super) fn suspended(&self, tenant: &TenantRecord, reason: &str) -> TenantRecord {
        let suspension = made(Suspension::permanent(reason));
        made(self.authority.suspend_tenant(tenant, Some(suspension)))
    }

    /// Returns a random source that gives another key than any before.
    pub(super) fn rng(&self) -> InsecureSeededRng {
        InsecureSeededRng::new(self.drawn.fetch_add(1, Ordering::Relaxed))
    }
}

pub(super) fn pepper() -> Pepper {
    made(Pepper::from_bytes(b"known to everyone who runs these"))
}

/// Returns the policy. The tier `lite` allows 1 key with scopes up to `reporting`, and `advanced` allows 5
/// keys without a ceiling. The last tier has the longest name.
pub(super) fn policy() -> Policy {
    let names = ["reporting", "operator", "operator.read"].map(ToString::to_string);
    let names = names.into_iter().chain((0..LONG_SCOPES).map(long_scope));
    let catalog = made(ScopeCatalog::new(names.map(|name| ScopeDeclaration::new(name, ""))));
    let kinds = (0..KINDS).map(|number| ResourceDeclaration::new(kind(number), ""));
    let catalog = made(catalog.with_resources(kinds));
    let lite = Tier::new("lite", 1).scopes(["reporting"]);
    let tiers = [lite, Tier::new("advanced", 5), Tier::new(longest_tier(), 1_000)];
    made(Policy::new("conform", catalog, tiers))
}

/// Returns the name of a kind of resource, of the maximum length.
pub(super) fn kind(number: usize) -> String {
    format!("{:-<31}{number}", "kind")
}

/// Returns all scopes of the maximum length.
pub(super) fn long_scopes() -> impl Iterator<Item = String> {
    (0..LONG_SCOPES).map(long_scope)
}

fn long_scope(number: usize) -> String {
    format!("{:~<98}{number:02}", "long")
}

/// Returns the longest name of a tier, in characters of four bytes.
pub(super) fn longest_tier() -> String {
    "🗝".repeat(64)
}

/// Returns the time `millis` milliseconds after the start of 2026.
pub(super) fn at(millis: i64) -> Timestamp {
    Timestamp::saturating_from_millis(1_767_225_600_000_i64.saturating_add(millis))
}

/// Creates an id under the rule for stored text. A store accepts every id that a record may hold.
pub(super) fn tenant_id(id: &str) -> TenantId {
    made(TenantId::stored(id))
}

/// Returns the id with the case of every letter after the first character changed.
pub(super) fn in_other_case(id: KeyId) -> KeyId {
    // The first character is the slot of the pepper, and must not change.
    let other = |(index, c): (usize, char)| match c {
        c if index == 0 => c,
        c if c.is_ascii_lowercase() => c.to_ascii_uppercase(),
        c => c.to_ascii_lowercase(),
    };
    let text: String = id.as_str().chars().enumerate().map(other).collect();
    made(text.parse())
}
