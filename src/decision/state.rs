//! The state of a key at a given time.

use core::fmt;

use crate::{
    policy::Policy,
    record::{KeyRecord, Suspension, TenantRecord, Terms},
    time::Timestamp,
};

/// The state of a key at a given time. If several states apply, the first in this order is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KeyState {
    /// An operator has suspended the tenant.
    TenantSuspended {
        /// When the suspension ends automatically. `None` means that it does not.
        until: Option<Timestamp>,
    },
    /// An operator has suspended the key.
    KeySuspended {
        /// When the suspension ends automatically. `None` means that it does not.
        until: Option<Timestamp>,
    },
    /// The owner of the key is disabled in the tenant, and with it all keys of that owner.
    OwnerDisabled,
    /// The tenant has switched the key off.
    Disabled,
    /// The key is not valid yet.
    NotYetValid {
        /// When the key becomes valid.
        from: Timestamp,
    },
    /// The key has expired.
    Expired {
        /// When the key expired.
        at: Timestamp,
    },
    /// The policy no longer has the tenant's tier, so it is unknown how long the key lives and what it may
    /// do. Verification is unavailable until the tier is back or the tenant is moved.
    UnknownTier,
    /// The key can be used.
    Active,
}

impl KeyState {
    /// All words of [`as_str`](Self::as_str).
    pub(crate) const WORDS: [&str; 8] = [
        "active",
        "disabled",
        "owner_disabled",
        "suspended",
        "tenant_suspended",
        "expired",
        "not_yet_valid",
        "unknown_tier",
    ];

    /// Returns the state of `key`, which `tenant` holds, at `now`. A key expires at its own expiry, or at the
    /// end of the longest lifetime that `policy` and the tenant's exceptions allow, whichever is earlier.
    pub fn of(key: &KeyRecord, tenant: &TenantRecord, policy: &Policy, now: Timestamp) -> Self {
        Self::on_terms(key, tenant, policy.terms(tenant).as_ref(), now)
    }

    /// Returns the state of `key` while `terms` hold for its tenant. They are `None` if the policy no longer has its tier.
    pub(crate) fn on_terms(
        key: &KeyRecord,
        tenant: &TenantRecord,
        terms: Option<&Terms>,
        now: Timestamp,
    ) -> Self {
        let facts = Facts {
            tenant_suspension: tenant.suspension.as_ref(),
            key_suspension: key.suspension.as_ref(),
            owner_is_disabled: tenant.is_disabled(key.owner.as_ref()),
            enabled: key.enabled,
            not_before: key.not_before,
            expires_at: key.effective_expiry_on(terms),
        };
        match facts.state(now) {
            Self::Active if terms.is_none() => Self::UnknownTier,
            state => state,
        }
    }

    /// Returns the state as one word, for programs: `active`, `disabled`, `owner_disabled`, `suspended`,
    /// `tenant_suspended`, `expired`, `not_yet_valid` or `unknown_tier`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TenantSuspended { .. } => "tenant_suspended",
            Self::KeySuspended { .. } => "suspended",
            Self::OwnerDisabled => "owner_disabled",
            Self::Disabled => "disabled",
            Self::NotYetValid { .. } => "not_yet_valid",
            Self::Expired { .. } => "expired",
            Self::UnknownTier => "unknown_tier",
            Self::Active => "active",
        }
    }

    /// Returns whether the key can be used.
    pub fn is_active(self) -> bool {
        self == Self::Active
    }
}

/// Writes the state in words, such as `expired` or `tenant suspended`, to follow "the key is" or a colon.
impl fmt::Display for KeyState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TenantSuspended { .. } => "tenant suspended",
            Self::KeySuspended { .. } => "suspended",
            Self::OwnerDisabled => "disabled with its owner",
            Self::Disabled => "disabled",
            Self::NotYetValid { .. } => "not yet valid",
            Self::Expired { .. } => "expired",
            Self::UnknownTier => "on an unknown tier",
            Self::Active => "active",
        })
    }
}

/// The values that a state depends on.
pub(super) struct Facts<'r> {
    pub(super) tenant_suspension: Option<&'r Suspension>,
    pub(super) key_suspension: Option<&'r Suspension>,
    pub(super) owner_is_disabled: bool,
    pub(super) enabled: bool,
    pub(super) not_before: Option<Timestamp>,
    pub(super) expires_at: Option<Timestamp>,
}

impl Facts<'_> {
    pub(super) fn state(&self, now: Timestamp) -> KeyState {
        let holds = |suspension: &&Suspension| suspension.holds(now);
        if let Some(suspension) = self.tenant_suspension.filter(holds) {
            KeyState::TenantSuspended { until: suspension.end() }
        } else if let Some(suspension) = self.key_suspension.filter(holds) {
            KeyState::KeySuspended { until: suspension.end() }
        } else if self.owner_is_disabled {
            KeyState::OwnerDisabled
        } else if !self.enabled {
            KeyState::Disabled
        } else if let Some(from) = self.not_before.filter(|from| now < *from) {
            KeyState::NotYetValid { from }
        } else if let Some(at) = self.expires_at.filter(|at| now >= *at) {
            KeyState::Expired { at }
        } else {
            KeyState::Active
        }
    }
}
