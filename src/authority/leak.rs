//! What is done about a key whose token was found where it should not be.

use super::{Authority, ChangeError};
use crate::{
    record::{KeyRecord, Suspension},
    scope::ScopeSet,
};

/// What is done about a key whose token was found where it should not be.
///
/// No response gives a key anything that it has not: one that is suspended stays so, and scopes only
/// become fewer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LeakResponse {
    /// The key is suspended for good: nobody can use it, and only an operator can lift that.
    Suspend,
    /// The key keeps those of its scopes that are in this set, which the policy's
    /// [catalogue](crate::scope::ScopeCatalog::set) makes: it can still read, say, and no longer write.
    /// Names in its record that the catalogue does not have are taken out of it, so that they grant
    /// nothing should they be declared again.
    ///
    /// The tenant can rotate the key and give it its scopes back. A set of another catalogue, or an empty
    /// one, leaves no scopes.
    Quarantine(ScopeSet),
    /// The key stays as it is, and the audit sink is told.
    ReportOnly,
}

impl Authority {
    /// `key` after its token was found where it should not be, or nothing if it is like that already.
    /// Whoever says so has to prove that they have the token; see
    /// [`Keyring::report_leak`](crate::keyring::Keyring::report_leak).
    ///
    /// # Errors
    ///
    /// [`ChangeError::Tampered`], or [`ChangeError::Invalid`] unless the reason is one line of 1 to 500
    /// characters, whatever the response.
    pub fn respond_to_leak(
        &self,
        key: &KeyRecord,
        reason: &str,
        response: LeakResponse,
    ) -> Result<Option<KeyRecord>, ChangeError> {
        let suspension = Suspension::for_good(reason)?;
        self.seals.check_key(key)?;
        let mut changed = key.clone();
        match response {
            LeakResponse::Suspend => {
                // Another suspension for good says why in its own words.
                if key.suspension.as_ref().is_none_or(|old| old.end().is_some()) {
                    changed.suspension = Some(suspension);
                }
            }
            LeakResponse::Quarantine(floor) => {
                let left = self.granted(key).meet(floor);
                changed.scopes = self.policy.catalog().names(left);
            }
            LeakResponse::ReportOnly => {}
        }
        if changed == *key {
            return Ok(None);
        }
        self.seals.next_key(&mut changed);
        Ok(Some(changed))
    }
}
