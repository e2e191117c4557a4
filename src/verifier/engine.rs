//! The state that all clones of a verifier share, and the steps of a verification.

#[cfg(feature = "children")]
use alloc::boxed::Box;
use alloc::sync::Arc;
use core::net::IpAddr;

#[cfg(feature = "children")]
use super::children::{Failures, KnownChildren, UnfinishedChild};
use super::{
    Freshness, OnDrop, Progress, UsageCounter, VerifyError,
    grace::EndingKeys,
    imported::Candidates,
    leases::Leases,
    load::{LoadCause, LoadSubject, Loaded},
    report::Claim,
    requirements::Requirements,
    sources::Sources,
    streams::Streams,
};
#[cfg(feature = "children")]
use crate::children::{Child, Place};
#[cfg(feature = "rate-limit")]
use crate::rate::Rates;
use crate::{
    audit::{AuditKind, AuditSink, Sampler},
    authority::Authority,
    cache::{Cache, SingleFlight},
    decision::{Denial, Principal, ResolvedKey, decide_from},
    record::TenantId,
    seal::Marker,
    store::{AnyEventStore, KeyUse},
    time::{Clock, Moment, Timestamp},
    token::{CheckedToken, KeyId, Rejection},
};

pub(crate) struct Engine {
    pub(crate) authority: Authority,
    /// The marker that this node compares with that of its store.
    pub(crate) marker: Marker,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) cache: Cache,
    pub(super) sources: Sources,
    pub(super) loads: SingleFlight<LoadSubject, Loaded>,
    pub(super) ending: EndingKeys,
    pub(super) audit: Option<Arc<dyn AuditSink>>,
    pub(super) noise: Sampler,
    /// Counts requests for the usage, if there is a store of it.
    pub(super) usage: Option<UsageCounter>,
    /// Counts against allowances, if there is a store of them.
    pub(super) limits: Option<Arc<Leases>>,
    /// Where the events of changes are stored, if they are.
    pub(super) events: Option<AnyEventStore>,
    /// The streams that are open.
    pub(super) streams: Arc<Streams>,
    /// The requirements of guards.
    pub(crate) requirements: Requirements,
    #[cfg(feature = "rate-limit")]
    pub(super) rates: Rates,
    /// The children whose signatures have been checked.
    #[cfg(feature = "children")]
    pub(super) children: KnownChildren,
    /// The wrong signatures of children.
    #[cfg(feature = "children")]
    pub(super) failures: Failures,
}

/// Says which children are accepted. A caller that presents its key is always accepted.
#[derive(Clone, Copy)]
pub(crate) struct Accepts<'p> {
    #[cfg(feature = "children")]
    children: AcceptedChildren<'p>,
    #[cfg(not(feature = "children"))]
    children: core::marker::PhantomData<&'p ()>,
}

#[cfg(feature = "children")]
#[derive(Clone, Copy)]
enum AcceptedChildren<'p> {
    None,
    /// Those that may be used at this place.
    At(&'p Place),
    /// The tickets for this place, whose end is near.
    #[cfg(feature = "http")]
    TicketsFor(&'p Place),
    /// All of them. Another program checks their audience.
    #[cfg(feature = "http")]
    Any,
}

#[cfg_attr(
    not(feature = "children"),
    allow(clippy::elidable_lifetime_names, reason = "children are accepted at a place")
)]
impl<'p> Accepts<'p> {
    /// Accepts no children.
    pub(crate) const NO_CHILDREN: Self = Self {
        #[cfg(feature = "children")]
        children: AcceptedChildren::None,
        #[cfg(not(feature = "children"))]
        children: core::marker::PhantomData,
    };

    /// Accepts the children that may be used at this place, and none if it is `None`.
    #[cfg(feature = "children")]
    pub(crate) const fn children_at(place: Option<&'p Place>) -> Self {
        let children = match place {
            Some(place) => AcceptedChildren::At(place),
            None => AcceptedChildren::None,
        };
        Self { children }
    }

    /// Accepts all children. Their audience is checked by another program.
    #[cfg(all(feature = "children", feature = "http"))]
    pub(crate) const ANY_CHILD: Self = Self { children: AcceptedChildren::Any };

    /// Accepts the tickets for this place, and none if it is `None`. A ticket comes in the query of a request, so that no
    /// other child is accepted.
    #[cfg(all(feature = "children", feature = "http"))]
    pub(crate) const fn tickets_for(place: Option<&'p Place>) -> Self {
        let children = match place {
            Some(place) => AcceptedChildren::TicketsFor(place),
            None => AcceptedChildren::None,
        };
        Self { children }
    }

    /// Returns whether a caller is accepted that has presented this child at the time `now`, or `None` for its key.
    #[cfg(feature = "children")]
    pub(super) fn child(self, child: Option<&Child>, now: Timestamp) -> bool {
        #[cfg(not(feature = "http"))]
        let _ = now;
        let Some(child) = child else { return true };
        match self.children {
            AcceptedChildren::None => false,
            AcceptedChildren::At(place) => place.is_in(child.names()),
            #[cfg(feature = "http")]
            AcceptedChildren::TicketsFor(place) => child.is_ticket_for(place, now),
            #[cfg(feature = "http")]
            AcceptedChildren::Any => true,
        }
    }
}

/// A verification that has to wait for the store.
pub(crate) enum Unfinished {
    /// For the key of `checked`.
    Own {
        checked: CheckedToken,
        moment: Moment,
        /// The address of the client, if it is known.
        address: Option<IpAddr>,
        /// The decision from the cache, if the key is cached.
        cached: Option<Result<Principal, Denied>>,
    },
    /// For keys that were imported from another system.
    Imported(Candidates),
    /// For a child.
    #[cfg(feature = "children")]
    Child(Box<UnfinishedChild>),
}

/// A denial, and the key that it is about if the caller has proven to hold that key. Audit events and log
/// lines then name the key and its tenant.
pub(crate) struct Denied {
    pub(super) denial: Denial,
    key: Option<Arc<ResolvedKey>>,
}

impl Denied {
    pub(super) fn of(denial: Denial, key: &Arc<ResolvedKey>) -> Self {
        let is_proven = !matches!(denial, Denial::Rejected(_));
        Self { denial, key: is_proven.then(|| Arc::clone(key)) }
    }
}

#[cfg(feature = "http")]
impl Unfinished {
    /// Returns the id in the token, if the token was minted here. Its secret is not proven yet.
    pub(crate) fn key_id(&self) -> Option<KeyId> {
        match self {
            Self::Own { checked, .. } => Some(checked.id()),
            Self::Imported(_) => None,
            #[cfg(feature = "children")]
            Self::Child(child) => Some(child.parent()),
        }
    }
}

impl Engine {
    /// Returns the outcome if it is known without waiting. `address` returns the address of the client, if it is known.
    /// `accepts` says which children are accepted.
    #[inline]
    pub(crate) fn verify_at_once(
        &self,
        presented: &[u8],
        freshness: Freshness,
        address: impl Fn() -> Option<IpAddr>,
        accepts: Accepts<'_>,
    ) -> Progress<Result<Principal, VerifyError>, Unfinished> {
        let checked = match self.authority.check(presented) {
            Ok(checked) => checked,
            Err(rejection) => {
                #[cfg(feature = "children")]
                if let Some(progress) =
                    self.verify_child_at_once(presented, freshness, &address, accepts)
                {
                    return progress;
                }
                #[cfg(not(feature = "children"))]
                let _ = accepts;
                return self.verify_imported_at_once(presented, rejection, freshness, address());
            }
        };
        let moment = self.clock.moment();
        let cached = match freshness {
            Freshness::Cached => self.decide_cached(&checked, moment, &address),
            Freshness::Now => None,
        };
        match cached {
            Some(Ok(principal)) if !self.must_end_grace_period(&principal) => {
                Progress::Done(Ok(principal))
            }
            cached => {
                let address = address();
                Progress::Pending(Unfinished::Own { checked, moment, address, cached })
            }
        }
    }

    /// Completes a verification that has to wait. If the key is proven and inactive, it is left in
    /// `inactive`.
    ///
    /// # Errors
    ///
    /// As [`Verifier::verify`].
    #[cold]
    pub(crate) async fn finish(
        self: &Arc<Self>,
        unfinished: Unfinished,
        freshness: Freshness,
        accepts: Accepts<'_>,
        inactive: &mut Option<Arc<ResolvedKey>>,
    ) -> Result<Principal, VerifyError> {
        #[cfg(not(feature = "children"))]
        let _ = accepts;
        let (checked, moment, address, cached) = match unfinished {
            Unfinished::Own { checked, moment, address, cached } => {
                (checked, moment, address, cached)
            }
            Unfinished::Imported(candidates) => {
                return self.finish_imported(candidates, freshness, inactive).await;
            }
            #[cfg(feature = "children")]
            Unfinished::Child(child) => {
                return self.finish_child(*child, freshness, accepts, inactive).await;
            }
        };
        let now = moment.now;
        let is_cached = cached.is_some();
        let decision = match cached {
            Some(Ok(principal)) => Ok(principal),
            Some(Err(denied)) if denied.key.is_some() => Err(denied),
            Some(Err(_)) | None => {
                // Another node may have changed the secret since it was cached, even while a read is under
                // way. The caller has proven that the token was minted here, so made-up tokens cannot flood
                // the store this way.
                if freshness == Freshness::Cached
                    && let Some(reason) = self.cache.rejection(&checked, moment)
                {
                    return Err(self.reject(reason, &checked, now));
                }
                let before = self.cache.before_rejection(&checked);
                let cause = LoadCause::of(is_cached, freshness);
                let key = match self.load(&checked, cause, moment).await {
                    Ok(Some(key)) => key,
                    Ok(None) => {
                        self.cache.note_rejection(&checked, Rejection::Unknown, moment, before);
                        return Err(self.reject(Rejection::Unknown, &checked, now));
                    }
                    Err(error) => return Err(self.fail(&error, &checked, now)),
                };
                let decision = decide_from(&checked, &key, now, || address);
                match decision {
                    Ok(_) => self.note_use(&key, moment),
                    Err(Denial::Rejected(reason)) => {
                        self.cache.note_rejection(&checked, reason, moment, before);
                    }
                    Err(Denial::Inactive(_) | Denial::Outside(_)) => {}
                }
                decision.map_err(|denial| Denied::of(denial, &key))
            }
        };
        self.conclude(decision, &checked, now, inactive).await
    }

    /// Applies the consequences of a decision, and returns the outcome.
    pub(super) async fn conclude<'c>(
        &self,
        decision: Result<Principal, Denied>,
        claim: impl Into<Claim<'c>>,
        now: Timestamp,
        inactive: &mut Option<Arc<ResolvedKey>>,
    ) -> Result<Principal, VerifyError> {
        match decision {
            Ok(principal) => {
                if self.must_end_grace_period(&principal) {
                    // A child proves the secret that signed it.
                    self.end_grace_period(&principal.checked()).await;
                }
                Ok(principal.verified_by(self.number()))
            }
            Err(Denied { denial: Denial::Rejected(rejection), .. }) => {
                Err(self.reject(rejection, claim, now))
            }
            Err(Denied { denial: Denial::Inactive(state), key }) => {
                self.count_forbidden(key.as_deref(), now);
                self.record_caller(now, key.as_deref(), AuditKind::Inactive(state));
                *inactive = key;
                Err(VerifyError::Inactive(state))
            }
            Err(Denied { denial: Denial::Outside(outside), key }) => {
                self.count_forbidden(key.as_deref(), now);
                self.record_outside(now, key.as_deref(), &outside);
                *inactive = key;
                Err(VerifyError::Forbidden(outside))
            }
        }
    }

    /// Returns whether this use must end the grace period of an older secret, and no other caller is doing so.
    #[inline]
    pub(super) fn must_end_grace_period(&self, principal: &Principal) -> bool {
        principal.ends_grace_period()
            && self.sources.store().is_some()
            && !self.ending.contains(principal.key_id())
    }

    #[inline]
    pub(super) fn decide_cached(
        &self,
        checked: &CheckedToken,
        moment: Moment,
        address: impl Fn() -> Option<IpAddr>,
    ) -> Option<Result<Principal, Denied>> {
        self.cache.with(checked.id(), moment, |key| {
            let decision = decide_from(checked, key, moment.now, address);
            if decision.is_ok() {
                self.note_use(key, moment);
            }
            match decision {
                Ok(principal) => Ok(principal.verified_by(self.number())),
                Err(denial) => Err(Denied::of(denial, key)),
            }
        })
    }

    /// Returns the number that no other verifier in the process has. It has at most 32 bits and is not 0.
    #[inline]
    pub(crate) fn number(&self) -> u64 {
        self.cache.number()
    }

    #[inline]
    pub(super) fn note_use(&self, key: &ResolvedKey, moment: Moment) {
        let minute = moment.now.as_millis().div_euclid(60_000);
        if key.stamp.note_use(minute) {
            self.note_time(moment.now);
            if self.sources.store().is_some() {
                let at = Timestamp::saturating_from_millis(minute * 60_000);
                self.cache.record_use(KeyUse { id: key.id(), at });
            }
        }
    }

    /// Invalidates a key. After this returns, no verification uses anything loaded before of this key.
    pub(super) fn invalidate_key(&self, id: KeyId) {
        self.sources.note_change(Some(id), || self.clock.moment());
        self.cache.invalidate_key(id);
        self.streams.nudge();
    }

    /// Invalidates a tenant's keys. After this returns, no verification uses anything loaded before of them.
    pub(super) fn invalidate_tenant(&self, id: &TenantId) {
        self.sources.note_change(None, || self.clock.moment());
        self.cache.invalidate_tenant(id);
        self.streams.nudge();
    }

    /// Invalidates everything. After this returns, no verification uses anything loaded before.
    pub(super) fn invalidate_all(&self) {
        self.sources.note_change(None, || self.clock.moment());
        self.cache.invalidate_all();
        self.streams.nudge();
    }

    pub(crate) fn invalidate_key_on_drop(&self, id: KeyId) -> impl Drop + '_ {
        OnDrop(move || self.invalidate_key(id))
    }

    pub(crate) fn invalidate_tenant_on_drop(&self, id: TenantId) -> impl Drop + '_ {
        OnDrop(move || self.invalidate_tenant(&id))
    }
}
