//! The rows of a table, for a guard that finds the operation of a request by its path.

use super::{Access, OperationTable, Rule};
use crate::{grant::ResourceKind, scope::Requirement};

/// One operation of a table.
pub(crate) struct OperationRow<'t> {
    pub(crate) name: &'t str,
    /// `None` for an operation that needs no key.
    pub(crate) requirement: Option<&'t Requirement>,
    /// One for each kind that the policy declares.
    pub(crate) rules: &'t [(ResourceKind, Rule)],
}

impl OperationTable {
    /// Returns all operations, sorted by name.
    pub(crate) fn rows(&self) -> impl Iterator<Item = OperationRow<'_>> {
        self.0.iter().map(|(name, operation)| OperationRow {
            name,
            requirement: match &operation.access {
                Access::Nothing => None,
                Access::Key(requirement) => Some(requirement),
            },
            rules: &operation.rules,
        })
    }
}
