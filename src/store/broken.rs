//! Rows of a page that cannot be read or trusted.

use core::{error::Error, fmt};

use super::KeyCursor;
use crate::record::{KeyRecord, TenantRecord};
use crate::{
    record::{RecordError, TenantId},
    token::KeyId,
};

/// A row of a page that cannot be returned as a record, with as much of its name as is known.
///
/// Another program has written to the store, or a disk has lost data. The other rows of the page are not
/// affected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokenRow {
    tenant: Option<TenantId>,
    key: Option<KeyCursor>,
    is_key: bool,
    problem: RecordError,
}

impl BrokenRow {
    /// Creates the row of a tenant that cannot be read. `id` is the id under which the row is stored, if that
    /// is a valid id.
    pub fn of_tenant(id: Option<TenantId>) -> Self {
        Self { tenant: id, key: None, is_key: false, problem: RecordError::UnreadableTenant }
    }

    /// Creates the row of a key of `tenant` that cannot be read. `place` is the key's position in the list,
    /// if the stored id and creation time are valid.
    pub fn of_key(tenant: TenantId, place: Option<KeyCursor>) -> Self {
        let problem = RecordError::UnreadableKey(place.map(|place| place.id));
        Self { tenant: Some(tenant), key: place, is_key: true, problem }
    }

    /// Creates the row of the record `tenant`, which has the given problem.
    pub(crate) fn tenant_with(tenant: &TenantRecord, problem: RecordError) -> Self {
        Self { problem, ..Self::of_tenant(Some(tenant.id.clone())) }
    }

    /// Creates the row of the record `key`, which was read as a key of `tenant` and has the given problem.
    pub(crate) fn key_with(tenant: &TenantId, key: &KeyRecord, problem: RecordError) -> Self {
        Self { problem, ..Self::of_key(tenant.clone(), Some(KeyCursor::of(key))) }
    }

    /// Returns the tenant, or the tenant that holds the key.
    pub fn tenant(&self) -> Option<&TenantId> {
        self.tenant.as_ref()
    }

    /// Returns the id of the key. Its tenant can delete the key.
    pub fn key(&self) -> Option<KeyId> {
        self.key.map(|place| place.id)
    }

    /// Returns the position of the key in the list.
    pub fn cursor(&self) -> Option<KeyCursor> {
        self.key
    }

    /// Checks whether the row is a key, not a tenant.
    pub fn is_key(&self) -> bool {
        self.is_key
    }

    /// Returns the defect of the row.
    pub fn problem(&self) -> &RecordError {
        &self.problem
    }
}

impl fmt::Display for BrokenRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.is_key, &self.tenant, self.key()) {
            (true, Some(tenant), Some(key)) => write!(f, "key {key} of tenant `{tenant}`")?,
            (true, Some(tenant), None) => write!(f, "a key without an id of tenant `{tenant}`")?,
            (true, None, _) => f.write_str("a key without a tenant")?,
            (false, Some(tenant), _) => write!(f, "tenant `{tenant}`")?,
            (false, None, _) => f.write_str("a tenant without an id")?,
        }
        write!(f, ": {}", self.problem)
    }
}

impl Error for BrokenRow {}
