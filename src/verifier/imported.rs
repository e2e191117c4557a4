//! Verifying tokens that another system made.

use alloc::{sync::Arc, vec::Vec};

use super::{Freshness, Shared, Unfinished, VerifyError};
use crate::{
    decision::{Denial, Principal, decide},
    time::Moment,
    token::{Claim, Rejection},
};

/// The keys that a foreign token may be of, none of which the cache could prove.
pub(crate) struct Candidates {
    claims: Vec<Claim>,
    moment: Moment,
}

impl Shared {
    /// What can be said without waiting of a token that is not keyway's own, for the reason
    /// `rejection`.
    #[cold]
    #[inline(never)]
    pub(super) fn verify_imported_at_once(
        &self,
        presented: &[u8],
        rejection: Rejection,
        freshness: Freshness,
    ) -> Result<Result<Principal, VerifyError>, Unfinished> {
        let claims = self.authority.foreign_claims(presented, rejection);
        if claims.is_empty() {
            return Ok(Err(self.reject_unproven(rejection)));
        }
        let moment = self.clock.moment();
        if freshness == Freshness::Cached {
            for claim in &claims {
                match self.decide_cached(claim, moment) {
                    // Whatever was rotated has a secret of keyway's own by now, so that this one
                    // cannot be the first use of a new one.
                    Some(Ok(principal)) => return Ok(Ok(principal)),
                    None | Some(Err(Denial::Rejected(_))) => {}
                    inactive => {
                        let claim = claim.clone();
                        return Err(Unfinished::Claimed { claim, moment, cached: inactive });
                    }
                }
            }
        }
        Err(Unfinished::Imported(Candidates { claims, moment }))
    }

    /// Reads the candidates one after the other, until one is proven.
    #[cold]
    pub(super) async fn finish_imported(
        self: &Arc<Self>,
        candidates: Candidates,
        freshness: Freshness,
    ) -> Result<Principal, VerifyError> {
        let Candidates { claims, moment } = candidates;
        let now = moment.now;
        let mut superseded = None;
        for claim in claims {
            // A cached secret that does not match may have been changed by another node a moment
            // ago.
            let is_cached = self.cache.with(claim.id(), moment, |_| ()).is_some();
            let freshness = if is_cached { Freshness::Now } else { freshness };
            let key = match self.load_noting(claim.id(), freshness, moment, is_cached).await {
                Ok(Some(key)) => key,
                Ok(None) => continue,
                Err(error) => return Err(self.fail(&error, &claim, now)),
            };
            match decide(&claim, &key, now) {
                // Nobody else's token leads to this id: the key has been given another secret.
                Err(Denial::Rejected(_)) => superseded = Some(claim),
                decision => {
                    if decision.is_ok() {
                        self.note_use(&key, moment);
                    }
                    return self.settle(decision, &claim, now).await;
                }
            }
        }
        Err(match superseded {
            Some(claim) => self.reject(Rejection::WrongSecret, &claim, now),
            None => self.reject_unproven(Rejection::Unknown),
        })
    }
}
