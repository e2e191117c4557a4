//! Conditions that select keys.

use alloc::string::String;

use crate::{
    decision::KeyState,
    policy::Policy,
    record::{Field, InvalidField, KeyRecord, Owner, TenantRecord, Terms},
    time::Timestamp,
};

/// Selects keys by their properties. Each further condition narrows the selection. A second owner, actor, label or state
/// replaces the first one.
///
/// ```
/// use keyway::{Timestamp, store::KeyFilter};
///
/// let soon: Timestamp = "2026-12-24T00:00:00Z".parse()?;
/// let filter = KeyFilter::all().owner("ann".parse()?).expiring_before(soon).in_state("active")?;
/// # _ = filter;
/// # Ok::<(), keyway::record::InvalidField>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct KeyFilter {
    pub(super) owner: Option<Owner>,
    created_by: Option<String>,
    label: Option<(String, String)>,
    state: Option<&'static str>,
    expiring_before: Option<Timestamp>,
    unused_since: Option<Timestamp>,
    due_before: Option<Timestamp>,
    imported: bool,
}

/// The facts about a tenant on which the state and the end of its keys depend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TenantFacts {
    tenant: TenantRecord,
    /// `None` if the policy no longer has the tenant's tier.
    terms: Option<Terms>,
    now: Timestamp,
}

impl TenantFacts {
    pub(crate) fn new(tenant: TenantRecord, policy: &Policy, now: Timestamp) -> Self {
        Self { terms: policy.terms(&tenant), tenant, now }
    }
}

impl KeyFilter {
    /// Selects all keys, in any state.
    pub fn all() -> Self {
        Self::default()
    }

    /// Selects the keys of one owner.
    pub fn owner(mut self, owner: Owner) -> Self {
        self.owner = Some(owner);
        self
    }

    /// Selects keys that this actor has issued: their [`created_by`](KeyRecord::created_by) is equal to `actor`.
    pub fn created_by(mut self, actor: impl Into<String>) -> Self {
        self.created_by = Some(actor.into());
        self
    }

    /// Selects keys with the label `name` and this value.
    pub fn label(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.label = Some((name.into(), value.into()));
        self
    }

    /// Selects keys in a state, named by a word of [`KeyState::as_str`], such as `active` or `expired`.
    ///
    /// The state depends on the tenant and the time, which a `Keyring` adds. A store that is asked
    /// directly finds no key in any state.
    ///
    /// # Errors
    ///
    /// [`InvalidField`] if there is no such state.
    pub fn in_state(mut self, state: &str) -> Result<Self, InvalidField> {
        let known = KeyState::WORDS.into_iter().find(|word| *word == state);
        self.state = Some(known.ok_or_else(|| {
            InvalidField::malformed(
                Field::State,
                "active, disabled, owner_disabled, suspended, tenant_suspended, expired, not_yet_valid or unknown_tier",
            )
        })?);
        Ok(self)
    }

    /// Selects keys that end before `time`, including those that have already ended. A key ends by its
    /// expiry or by the longest lifetime that its tenant's terms allow. A key that neither of them ends is not
    /// selected.
    pub fn expiring_before(mut self, time: Timestamp) -> Self {
        self.expiring_before = Some(self.expiring_before.map_or(time, |known| known.min(time)));
        self
    }

    /// Selects keys that were created before `time` and not used since, according to the store. A use
    /// reaches the store with the next flush (`Keyring::flush_uses`) of the node that saw it. A node that has
    /// only a `Verifier` records no uses, so a key that is used only there is
    /// selected too. An imported key that has a last
    /// use counts from that alone, which may be the one that was
    /// [imported with it](crate::ImportedKey::last_used).
    pub fn unused_since(mut self, time: Timestamp) -> Self {
        self.unused_since = Some(self.unused_since.map_or(time, |known| known.min(time)));
        self
    }

    /// Selects active keys that end before `time`, or that may be disabled before it for [not being used](crate::Tier::max_idle).
    ///
    /// The state depends on the tenant and the time, which a `Keyring` adds. A store that is asked directly finds no such key.
    pub fn due_before(mut self, time: Timestamp) -> Self {
        self.due_before = Some(self.due_before.map_or(time, |known| known.min(time)));
        self
    }

    /// Selects keys that were imported from another system and not rotated since.
    pub fn imported(mut self) -> Self {
        self.imported = true;
        self
    }

    /// Returns the condition on the owner alone.
    #[cfg(any(feature = "console", feature = "postgres"))]
    pub(crate) fn only_owner(&self) -> Self {
        Self { owner: self.owner.clone(), ..Self::default() }
    }

    /// Returns whether there is no other condition than the owner.
    #[cfg(feature = "postgres")]
    pub(super) fn is_only_owner(&self) -> bool {
        *self == self.only_owner()
    }

    /// Returns whether the result depends on the tenant: on its tier, its exceptions, its suspension or its disabled owners.
    pub(crate) fn needs_tenant(&self) -> bool {
        self.state.is_some() || self.expiring_before.is_some() || self.due_before.is_some()
    }

    /// Returns whether `key` matches, according to its own expiry. No key is in any state here.
    pub fn matches(&self, key: &KeyRecord) -> bool {
        self.matches_in(key, None)
    }

    /// Returns whether `key` of `tenant` matches at `now`.
    pub fn matches_of(
        &self,
        key: &KeyRecord,
        tenant: &TenantRecord,
        policy: &Policy,
        now: Timestamp,
    ) -> bool {
        self.matches_in(key, Some(&TenantFacts::new(tenant.clone(), policy, now)))
    }

    pub(crate) fn matches_in(&self, key: &KeyRecord, facts: Option<&TenantFacts>) -> bool {
        let terms = facts.and_then(|facts| facts.terms.as_ref());
        let expires = |before| key.effective_expiry_on(terms).is_some_and(|end| end < before);
        let is_unused = |since| match key.last_used() {
            Some(used) if key.imported => used < since,
            used => key.created_at < since && used.is_none_or(|used| used < since),
        };
        let is_in = |state: &str| {
            facts.is_some_and(|facts| {
                KeyState::on_terms(key, &facts.tenant, terms, facts.now).as_str() == state
            })
        };
        let is_due = |before| {
            let end = key.effective_expiry_on(terms);
            let ends = [end, terms.and_then(|terms| key.idle_until(terms))];
            is_in(KeyState::Active.as_str()) && ends.into_iter().flatten().any(|end| end < before)
        };
        self.owner.as_ref().is_none_or(|owner| key.owner.as_ref() == Some(owner))
            && self.created_by.as_ref().is_none_or(|actor| key.created_by == *actor)
            && self
                .label
                .as_ref()
                .is_none_or(|(name, value)| key.labels.get(name) == Some(value.as_str()))
            && self.expiring_before.is_none_or(expires)
            && self.unused_since.is_none_or(is_unused)
            && self.due_before.is_none_or(is_due)
            && (!self.imported || key.imported())
            && self.state.is_none_or(is_in)
    }
}
