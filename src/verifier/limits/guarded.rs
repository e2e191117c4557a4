//! Counting of the requests that guards admit, which seldom wait for the store.

use alloc::{boxed::Box, sync::Arc, vec::Vec};

use super::super::{
    Engine, Progress,
    leases::{Leases, NotCounted, Tenant},
};
use crate::{
    allowance::{Allowance, slices::Take},
    decision::Principal,
};

impl Engine {
    /// Counts a request that a guard admits, at once if that is possible without the store.
    #[inline]
    pub(crate) fn count_units(
        &self,
        caller: &Principal,
        units: u64,
    ) -> Progress<Result<(), NotCounted>, PendingUnits> {
        let allowances = caller.allowances(self.authority.policy());
        if allowances.is_empty() {
            return Progress::Done(Ok(()));
        }
        let leases = match self.leases() {
            Ok(leases) => leases,
            Err(error) => return Progress::Done(Err(error)),
        };
        match leases.take_at_once(caller.tenant(), allowances, units) {
            Take::Taken(_) => Progress::Done(Ok(())),
            Take::UsedUp(used_up) => Progress::Done(Err(NotCounted::UsedUp(used_up))),
            Take::Short => Progress::Pending(PendingUnits(Box::new(Units {
                leases: Arc::clone(leases),
                tenant: leases.tenant(caller.tenant()),
                allowances: allowances.to_vec(),
                needed: units,
            }))),
        }
    }
}

/// Units that wait for the store.
pub(crate) struct PendingUnits(Box<Units>);

struct Units {
    leases: Arc<Leases>,
    tenant: Arc<Tenant>,
    allowances: Vec<Allowance>,
    needed: u64,
}

impl PendingUnits {
    /// Counts the units.
    pub(crate) async fn count(self) -> Result<(), NotCounted> {
        let Units { leases, tenant, allowances, needed } = *self.0;
        leases.take(&tenant, &allowances, needed).await.map(drop)
    }
}
