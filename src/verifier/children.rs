//! Verification of children: their signature once, and then what their parent and they themselves permit, each time.

mod failures;
mod known;

use alloc::{boxed::Box, sync::Arc};
use core::net::IpAddr;

use self::known::{ChildHash, KnownChild};
pub(super) use self::{
    failures::{Failures, TooManyFailures},
    known::KnownChildren,
};
use super::{
    Engine, Freshness, Progress, VerifyError,
    engine::{Accepts, Denied, Unfinished},
    load::{LoadCause, LoadError},
    report::Claim,
};
use crate::{
    audit::Noise,
    children::{Child, PresentedChild, SignedChild},
    decision::{Denial, Principal, ResolvedKey, decide_child},
    grant::OutsideGrant,
    time::Moment,
    token::{CheckedToken, ChildId, Digest, KeyId, Rejection},
};

/// A child that has to wait for the store.
pub(crate) struct UnfinishedChild {
    seen: Seen,
    step: Step,
}

/// A presented child before its parent is read.
struct Seen {
    parent: KeyId,
    id: ChildId,
    digest: [u8; 32],
    hash: ChildHash,
    moment: Moment,
    /// The address of the client, if it is known.
    address: Option<IpAddr>,
}

enum Step {
    /// No public key of the cached parent made the signature, if there is one.
    Unproven {
        signed: Box<SignedChild>,
        tried: Option<Arc<ResolvedKey>>,
    },
    Decided(Result<Principal, Denied>),
}

impl UnfinishedChild {
    /// Returns the id of the parent. Nothing is proven yet.
    #[cfg(feature = "http")]
    pub(super) fn parent(&self) -> KeyId {
        self.seen.parent
    }
}

impl Seen {
    fn new(
        presented: &PresentedChild<'_>,
        hash: ChildHash,
        moment: Moment,
        address: Option<IpAddr>,
    ) -> Self {
        Self {
            parent: presented.parent(),
            id: presented.id(),
            digest: *presented.digest(),
            hash,
            moment,
            address,
        }
    }

    fn pending<T>(self, step: Step) -> Progress<T, Unfinished> {
        Progress::Pending(Unfinished::Child(Box::new(UnfinishedChild { seen: self, step })))
    }

    /// Returns the stand-in of the child where reads and rejections of the store are shared by the presented secret.
    fn stand_in(&self) -> CheckedToken {
        let head = self.digest.first_chunk().copied().unwrap_or([0; Digest::LEN]);
        CheckedToken::new(self.parent, Digest::from_bytes(&head))
    }
}

impl Engine {
    /// Returns the outcome for a child if it is known without waiting. Returns `None` if `presented` is no child with a
    /// right tag.
    #[inline(never)]
    pub(super) fn verify_child_at_once(
        &self,
        presented: &[u8],
        freshness: Freshness,
        address: impl Fn() -> Option<IpAddr>,
        accepts: Accepts<'_>,
    ) -> Option<Progress<Result<Principal, VerifyError>, Unfinished>> {
        let (presented, hash, known) = self.recognize(presented)?;
        let is_known = known.is_some();
        let moment = self.clock.moment();
        // The signature of a child that is new here is checked outside, since the cache is locked inside.
        let cached = match freshness {
            Freshness::Cached => self.cache.with(presented.parent(), moment, |parent| match known
                .and_then(|known| self.derived(hash, known, parent))
            {
                Some(child) => Ok(self.decide_child(child, parent, moment, &address, accepts)),
                None => Err(Arc::clone(parent)),
            }),
            Freshness::Now => None,
        };
        if let Some(Ok(Ok(principal))) = cached {
            if !self.must_end_grace_period(&principal) {
                return Some(Progress::Done(Ok(principal)));
            }
            let seen = Seen::new(&presented, hash, moment, address());
            return Some(seen.pending(Step::Decided(Ok(principal))));
        }
        let seen = Seen::new(&presented, hash, moment, address());
        let parent = match cached {
            Some(Ok(decision)) => return Some(seen.pending(Step::Decided(decision))),
            Some(Err(parent)) => Some(parent),
            None => None,
        };
        Some(self.see(&presented, seen, is_known, parent, freshness, accepts))
    }

    /// Returns the child in `presented` if its tag is right, with what is remembered of it.
    ///
    /// INVARIANT: nothing that depends on a key is read before this. So a made-up child does not show which keys are cached.
    #[inline]
    fn recognize<'t>(
        &self,
        presented: &'t [u8],
    ) -> Option<(PresentedChild<'t>, ChildHash, Option<KnownChild>)> {
        let format = self.authority.children()?;
        let text = format.shape(presented)?;
        let hash = self.children.hash(presented);
        if let Some(known) = self.children.get(hash) {
            // The tag of a child that is remembered was right.
            let digest = text.digest();
            if known.has_digest(&digest) {
                return Some((text.recognized(digest), hash, Some(known)));
            }
        }
        Some((format.check_tag(text)?, hash, None))
    }

    /// Checks the signature of a child that is not remembered for its parent as it is, if its parent is cached.
    #[cold]
    #[inline(never)]
    fn see(
        &self,
        presented: &PresentedChild<'_>,
        seen: Seen,
        is_known: bool,
        parent: Option<Arc<ResolvedKey>>,
        freshness: Freshness,
        accepts: Accepts<'_>,
    ) -> Progress<Result<Principal, VerifyError>, Unfinished> {
        // A wrong child that is presented again, such as one of a secret that has ended, takes nothing from others.
        let stand_in = seen.stand_in();
        if freshness == Freshness::Cached
            && let Some(reason) = self.cache.rejection(&stand_in, seen.moment)
        {
            let claim = Claim { checked: &stand_in, child: Some(seen.id) };
            return Progress::Done(Err(self.reject(reason, claim, seen.moment.now)));
        }
        // INVARIANT: asked before each read as well. Otherwise made-up children of a deleted key would each read the store.
        // A child that is remembered for another state of its parent is read for. Its signature is right.
        if !is_known && !self.failures.permit(seen.parent, seen.moment) {
            return Progress::Done(Err(self.refuse_unchecked()));
        }
        let Some(signed) = presented.read().map(Box::new) else {
            self.failures.note(seen.parent, seen.moment);
            let (parent, id, now) = (seen.parent, seen.id, seen.moment.now);
            return Progress::Done(Err(self.reject_child(Rejection::Malformed, parent, id, now)));
        };
        let Some(parent) = parent else {
            return seen.pending(Step::Unproven { signed, tried: None });
        };
        if !self.failures.permit(seen.parent, seen.moment) {
            return Progress::Done(Err(self.refuse_unchecked()));
        }
        let Some(child) = self.prove(&seen, &signed, &parent) else {
            self.failures.note(seen.parent, seen.moment);
            return seen.pending(Step::Unproven { signed, tried: Some(parent) });
        };
        let address = || seen.address;
        match self.decide_child(child, &parent, seen.moment, address, accepts) {
            Ok(principal) if !self.must_end_grace_period(&principal) => {
                Progress::Done(Ok(principal))
            }
            decision => seen.pending(Step::Decided(decision)),
        }
    }

    /// Returns the outcome for a ticket as [`verify_child_at_once`](Self::verify_child_at_once) does. Everything that is no
    /// child is rejected, a valid key too, since a key in an address is a mistake that must not work.
    #[cfg(feature = "http")]
    pub(crate) fn verify_ticket_at_once(
        &self,
        presented: &[u8],
        freshness: Freshness,
        address: impl Fn() -> Option<IpAddr>,
        accepts: Accepts<'_>,
    ) -> Progress<Result<Principal, VerifyError>, Unfinished> {
        let progress = self.verify_child_at_once(presented, freshness, address, accepts);
        progress.unwrap_or_else(|| Progress::Done(Err(self.reject_unproven(Rejection::Malformed))))
    }

    /// Completes the verification of a child that has to wait.
    #[cold]
    pub(super) async fn finish_child(
        self: &Arc<Self>,
        unfinished: UnfinishedChild,
        freshness: Freshness,
        accepts: Accepts<'_>,
        inactive: &mut Option<Arc<ResolvedKey>>,
    ) -> Result<Principal, VerifyError> {
        let UnfinishedChild { seen, step } = unfinished;
        let (moment, stand_in) = (seen.moment, seen.stand_in());
        let claim = Claim { checked: &stand_in, child: Some(seen.id) };
        let decision = match step {
            Step::Decided(decision) => decision,
            Step::Unproven { signed, tried } => {
                // Another node may have given the parent another secret since it was cached.
                let before = self.cache.before_rejection(&stand_in);
                let cause = LoadCause::of(tried.is_some(), freshness);
                let parent = match self.load(&stand_in, cause, moment).await {
                    Ok(Some(parent)) => parent,
                    Ok(None) => {
                        self.failures.note(seen.parent, self.clock.moment());
                        self.cache.note_rejection(&stand_in, Rejection::Unknown, moment, before);
                        return Err(self.reject(Rejection::Unknown, claim, moment.now));
                    }
                    Err(error) => {
                        // A read that was not made costs nothing.
                        if !matches!(error, LoadError::Paused(_)) {
                            self.failures.note(seen.parent, self.clock.moment());
                        }
                        return Err(self.fail(&error, claim, moment.now));
                    }
                };
                let known =
                    self.children.get(seen.hash).filter(|known| known.has_digest(&seen.digest));
                let known = known.and_then(|known| self.derived(seen.hash, known, &parent));
                let has_same_keys =
                    tried.is_some_and(|tried| tried.child_keys().eq(parent.child_keys()));
                let child = match known {
                    Some(child) => Some(child),
                    None if has_same_keys => None,
                    // Others may have failed in the meantime.
                    None if !self.failures.permit(seen.parent, self.clock.moment()) => {
                        return Err(self.refuse_unchecked());
                    }
                    None => {
                        let child = self.prove(&seen, &signed, &parent);
                        if child.is_none() {
                            self.failures.note(seen.parent, self.clock.moment());
                        }
                        child
                    }
                };
                let Some(child) = child else {
                    self.cache.note_rejection(&stand_in, Rejection::WrongSecret, moment, before);
                    return Err(self.reject(Rejection::WrongSecret, claim, moment.now));
                };
                self.decide_child(child, &parent, moment, || seen.address, accepts)
            }
        };
        self.conclude(decision, claim, moment.now, inactive).await
    }

    /// Decides about a child whose signature is proven.
    #[inline]
    fn decide_child(
        &self,
        child: Arc<ResolvedKey>,
        parent: &ResolvedKey,
        moment: Moment,
        address: impl Fn() -> Option<IpAddr>,
        accepts: Accepts<'_>,
    ) -> Result<Principal, Denied> {
        let proof = match decide_child(&child, moment.now, address) {
            Ok(_) if !accepts.child(child.child(), moment.now) => {
                Err(Denial::Outside(OutsideGrant::Audience))
            }
            decision => decision,
        };
        match proof {
            Ok(proof) => {
                self.note_use(parent, moment);
                Ok(Principal::new(child, proof).verified_by(self.number()))
            }
            Err(denial) => Err(Denied::of(denial, &child)),
        }
    }

    /// Returns what a remembered child may do under its parent as `parent` is now, or `None` if no secret of the parent proves
    /// the child any more.
    #[inline]
    fn derived(
        &self,
        hash: ChildHash,
        known: KnownChild,
        parent: &ResolvedKey,
    ) -> Option<Arc<ResolvedKey>> {
        match known.derived_from(parent) {
            Ok(derived) => Some(derived),
            Err(known) => self.derive_again(hash, &known, parent),
        }
    }

    /// Derives a remembered child from another read of its parent. The signature is not checked again: it is right for the same
    /// public key.
    #[cold]
    #[inline(never)]
    fn derive_again(
        &self,
        hash: ChildHash,
        known: &KnownChild,
        parent: &ResolvedKey,
    ) -> Option<Arc<ResolvedKey>> {
        let derived = self.derive_child(known.child()?, parent)?;
        self.children.insert(hash, known.with(Arc::clone(&derived)));
        Some(derived)
    }

    /// Checks the signature of a child with the public keys of `parent`, and remembers it if it is right. Returns `None` if
    /// it is wrong, or if the parent may have no children.
    fn prove(
        &self,
        seen: &Seen,
        signed: &SignedChild,
        parent: &ResolvedKey,
    ) -> Option<Arc<ResolvedKey>> {
        let own = *parent.child_keys().find(|key| signed.is_signed_by(key))?;
        let child = Child::new(seen.id, signed.caveats.clone(), own);
        let derived = self.derive_child(&child, parent)?;
        self.children.insert(seen.hash, KnownChild::new(&seen.digest, Arc::clone(&derived)));
        Some(derived)
    }

    /// Returns what `child`, whose signature is proven, may do under its parent. Returns `None` if no secret of the parent proves
    /// the child any more, or if the parent may have no children.
    pub(super) fn derive_child(
        &self,
        child: &Child,
        parent: &ResolvedKey,
    ) -> Option<Arc<ResolvedKey>> {
        parent.child_keys().find(|key| *key == child.signer())?;
        let longest = self.authority.children()?.max_lifetime();
        parent.narrowed(child.clone(), self.authority.policy(), longest).map(Arc::new)
    }

    /// Refuses a child whose signature is not checked, since too many of its parent's were wrong in this second.
    #[cold]
    fn refuse_unchecked(&self) -> VerifyError {
        self.record_noise(Noise::Unavailable);
        VerifyError::unavailable(Arc::new(TooManyFailures))
    }
}
