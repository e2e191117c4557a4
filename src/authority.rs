//! Issuing, changing and checking keys, as functions over values.
//!
//! An [`Authority`] is what the host has decided: policy, environment and peppers. It makes and
//! changes records and checks tokens, and does no I/O: time and randomness are arguments. Hosts that
//! keep their own store without async use it as it is; a [`Keyring`](crate::keyring::Keyring) puts a
//! store, a cache and a clock around it.
//!
//! ```
//! use std::sync::Arc;
//! use keyway::{
//!     authority::{Authority, NewKey},
//!     decision::decide,
//!     pepper::Pepper,
//!     policy::Policy,
//!     scope::{ScopeCatalog, ScopeDeclaration},
//!     tier::Tier,
//!     time::Timestamp,
//! };
//!
//! let catalog = ScopeCatalog::new([ScopeDeclaration::new("reporting", "Read reports")])?;
//! let policy = Policy::new("mm", catalog, Tier::built_in())?;
//! let authority = Authority::new(policy, "live", &Pepper::from_bytes(&[7; 32])?.into())?;
//! let now: Timestamp = "2026-11-22T09:00:00Z".parse()?;
//!
//! let tenant = authority.create_tenant("acme".parse()?, "lite", now)?;
//! let request = NewKey::named("ERP nightly sync").scopes(["reporting"]);
//! let (key, token) = authority.issue(&tenant, request, now, &mut getrandom::SysRng)?;
//! let text = token.reveal();
//!
//! let claim = authority.check(text.as_bytes())?;
//! let caller = decide(&claim, &Arc::new(authority.resolve(&key, &tenant)?), now)?;
//! assert_eq!(caller.tenant(), "acme");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod error;
mod grant;
mod idempotency;
mod import;
mod leak;
mod request;

use alloc::string::String;

use rand_core::TryCryptoRng;

pub use self::{
    error::ChangeError,
    import::{ImportError, ImportedKey},
    leak::LeakResponse,
    request::{InvalidIdempotencyKey, KeyEdit, NewKey, Overlap},
};
use self::{
    grant::{Granted, check_times},
    idempotency::IdempotentIds,
};
use crate::{
    decision::{ResolveError, ResolvedKey},
    import::Accepted,
    pepper::Peppers,
    policy::Policy,
    record::{Draft, KeyRecord, Previous, Suspension, TenantId, TenantRecord},
    scope::ScopeSet,
    seal::Seals,
    tier::Tier,
    time::Timestamp,
    token::{Claim, Digest, FormatError, KeyId, OneTimeToken, Rejection, TokenFormat},
};

/// Makes, changes and checks the keys of one issuer and environment.
///
/// Whatever it is given of records, it checks their seals first: a record that somebody changed in
/// the store is never sealed anew.
#[derive(Debug)]
pub struct Authority {
    policy: Policy,
    format: TokenFormat,
    seals: Seals,
    accepted: Accepted,
    idempotent: IdempotentIds,
}

impl Authority {
    /// The authority over the keys of `policy`'s issuer in `environment`.
    ///
    /// # Errors
    ///
    /// [`FormatError`] if no token can name the environment.
    pub fn new(policy: Policy, environment: &str, peppers: &Peppers) -> Result<Self, FormatError> {
        Ok(Self {
            format: TokenFormat::new(policy.issuer(), environment, peppers)?,
            seals: Seals::new(policy.issuer(), environment, peppers),
            accepted: Accepted::new(policy.issuer(), environment, peppers),
            idempotent: IdempotentIds::new(policy.issuer(), environment, peppers),
            policy,
        })
    }

    /// The policy.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The token format.
    pub fn format(&self) -> &TokenFormat {
        &self.format
    }

    /// The seals.
    pub fn seals(&self) -> &Seals {
        &self.seals
    }

    /// Proves by its tag that the token `presented` was minted here.
    ///
    /// # Errors
    ///
    /// As [`TokenFormat::check`].
    #[inline]
    pub fn check(&self, presented: &[u8]) -> Result<Claim, Rejection> {
        self.format.check(presented)
    }

    /// Makes a stored key ready for decisions.
    ///
    /// # Errors
    ///
    /// As [`ResolvedKey::new`].
    pub fn resolve(
        &self,
        key: &KeyRecord,
        tenant: &TenantRecord,
    ) -> Result<ResolvedKey, ResolveError> {
        ResolvedKey::new(key, tenant, &self.policy, &self.seals)
    }

    /// A new tenant on `tier`.
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

    /// `tenant` on another tier.
    ///
    /// # Errors
    ///
    /// [`ChangeError::UnknownTier`] or [`ChangeError::Tampered`].
    pub fn set_tier(&self, tenant: &TenantRecord, tier: &str) -> Result<TenantRecord, ChangeError> {
        self.tier(tier)?;
        self.change_tenant(tenant, |tenant| tenant.tier = tier.into())
    }

    /// `tenant` with this suspension, or without one.
    ///
    /// # Errors
    ///
    /// [`ChangeError::Tampered`].
    pub fn suspend_tenant(
        &self,
        tenant: &TenantRecord,
        suspension: Option<Suspension>,
    ) -> Result<TenantRecord, ChangeError> {
        self.change_tenant(tenant, |tenant| tenant.suspension = suspension)
    }

    /// A new key of `tenant`, and its token. Whether the tenant may hold another key is for the store
    /// to say, which alone can count; so is whether there was a key for the same
    /// [idempotency key](NewKey::idempotency_key), which then has the same id under the same pepper.
    ///
    /// # Errors
    ///
    /// [`ChangeError`] names what of the request cannot be granted, or says that `rng` failed.
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
        let granted = self.check_request(tenant, &request, now)?;
        let minted = match self.idempotent_ids(tenant.id(), &request).first() {
            Some(id) => self.format.mint_successor(*id, rng)?,
            None => self.format.mint(rng)?,
        };
        let hint = self.format.hint(&minted);
        let secret = Secret { id: minted.id, digest: minted.digest, hint, imported: false };
        let key = self.new_key(tenant, request, granted, secret, now);
        Ok((key, minted.token))
    }

    /// `key` with the changes of `edit`.
    ///
    /// # Errors
    ///
    /// [`ChangeError`] names what of the edit cannot be granted.
    pub fn edit(
        &self,
        key: &KeyRecord,
        tenant: &TenantRecord,
        edit: KeyEdit,
        now: Timestamp,
    ) -> Result<KeyRecord, ChangeError> {
        self.check_pair(key, tenant)?;
        if let Some(granter) = edit.granter
            && !edit.only_disables()
            && edit.scopes.is_none()
        {
            self.check_granter(self.granted(key), granter)?;
        }
        let mut changed = key.clone();
        if let Some(name) = edit.name {
            KeyRecord::check_name(&name)?;
            changed.name = name;
        }
        if let Some(scopes) = edit.scopes {
            changed.scopes = self.grant(&scopes, tenant, edit.granter)?;
        }
        if let Some(labels) = edit.labels {
            changed.labels = labels;
        }
        if edit.not_before.is_some() || edit.expires_at.is_some() {
            changed.not_before = edit.not_before.unwrap_or(changed.not_before);
            changed.expires_at = edit.expires_at.unwrap_or(changed.expires_at);
            let tier = self.tier(&tenant.tier)?;
            check_times(tier, changed.not_before, changed.expires_at, changed.created_at, now)?;
        }
        changed.enabled = edit.enabled.unwrap_or(changed.enabled);
        self.seals.next_key(&mut changed);
        Ok(changed)
    }

    /// `key` with a new secret, and its token. The id and everything else stays.
    ///
    /// While `overlap` lasts, the old secret is accepted too, though never past the key's own expiry.
    /// If an older secret is still waiting for the first use of the present one, that one is replaced,
    /// since nobody has used it: at most two secrets live.
    ///
    /// # Errors
    ///
    /// [`ChangeError`] if the key has expired, is above `granter`, or was tampered with, if the
    /// overlap is too long, or if `rng` failed.
    pub fn rotate<R: TryCryptoRng>(
        &self,
        key: &KeyRecord,
        overlap: Overlap,
        granter: Option<ScopeSet>,
        now: Timestamp,
        rng: &mut R,
    ) -> Result<(KeyRecord, OneTimeToken), ChangeError>
    where
        R::Error: Send + Sync + 'static,
    {
        self.seals.check_key(key)?;
        if let Some(granter) = granter {
            self.check_granter(self.granted(key), granter)?;
        }
        if let Some(at) = key.expires_at.filter(|at| now >= *at) {
            return Err(ChangeError::Expired(at));
        }
        let end = overlap.end(now)?;
        let minted = self.format.mint_successor(key.id, rng)?;
        let mut rotated = key.clone();
        let unused = key.previous.filter(|old| old.until_first_use && now < old.until);
        rotated.previous = end.map(|(until, until_first_use)| Previous {
            digest: unused.map_or(key.digest, |old| old.digest),
            until,
            until_first_use,
        });
        rotated.digest = minted.digest;
        rotated.imported = false;
        rotated.hint = self.format.hint(&minted);
        rotated.rotated_at = Some(now);
        self.seals.next_key(&mut rotated);
        Ok((rotated, minted.token))
    }

    /// `key` with this suspension, or without one.
    ///
    /// # Errors
    ///
    /// [`ChangeError::Tampered`].
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

    /// What `key` was granted, as far as the catalogue knows it.
    pub fn granted(&self, key: &KeyRecord) -> ScopeSet {
        self.policy.catalog().set_of_known(&key.scopes).0
    }

    fn new_key(
        &self,
        tenant: &TenantRecord,
        request: NewKey,
        granted: Granted,
        secret: Secret,
        now: Timestamp,
    ) -> KeyRecord {
        let mut key = KeyRecord::new(Draft {
            id: secret.id,
            tenant: tenant.id.clone(),
            digest: secret.digest,
            imported: secret.imported,
            hint: secret.hint,
            name: request.name,
            scopes: granted.scopes,
            labels: request.labels,
            not_before: request.not_before,
            expires_at: granted.expires_at,
            created_at: now,
            created_by: request.created_by,
        });
        self.seals.seal_key(&mut key);
        key
    }

    fn tier(&self, name: &str) -> Result<&Tier, ChangeError> {
        self.policy.tier(name).ok_or_else(|| ChangeError::UnknownTier(name.into()))
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
        if key.tenant == tenant.id { Ok(()) } else { Err(ChangeError::OtherTenant) }
    }
}

/// What a record keeps of a secret.
struct Secret {
    id: KeyId,
    digest: Digest,
    hint: String,
    /// Another system made it.
    imported: bool,
}
