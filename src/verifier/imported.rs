//! Verification of tokens that another system made.

use alloc::{sync::Arc, vec::Vec};
use core::net::IpAddr;

use super::{
    Engine, Freshness, Progress, VerifyError,
    engine::{Denied, Unfinished},
    load::LoadCause,
};
use crate::{
    decision::{Denial, Principal, ResolvedKey, decide_from},
    time::Moment,
    token::{CheckedToken, Rejection},
};

/// The keys that a foreign token may belong to, none of which the cache could prove.
pub(crate) struct Candidates {
    tokens: Vec<CheckedToken>,
    moment: Moment,
    /// The address of the client, if it is known.
    address: Option<IpAddr>,
}

impl Engine {
    /// Returns the outcome if it is known without waiting, for a token that is not keyway's own. `rejection`
    /// says why it is not.
    #[cold]
    #[inline(never)]
    pub(super) fn verify_imported_at_once(
        &self,
        presented: &[u8],
        rejection: Rejection,
        freshness: Freshness,
        address: Option<IpAddr>,
    ) -> Progress<Result<Principal, VerifyError>, Unfinished> {
        let tokens = self.authority.foreign_claims(presented, rejection);
        if tokens.is_empty() {
            return Progress::Done(Err(self.reject_unproven(rejection)));
        }
        let moment = self.clock.moment();
        if freshness == Freshness::Cached {
            for checked in &tokens {
                match self.decide_cached(checked, moment, || address) {
                    // A rotated key has a secret of keyway's own by now. So this use is not the first one of
                    // a new secret, and ends no grace period.
                    Some(Ok(principal)) => return Progress::Done(Ok(principal)),
                    None | Some(Err(Denied { denial: Denial::Rejected(_), .. })) => {}
                    denied => {
                        return Progress::Pending(Unfinished::Own {
                            checked: checked.clone(),
                            moment,
                            address,
                            cached: denied,
                        });
                    }
                }
            }
        }
        Progress::Pending(Unfinished::Imported(Candidates { tokens, moment, address }))
    }

    /// Reads the candidates one after the other, until one is proven.
    #[cold]
    pub(super) async fn finish_imported(
        self: &Arc<Self>,
        candidates: Candidates,
        freshness: Freshness,
        inactive: &mut Option<Arc<ResolvedKey>>,
    ) -> Result<Principal, VerifyError> {
        let Candidates { tokens, moment, address } = candidates;
        let now = moment.now;
        let mut superseded = None;
        for checked in tokens {
            let is_cached = self.cache.with(checked.id(), moment, |_| ()).is_some();
            if freshness == Freshness::Cached && self.cache.rejection(&checked, moment).is_some() {
                superseded = Some(checked);
                continue;
            }
            // Another node may have changed a cached secret that does not match.
            let before = self.cache.before_rejection(&checked);
            let cause = LoadCause::of(is_cached, freshness);
            let key = match self.load(&checked, cause, moment).await {
                Ok(Some(key)) => key,
                // Not remembered, since anyone can have made the token up.
                Ok(None) => continue,
                Err(error) => return Err(self.fail(&error, &checked, now)),
            };
            match decide_from(&checked, &key, now, || address) {
                // No other key's token leads to this id, so the key has been given another secret.
                Err(Denial::Rejected(reason)) => {
                    self.cache.note_rejection(&checked, reason, moment, before);
                    superseded = Some(checked);
                }
                decision => {
                    if decision.is_ok() {
                        self.note_use(&key, moment);
                    }
                    let decision = decision.map_err(|denial| Denied::of(denial, &key));
                    return self.conclude(decision, &checked, now, inactive).await;
                }
            }
        }
        Err(match superseded {
            Some(checked) => self.reject(Rejection::WrongSecret, &checked, now),
            None => self.reject_unproven(Rejection::Unknown),
        })
    }
}
