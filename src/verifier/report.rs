//! Reports of the engine to the audit sink, and the errors that callers get.

use alloc::sync::Arc;
use core::panic::AssertUnwindSafe;
use std::panic::catch_unwind;

use super::{Engine, VerifyError, load::LoadError};
#[cfg(feature = "http")]
use crate::decision::Principal;
use crate::{
    audit::{AuditEvent, AuditKind, Noise},
    decision::ResolvedKey,
    grant::OutsideGrant,
    store::StoreError,
    time::{Moment, Timestamp},
    token::{CheckedToken, ChildId, KeyId, Rejection},
};

/// The credential of a refused request: a token, or a child of the token's key.
#[derive(Clone, Copy)]
pub(super) struct Claim<'c> {
    pub(super) checked: &'c CheckedToken,
    pub(super) child: Option<ChildId>,
}

impl<'c> From<&'c CheckedToken> for Claim<'c> {
    fn from(checked: &'c CheckedToken) -> Self {
        Self { checked, child: None }
    }
}

impl Engine {
    #[cold]
    pub(super) fn reject_unproven(&self, rejection: Rejection) -> VerifyError {
        self.record_noise(match rejection {
            Rejection::Malformed => Noise::Malformed,
            Rejection::Forged => Noise::Forged,
            Rejection::Unknown | Rejection::WrongSecret => Noise::Unknown,
        });
        VerifyError::Rejected
    }

    /// Reports to the audit sink that the token `presented` was rejected for the reason `rejection`. A child is rejected where
    /// only the token of a key counts.
    pub(crate) fn record_rejected(&self, presented: &[u8], rejection: Rejection) {
        let now = self.clock.moment().now;
        if let Ok(checked) = self.authority.check(presented) {
            self.reject(rejection, &checked, now);
        } else if let Some((key, child)) = self.authority.child_in(presented) {
            self.reject_child(rejection, key, child, now);
        } else {
            self.reject_unproven(rejection);
        }
    }

    pub(super) fn reject<'c>(
        &self,
        rejection: Rejection,
        claim: impl Into<Claim<'c>>,
        now: Timestamp,
    ) -> VerifyError {
        let Claim { checked, child } = claim.into();
        self.record_claim(now, None, checked.id(), child, AuditKind::Rejected(rejection));
        VerifyError::Rejected
    }

    /// Rejects a child with a right tag whose parent was not looked up.
    #[cold]
    pub(super) fn reject_child(
        &self,
        rejection: Rejection,
        parent: KeyId,
        child: ChildId,
        now: Timestamp,
    ) -> VerifyError {
        self.record_claim(now, None, parent, Some(child), AuditKind::Rejected(rejection));
        VerifyError::Rejected
    }

    pub(super) fn fail<'c>(
        &self,
        error: &LoadError,
        claim: impl Into<Claim<'c>>,
        now: Timestamp,
    ) -> VerifyError {
        let Claim { checked, child } = claim.into();
        let record = |tenant: Option<&str>, kind: AuditKind<'_>| {
            self.record_claim(now, tenant, checked.id(), child, kind);
        };
        match error {
            LoadError::Store(cause) => {
                let kind = match **cause {
                    // It is not known whose secret this is, so the caller does not learn that the record is
                    // corrupt.
                    StoreError::Corrupt(_) => AuditKind::Tampered,
                    _ => AuditKind::Unavailable,
                };
                record(None, kind);
                VerifyError::unavailable(Arc::clone(cause))
            }
            LoadError::Paused(paused) => {
                self.record_noise(Noise::Unavailable);
                VerifyError::unavailable(Arc::new(*paused))
            }
            LoadError::UnknownTier { record: key, tier } => {
                record(Some(key.tenant.as_str()), AuditKind::UnknownTier(tier));
                if key.holds(checked, now) {
                    VerifyError::unavailable(Arc::new(error.clone()))
                } else {
                    VerifyError::Rejected
                }
            }
            LoadError::Tampered(key) => {
                record(Some(key.tenant.as_str()), AuditKind::Tampered);
                // Only a caller that holds the secret may learn that the record is broken.
                if key.holds(checked, now) { VerifyError::Tampered } else { VerifyError::Rejected }
            }
        }
    }

    /// Reports an event to the audit sink, if there is one.
    pub(crate) fn record(
        &self,
        at: Timestamp,
        actor: &str,
        tenant: Option<&str>,
        key: Option<KeyId>,
        kind: AuditKind<'_>,
    ) {
        self.record_event(&AuditEvent { at, actor, tenant, key, child: None, kind });
    }

    /// Reports an event about a request that was not verified to the audit sink. It names the child, if that is what was
    /// presented.
    fn record_claim(
        &self,
        at: Timestamp,
        tenant: Option<&str>,
        key: KeyId,
        child: Option<ChildId>,
        kind: AuditKind<'_>,
    ) {
        self.record_event(&AuditEvent { at, actor: "", tenant, key: Some(key), child, kind });
    }

    /// Reports an event about a caller to the audit sink. It names the child, if that is what was presented.
    pub(super) fn record_caller(
        &self,
        at: Timestamp,
        key: Option<&ResolvedKey>,
        kind: AuditKind<'_>,
    ) {
        self.record_event(&AuditEvent {
            at,
            actor: "",
            tenant: key.map(ResolvedKey::tenant),
            key: key.map(ResolvedKey::id),
            child: key.and_then(ResolvedKey::child_id),
            kind,
        });
    }

    pub(crate) fn record_event(&self, event: &AuditEvent<'_>) {
        if let Some(sink) = &self.audit {
            // A panic in the sink must not change the outcome.
            let _ = catch_unwind(AssertUnwindSafe(|| sink.record(event)));
        }
    }

    /// Reports a rejected request that proved nothing to the audit sink, or only counts it.
    #[cold]
    pub(crate) fn record_noise(&self, noise: Noise) {
        if self.audit.is_none() {
            return;
        }
        let Moment { now, uptime } = self.clock.moment();
        let sampled = self.noise.count(noise, uptime);
        self.record_suppressed(now, noise, sampled.suppressed);
        if sampled.is_reported {
            self.record(now, "", None, None, noise.kind());
        }
    }

    /// Reports to the audit sink how many rejected requests have not been events of their own so far.
    pub(crate) fn flush_noise(&self) {
        let now = self.clock.moment().now;
        for (noise, count) in self.noise.take() {
            self.record_suppressed(now, noise, count);
        }
    }

    fn record_suppressed(&self, now: Timestamp, noise: Noise, count: u64) {
        if count > 0 {
            self.record(now, "", None, None, AuditKind::Suppressed { noise, count });
        }
    }

    /// Reports to the audit sink a verified caller that is rejected nevertheless, or a request without a
    /// readable credential. Verification has already reported the requests that it rejected.
    #[cfg(feature = "http")]
    #[cold]
    pub(crate) fn record_refused(&self, error: &VerifyError, caller: Option<&Principal>) {
        let kind = match error {
            VerifyError::Missing => return self.record_noise(Noise::Missing),
            VerifyError::BadRequest => return self.record_noise(Noise::BadRequest),
            // Verification has reported a caller that it refused itself.
            VerifyError::Forbidden(_) if caller.is_none() => return,
            VerifyError::Forbidden(outside) => kind_of(outside),
            VerifyError::Limited { retry_after } | VerifyError::UsedUp { retry_after } => {
                AuditKind::Limited { retry_after: *retry_after }
            }
            _ => return,
        };
        let key = caller.map(|caller| &**caller.key());
        self.record_caller(self.clock.moment().now, key, kind);
    }

    /// Reports to the audit sink that verification refused a key for its limits.
    #[cold]
    pub(super) fn record_outside(
        &self,
        now: Timestamp,
        key: Option<&ResolvedKey>,
        outside: &OutsideGrant,
    ) {
        self.record_caller(now, key, kind_of(outside));
    }

    /// Returns whether anything receives the events of changes: an audit sink, or a store of events.
    pub(crate) fn reports_changes(&self) -> bool {
        self.audit.is_some() || self.events.is_some()
    }
}

fn kind_of(outside: &OutsideGrant) -> AuditKind<'_> {
    match outside {
        OutsideGrant::Scope(missing) => AuditKind::Forbidden { scopes: missing.scopes() },
        OutsideGrant::Resource(kind) => AuditKind::OtherResource { kind },
        OutsideGrant::Audience => AuditKind::OtherAudience,
        OutsideGrant::Network => AuditKind::OtherNetwork,
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.unregister();
        self.streams.end();
        self.flush_noise();
    }
}
