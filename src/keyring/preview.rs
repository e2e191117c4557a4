//! The effect of a move to another tier, before it is made.

use alloc::{string::String, vec::Vec};

use super::{Keyring, KeyringError};
use crate::{
    authority::ChangeError,
    policy::Policy,
    record::{KeyRecord, TenantId, TenantRecord},
    scope::Scope,
    store::KeyQuery,
    time::Timestamp,
    token::KeyId,
};

/// The effect of moving a tenant to another tier. See [`Keyring::preview_tier`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TierPreview {
    /// The tenant, on its present tier.
    pub tenant: TenantRecord,
    /// The other tier.
    pub to: String,
    /// The number of keys that the tenant holds, whatever their state.
    pub held: u32,
    /// The number of keys that the other tier allows.
    pub allowed: u32,
    /// The keys that may do less or end earlier on the other tier, in the order of their creation.
    pub affected: Vec<AffectedKey>,
    /// Whether all keys were read. If not, more keys may be affected.
    pub complete: bool,
}

impl TierPreview {
    /// The most keys that a preview reads.
    pub const MAX_READ: usize = 5_000;
}

/// A key that may do less or ends earlier on another tier.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AffectedKey {
    /// The id of the key.
    pub id: KeyId,
    /// The name of the key.
    pub name: String,
    /// The scopes that the key loses in whole or in part, as maximal names. Empty if it keeps all of them.
    pub loses: Vec<Scope>,
    /// The time at which the key ends on the other tier, if that is earlier than on the present one. A time
    /// in the past means that the move ends the key immediately.
    pub ends_at: Option<Timestamp>,
}

impl Keyring {
    /// Computes what moving a tenant to `tier` would do to its keys, and changes nothing.
    ///
    /// Reads up to [`TierPreview::MAX_READ`] keys. The preview describes the present state: keys may be
    /// issued or edited before the move is made.
    ///
    /// # Errors
    ///
    /// [`KeyringError::NoTenant`], [`KeyringError::Refused`] for an unknown tier or a record whose seal
    /// is broken, or [`KeyringError::Unavailable`].
    pub async fn preview_tier(
        &self,
        id: &TenantId,
        tier: &str,
    ) -> Result<TierPreview, KeyringError> {
        let policy = self.policy();
        let to = policy.tier(tier).ok_or_else(|| ChangeError::UnknownTier(tier.into()))?;
        let quota = self.tenant(id.clone()).quota().await?;
        let keys = self.tenant(id.clone());
        let mut query = KeyQuery::all().limit(KeyQuery::MAX_LIMIT);
        let (mut affected, mut complete, mut has_broken) = (Vec::new(), false, false);
        for _ in 0..TierPreview::MAX_READ / KeyQuery::MAX_LIMIT {
            let page = keys.list(&query).await?;
            let effects =
                page.items.iter().filter_map(|key| effect(policy, key, quota.tenant.tier(), tier));
            affected.extend(effects);
            has_broken |= !page.broken.is_empty();
            let Some(next) = page.next else {
                complete = true;
                break;
            };
            query = query.after(next);
        }
        Ok(TierPreview {
            to: to.name.clone(),
            held: quota.held,
            allowed: to.keys,
            tenant: quota.tenant,
            affected,
            complete: complete && !has_broken,
        })
    }
}

/// Returns the effect of a move on `key`, if there is any.
fn effect(policy: &Policy, key: &KeyRecord, from: &str, to: &str) -> Option<AffectedKey> {
    let catalog = policy.catalog();
    let ceiling = |tier| policy.ceiling(tier).unwrap_or(catalog.none());
    // Names that the catalog does not declare allow nothing on either tier.
    let (granted, _) = catalog.set_of_known(key.scopes());
    let loses = catalog.names_above(granted.meet(ceiling(from)), ceiling(to));
    let end = |tier| key.effective_expiry_on(policy.tier(tier));
    let ends_at = end(to).filter(|after| end(from).is_none_or(|before| *after < before));
    let is_affected = !loses.is_empty() || ends_at.is_some();
    is_affected.then(|| AffectedKey { id: key.id(), name: key.name().into(), loses, ends_at })
}
