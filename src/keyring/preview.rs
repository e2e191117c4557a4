//! The effect of other terms on the keys of a tenant, before they hold.

use alloc::{string::String, vec::Vec};

use super::{Keyring, KeyringError};
use crate::{
    authority::ChangeError,
    policy::Policy,
    record::{Exceptions, KeyRecord, TenantId, TenantRecord, Terms},
    scope::Scope,
    store::KeyQuery,
    time::Timestamp,
    token::KeyId,
};

/// The effect of another tier or of other exceptions on a tenant. See [`Keyring::preview_tier`] and
/// [`Keyring::preview_exceptions`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TermsPreview {
    /// The tenant, as it is.
    pub tenant: TenantRecord,
    /// The tier that the tenant would be on.
    pub tier: String,
    /// The limits that would hold.
    pub terms: Terms,
    /// The number of keys that the tenant holds, whatever their state.
    pub held: u32,
    /// The keys that would be able to do less, or end earlier, in the order of their creation.
    pub affected: Vec<AffectedKey>,
    /// Whether all keys were read. If not, more keys may be affected.
    pub complete: bool,
}

impl TermsPreview {
    /// The most keys that a preview reads.
    pub const MAX_READ: usize = 5_000;
}

/// A key that may do less or ends earlier on other terms.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AffectedKey {
    /// The id of the key.
    pub id: KeyId,
    /// The name of the key.
    pub name: String,
    /// The scopes that the key loses in whole or in part, as maximal names. Empty if it keeps all of them.
    pub loses: Vec<Scope>,
    /// The time at which the key ends on the other terms, if that is earlier than on the present ones. A time
    /// in the past means that the change ends the key immediately.
    pub ends_at: Option<Timestamp>,
}

impl Keyring {
    /// Computes what moving a tenant to `tier` would do to its keys, and changes nothing. Its exceptions stay.
    ///
    /// Reads up to [`TermsPreview::MAX_READ`] keys. The preview describes the present state: keys may be
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
    ) -> Result<TermsPreview, KeyringError> {
        let tenant = self.find_tenant(id).await?;
        let mut changed = tenant.clone();
        changed.tier = tier.into();
        self.preview(tenant, changed).await
    }

    /// Computes what these exceptions would do to the keys of a tenant, like [`preview_tier`](Self::preview_tier).
    ///
    /// # Errors
    ///
    /// Like [`preview_tier`](Self::preview_tier), and [`KeyringError::Refused`] if the exceptions cannot be set.
    pub async fn preview_exceptions(
        &self,
        id: &TenantId,
        exceptions: Exceptions,
    ) -> Result<TermsPreview, KeyringError> {
        let tenant = self.find_tenant(id).await?;
        let mut changed = tenant.clone();
        self.check_countable(&exceptions)?;
        changed.exceptions = self.authority().checked_exceptions(&tenant, exceptions)?;
        self.preview(tenant, changed).await
    }

    async fn preview(
        &self,
        tenant: TenantRecord,
        changed: TenantRecord,
    ) -> Result<TermsPreview, KeyringError> {
        let policy = self.policy();
        let from = policy.terms(&tenant);
        let to = policy.terms(&changed);
        let to = to.ok_or_else(|| ChangeError::UnknownTier(changed.tier.clone()))?;
        let held = self.held(&tenant.id).await?;
        let keys = self.tenant(tenant.id.clone());
        let mut query = KeyQuery::all().limit(KeyQuery::MAX_LIMIT);
        let (mut affected, mut complete, mut has_broken) = (Vec::new(), false, false);
        for _ in 0..TermsPreview::MAX_READ / KeyQuery::MAX_LIMIT {
            let page = keys.list(&query).await?;
            let effects =
                page.items.iter().filter_map(|key| effect(policy, key, from.as_ref(), &to));
            affected.extend(effects);
            has_broken |= !page.broken.is_empty();
            let Some(next) = page.next else {
                complete = true;
                break;
            };
            query = query.after(next);
        }
        Ok(TermsPreview {
            tenant,
            tier: changed.tier,
            terms: to,
            held,
            affected,
            complete: complete && !has_broken,
        })
    }
}

/// Returns the effect of a change of terms on `key`, if there is any.
fn effect(
    policy: &Policy,
    key: &KeyRecord,
    from: Option<&Terms>,
    to: &Terms,
) -> Option<AffectedKey> {
    let catalog = policy.catalog();
    // Names that the catalog does not declare allow nothing on either terms.
    let (granted, _) = catalog.set_of_known(key.scopes());
    let before = from.map_or(catalog.none(), |from| from.scopes);
    let loses = catalog.names_above(granted.meet(before), to.scopes);
    let end = key.effective_expiry_on(from);
    let ends_at = key.effective_expiry(to).filter(|after| end.is_none_or(|before| *after < before));
    let is_affected = !loses.is_empty() || ends_at.is_some();
    is_affected.then(|| AffectedKey { id: key.id(), name: key.name().into(), loses, ends_at })
}
