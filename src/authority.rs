//! Issuing, changing and checking keys, as functions without I/O.

mod error;
mod grant;
mod idempotency;
mod import;
mod leak;
mod request;

use alloc::{string::String, vec::Vec};

use rand_core::TryCryptoRng;

pub use self::{
    error::ChangeError,
    import::ImportedKey,
    leak::LeakResponse,
    request::{GracePeriod, KeyEdit, NewKey},
};
use self::{
    grant::{check_begins, check_future, lifetime_after_edit},
    idempotency::IdempotentIds,
};
#[cfg(feature = "children")]
use crate::children::ChildFormat;
use crate::{
    config::ConfigError,
    decision::ResolvedKey,
    grant::Grant,
    import::Accepted,
    pepper::Peppers,
    policy::Policy,
    record::{
        Exceptions, KeyRecord, OlderSecret, Owner, PublicKey, RecordError, Suspension, TenantId,
        TenantRecord, Terms,
    },
    seal::Seals,
    store::Notices,
    tier::{Allowance, Ceiling, Tier},
    time::Timestamp,
    token::{CheckedToken, KeyId, OneTimeToken, Rejection, TokenFormat},
};

/// Creates, changes and checks the keys of one issuer and environment.
///
/// Every method that takes a record checks its seal. A record that was modified in the store is therefore
/// never resealed.
#[derive(Debug)]
pub struct Authority {
    policy: Policy,
    format: TokenFormat,
    seals: Seals,
    accepted: Accepted,
    idempotent: IdempotentIds,
    notices: Notices,
    /// The format of children, if the policy allows them.
    #[cfg(feature = "children")]
    children: Option<ChildFormat>,
}

impl Authority {
    /// Creates the authority for the keys of `policy`'s issuer in `environment`.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if the environment cannot be part of a token.
    pub fn new(policy: Policy, environment: &str, peppers: &Peppers) -> Result<Self, ConfigError> {
        Ok(Self {
            format: TokenFormat::new(policy.issuer(), environment, peppers)?,
            seals: Seals::new(policy.issuer(), environment, peppers),
            accepted: Accepted::new(policy.issuer(), environment, peppers),
            idempotent: IdempotentIds::new(policy.issuer(), environment, peppers),
            notices: Notices::new(policy.issuer(), environment, peppers),
            #[cfg(feature = "children")]
            children: policy
                .max_child_lifetime()
                .map(|lifetime| ChildFormat::new(policy.issuer(), environment, peppers, lifetime)),
            policy,
        })
    }

    /// Returns the policy.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Returns the token format.
    pub fn format(&self) -> &TokenFormat {
        &self.format
    }

    /// Returns the seals.
    pub fn seals(&self) -> &Seals {
        &self.seals
    }

    /// Returns the notices, with which nodes announce changes to each other.
    pub fn notices(&self) -> &Notices {
        &self.notices
    }

    /// Checks by its tag that the token `presented` was minted with this authority's peppers.
    ///
    /// # Errors
    ///
    /// Like [`TokenFormat::check`].
    #[inline]
    pub fn check(&self, presented: &[u8]) -> Result<CheckedToken, Rejection> {
        self.format.check(presented)
    }

    /// Returns the format of children, if the policy allows them.
    #[cfg(feature = "children")]
    #[inline]
    pub(crate) fn children(&self) -> Option<&ChildFormat> {
        self.children.as_ref()
    }

    /// Returns the id of the parent and that of the child, if `presented` is a child with a right tag. Nothing else is proven.
    #[cfg(feature = "std")]
    #[cfg_attr(
        not(feature = "children"),
        allow(clippy::unused_self, reason = "its twin reads a field")
    )]
    pub(crate) fn child_in(&self, presented: &[u8]) -> Option<(KeyId, crate::token::ChildId)> {
        #[cfg(feature = "children")]
        return self.children()?.check(presented).map(|child| (child.parent(), child.id()));
        #[cfg(not(feature = "children"))]
        {
            let _ = presented;
            None
        }
    }

    /// Returns the public key for the signatures of children of the key with this new token, if the policy allows children.
    #[cfg(feature = "children")]
    fn child_key_of(&self, token: &OneTimeToken) -> Option<PublicKey> {
        self.children().and_then(|_| crate::children::public_key(token.text()))
    }

    #[cfg(not(feature = "children"))]
    #[allow(clippy::unused_self, clippy::unnecessary_wraps, reason = "its twin derives one")]
    fn child_key_of(&self, _: &OneTimeToken) -> Option<PublicKey> {
        None
    }

    /// Prepares a stored key for decisions.
    ///
    /// # Errors
    ///
    /// Like [`ResolvedKey::new`].
    pub fn resolve(
        &self,
        key: &KeyRecord,
        tenant: &TenantRecord,
    ) -> Result<ResolvedKey, RecordError> {
        ResolvedKey::new(key, tenant, &self.policy, &self.seals)
    }

    /// Creates a tenant on `tier`.
    ///
    /// # Errors
    ///
    /// [`ChangeError::UnknownTier`].
    pub fn create_tenant(
        &self,
        id: TenantId,
        tier: &str,
        now: Timestamp,
    ) -> Result<TenantRecord, ChangeError> {
        self.tier(tier)?;
        let mut tenant = TenantRecord::new(id, tier.into(), now);
        self.seals.seal_tenant(&mut tenant);
        Ok(tenant)
    }

    /// Returns `tenant` on another tier.
    ///
    /// # Errors
    ///
    /// [`ChangeError::UnknownTier`] or [`ChangeError::Record`].
    pub fn set_tier(&self, tenant: &TenantRecord, tier: &str) -> Result<TenantRecord, ChangeError> {
        self.tier(tier)?;
        self.change_tenant(tenant, |tenant| tenant.tier = tier.into())
    }

    /// Returns `tenant` with these exceptions from the limits of its tier.
    ///
    /// # Errors
    ///
    /// [`ChangeError::UnknownScope`] if a scope is not declared and the present exceptions do not have it,
    /// [`ChangeError::ZeroException`], [`ChangeError::Allowances`] or [`ChangeError::Record`].
    pub fn set_exceptions(
        &self,
        tenant: &TenantRecord,
        exceptions: Exceptions,
    ) -> Result<TenantRecord, ChangeError> {
        let exceptions = self.checked_exceptions(tenant, exceptions)?;
        self.change_tenant(tenant, |tenant| tenant.exceptions = exceptions)
    }

    /// Returns `tenant` with `owner` disabled or enabled. The record is unchanged if the owner is already.
    ///
    /// # Errors
    ///
    /// [`ChangeError::TooManyDisabledOwners`] or [`ChangeError::Record`].
    pub fn switch_owner(
        &self,
        tenant: &TenantRecord,
        owner: &Owner,
        enabled: bool,
    ) -> Result<TenantRecord, ChangeError> {
        let owners = &tenant.disabled_owners;
        match (owners.binary_search(owner), enabled) {
            (Ok(at), true) => self.change_tenant(tenant, |tenant| {
                tenant.disabled_owners.remove(at);
            }),
            (Err(_), false) if owners.len() >= TenantRecord::MAX_DISABLED_OWNERS => {
                Err(ChangeError::TooManyDisabledOwners)
            }
            (Err(at), false) => self.change_tenant(tenant, |tenant| {
                tenant.disabled_owners.insert(at, owner.clone());
            }),
            _ => {
                self.seals.check_tenant(tenant)?;
                Ok(tenant.clone())
            }
        }
    }

    /// Returns `tenant` with this suspension. `None` lifts a suspension.
    ///
    /// # Errors
    ///
    /// [`ChangeError::Record`].
    pub fn suspend_tenant(
        &self,
        tenant: &TenantRecord,
        suspension: Option<Suspension>,
    ) -> Result<TenantRecord, ChangeError> {
        self.change_tenant(tenant, |tenant| tenant.suspension = suspension)
    }

    /// Creates a key of `tenant` and its token.
    ///
    /// The quota is not checked here, because only the store can count keys. The store also detects a
    /// repeated [idempotency key](NewKey::idempotency_key): the repetition has the same key id under the
    /// same pepper.
    ///
    /// # Errors
    ///
    /// [`ChangeError`] names the part of the request that cannot be granted, or says that `rng` failed.
    pub fn issue<R: TryCryptoRng>(
        &self,
        tenant: &TenantRecord,
        request: NewKey,
        now: Timestamp,
        rng: &mut R,
    ) -> Result<(KeyRecord, OneTimeToken), ChangeError>
    where
        R::Error: Send + Sync + 'static,
    {
        let id = self.idempotent_ids(tenant.id(), &request).first().copied();
        self.issue_under(id, tenant, request, now, rng)
    }

    /// Creates a key like [`issue`](Self::issue), with the id `id` or a random one.
    pub(crate) fn issue_under<R: TryCryptoRng>(
        &self,
        id: Option<KeyId>,
        tenant: &TenantRecord,
        request: NewKey,
        now: Timestamp,
        rng: &mut R,
    ) -> Result<(KeyRecord, OneTimeToken), ChangeError>
    where
        R::Error: Send + Sync + 'static,
    {
        let (scopes, expires_at) = self.check_request(tenant, &request, now)?;
        let minted = match id {
            Some(id) => self.format.mint_successor(id, rng)?,
            None => self.format.mint(rng)?,
        };
        let mut key = KeyRecord::new(minted.id, tenant.id.clone(), minted.digest, now);
        (key.scopes, key.expires_at) = (scopes, expires_at);
        key.masked = self.format.masked(&minted);
        key.child_key = self.child_key_of(&minted.token);
        request.describe(&mut key);
        self.seals.seal_key(&mut key);
        Ok((key, minted.token))
    }

    /// Returns `key` with the changes of `edit`.
    ///
    /// # Errors
    ///
    /// [`ChangeError`] names the part of the edit that cannot be granted.
    pub fn edit(
        &self,
        key: &KeyRecord,
        tenant: &TenantRecord,
        edit: KeyEdit,
        now: Timestamp,
    ) -> Result<KeyRecord, ChangeError> {
        self.check_pair(key, tenant)?;
        let (granter, only_disables) = (edit.granter.clone(), edit.only_disables());
        if edit.scopes.is_none() && !only_disables {
            self.check_held(key, granter.as_ref())?;
        }
        let mut changed = key.clone();
        if let Some(name) = edit.name {
            KeyRecord::check_name(&name)?;
            changed.name = name;
        }
        if let Some(scopes) = edit.scopes {
            changed.scopes = self.grant(&scopes, &key.scopes, tenant, granter.as_ref())?;
        }
        for (kind, resources) in edit.resources {
            changed.limits.set(&kind, resources);
        }
        if let Some(networks) = edit.networks {
            changed.limits.networks = networks;
        }
        if !only_disables {
            self.check_limits(&changed.limits, &key.limits, granter.as_ref())?;
        }
        if let Some(labels) = edit.labels {
            changed.labels = labels;
        }
        changed.children = edit.children.unwrap_or(changed.children);
        changed.owner = edit.owner.unwrap_or(changed.owner);
        changed.attributes = edit.attributes.unwrap_or(changed.attributes);
        changed.not_before = edit.not_before.unwrap_or(changed.not_before);
        if let Some(expires) = edit.expires {
            changed.expires_at = expires.map(|expiry| expiry.at(now));
            let terms = self.terms(tenant)?;
            changed.lifetime_from = lifetime_after_edit(tenant, &terms, key, changed.expires_at)?;
            // An edit may repeat an unchanged expiry, even one in the past.
            if changed.expires_at != key.expires_at {
                check_future(changed.expires_at, now)?;
            }
            check_begins(changed.not_before, changed.expires_at)?;
        }
        if edit.not_before.is_some() {
            // A key whose tier ends it before it begins would never be valid either.
            let end = changed.effective_expiry_on(self.policy.terms(tenant).as_ref());
            check_begins(changed.not_before, end)?;
        }
        changed.enabled = edit.enabled.unwrap_or(changed.enabled);
        if changed.enabled && !key.enabled {
            changed.notices.forget_idle();
        }
        self.seals.next_key(&mut changed);
        Ok(changed)
    }

    /// Returns `key` with a new secret, and the new token. The id and everything else stays.
    ///
    /// During `grace_period` the old secret is accepted too, but not after the key's own expiry. Secrets
    /// from before earlier rotations keep the deadlines that they got then. No rotation moves a deadline,
    /// and only [`GracePeriod::None`] ends a secret before its deadline. A key has at most three accepted
    /// secrets at a time.
    ///
    /// Rotation does not extend the life of a key. It does allow a later expiry: for the next edit that
    /// moves the expiry later, the [tier's longest lifetime](Tier::max_lifetime) counts from the last
    /// rotation.
    ///
    /// # Errors
    ///
    /// [`ChangeError`] in these cases:
    ///
    /// - The key has expired, by its own expiry or by its tier's longest lifetime.
    /// - The key has scopes, resources or networks that `granter` does not cover.
    /// - The key belongs to another tenant, or a seal is broken.
    /// - The grace period is too long.
    /// - Three secrets are accepted already ([`ChangeError::TooManySecrets`]).
    /// - `rng` failed.
    pub fn rotate<R: TryCryptoRng>(
        &self,
        key: &KeyRecord,
        tenant: &TenantRecord,
        grace_period: GracePeriod,
        granter: Option<&Grant>,
        now: Timestamp,
        rng: &mut R,
    ) -> Result<(KeyRecord, OneTimeToken), ChangeError>
    where
        R::Error: Send + Sync + 'static,
    {
        self.check_pair(key, tenant)?;
        self.check_held(key, granter)?;
        self.check_limits(&key.limits, &key.limits, granter)?;
        let terms = self.terms(tenant)?;
        if let Some(at) = key.effective_expiry(&terms).filter(|at| now >= *at) {
            return Err(ChangeError::Expired(at));
        }
        let older = older_after_rotation(key, grace_period, now)?;
        let minted = self.format.mint_successor(key.id, rng)?;
        let mut rotated = key.clone();
        rotated.older = older;
        rotated.digest = minted.digest;
        rotated.child_key = self.child_key_of(&minted.token);
        rotated.imported = false;
        rotated.masked = self.format.masked(&minted);
        rotated.rotated_at = Some(now);
        self.seals.next_key(&mut rotated);
        Ok((rotated, minted.token))
    }

    /// Returns `key` with this suspension. `None` lifts a suspension.
    ///
    /// # Errors
    ///
    /// [`ChangeError::Record`].
    pub fn suspend_key(
        &self,
        key: &KeyRecord,
        suspension: Option<Suspension>,
    ) -> Result<KeyRecord, ChangeError> {
        self.seals.check_key(key)?;
        let mut changed = key.clone();
        changed.suspension = suspension;
        self.seals.next_key(&mut changed);
        Ok(changed)
    }

    fn tier(&self, name: &str) -> Result<&Tier, ChangeError> {
        self.policy.tier(name).ok_or_else(|| ChangeError::UnknownTier(name.into()))
    }

    fn terms(&self, tenant: &TenantRecord) -> Result<Terms, ChangeError> {
        let terms = self.policy.terms(tenant);
        terms.ok_or_else(|| ChangeError::UnknownTier(tenant.tier.clone()))
    }

    /// Returns `exceptions` with the canonical names of their scopes.
    ///
    /// Names that the tenant's present exceptions have may be kept, even if this node's catalog does not declare them:
    /// during a rolling deploy another node may know them.
    pub(crate) fn checked_exceptions(
        &self,
        tenant: &TenantRecord,
        mut exceptions: Exceptions,
    ) -> Result<Exceptions, ChangeError> {
        if let Some(what) = exceptions.zero() {
            return Err(ChangeError::ZeroException(what));
        }
        Allowance::check(exceptions.allowances.as_deref().unwrap_or_default())?;
        if let Some(Ceiling::Only(names)) = &mut exceptions.scopes {
            let catalog = self.policy.catalog();
            let held = match &tenant.exceptions.scopes {
                Some(Ceiling::Only(held)) => held.as_slice(),
                _ => &[],
            };
            let is_known = |name: &&String| catalog.set([name]).is_ok();
            let (known, unknown): (Vec<&String>, Vec<&String>) = names.iter().partition(is_known);
            if let Some(name) = unknown.iter().find(|name| !held.contains(name)) {
                return Err(ChangeError::UnknownScope((**name).clone()));
            }
            let set = catalog.set_of_declared(known);
            let known = catalog.names(set).into_iter().map(|scope| scope.as_str().into());
            let mut canonical: Vec<String> = known.chain(unknown.into_iter().cloned()).collect();
            canonical.sort();
            canonical.dedup();
            *names = canonical;
        }
        Ok(exceptions)
    }

    fn change_tenant(
        &self,
        tenant: &TenantRecord,
        change: impl FnOnce(&mut TenantRecord),
    ) -> Result<TenantRecord, ChangeError> {
        self.seals.check_tenant(tenant)?;
        let mut changed = tenant.clone();
        change(&mut changed);
        self.seals.next_tenant(&mut changed);
        Ok(changed)
    }

    fn check_pair(&self, key: &KeyRecord, tenant: &TenantRecord) -> Result<(), ChangeError> {
        self.seals.check_key(key)?;
        self.seals.check_tenant(tenant)?;
        if key.tenant == tenant.id { Ok(()) } else { Err(RecordError::Misplaced.into()) }
    }
}

/// Returns the older secrets that a key has after a rotation at `now`. These are the present secret with the
/// deadline of `grace_period`, and the older secrets that are still accepted, unchanged.
fn older_after_rotation(
    key: &KeyRecord,
    grace_period: GracePeriod,
    now: Timestamp,
) -> Result<Vec<OlderSecret>, ChangeError> {
    let Some((until, until_first_use)) = grace_period.end(now)? else {
        return Ok(Vec::new());
    };
    let (digest, child_key) = (key.digest, key.child_key);
    let present = OlderSecret { digest, until, until_first_use, child_key };
    let accepted = key.older.iter().filter(|older| older.is_accepted(now)).copied();
    let older: Vec<OlderSecret> = core::iter::once(present).chain(accepted).collect();
    if older.len() > OlderSecret::MAX {
        // It is unknown which of the secrets are in use, so none is ended to make room.
        let ends = older.iter().skip(1).map(|older| older.until).min().unwrap_or(until);
        return Err(ChangeError::TooManySecrets { ends });
    }
    Ok(older)
}
