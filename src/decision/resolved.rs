//! A key made ready for decisions: its seal checked, its scopes as bits.

use alloc::{boxed::Box, string::String, vec::Vec};
use core::fmt;
#[cfg(feature = "std")]
use core::sync::atomic::{AtomicBool, AtomicU16, Ordering::Relaxed};

use super::{KeyState, state::Facts};
use crate::{
    policy::Policy,
    record::{KeyRecord, Labels, Previous, Suspension, TenantRecord},
    scope::{Scope, ScopeSet},
    seal::{Seals, Tampered},
    time::Timestamp,
    token::{Claim, Digest, KeyId, Rejection},
};

/// A key and its tenant as far as a decision needs them, with their seals checked.
///
/// It takes 128 bytes and one text of names. What a verification reads stands first, in two cache
/// lines; what few keys have is in a box of its own.
#[repr(C)]
pub struct ResolvedKey {
    id: KeyId,
    digest_tail: [u64; 3],
    expires_at: i64,
    #[cfg(feature = "std")]
    pub(crate) stamp: Stamp,
    digest_head: u16,
    tenant_len: u8,
    /// The place of the tenant's tier in the policy.
    tier: u8,
    scopes: ScopeSet,
    /// The id of the tenant and the name of the key, one behind the other.
    text: Box<str>,
    rare: Option<Box<Rare>>,
}

/// What the cache notes on a key.
#[cfg(feature = "std")]
#[derive(Debug, Default)]
pub(crate) struct Stamp {
    /// How often the key and its tenant had been invalidated when it was asked for.
    pub(crate) generation: u32,
    /// The tick at which it was asked for.
    pub(crate) loaded: u32,
    /// Where its tenant's invalidations are counted.
    pub(crate) tenant_stripe: u16,
    /// The minute of its last use, as `note_use` counts it; 0 without one.
    used: AtomicU16,
}

#[cfg(feature = "std")]
impl Stamp {
    pub(crate) fn new(generation: u32, loaded: u32, tenant_stripe: u16) -> Self {
        Self { generation, loaded, tenant_stripe, used: AtomicU16::new(0) }
    }

    /// Notes a use, and tells whether it is the first one of this minute.
    #[inline]
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the count wraps after 22 days"
    )]
    pub(crate) fn note_use(&self, minute: i64) -> bool {
        let minute = minute as u16 | 1 << 15;
        self.used.load(Relaxed) != minute && self.used.swap(minute, Relaxed) != minute
    }

    /// Whether there was a use since this was last asked.
    pub(crate) fn take_use(&self) -> bool {
        self.used.swap(0, Relaxed) != 0
    }
}

/// What few keys have.
struct Rare {
    labels: Labels,
    previous: Option<Previous>,
    tenant_suspension: Option<Suspension>,
    key_suspension: Option<Suspension>,
    enabled: bool,
    not_before: Option<Timestamp>,
    /// Somebody is ending the previous secret.
    #[cfg(feature = "std")]
    ending: AtomicBool,
}

/// Which of its secrets proved a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Proof {
    Current,
    /// The current one, while an older one waits for this to happen.
    FirstUse,
    Previous,
}

impl ResolvedKey {
    /// Checks the seals of `key` and its `tenant`, and computes what the key may do: what it was
    /// granted, as far as its tenant's tier allows that.
    ///
    /// # Errors
    ///
    /// [`ResolveError`] if a record was tampered with, or the policy does not know the tier.
    pub fn new(
        key: &KeyRecord,
        tenant: &TenantRecord,
        policy: &Policy,
        seals: &Seals,
    ) -> Result<Self, ResolveError> {
        seals.check_key(key)?;
        seals.check_tenant(tenant)?;
        if key.tenant != tenant.id {
            return Err(ResolveError::OtherTenant);
        }
        let (tier, ceiling) = policy
            .tier_and_ceiling(&tenant.tier)
            .ok_or_else(|| ResolveError::UnknownTier(tenant.tier.clone()))?;
        let (granted, _) = policy.catalog().set_of_known(&key.scopes);

        let mut text = String::with_capacity(tenant.id.as_str().len() + key.name.len());
        text.push_str(tenant.id.as_str());
        text.push_str(&key.name);
        let rare = Rare {
            labels: key.labels.clone(),
            previous: key.previous,
            tenant_suspension: tenant.suspension.clone(),
            key_suspension: key.suspension.clone(),
            enabled: key.enabled,
            not_before: key.not_before,
            #[cfg(feature = "std")]
            ending: AtomicBool::new(false),
        };
        Ok(Self {
            id: key.id,
            digest_tail: key.digest.tail,
            digest_head: key.digest.head,
            expires_at: key.expires_at.map_or(i64::MAX, Timestamp::as_millis),
            #[cfg(feature = "std")]
            stamp: Stamp::default(),
            scopes: granted.meet(ceiling),
            // INVARIANT: the id of a tenant has at most 128 bytes.
            tenant_len: u8::try_from(tenant.id.as_str().len()).unwrap_or_default(),
            tier,
            text: text.into(),
            rare: (!rare.is_nothing()).then(|| Box::new(rare)),
        })
    }

    /// The names that `key` was granted and the catalogue of `policy` does not have. They allow
    /// nothing.
    pub fn unknown_scopes(key: &KeyRecord, policy: &Policy) -> Vec<Scope> {
        policy.catalog().set_of_known(&key.scopes).1
    }

    /// The id of the key.
    #[inline]
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// The id of the tenant.
    pub fn tenant(&self) -> &str {
        self.text.get(..self.tenant_len.into()).unwrap_or_default()
    }

    /// The name of the key.
    pub fn name(&self) -> &str {
        self.text.get(self.tenant_len.into()..).unwrap_or_default()
    }

    /// The tenant's notes on the key.
    pub fn labels(&self) -> &Labels {
        static NONE: Labels = Labels::NONE;
        self.rare.as_ref().map_or(&NONE, |rare| &rare.labels)
    }

    /// What the key may do: what it was granted, as far as its tenant's tier allows that.
    #[inline]
    pub fn scopes(&self) -> ScopeSet {
        self.scopes
    }

    /// The place of its tenant's tier in the policy that it was resolved with.
    pub(super) fn tier(&self) -> usize {
        self.tier.into()
    }

    /// What the key is at `now`.
    #[inline]
    pub fn state(&self, now: Timestamp) -> KeyState {
        if self.rare.is_none() && now.as_millis() < self.expires_at {
            return KeyState::Active;
        }
        self.full_state(now)
    }

    #[cold]
    fn full_state(&self, now: Timestamp) -> KeyState {
        let rare = self.rare.as_deref();
        Facts {
            tenant_suspension: rare.and_then(|rare| rare.tenant_suspension.as_ref()),
            key_suspension: rare.and_then(|rare| rare.key_suspension.as_ref()),
            enabled: rare.is_none_or(|rare| rare.enabled),
            not_before: rare.and_then(|rare| rare.not_before),
            expires_at: Timestamp::from_millis(self.expires_at),
        }
        .state(now)
    }

    /// The same key for another owner, unless it has something rare, of which there must be only one.
    #[cfg(feature = "std")]
    pub(crate) fn copy(&self) -> Option<Self> {
        if self.rare.is_some() {
            return None;
        }
        let Stamp { generation, loaded, tenant_stripe, .. } = self.stamp;
        Some(Self {
            stamp: Stamp::new(generation, loaded, tenant_stripe),
            text: self.text.clone(),
            rare: None,
            ..*self
        })
    }

    /// Whether a [copy](Self::copy) of `old` would be decided about in another way than this.
    #[cfg(feature = "std")]
    pub(crate) fn changes(&self, old: &Self) -> bool {
        let is_same = self.rare.is_none()
            && (self.digest_head, self.digest_tail) == (old.digest_head, old.digest_tail)
            && (self.expires_at, self.scopes) == (old.expires_at, old.scopes)
            && (self.tenant_len, self.tier, &self.text) == (old.tenant_len, old.tier, &old.text);
        old.rare.is_none() && !is_same
    }

    /// Whether the caller is the one who ends the previous secret. Until it says that it
    /// [is done](Self::release_overlap), nobody else is.
    #[cfg(feature = "std")]
    #[cold]
    pub(crate) fn claim_overlap(&self) -> bool {
        self.rare.as_ref().is_some_and(|rare| !rare.ending.swap(true, Relaxed))
    }

    #[cfg(feature = "std")]
    pub(crate) fn release_overlap(&self) {
        if let Some(rare) = &self.rare {
            rare.ending.store(false, Relaxed);
        }
    }

    /// Whether `claim` is of this key's secret, or of the one before it as long as that is accepted.
    /// The secrets are compared in constant time.
    #[inline]
    pub fn is_proven_by(&self, claim: &Claim, now: Timestamp) -> bool {
        self.prove(claim, now).is_ok()
    }

    #[inline]
    pub(crate) fn prove(&self, claim: &Claim, now: Timestamp) -> Result<Proof, Rejection> {
        let current = Digest { head: self.digest_head, tail: self.digest_tail };
        let is_current = current.same(claim.digest());
        if claim.id() != self.id {
            return Err(Rejection::Unknown);
        }
        match &self.rare {
            Some(rare) => rare.prove(claim, is_current, now),
            None if is_current => Ok(Proof::Current),
            None => Err(Rejection::WrongSecret),
        }
    }
}

impl Rare {
    fn is_nothing(&self) -> bool {
        self.labels.is_empty()
            && self.previous.is_none()
            && self.tenant_suspension.is_none()
            && self.key_suspension.is_none()
            && self.enabled
            && self.not_before.is_none()
    }

    #[cold]
    fn prove(&self, claim: &Claim, is_current: bool, now: Timestamp) -> Result<Proof, Rejection> {
        // Compared whether or not the current secret matched.
        let previous = self.previous.map(|previous| {
            (previous.digest.same(claim.digest()), now < previous.until, previous.until_first_use)
        });
        match previous {
            Some((_, true, true)) if is_current => Ok(Proof::FirstUse),
            _ if is_current => Ok(Proof::Current),
            Some((true, true, _)) => Ok(Proof::Previous),
            _ => Err(Rejection::WrongSecret),
        }
    }
}

impl fmt::Debug for ResolvedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResolvedKey")
            .field("id", &self.id)
            .field("tenant", &self.tenant())
            .field("name", &self.name())
            .finish_non_exhaustive()
    }
}

/// A stored key cannot be decided about.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ResolveError {
    /// Somebody without the host's pepper changed a record.
    #[error(transparent)]
    Tampered(#[from] Tampered),
    /// The store gave the record of another tenant with the key.
    #[error("the key is of another tenant")]
    OtherTenant,
    /// The policy does not have the tenant's tier, so nobody can say what its keys may do.
    #[error("the policy has no tier `{}`", .0.escape_debug())]
    UnknownTier(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    impl ResolvedKey {
        /// An active key that nobody can prove, without the cost of sealing one.
        #[cfg(feature = "std")]
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

    #[cfg(feature = "std")]
    #[test]
    fn a_resolved_key_takes_two_cache_lines() {
        assert_eq!(size_of::<ResolvedKey>(), 128);
    }

    #[cfg(feature = "std")]
    fn sample() -> ResolvedKey {
        ResolvedKey::sample("AAAAAAAAAAAAAAAA", "acme", "a key")
    }

    fn nothing_rare() -> Rare {
        Rare {
            labels: Labels::NONE,
            previous: None,
            tenant_suspension: None,
            key_suspension: None,
            enabled: true,
            not_before: None,
            #[cfg(feature = "std")]
            ending: AtomicBool::new(false),
        }
    }

    #[test]
    fn what_few_keys_have_is_nothing_without_all_of_it() {
        assert!(nothing_rare().is_nothing());
        let suspension = || Suspension::for_good("abuse").ok();
        for rare in [
            Rare { labels: Labels::new([("a", "b")]).unwrap(), ..nothing_rare() },
            Rare { tenant_suspension: suspension(), ..nothing_rare() },
            Rare { key_suspension: suspension(), ..nothing_rare() },
            Rare { enabled: false, ..nothing_rare() },
            Rare { not_before: Some(Timestamp::MIN), ..nothing_rare() },
        ] {
            assert!(!rare.is_nothing());
        }
    }

    #[cfg(feature = "std")]
    #[test]
    fn whatever_is_decided_by_is_a_change_for_those_who_have_a_copy() {
        let old = sample();
        assert!(!sample().changes(&old));
        let all = crate::scope::ScopeCatalog::new([crate::scope::ScopeDeclaration::new("a", "")]);
        for new in [
            ResolvedKey { digest_head: 1, ..sample() },
            ResolvedKey { digest_tail: [0, 0, 1], ..sample() },
            ResolvedKey { expires_at: 0, ..sample() },
            ResolvedKey { scopes: all.unwrap().all(), ..sample() },
            ResolvedKey { tenant_len: 3, ..sample() },
            ResolvedKey { tier: 1, ..sample() },
            ResolvedKey { text: "acmeanother".into(), ..sample() },
            ResolvedKey { rare: Some(Box::new(nothing_rare())), ..sample() },
        ] {
            assert!(new.changes(&old));
            // Of what is rare there are no copies.
            assert_eq!(old.changes(&new), new.rare.is_none());
        }
    }

    #[cfg(feature = "std")]
    #[test]
    fn one_caller_at_a_time_ends_the_previous_secret() {
        assert!(!sample().claim_overlap());
        let key = ResolvedKey { rare: Some(Box::new(nothing_rare())), ..sample() };
        for _ in 0..2 {
            assert!(key.claim_overlap());
            assert!(!key.claim_overlap());
            key.release_overlap();
        }
    }

    #[cfg(feature = "std")]
    #[test]
    fn the_first_use_of_a_minute_is_noted_whatever_the_minute() {
        // The count of minutes wraps twice on the way.
        for minute in [-1, 0, 1, 0x7fff, 0x8000, 0x8001, 0xffff, 0x1_0000] {
            let stamp = Stamp::new(0, 0, 0);
            assert!(!stamp.take_use());
            assert!(stamp.note_use(minute));
            assert!(!stamp.note_use(minute));
            assert!(stamp.note_use(minute + 1), "{minute}");
            assert!(stamp.take_use() && !stamp.take_use());
        }
    }
}
