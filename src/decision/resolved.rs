//! A key prepared for decisions: its seal is checked, and its scopes are bits.

#[cfg(feature = "children")]
mod children;
#[cfg(feature = "http")]
mod expiry;

use alloc::{boxed::Box, string::String, sync::Arc, vec::Vec};
use core::{fmt, net::IpAddr};

use super::{KeyState, stamp::Stamp, state::Facts};
#[cfg(feature = "children")]
use crate::children::Child;
#[cfg(feature = "std")]
use crate::token::ChildId;
use crate::{
    grant::{Grant, Limits, OutsideGrant},
    policy::Policy,
    record::{KeyRecord, Labels, OlderSecret, Owner, RecordError, Suspension, TenantRecord},
    scope::{Scope, ScopeSet},
    seal::Seals,
    tier::{Allowance, Rate},
    time::Timestamp,
    token::{CheckedToken, Digest, KeyId, Rejection},
};

/// The parts of a key and its tenant that a decision needs, with their seals checked.
///
/// A resolved key takes 128 bytes, and one allocation for the names. The fields that verification reads come
/// first, in two cache lines. Fields that few keys have are in a separate allocation. A clone allocates
/// nothing.
#[derive(Clone, PartialEq, Eq)]
#[repr(C)]
pub struct ResolvedKey {
    id: KeyId,
    digest_tail: [u64; 3],
    expires_at: i64,
    pub(crate) stamp: Stamp,
    digest_head: u16,
    tenant_len: u8,
    /// The index of the tenant's tier in the policy.
    tier: u8,
    scopes: ScopeSet,
    /// The id of the tenant, followed by the name of the key.
    text: Arc<str>,
    rare: Option<Arc<Rare>>,
}

/// The id of the tenant of a key, as a part of the key's own text.
#[cfg(feature = "std")]
#[derive(Clone)]
pub(crate) struct KeyText {
    text: Arc<str>,
    tenant_len: u8,
}

#[cfg(feature = "std")]
impl KeyText {
    pub(crate) fn tenant(&self) -> &str {
        self.text.get(..self.tenant_len.into()).unwrap_or_default()
    }
}

/// The fields that few keys have.
#[derive(Clone, PartialEq, Eq)]
struct Rare {
    labels: Labels,
    owner: Option<Owner>,
    attributes: Labels,
    /// The newest secret comes first.
    older: Box<[OlderSecret]>,
    tenant_suspension: Option<Suspension>,
    key_suspension: Option<Suspension>,
    owner_is_disabled: bool,
    enabled: bool,
    not_before: Option<Timestamp>,
    /// Whether the key has one secret, and nothing but its expiry changes its state.
    is_ordinary: bool,
    /// The scopes that the key was granted, if the tier of its tenant withholds some of them.
    granted: Option<ScopeSet>,
    /// `None` if the key may touch all resources and be used from any network.
    limits: Option<Limits>,
    /// A kind of resource that the key is limited in, and that the catalog does not declare.
    unknown_resource: Option<Box<str>>,
    /// The rates of the key and of its tenant, if they are not those of the tier.
    rates: Option<TenantRates>,
    /// The allowances of the tenant, if they are not those of the tier.
    allowances: Option<Box<[Allowance]>>,
    /// The public keys for children, if the key may have some.
    #[cfg(feature = "children")]
    child_keys: Option<children::ChildKeys>,
    /// The child that this is, if it is not the key itself.
    #[cfg(feature = "children")]
    child: Option<children::Origin>,
}

/// The rates of a tenant that has exceptions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TenantRates {
    pub(crate) key: Option<Rate>,
    pub(crate) tenant: Option<Rate>,
}

/// The secret that proved a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Proof {
    Current,
    /// The current secret. Its use ends an older one.
    FirstUse,
    /// The secret before the current one.
    Older,
    /// The secret before the current one. Its use ends a still older one.
    FirstUseOfOlder,
    /// The secret before that.
    Oldest,
}

impl ResolvedKey {
    /// Checks the seals of `key` and its `tenant`, and computes what the key may do and for how long. The
    /// result is what the key was granted, limited by the tenant's tier.
    ///
    /// # Errors
    ///
    /// [`RecordError`] if a record was tampered with, or the policy does not have the tier.
    pub fn new(
        key: &KeyRecord,
        tenant: &TenantRecord,
        policy: &Policy,
        seals: &Seals,
    ) -> Result<Self, RecordError> {
        seals.check_key(key)?;
        seals.check_tenant(tenant)?;
        if key.tenant != tenant.id {
            return Err(RecordError::Misplaced);
        }
        let (tier_index, terms) = policy
            .placed_terms(tenant)
            .ok_or_else(|| RecordError::UnknownTier(tenant.tier.clone()))?;
        let ceiling = terms.scopes;
        let (granted, _) = policy.catalog().set_of_known(&key.scopes);

        let mut text = String::with_capacity(tenant.id.as_str().len() + key.name.len());
        text.push_str(tenant.id.as_str());
        text.push_str(&key.name);
        let kinds = policy.catalog().resource_kinds();
        let owner_is_disabled = tenant.is_disabled(key.owner.as_ref());
        let has_own_rates =
            tenant.exceptions.rate.is_some() || tenant.exceptions.tenant_rate.is_some();
        let is_ordinary = key.older.is_empty()
            && !owner_is_disabled
            && tenant.suspension.is_none()
            && key.suspension.is_none()
            && key.enabled
            && key.not_before.is_none();
        let rare = Rare {
            is_ordinary,
            labels: key.labels.clone(),
            owner: key.owner.clone(),
            attributes: key.attributes.clone(),
            older: key.older.clone().into(),
            tenant_suspension: tenant.suspension.clone(),
            key_suspension: key.suspension.clone(),
            owner_is_disabled,
            enabled: key.enabled,
            not_before: key.not_before,
            granted: (granted.meet(ceiling) != granted).then_some(granted),
            limits: key.limits.resolve(kinds),
            unknown_resource: key.limits.unknown(kinds).map(Into::into),
            rates: has_own_rates
                .then_some(TenantRates { key: terms.rate, tenant: terms.tenant_rate }),
            allowances: tenant.exceptions.allowances.as_deref().map(Into::into),
            #[cfg(feature = "children")]
            child_keys: children::ChildKeys::of(key),
            #[cfg(feature = "children")]
            child: None,
        };
        Ok(Self {
            id: key.id,
            digest_tail: key.digest.tail,
            digest_head: key.digest.head,
            expires_at: key.effective_expiry(&terms).map_or(i64::MAX, Timestamp::as_millis),
            stamp: Stamp::default(),
            scopes: granted.meet(ceiling),
            // INVARIANT: the id of a tenant has at most 128 bytes.
            tenant_len: u8::try_from(tenant.id.as_str().len()).unwrap_or_default(),
            tier: tier_index,
            text: text.into(),
            rare: (!rare.is_nothing()).then(|| Arc::new(rare)),
        })
    }

    /// Returns the scopes that `key` was granted and that the catalog of `policy` does not have. They permit
    /// nothing.
    pub fn unknown_scopes(key: &KeyRecord, policy: &Policy) -> Vec<Scope> {
        policy.catalog().set_of_known(&key.scopes).1
    }

    /// Returns the id of the key.
    #[inline]
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// Returns the text with the id of the tenant. It is shared with the key.
    #[cfg(feature = "std")]
    pub(crate) fn key_text(&self) -> KeyText {
        KeyText { text: Arc::clone(&self.text), tenant_len: self.tenant_len }
    }

    /// Returns the id of the tenant.
    pub fn tenant(&self) -> &str {
        self.text.get(..self.tenant_len.into()).unwrap_or_default()
    }

    /// Returns the name of the key.
    pub fn name(&self) -> &str {
        self.text.get(self.tenant_len.into()..).unwrap_or_default()
    }

    /// Returns the tenant's notes on the key.
    pub fn labels(&self) -> &Labels {
        static NONE: Labels = Labels::NONE;
        self.rare.as_ref().map_or(&NONE, |rare| &rare.labels)
    }

    /// Returns the owner of the key inside its tenant.
    pub fn owner(&self) -> Option<&Owner> {
        self.rare.as_ref()?.owner.as_ref()
    }

    /// Returns the application's own text on the key.
    pub fn attributes(&self) -> &Labels {
        static NONE: Labels = Labels::NONE;
        self.rare.as_ref().map_or(&NONE, |rare| &rare.attributes)
    }

    /// Returns the rates of the key and of its tenant, if they are not those of the tier.
    #[cfg(feature = "rate-limit")]
    #[inline]
    pub(crate) fn rates(&self) -> Option<TenantRates> {
        self.rare.as_ref()?.rates
    }

    /// Returns the allowances of the tenant, if they are not those of the tier.
    #[cfg(feature = "std")]
    #[inline]
    pub(crate) fn allowances(&self) -> Option<&[Allowance]> {
        self.rare.as_ref()?.allowances.as_deref()
    }

    /// Returns the scopes of the key: those that it was granted and its tenant's tier allows.
    #[inline]
    pub fn scopes(&self) -> ScopeSet {
        self.scopes
    }

    /// Returns the scopes that the key was granted, including those that its tenant's tier withholds.
    pub fn granted(&self) -> ScopeSet {
        self.rare.as_ref().and_then(|rare| rare.granted).unwrap_or(self.scopes)
    }

    /// Returns the limits on resources and networks. `None` if there are none.
    #[inline]
    pub(crate) fn limits(&self) -> Option<&Limits> {
        self.rare.as_ref()?.limits.as_ref()
    }

    /// Checks that the key may be used from the address that `address` returns, and that this node knows all kinds of
    /// resources that it is limited in.
    #[inline]
    pub(super) fn check_limits(
        &self,
        address: impl FnOnce() -> Option<IpAddr>,
    ) -> Result<(), OutsideGrant> {
        match &self.rare {
            None => Ok(()),
            Some(rare) => rare.check_limits(address),
        }
    }

    /// Returns the id of the child that this is, or `None` if it is a key.
    #[cfg(feature = "std")]
    #[cfg_attr(
        not(feature = "children"),
        allow(
            clippy::unused_self,
            clippy::unnecessary_wraps,
            reason = "without the feature there are none"
        )
    )]
    pub(crate) fn child_id(&self) -> Option<ChildId> {
        #[cfg(feature = "children")]
        return self.child().map(Child::id);
        #[cfg(not(feature = "children"))]
        None
    }

    /// Returns what the key may do: what it was granted and the tier of its tenant allows.
    pub fn grant(&self) -> Grant {
        Grant::limited(self.scopes, self.limits().cloned().unwrap_or(Limits::NONE))
    }

    /// Returns the index of the tenant's tier in the policy that the key was resolved with.
    pub(super) fn tier(&self) -> usize {
        self.tier.into()
    }

    /// Returns the state of the key at `now`.
    #[inline]
    pub fn state(&self, now: Timestamp) -> KeyState {
        if self.is_ordinary() && now.as_millis() < self.expires_at {
            return KeyState::Active;
        }
        self.full_state(now)
    }

    #[inline]
    fn is_ordinary(&self) -> bool {
        self.rare.as_ref().is_none_or(|rare| rare.is_ordinary)
    }

    #[cold]
    fn full_state(&self, now: Timestamp) -> KeyState {
        let rare = self.rare.as_deref();
        Facts {
            tenant_suspension: rare.and_then(|rare| rare.tenant_suspension.as_ref()),
            key_suspension: rare.and_then(|rare| rare.key_suspension.as_ref()),
            owner_is_disabled: rare.is_some_and(|rare| rare.owner_is_disabled),
            enabled: rare.is_none_or(|rare| rare.enabled),
            not_before: rare.and_then(|rare| rare.not_before),
            expires_at: Timestamp::from_millis(self.expires_at),
        }
        .state(now)
    }

    /// Returns whether `checked` has this key's secret, or an older one that is accepted at `now`. The
    /// secrets are compared in constant time.
    #[inline]
    pub fn is_proven_by(&self, checked: &CheckedToken, now: Timestamp) -> bool {
        self.prove(checked, now).is_ok()
    }

    #[inline]
    pub(crate) fn prove(&self, checked: &CheckedToken, now: Timestamp) -> Result<Proof, Rejection> {
        let current = Digest { head: self.digest_head, tail: self.digest_tail };
        let is_current = current.same(checked.digest());
        if checked.id() != self.id {
            return Err(Rejection::Unknown);
        }
        match &self.rare {
            Some(rare) if !rare.is_ordinary => rare.prove(checked, is_current, now),
            _ if is_current => Ok(Proof::Current),
            _ => Err(Rejection::WrongSecret),
        }
    }

    /// Returns the checked form of the token whose secret proved this key, as a [`Proof`] in a number says.
    #[cfg(feature = "std")]
    pub(super) fn checked_by(&self, proof: u64) -> CheckedToken {
        let older = |place: usize| Some(self.rare.as_ref()?.older.get(place)?.digest);
        let is = |other: Proof| proof == other as u64;
        let digest = if is(Proof::Older) || is(Proof::FirstUseOfOlder) {
            older(0)
        } else if is(Proof::Oldest) {
            older(1)
        } else {
            None
        };
        let current = Digest { head: self.digest_head, tail: self.digest_tail };
        CheckedToken::new(self.id, digest.unwrap_or(current))
    }

    /// Returns the time from which the secret of `checked` no longer proves the key, or the key is expired, if nothing
    /// changes. It is [`Timestamp::MAX`] if there is none.
    #[cfg(feature = "std")]
    pub(crate) fn ends_at(&self, checked: &CheckedToken) -> Timestamp {
        let older = self.rare.iter().flat_map(|rare| &rare.older);
        let own =
            older.filter(|older| older.digest.same(checked.digest())).map(|older| older.until);
        let expiry = Timestamp::saturating_from_millis(self.expires_at);
        own.fold(expiry, Ord::min)
    }

    /// Returns a kind of resource that the key is limited in, and that the catalog does not declare.
    #[cfg(feature = "std")]
    pub(crate) fn unknown_resource(&self) -> Option<&str> {
        self.rare.as_ref()?.unknown_resource.as_deref()
    }
}

impl Rare {
    fn is_nothing(&self) -> bool {
        self.is_ordinary
            && self.labels.is_empty()
            && self.owner.is_none()
            && self.attributes.is_empty()
            && self.rates.is_none()
            && self.allowances.is_none()
            && self.granted.is_none()
            && self.limits.is_none()
            && self.unknown_resource.is_none()
            && self.has_no_child_keys()
    }

    #[cfg(feature = "children")]
    fn has_no_child_keys(&self) -> bool {
        self.child_keys.is_none()
    }

    #[cfg(not(feature = "children"))]
    #[allow(clippy::unused_self, reason = "its twin reads a field")]
    fn has_no_child_keys(&self) -> bool {
        true
    }

    fn check_limits(&self, address: impl FnOnce() -> Option<IpAddr>) -> Result<(), OutsideGrant> {
        if let Some(kind) = &self.unknown_resource {
            return Err(OutsideGrant::Resource(kind.clone()));
        }
        match &self.limits {
            Some(limits) if !limits.permit(address) => Err(OutsideGrant::Network),
            _ => Ok(()),
        }
    }

    #[cold]
    fn prove(
        &self,
        checked: &CheckedToken,
        is_current: bool,
        now: Timestamp,
    ) -> Result<Proof, Rejection> {
        // All secrets are compared before any result is used. If a comparison were left out, its time would
        // show which secret a token was compared with.
        let mut proven = [is_current, false, false];
        for (proven, older) in proven.iter_mut().skip(1).zip(&self.older) {
            *proven = older.digest.same(checked.digest()) & older.is_accepted(now);
        }
        // All proofs are computed beforehand, so that no loop depends on which secret matched.
        let proofs = [0, 1, 2].map(|place| self.proof_of(place, now));
        match (proven, proofs) {
            ([true, ..], [proof, ..])
            | ([_, true, _], [_, proof, _])
            | ([.., true], [.., proof]) => Ok(proof),
            _ => Err(Rejection::WrongSecret),
        }
    }

    /// Returns what the use of the secret at `place` proves. Place 0 is the current secret, and each next one
    /// is older.
    fn proof_of(&self, place: usize, now: Timestamp) -> Proof {
        let mut older = self.older.iter().skip(place);
        let ends_some = older.any(|older| older.until_first_use && older.is_accepted(now));
        match (place, ends_some) {
            (0, false) => Proof::Current,
            (0, true) => Proof::FirstUse,
            (1, false) => Proof::Older,
            (1, true) => Proof::FirstUseOfOlder,
            // No secret is older.
            _ => Proof::Oldest,
        }
    }
}

const _: () = assert!(OlderSecret::MAX == 2, "`Rare::prove` has a place for each secret");

impl fmt::Debug for ResolvedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResolvedKey")
            .field("id", &self.id)
            .field("tenant", &self.tenant())
            .field("name", &self.name())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl ResolvedKey {
        /// Returns an active key that nobody can prove, without the cost of sealing one.
        pub(crate) fn sample(id: &str, tenant: &str, name: &str) -> Self {
            Self {
                id: id.parse().unwrap(),
                digest_tail: [0; 3],
                expires_at: i64::MAX,
                stamp: Stamp::default(),
                digest_head: 0,
                scopes: crate::scope::ScopeCatalog::new([]).unwrap().none(),
                tenant_len: tenant.len().try_into().unwrap(),
                tier: 0,
                text: alloc::format!("{tenant}{name}").into(),
                rare: None,
            }
        }
    }

    #[test]
    fn a_resolved_key_takes_two_cache_lines() {
        assert_eq!(size_of::<ResolvedKey>(), 128);
    }

    fn sample() -> ResolvedKey {
        ResolvedKey::sample("AAAAAAAAAAAAAAAA", "acme", "a key")
    }

    fn nothing_rare() -> Rare {
        Rare {
            labels: Labels::NONE,
            owner: None,
            attributes: Labels::NONE,
            older: Box::default(),
            tenant_suspension: None,
            key_suspension: None,
            owner_is_disabled: false,
            enabled: true,
            not_before: None,
            is_ordinary: true,
            granted: None,
            limits: None,
            unknown_resource: None,
            rates: None,
            allowances: None,
            #[cfg(feature = "children")]
            child_keys: None,
            #[cfg(feature = "children")]
            child: None,
        }
    }

    #[test]
    fn rare_is_nothing_only_if_all_fields_are_default() {
        assert!(nothing_rare().is_nothing());
        for rare in [
            Rare { labels: Labels::new([("a", "b")]).unwrap(), ..nothing_rare() },
            Rare { is_ordinary: false, ..nothing_rare() },
            Rare { limits: Some(Limits::NONE), ..nothing_rare() },
            Rare { unknown_resource: Some("site".into()), ..nothing_rare() },
            Rare { owner: Some("ann".parse().unwrap()), ..nothing_rare() },
            Rare { attributes: Labels::new([("a", "b")]).unwrap(), ..nothing_rare() },
            Rare { rates: Some(TenantRates { key: None, tenant: None }), ..nothing_rare() },
            Rare { allowances: Some(Box::default()), ..nothing_rare() },
        ] {
            assert!(!rare.is_nothing());
        }
    }

    #[test]
    fn keys_are_equal_only_if_all_fields_are() {
        let old = sample();
        let stamp = Stamp::new(1, 2, 3);
        assert!(sample() == old && ResolvedKey { stamp, ..sample() }.clone() == old);
        let all = crate::scope::ScopeCatalog::new([crate::scope::ScopeDeclaration::new("a", "")]);
        for new in [
            ResolvedKey { digest_head: 1, ..sample() },
            ResolvedKey { digest_tail: [0, 0, 1], ..sample() },
            ResolvedKey { expires_at: 0, ..sample() },
            ResolvedKey { scopes: all.unwrap().all(), ..sample() },
            ResolvedKey { tenant_len: 3, ..sample() },
            ResolvedKey { tier: 1, ..sample() },
            ResolvedKey { text: "acmeanother".into(), ..sample() },
            ResolvedKey { rare: Some(Arc::new(nothing_rare())), ..sample() },
        ] {
            assert!(new != old);
        }
    }
}
