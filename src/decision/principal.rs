//! A verified caller.

use alloc::sync::Arc;
use core::fmt;

use super::{ResolvedKey, resolved::Proof};
#[cfg(feature = "http")]
use crate::token::ChildId;
#[cfg(feature = "http")]
use crate::{grant::Limits, time::Timestamp};
use crate::{
    grant::{Grant, OutsideGrant, ResourceKind, Resources},
    policy::Policy,
    record::{Labels, Owner},
    scope::{MissingScope, Requirement, ScopeSet},
    tier::Tier,
    token::KeyId,
};
#[cfg(feature = "std")]
use crate::{tier::Allowance, token::CheckedToken};

/// The identity of a verified caller.
///
/// Only verification creates a `Principal`. So a function that takes one cannot be called for a caller that
/// was not verified.
#[derive(Clone)]
pub struct Principal {
    key: Arc<ResolvedKey>,
    /// How the key was proven, in the low 8 bits. The 24 bits above are the number of what a guard required of the
    /// caller, and 0 if no guard has admitted it. The highest 32 bits are the number of the verifier, and 0 if there
    /// is none. The numbers are here, and not beside the principal in the extensions of a request: code between two
    /// guards may replace the principal. One word leaves no padding, whose copies would stall.
    marks: u64,
}

/// The bits of `marks` that say what a guard required.
#[cfg(feature = "std")]
const ADMITTED: u64 = 0xff_ffff << 8;

impl Principal {
    /// The number in place of that of a verifier for a caller that a test has made.
    #[cfg(feature = "testing")]
    pub(crate) const BY_A_TEST: u64 = u32::MAX as u64;

    #[inline]
    pub(crate) fn new(key: Arc<ResolvedKey>, proof: Proof) -> Self {
        Self { key, marks: proof as u64 }
    }

    /// Returns the id of the key, for logs.
    pub fn key_id(&self) -> KeyId {
        self.key.id()
    }

    /// Returns the id of the tenant.
    pub fn tenant(&self) -> &str {
        self.key.tenant()
    }

    /// Returns the name of the key.
    pub fn name(&self) -> &str {
        self.key.name()
    }

    /// Returns the tenant's notes on the key. The tenant can change them, so they must not decide anything.
    pub fn labels(&self) -> &Labels {
        self.key.labels()
    }

    /// Returns the person or team inside the tenant that the key belongs to, if it was issued for one.
    pub fn owner(&self) -> Option<&Owner> {
        self.key.owner()
    }

    /// Returns the application's own text on the key. Unlike labels, no tenant can change it. See
    /// [`NewKey::attributes`](crate::NewKey::attributes).
    pub fn attributes(&self) -> &Labels {
        self.key.attributes()
    }

    /// Returns the child that the caller has presented, or `None` if it presented the key itself.
    ///
    /// The caller then has the id, tenant, name, owner, labels, attributes and rates of the parent. Its scopes, resources and
    /// networks are those of the parent, narrowed by the child.
    #[cfg(feature = "children")]
    #[inline]
    pub fn child(&self) -> Option<&crate::children::Child> {
        self.key.child()
    }

    /// Returns the id of the child, for audit events.
    #[cfg(feature = "http")]
    pub(crate) fn child_id(&self) -> Option<ChildId> {
        self.key.child_id()
    }

    /// Returns the scopes of the caller: those that its key was granted and the tenant's tier allows.
    #[inline]
    pub fn scopes(&self) -> ScopeSet {
        self.key.scopes()
    }

    /// Returns the resources of the kind `kind` that the caller may touch, for a list that only shows these. Without a
    /// limit they are all. A kind of another catalog has none.
    ///
    /// ```
    /// use keyway::{Principal, grant::{ResourceKind, Resources}};
    ///
    /// /// Returns the condition for the query of a list, and its parameters.
    /// fn condition(caller: &Principal, machine: &ResourceKind) -> (&'static str, Vec<String>) {
    ///     match caller.resources(machine) {
    ///         Resources::All => ("TRUE", Vec::new()),
    ///         Resources::Only(ids) => ("id = ANY ($1)", ids.iter().map(String::from).collect()),
    ///         Resources::Nothing => ("FALSE", Vec::new()),
    ///     }
    /// }
    /// ```
    pub fn resources(&self, kind: &ResourceKind) -> &Resources {
        if kind.catalog() != self.scopes().catalog() {
            return &Resources::Nothing;
        }
        self.key.limits().map_or(&Resources::All, |limits| limits.resources.of_kind(kind.name()))
    }

    /// Checks that the caller meets `requirement` and may touch the resource `id` of the kind `kind`. This is for ids that
    /// only the handler knows, such as those in a body.
    ///
    /// # Errors
    ///
    /// [`OutsideGrant`] says what is missing.
    pub fn permit(
        &self,
        requirement: &Requirement,
        kind: &ResourceKind,
        id: &str,
    ) -> Result<(), OutsideGrant> {
        self.require(requirement)?;
        if self.resources(kind).contains(id) {
            Ok(())
        } else {
            Err(OutsideGrant::Resource(kind.name().into()))
        }
    }

    /// Returns what the caller may do, to limit what it can pass on: [`NewKey::granted_by`](crate::NewKey::granted_by).
    pub fn grant(&self) -> Grant {
        self.key.grant()
    }

    #[cfg(feature = "http")]
    #[inline]
    pub(crate) fn limits(&self) -> Option<&Limits> {
        self.key.limits()
    }

    /// Returns the time from which the token that the caller has presented is no longer accepted. See
    /// [`ResolvedKey::token_expiry`].
    #[cfg(feature = "http")]
    pub(crate) fn token_expiry(&self, now: Timestamp) -> Option<Timestamp> {
        self.key.token_expiry(self.used_previous_secret(), now)
    }

    /// Returns the tier of the tenant, in the policy that the caller was verified with.
    pub fn tier<'p>(&self, policy: &'p Policy) -> Option<&'p Tier> {
        policy.tiers().get(self.key.tier())
    }

    /// Returns the rates of the key and of its tenant, if they are not those of the tier.
    #[cfg(feature = "rate-limit")]
    #[inline]
    pub(crate) fn own_rates(&self) -> Option<super::TenantRates> {
        self.key.rates()
    }

    /// Returns the allowances of the tenant: those of its exceptions, or of its tier in this policy.
    #[cfg(feature = "std")]
    #[inline]
    pub(crate) fn allowances<'p>(&'p self, policy: &'p Policy) -> &'p [Allowance] {
        match self.key.allowances() {
            Some(own) => own,
            None => self.tier(policy).map_or(&[], |tier| &tier.allowances),
        }
    }

    /// Returns the index of the tenant's tier in the policy.
    #[cfg(feature = "rate-limit")]
    #[inline]
    pub(crate) fn tier_index(&self) -> usize {
        self.key.tier()
    }

    /// Checks that the caller may use a route with this requirement.
    ///
    /// # Errors
    ///
    /// [`MissingScope`] names the missing scopes, and which of them the tier of the tenant withholds.
    #[inline]
    pub fn require(&self, requirement: &Requirement) -> Result<(), MissingScope> {
        let granted = || self.key.granted();
        requirement
            .check(self.scopes())
            .map_err(|missing| requirement.with_withheld(missing, granted()))
    }

    /// Returns whether this use ends the grace period of an older secret.
    #[inline]
    pub(crate) fn ends_grace_period(&self) -> bool {
        self.proof() == Proof::FirstUse as u64 || self.proof() == Proof::FirstUseOfOlder as u64
    }

    /// Returns whether the caller used a secret from before the last rotation, whose grace period is still
    /// running.
    pub fn used_previous_secret(&self) -> bool {
        !(self.proof() == Proof::Current as u64 || self.proof() == Proof::FirstUse as u64)
    }

    #[inline]
    fn proof(&self) -> u64 {
        self.marks & 0xff
    }

    /// Marks the caller as verified by the verifier with this number, of at most 32 bits.
    #[cfg(feature = "std")]
    #[inline]
    pub(crate) fn verified_by(self, verifier: u64) -> Self {
        Self { marks: self.proof() | verifier << 32, ..self }
    }

    /// Returns the number of the verifier, or 0 if there is none.
    #[cfg(feature = "std")]
    #[inline]
    pub(crate) fn verifier(&self) -> u64 {
        self.marks >> 32
    }

    /// Marks the caller as admitted by a guard, which required what has the number `required`, of at most 24 bits.
    #[cfg(feature = "http")]
    #[inline]
    pub(crate) fn admitted(self, required: u32) -> Self {
        let others = self.marks & !ADMITTED;
        Self { marks: others | u64::from(required) << 8 & ADMITTED, ..self }
    }

    /// Returns the number of what a guard required of the caller, or 0 if no guard has admitted it.
    #[cfg(feature = "std")]
    #[inline]
    pub(crate) fn required(&self) -> u32 {
        // 24 bits.
        u32::try_from((self.marks & ADMITTED) >> 8).unwrap_or_default()
    }

    /// Returns the data of the key that the caller was verified with.
    #[cfg(feature = "std")]
    pub(crate) fn key(&self) -> &Arc<ResolvedKey> {
        &self.key
    }

    /// Returns the checked form of the token that the caller was verified with.
    #[cfg(feature = "std")]
    pub(crate) fn checked(&self) -> CheckedToken {
        self.key.checked_by(self.proof())
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
