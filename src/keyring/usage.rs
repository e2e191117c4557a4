//! Reads the usage of keys and tenants, and makes room for more.

use alloc::{sync::Arc, vec::Vec};

use super::{Keyring, KeyringError};
use crate::{
    record::TenantId,
    store::{AnyUsageStore, UsageStore as _},
    token::KeyId,
    usage::{Day, DayUsage, KeyUsage, Span},
    verifier::Engine,
};

/// The usage of keys and tenants, as it was last flushed by each node. [`Keyring::usage`] returns it.
#[derive(Clone)]
pub struct Usage {
    engine: Arc<Engine>,
    store: AnyUsageStore,
}

impl Keyring {
    /// Returns the usage, or `None` if the keyring was built without [`usage`](super::KeyringBuilder::usage).
    pub fn usage(&self) -> Option<Usage> {
        let engine = self.engine();
        let store = engine.usage_store()?.clone();
        Some(Usage { engine: Arc::clone(engine), store })
    }
}

impl Usage {
    /// The most keys of which one read returns the usage.
    pub const MAX_KEYS: usize = 500;

    /// Returns the present day by the clock of this node.
    pub fn today(&self) -> Day {
        Day::of(self.engine.clock.moment().now)
    }

    /// Returns the usage of these keys, at most [`MAX_KEYS`](Self::MAX_KEYS) of them, as one row for each key and period in
    /// which it was used. Further keys are left out. The rows are in ascending order of the period, then of the key.
    ///
    /// Keys of other tenants have no rows. Keys that have been deleted keep theirs.
    ///
    /// # Errors
    ///
    /// [`KeyringError::Unavailable`].
    pub async fn of_keys(
        &self,
        tenant: &TenantId,
        keys: &[KeyId],
        span: Span,
    ) -> Result<Vec<KeyUsage>, KeyringError> {
        let keys = keys.get(..Self::MAX_KEYS).unwrap_or(keys);
        self.store.key_usage(tenant, keys, span).await.map_err(KeyringError::Unavailable)
    }

    /// Returns the usage of all keys of a tenant together, as one row for each period with a request.
    ///
    /// # Errors
    ///
    /// [`KeyringError::Unavailable`].
    pub async fn of_tenant(
        &self,
        tenant: &TenantId,
        span: Span,
    ) -> Result<Vec<DayUsage>, KeyringError> {
        self.store.tenant_usage(tenant, span).await.map_err(KeyringError::Unavailable)
    }

    /// Sums the days that are older than `days` days into months, and deletes the months that are older than `months` months.
    /// Returns the number of rows that were deleted. Call it about once a day, on one node or on several.
    ///
    /// At least 2 days are kept as days: with the days of a node its last flush is forgotten, and a flush that is sent again
    /// after that would count twice. The present month is always kept.
    ///
    /// # Errors
    ///
    /// [`KeyringError::Unavailable`]. The next call does the rest.
    pub async fn roll_up(&self, days: u32, months: u32) -> Result<u64, KeyringError> {
        let today = self.today();
        let first = today.plus(0_i32.saturating_sub_unsigned(days.max(2)));
        let mut month = today.first_of_month();
        for _ in 0..months {
            if month == Day::MIN {
                break;
            }
            month = month.plus(-1).first_of_month();
        }
        self.store.roll_up_usage(first, month).await.map_err(KeyringError::Unavailable)
    }
}

impl core::fmt::Debug for Usage {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Usage").finish_non_exhaustive()
    }
}
