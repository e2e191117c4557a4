//! What a key is at a time.

use core::fmt;

use crate::{
    record::{KeyRecord, Suspension, TenantRecord},
    time::Timestamp,
};

/// What a key is at a time. Where several hold, it is the first in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KeyState {
    /// An operator has suspended the tenant.
    TenantSuspended {
        /// When that ends by itself.
        until: Option<Timestamp>,
    },
    /// An operator has suspended the key.
    KeySuspended {
        /// When that ends by itself.
        until: Option<Timestamp>,
    },
    /// The tenant has switched the key off.
    Disabled,
    /// The key begins later.
    NotYetValid {
        /// When it begins.
        from: Timestamp,
    },
    /// The key has ended.
    Expired {
        /// When it ended.
        at: Timestamp,
    },
    /// The key can be used.
    Active,
}

impl KeyState {
    /// The state of `key`, which `tenant` holds, at `now`.
    pub fn of(key: &KeyRecord, tenant: &TenantRecord, now: Timestamp) -> Self {
        Facts {
            tenant_suspension: tenant.suspension.as_ref(),
            key_suspension: key.suspension.as_ref(),
            enabled: key.enabled,
            not_before: key.not_before,
            expires_at: key.expires_at,
        }
        .state(now)
    }

    /// The state as one word, for programs: `active`, `disabled`, `suspended`, `tenant_suspended`,
    /// `expired` or `not_yet_valid`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TenantSuspended { .. } => "tenant_suspended",
            Self::KeySuspended { .. } => "suspended",
            Self::Disabled => "disabled",
            Self::NotYetValid { .. } => "not_yet_valid",
            Self::Expired { .. } => "expired",
            Self::Active => "active",
        }
    }

    /// Whether the key can be used.
    pub fn is_active(self) -> bool {
        self == Self::Active
    }
}

impl fmt::Display for KeyState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TenantSuspended { .. } => "its tenant is suspended",
            Self::KeySuspended { .. } => "it is suspended",
            Self::Disabled => "it is disabled",
            Self::NotYetValid { .. } => "it is not yet valid",
            Self::Expired { .. } => "it has expired",
            Self::Active => "it is active",
        })
    }
}

/// All that a state depends on.
pub(super) struct Facts<'r> {
    pub(super) tenant_suspension: Option<&'r Suspension>,
    pub(super) key_suspension: Option<&'r Suspension>,
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
