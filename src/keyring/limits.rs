//! Reads what is left of allowances.

use alloc::{sync::Arc, vec::Vec};
use core::time::Duration;

use super::{Keyring, KeyringError};
use crate::{
    allowance::{Allowance, Window},
    record::TenantId,
    store::LimitStore as _,
    verifier::Engine,
};

/// The [allowances](crate::allowance) of tenants, as the store knows them. [`Keyring::limits`] returns it.
#[derive(Clone)]
pub struct SharedLimits {
    keyring: Keyring,
}

/// The state of one allowance of a tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AllowanceState {
    /// The allowance.
    pub allowance: Allowance,
    /// Its present window.
    pub window: Window,
    /// The units that are used, or leased by a node that may still use them.
    pub used: u64,
}

impl AllowanceState {
    /// Returns the units that are left.
    pub fn left(&self) -> u64 {
        self.allowance.units.saturating_sub(self.used)
    }
}

impl Keyring {
    /// Returns the allowances, or `None` if the keyring was built without
    /// [`shared_limits`](super::KeyringBuilder::shared_limits).
    pub fn limits(&self) -> Option<SharedLimits> {
        self.engine().limits().map(|_| SharedLimits { keyring: self.clone() })
    }
}

impl SharedLimits {
    /// Returns the state of each allowance of a tenant, in the order of its tier or of its exceptions.
    ///
    /// Units that nodes hold count as used until they are returned with the next flush.
    ///
    /// # Errors
    ///
    /// [`KeyringError::NoTenant`], [`KeyringError::Refused`] if the seal of the tenant is broken, or
    /// [`KeyringError::Unavailable`].
    pub async fn of_tenant(&self, id: &TenantId) -> Result<Vec<AllowanceState>, KeyringError> {
        let tenant = self.keyring.find_tenant(id).await?;
        let terms = self.keyring.policy().terms(&tenant);
        let allowances = terms.map(|terms| terms.allowances).unwrap_or_default();
        let now = self.engine().clock.moment().now;
        let windows: Vec<Window> =
            allowances.iter().map(|allowance| Window::of(allowance.period, now)).collect();
        let used = match self.engine().limits() {
            Some(leases) => leases.store().used_units(id, &windows).await,
            None => Ok(Vec::new()),
        };
        let used = used.map_err(KeyringError::Unavailable)?;
        let states = allowances.into_iter().zip(windows).zip(used);
        Ok(states
            .map(|((allowance, window), used)| AllowanceState { allowance, window, used })
            .collect())
    }

    /// Deletes the windows of all tenants that ended more than `days` days ago. Returns their number. Call it about once a
    /// day, on one node or on several.
    ///
    /// Windows are kept for at least one day, since the clocks of nodes may differ: a node whose clock is behind would begin
    /// a deleted window again.
    ///
    /// # Errors
    ///
    /// [`KeyringError::Unavailable`]. The next call does the rest.
    pub async fn purge(&self, days: u32) -> Result<u64, KeyringError> {
        let Some(leases) = self.engine().limits() else { return Ok(0) };
        let days = Duration::from_secs(u64::from(days.max(1)) * 86_400);
        let ended = self.engine().clock.moment().now.saturating_sub(days);
        leases.store().purge_windows(ended).await.map_err(KeyringError::Unavailable)
    }

    fn engine(&self) -> &Arc<Engine> {
        self.keyring.engine()
    }
}

impl core::fmt::Debug for SharedLimits {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("SharedLimits").finish_non_exhaustive()
    }
}
