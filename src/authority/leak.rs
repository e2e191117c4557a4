//! Responses to leaked tokens.

use super::{Authority, ChangeError};
use crate::{
    record::{KeyRecord, Suspension},
    scope::ScopeSet,
};

/// The response to a report that a key's token was found where it should not be.
///
/// No response adds permissions: a suspended key stays suspended, and scopes are only removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LeakResponse {
    /// Suspends the key permanently. It cannot be used, and only an operator can lift the suspension.
    Suspend,
    /// Limits the scopes of the key to this set. For example, the key can still read but no longer write.
    /// The set is created by the policy's [catalog](crate::scope::ScopeCatalog::set).
    ///
    /// Names in the key's record that the catalog does not declare are removed, so that they grant nothing
    /// if they are declared again. A set of another catalog, or an empty set, leaves no scopes.
    ///
    /// The tenant can rotate the key and restore its scopes.
    Quarantine(ScopeSet),
    /// Leaves the key unchanged. The leak is only reported, to the audit sink and as a durable [event](crate::event).
    ReportOnly,
}

impl Authority {
    /// Returns `key` after `response` to a leak of its token, or `None` if nothing changes. The caller must
    /// have checked that the reporter has the token. See `Keyring::report_leak`.
    ///
    /// # Errors
    ///
    /// [`ChangeError::Record`]. [`ChangeError::Invalid`] unless the reason is one line of 1 to 500
    /// characters, for every response.
    pub fn respond_to_leak(
        &self,
        key: &KeyRecord,
        reason: &str,
        response: LeakResponse,
    ) -> Result<Option<KeyRecord>, ChangeError> {
        let suspension = Suspension::permanent(reason)?;
        self.seals.check_key(key)?;
        let mut changed = key.clone();
        match response {
            LeakResponse::Suspend => {
                // An earlier permanent suspension keeps its own reason.
                if key.suspension.as_ref().is_none_or(|old| old.end().is_some()) {
                    changed.suspension = Some(suspension);
                }
            }
            LeakResponse::Quarantine(floor) => {
                // `meet` with the set removes names that the catalog does not declare.
                let catalog = self.policy.catalog();
                let (known, _) = catalog.set_of_known(&key.scopes);
                changed.scopes = catalog.names(known.meet(floor));
            }
            LeakResponse::ReportOnly => {}
        }
        if changed == *key {
            return Ok(None);
        }
        changed.leaks = changed.leaks.saturating_add(1);
        self.seals.next_key_version(&mut changed);
        Ok(Some(changed))
    }
}
