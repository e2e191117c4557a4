//! A verified caller.

use alloc::sync::Arc;
use core::fmt;

use super::{ResolvedKey, resolved::Proof};
use crate::{
    policy::Policy,
    record::Labels,
    scope::{MissingScope, Requirement, ScopeSet},
    tier::Tier,
    token::KeyId,
};

/// Who a verified request is.
///
/// Only verification makes one, so a function that takes a `Principal` cannot be called for somebody
/// who was not verified.
#[derive(Clone)]
pub struct Principal {
    key: Arc<ResolvedKey>,
    /// How the key was proven, and above its 8 bits the number of the verifier whose guard has admitted
    /// the caller. In one word, so that a principal has no padding, whose copies would stall.
    marks: u64,
}

impl Principal {
    #[inline]
    pub(super) fn new(key: Arc<ResolvedKey>, proof: Proof) -> Self {
        Self { key, marks: proof as u64 }
    }

    /// The id of the key, for logs.
    pub fn key_id(&self) -> KeyId {
        self.key.id()
    }

    /// The id of the tenant.
    pub fn tenant(&self) -> &str {
        self.key.tenant()
    }

    /// The name of the key.
    pub fn name(&self) -> &str {
        self.key.name()
    }

    /// The tenant's notes on the key.
    pub fn labels(&self) -> &Labels {
        self.key.labels()
    }

    /// What the caller may do: what its key was granted, as far as the tenant's tier allows it.
    #[inline]
    pub fn scopes(&self) -> ScopeSet {
        self.key.scopes()
    }

    /// The tier of the tenant, in the policy that the caller was verified with.
    pub fn tier<'p>(&self, policy: &'p Policy) -> Option<&'p Tier> {
        policy.tiers().get(self.key.tier())
    }

    /// The place of that tier among those of the policy.
    #[cfg(feature = "rate-limit")]
    #[inline]
    pub(crate) fn tier_index(&self) -> usize {
        self.key.tier()
    }

    /// Succeeds if the caller may use a route with this requirement.
    ///
    /// # Errors
    ///
    /// [`MissingScope`] names what is missing.
    #[inline]
    pub fn require(&self, requirement: &Requirement) -> Result<(), MissingScope> {
        requirement.check(self.scopes())
    }

    /// Whether this was the first use of a rotated secret, which ends the one before it, and the
    /// caller is the one to see to that.
    #[cfg(feature = "std")]
    #[inline]
    pub(crate) fn claims_overlap(&self) -> bool {
        self.proof() == Proof::FirstUse as u64 && self.key.claim_overlap()
    }

    #[cfg(feature = "std")]
    pub(crate) fn release_overlap(&self) {
        self.key.release_overlap();
    }

    /// Whether the caller used the secret from before the last rotation, which ends soon.
    pub fn used_previous_secret(&self) -> bool {
        self.proof() == Proof::Previous as u64
    }

    #[inline]
    fn proof(&self) -> u64 {
        self.marks & 0xff
    }

    /// The same caller, admitted by a guard of the verifier with this number.
    #[cfg(feature = "http")]
    #[inline]
    pub(crate) fn admitted_by(self, verifier: u64) -> Self {
        Self { marks: self.proof() | verifier << 8, ..self }
    }

    /// Whether a guard of the verifier with this number has admitted the caller.
    #[cfg(feature = "http")]
    pub(crate) fn is_admitted_by(&self, verifier: u64) -> bool {
        self.marks >> 8 == verifier
    }
}

impl fmt::Debug for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Principal")
            .field("tenant", &self.tenant())
            .field("key_id", &self.key_id())
            .field("name", &self.name())
            .field("scopes", &self.scopes())
            .finish_non_exhaustive()
    }
}
