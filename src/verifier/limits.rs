//! Counting against allowances, for guards and for applications.

#[cfg(feature = "http")]
mod guarded;

use alloc::sync::Arc;
use core::fmt;

use super::{
    Engine, Verifier, VerifyError,
    leases::{Leases, NotCounted, Tenant},
};
use crate::{
    allowance::slices::Counted, config::ConfigError, decision::Principal, store::StoreError,
};

/// Units of the [allowances](crate::allowance) of a tenant that one piece of work has reserved.
///
/// A reservation that is dropped counts as reserved.
pub struct Reservation {
    counted: Option<(Arc<Tenant>, Counted)>,
    units: u64,
}

impl Reservation {
    /// Returns the number of units.
    pub fn units(&self) -> u64 {
        self.units
    }

    /// Corrects the number of units to `actual`. Units that were reserved above it can be used again at once. If it is more
    /// than was reserved, the rest is subtracted from what the tenant uses next, and so the tenant may exceed its allowance by it.
    ///
    /// A window that has ended meanwhile stays as it is.
    pub fn settle(self, actual: u64) {
        if let Some((tenant, counted)) = &self.counted {
            tenant.slices().settle(counted, self.units, actual);
        }
    }

    /// Gives all units back, for work that was not done.
    pub fn refund(self) {
        self.settle(0);
    }
}

impl fmt::Debug for Reservation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reservation").field("units", &self.units).finish_non_exhaustive()
    }
}

impl Verifier {
    /// Counts `units` against the [allowances](crate::allowance) of the caller's tenant, which hold over all nodes. Returns
    /// the reservation, which can be [settled](Reservation::settle) when the real costs are known, or dropped.
    ///
    /// A guard of `http` counts each request that it admits with the weight of its route. Call this for requests without
    /// HTTP, after the caller's scopes were checked, and for costs beyond those of the request. Without allowances
    /// nothing is counted. Rates are counted apart, by `count_request`.
    ///
    /// # Cost
    ///
    /// Two locks, one of them that of the tenant. A call waits for the store only if the slice of this node is used up.
    ///
    /// # Errors
    ///
    /// [`VerifyError::UsedUp`] if an allowance has not enough units left, and [`VerifyError::Unavailable`] if the store is
    /// away and the choice is [`WhenAway::Refuse`](crate::allowance::WhenAway::Refuse). Nothing was taken then.
    pub async fn reserve(
        &self,
        caller: &Principal,
        units: u64,
    ) -> Result<Reservation, VerifyError> {
        let engine = self.engine();
        let allowances = caller.allowances(engine.authority.policy());
        if allowances.is_empty() {
            return Ok(Reservation { counted: None, units });
        }
        let leases = engine.leases()?;
        let tenant = leases.tenant(caller.tenant());
        let counted = leases.take(&tenant, allowances, units).await?;
        Ok(Reservation { counted: Some((tenant, counted)), units })
    }

    /// Returns units that this node has leased and not used to the store of [allowances](crate::allowance), and leases what
    /// was used without a lease. Call it about every minute, and before the service stops. [`Keyring::flush_uses`] does it
    /// as well.
    ///
    /// It makes one or two calls of the store for each tenant and window in use.
    ///
    /// [`Keyring::flush_uses`]: crate::keyring::Keyring::flush_uses
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`]. Other slices stay here for the next call. The units of a slice whose return has failed
    /// count as used.
    pub async fn flush_limits(&self) -> Result<(), StoreError> {
        self.engine().flush_limits().await
    }
}

/// Tenants have allowances, and nothing counts them.
#[derive(Debug, thiserror::Error)]
#[error(
    "nothing counts the allowances of the tenant: give the builder a store with `shared_limits`"
)]
struct NoLimitStore;

impl Engine {
    /// Returns the allowances of this node.
    ///
    /// An exception of a tenant may have allowances although this node has no store for them. Its requests are not
    /// admitted uncounted.
    fn leases(&self) -> Result<&Arc<Leases>, NotCounted> {
        self.limits.as_ref().ok_or_else(|| NotCounted::Away(Arc::new(NoLimitStore)))
    }

    /// Returns the allowances of this node, if there is a store of them.
    pub(crate) fn limits(&self) -> Option<&Arc<Leases>> {
        self.limits.as_ref()
    }

    /// Returns what this node has leased and not used.
    pub(crate) async fn flush_limits(&self) -> Result<(), StoreError> {
        match &self.limits {
            Some(leases) => leases.flush().await,
            None => Ok(()),
        }
    }
}

impl From<NotCounted> for VerifyError {
    fn from(error: NotCounted) -> Self {
        match error {
            NotCounted::UsedUp(used_up) => Self::UsedUp { retry_after: used_up.retry_after },
            NotCounted::Away(cause) => Self::Unavailable(cause),
        }
    }
}

/// Checks that a policy with allowances has a store that counts them.
pub(super) fn check(policy: &crate::policy::Policy, has_store: bool) -> Result<(), ConfigError> {
    match policy.tiers().iter().find(|tier| !tier.allowances.is_empty()) {
        Some(tier) if !has_store => Err(ConfigError::NoLimitStore(tier.name.clone())),
        _ => Ok(()),
    }
}
