//! The owner of a key inside its tenant.

use alloc::boxed::Box;
use core::{fmt, str::FromStr};

use super::{Field, InvalidField, TextProblem, tenant_id::checked};
use crate::text;

/// A person or team inside a tenant, to which keys belong. The id is the application's own: a user number, a name or a
/// UUID.
///
/// An id is 1 to 128 bytes of text, under the same rules as a [`TenantId`](crate::TenantId). Ids are compared byte for
/// byte.
///
/// ```
/// use keyway::record::Owner;
///
/// let ann: Owner = "user-4711".parse()?;
/// assert_eq!(ann.as_str(), "user-4711");
/// # Ok::<(), keyway::record::InvalidField>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner(Box<str>);

impl Owner {
    /// Maximum length of an id, in bytes.
    pub const MAX_LEN: usize = 128;

    /// Returns the id.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Creates the owner of a stored record, under the rules for stored text.
    pub(crate) fn stored(id: &str) -> Result<Self, InvalidField> {
        Self::checked(id, text::check_stored_filled)
    }

    fn checked(
        id: &str,
        check: impl FnOnce(&str, usize) -> Result<(), TextProblem>,
    ) -> Result<Self, InvalidField> {
        checked(id, Self::MAX_LEN, check)
            .map(Self)
            .map_err(|problem| InvalidField::new(Field::Owner, problem))
    }
}

impl TryFrom<&str> for Owner {
    type Error = InvalidField;

    fn try_from(id: &str) -> Result<Self, Self::Error> {
        Self::checked(id, text::check_id)
    }
}

impl FromStr for Owner {
    type Err = InvalidField;

    fn from_str(id: &str) -> Result<Self, Self::Err> {
        id.try_into()
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for Owner {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}
