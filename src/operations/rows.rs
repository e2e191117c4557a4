//! The rows of a table, for a guard that finds the operation of a request by its path, and for the streams of operations.

#[cfg(feature = "tower")]
use core::num::NonZeroU32;

use super::{Access, Operation, OperationTable, Rule};
use crate::{grant::ResourceKind, scope::Requirement};

/// One operation of a table.
pub(crate) struct OperationRow<'t> {
    /// `None` for an operation that needs no key.
    pub(crate) requirement: Option<&'t Requirement>,
    /// One for each kind that the policy declares.
    pub(crate) rules: &'t [(ResourceKind, Rule)],
    /// `None` if nothing was said.
    #[cfg(feature = "tower")]
    pub(crate) weight: Option<NonZeroU32>,
}

impl<'t> OperationRow<'t> {
    fn of(operation: &'t Operation) -> Self {
        let requirement = match &operation.access {
            Access::Nothing => None,
            Access::Key(requirement) => Some(requirement),
        };
        Self {
            requirement,
            rules: &operation.rules,
            #[cfg(feature = "tower")]
            weight: operation.weight,
        }
    }
}

impl OperationTable {
    /// Returns all operations and their names, sorted by name.
    #[cfg(feature = "tower")]
    pub(crate) fn rows(&self) -> impl Iterator<Item = (&str, OperationRow<'_>)> {
        self.0.iter().map(|(name, operation)| (name, OperationRow::of(operation)))
    }

    /// Returns the operation `name`.
    pub(crate) fn row(&self, name: &str) -> Option<OperationRow<'_>> {
        self.0.get(name).map(OperationRow::of)
    }
}
