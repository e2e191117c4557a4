//! Verification: from the bytes that a caller presents to a [`Principal`].

mod builder;
mod error;
mod follow;
mod imported;
mod load;
mod sources;

use alloc::{boxed::Box, sync::Arc};
use core::{fmt, panic::AssertUnwindSafe};
use std::panic::catch_unwind;

pub use self::{
    builder::{BuildError, VerifierBuilder},
    error::VerifyError,
};
use self::{
    imported::Candidates,
    load::{Dispute, LoadError, Loaded},
    sources::Sources,
};
#[cfg(any(feature = "http", feature = "rate-limit"))]
use crate::rate::RateStatus;
#[cfg(feature = "rate-limit")]
use crate::rate::Rates;
use crate::{
    audit::{AuditEvent, AuditKind, AuditSink},
    authority::Authority,
    authorization::bearer_token,
    cache::{Cache, Flights, Uses},
    decision::{Denial, Principal, ResolvedKey, decide},
    pepper::Peppers,
    policy::Policy,
    record::TenantId,
    scope::{CatalogError, Requirement},
    store::{KeyUse, StoreError},
    time::{Clock, Moment, Timestamp},
    token::{Claim, KeyId, Rejection, TokenFormat},
};

/// Verifies tokens. Cheap to clone; clones share one cache.
///
/// A node that only verifies builds one from a [`KeyLookup`](crate::store::KeyLookup). A
/// [`Keyring`](crate::keyring::Keyring) has one inside.
#[derive(Clone)]
pub struct Verifier(Arc<Shared>);

pub(crate) struct Shared {
    pub(crate) authority: Authority,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) cache: Cache,
    pub(crate) uses: Uses,
    sources: Sources,
    flights: Flights<KeyId, Loaded>,
    /// Reads of keys of which the cache says that the presented secret is another one.
    disputes: Flights<Dispute, Loaded>,
    audit: Option<Arc<dyn AuditSink>>,
    #[cfg(feature = "rate-limit")]
    rates: Rates,
}

/// How old the data of a decision may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Freshness {
    /// As old as the staleness bound that the verifier was built with.
    #[default]
    Cached,
    /// Read from the store after the call began.
    Now,
}

impl Verifier {
    /// A verifier of the keys that `policy` and `peppers` describe.
    pub fn builder(policy: Policy, peppers: impl Into<Peppers>) -> VerifierBuilder {
        VerifierBuilder::new(policy, peppers.into())
    }

    /// Verifies the token `presented`, as the bytes that the caller sent.
    ///
    /// A key in the cache takes two SHA-256 compressions and a look-up: no lock but the shared one of
    /// a cache shard, no allocation, no write. A token that was not minted here reaches neither cache
    /// nor store.
    ///
    /// # Errors
    ///
    /// [`VerifyError`] says why not, and tells "denied" from "unavailable".
    pub async fn verify(&self, presented: impl AsRef<[u8]>) -> Result<Principal, VerifyError> {
        self.verify_as_of(presented, Freshness::Cached).await
    }

    /// As [`verify`](Self::verify), with data that is at most as old as `freshness` says.
    ///
    /// # Errors
    ///
    /// As [`verify`](Self::verify).
    pub async fn verify_as_of(
        &self,
        presented: impl AsRef<[u8]>,
        freshness: Freshness,
    ) -> Result<Principal, VerifyError> {
        match self.0.verify_at_once(presented.as_ref(), freshness) {
            Ok(result) => result,
            // In a box, so that it adds nothing to the size of the future of the common case.
            Err(unfinished) => Box::pin(self.0.finish(unfinished, freshness)).await,
        }
    }

    /// Verifies the token in the value of an `Authorization` field, if there is one.
    ///
    /// # Errors
    ///
    /// [`VerifyError::Missing`] without a bearer token, [`VerifyError::BadRequest`] if the field
    /// cannot be read, and as [`verify`](Self::verify).
    pub async fn verify_authorization(
        &self,
        value: Option<impl AsRef<[u8]>>,
    ) -> Result<Principal, VerifyError> {
        let value = value.as_ref().map_or(&b""[..], AsRef::as_ref);
        self.verify(bearer_token(value)?).await
    }

    /// The requirement that a caller holds every one of `scopes`, for
    /// [`Principal::require`].
    ///
    /// # Errors
    ///
    /// [`CatalogError`] names a scope that is not declared, or says that there is none.
    pub fn requirement<S: AsRef<str>>(
        &self,
        scopes: impl IntoIterator<Item = S>,
    ) -> Result<Requirement, CatalogError> {
        self.policy().catalog().require_all(scopes)
    }

    /// The policy.
    pub fn policy(&self) -> &Policy {
        self.0.authority.policy()
    }

    /// The token format.
    pub fn format(&self) -> &TokenFormat {
        self.0.authority.format()
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.0
    }

    /// Counts one request of a caller against the rate of its tenant's tier, and tells what its key has
    /// left; `None` if the tier names no rate. See [`rate`](crate::rate) for what is counted, and where.
    ///
    /// This is for hosts without HTTP: a guard of `http` has counted what it admits. Ask it of a caller
    /// who may do what it asks for, and turn the caller away if there is a
    /// [`retry_after`](crate::rate::RateStatus::retry_after):
    ///
    /// ```
    /// # use keyway::{decision::Principal, verifier::{Verifier, VerifyError}};
    /// async fn admit(verifier: &Verifier, presented: &[u8]) -> Result<Principal, VerifyError> {
    ///     let caller = verifier.verify(presented).await?;
    ///     match verifier.count_request(&caller).and_then(|status| status.retry_after()) {
    ///         Some(retry_after) => Err(VerifyError::Limited { retry_after }),
    ///         None => Ok(caller),
    ///     }
    /// }
    /// ```
    #[cfg(feature = "rate-limit")]
    #[must_use = "a request that is one too many is turned away by nobody else"]
    #[inline]
    pub fn count_request(&self, caller: &Principal) -> Option<RateStatus> {
        self.0.rates.count(caller.tier_index(), caller.key_id())
    }

    /// What a guard counts.
    #[cfg(all(feature = "http", feature = "rate-limit"))]
    #[inline]
    pub(crate) fn rate(&self, caller: &Principal) -> Option<RateStatus> {
        self.count_request(caller)
    }

    /// Without the feature, nothing is counted.
    #[cfg(all(feature = "http", not(feature = "rate-limit")))]
    #[inline]
    #[allow(clippy::unused_self, reason = "its twin counts")]
    pub(crate) fn rate(&self, _: &Principal) -> Option<RateStatus> {
        None
    }
}

impl AsRef<Self> for Verifier {
    fn as_ref(&self) -> &Self {
        self
    }
}

/// A verification that has to wait.
pub(crate) enum Unfinished {
    /// For the key of `claim`.
    Claimed {
        claim: Claim,
        moment: Moment,
        /// What the cache says, if it knows the key.
        cached: Option<Result<Principal, Denial>>,
    },
    /// For keys that were imported from another system.
    Imported(Candidates),
}

#[cfg(feature = "http")]
impl Unfinished {
    /// The key that the caller claims to hold, if its token was minted here.
    pub(crate) fn claimed(&self) -> Option<KeyId> {
        match self {
            Self::Claimed { claim, .. } => Some(claim.id()),
            Self::Imported(_) => None,
        }
    }
}

impl Shared {
    /// What can be said without waiting.
    #[inline]
    pub(crate) fn verify_at_once(
        &self,
        presented: &[u8],
        freshness: Freshness,
    ) -> Result<Result<Principal, VerifyError>, Unfinished> {
        let claim = match self.authority.check(presented) {
            Ok(claim) => claim,
            Err(rejection) => {
                return self.verify_imported_at_once(presented, rejection, freshness);
            }
        };
        let moment = self.clock.moment();
        let cached = match freshness {
            Freshness::Cached => self.decide_cached(&claim, moment),
            Freshness::Now => None,
        };
        match cached {
            Some(Ok(principal)) if !principal.claims_overlap() => Ok(Ok(principal)),
            cached => Err(Unfinished::Claimed { claim, moment, cached }),
        }
    }

    /// The rest of a verification that has to wait.
    ///
    /// # Errors
    ///
    /// As [`Verifier::verify`].
    #[cold]
    pub(crate) async fn finish(
        self: &Arc<Self>,
        unfinished: Unfinished,
        freshness: Freshness,
    ) -> Result<Principal, VerifyError> {
        let (claim, moment, cached) = match unfinished {
            Unfinished::Claimed { claim, moment, cached } => (claim, moment, cached),
            Unfinished::Imported(candidates) => {
                return self.finish_imported(candidates, freshness).await;
            }
        };
        let now = moment.now;
        let decision = match &cached {
            Some(Ok(principal)) => {
                self.end_overlap(principal, &claim).await;
                return Ok(principal.clone());
            }
            Some(Err(inactive @ Denial::Inactive(_))) => Err(inactive.clone()),
            Some(Err(Denial::Rejected(_))) | None => {
                // A cached secret may have been changed by another node a moment ago, even while
                // somebody's read is under way. The holder has proven that the token was minted here,
                // so this cannot be used to flood the store with made-up ones.
                if freshness == Freshness::Cached
                    && let Some(reason) = self.cache.refutation(&claim, moment)
                {
                    return Err(self.reject(reason, &claim, now));
                }
                let loaded = match &cached {
                    Some(_) => self.load_disputed(&claim, moment).await,
                    None => self.load(claim.id(), freshness, moment).await,
                };
                let key = match loaded {
                    Ok(Some(key)) => key,
                    Ok(None) => {
                        self.cache.note_refuted(&claim, Rejection::Unknown, moment);
                        return Err(self.reject(Rejection::Unknown, &claim, now));
                    }
                    Err(error) => return Err(self.fail(&error, &claim, now)),
                };
                let decision = decide(&claim, &key, now);
                match decision {
                    Ok(_) => self.note_use(&key, moment),
                    Err(Denial::Rejected(reason)) => {
                        self.cache.note_refuted(&claim, reason, moment);
                    }
                    Err(Denial::Inactive(_)) => {}
                }
                decision
            }
        };
        self.settle(decision, &claim, now).await
    }

    /// Does what follows from a decision, and gives the answer.
    async fn settle(
        &self,
        decision: Result<Principal, Denial>,
        claim: &Claim,
        now: Timestamp,
    ) -> Result<Principal, VerifyError> {
        match decision {
            Ok(principal) => {
                if principal.claims_overlap() {
                    self.end_overlap(&principal, claim).await;
                }
                Ok(principal)
            }
            Err(Denial::Rejected(rejection)) => Err(self.reject(rejection, claim, now)),
            Err(Denial::Inactive(state)) => {
                self.record(now, "", None, Some(claim.id()), AuditKind::Inactive(state));
                Err(VerifyError::Inactive(state))
            }
        }
    }

    #[inline]
    fn decide_cached(&self, claim: &Claim, moment: Moment) -> Option<Result<Principal, Denial>> {
        self.cache.with(claim.id(), moment, |key| {
            let decision = decide(claim, key, moment.now);
            if decision.is_ok() {
                self.note_use(key, moment);
            }
            decision
        })
    }

    #[inline]
    fn note_use(&self, key: &ResolvedKey, moment: Moment) {
        let minute = moment.now.as_millis().div_euclid(60_000);
        if key.stamp.note_use(minute) && self.sources.store().is_some() {
            let at = Timestamp::saturating_from_millis(minute * 60_000);
            self.uses.record(KeyUse { id: key.id(), at });
        }
    }

    #[cold]
    fn reject_unproven(&self, rejection: Rejection) -> VerifyError {
        if self.audit.is_some() {
            let now = self.clock.moment().now;
            self.record(now, "", None, None, AuditKind::Rejected(rejection));
        }
        VerifyError::Rejected
    }

    fn reject(&self, rejection: Rejection, claim: &Claim, now: Timestamp) -> VerifyError {
        self.record(now, "", None, Some(claim.id()), AuditKind::Rejected(rejection));
        VerifyError::Rejected
    }

    fn fail(&self, error: &LoadError, claim: &Claim, now: Timestamp) -> VerifyError {
        let key = Some(claim.id());
        match error {
            LoadError::Store(cause) => {
                let kind = match **cause {
                    // Nobody can tell whose secret it is, so the caller is not told this.
                    StoreError::Corrupt(_) => AuditKind::Tampered,
                    _ => AuditKind::Unavailable,
                };
                self.record(now, "", None, key, kind);
                VerifyError::unavailable(Arc::clone(cause))
            }
            LoadError::UnknownTier { record, tier } => {
                let tenant = Some(record.tenant.as_str());
                self.record(now, "", tenant, key, AuditKind::UnknownTier(tier));
                if record.holds(claim, now) {
                    VerifyError::unavailable(Arc::new(error.clone()))
                } else {
                    VerifyError::Rejected
                }
            }
            LoadError::Tampered(record) => {
                let tenant = Some(record.tenant.as_str());
                self.record(now, "", tenant, key, AuditKind::Tampered);
                // Even that a record is broken is told only to who holds the secret.
                if record.holds(claim, now) { VerifyError::Tampered } else { VerifyError::Rejected }
            }
        }
    }

    /// Tells the audit sink, if there is one.
    pub(crate) fn record(
        &self,
        at: Timestamp,
        actor: &str,
        tenant: Option<&str>,
        key: Option<KeyId>,
        kind: AuditKind<'_>,
    ) {
        if let Some(sink) = &self.audit {
            let event = AuditEvent { at, actor, tenant, key, kind };
            // The sink observes: what goes wrong in it changes no outcome.
            let _ = catch_unwind(AssertUnwindSafe(|| sink.record(&event)));
        }
    }

    /// From here on, no verification is decided by what was loaded of this key before.
    fn invalidate_key(&self, id: KeyId) {
        self.sources.note_change(Some(id), || self.clock.moment());
        self.cache.invalidate_key(id);
    }

    /// From here on, no verification is decided by what was loaded of this tenant's keys before.
    fn invalidate_tenant(&self, id: &TenantId) {
        self.sources.note_change(None, || self.clock.moment());
        self.cache.invalidate_tenant(id);
    }

    /// From here on, no verification is decided by what was loaded before.
    fn invalidate_all(&self) {
        self.sources.note_change(None, || self.clock.moment());
        self.cache.invalidate_all();
    }

    pub(crate) fn invalidate_key_on_drop(&self, id: KeyId) -> impl Drop + '_ {
        OnDrop(move || self.invalidate_key(id))
    }

    pub(crate) fn invalidate_tenant_on_drop(&self, id: TenantId) -> impl Drop + '_ {
        OnDrop(move || self.invalidate_tenant(&id))
    }
}

/// Does something at the end of a scope, however it ends: a write whose future is dropped may have
/// reached the store.
pub(crate) struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("format", self.format()).finish_non_exhaustive()
    }
}
