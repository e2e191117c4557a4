//! The id of a tenant.

use alloc::boxed::Box;
use core::{fmt, str::FromStr};

use super::{Field, InvalidField, TextProblem};
use crate::text;

/// The id of a tenant, chosen by the application: a customer number, a slug or a UUID.
///
/// An id is 1 to 128 bytes of text on one line, with at least one visible character. Ids are compared byte
/// for byte: case, white space and Unicode form matter.
///
/// Ids are part of URLs and are compared by eye. A new id must therefore have:
///
/// - no invisible characters outside emoji;
/// - no white space except ASCII spaces, and none at its ends;
/// - none of `/`, `\`, `%`, `?` and `#`;
/// - at least one character that is not a dot.
///
/// The id in a stored record is accepted according to the rules at the time when it was written.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TenantId(Box<str>);

impl TenantId {
    /// Maximum length of an id, in bytes.
    pub const MAX_LEN: usize = 128;

    /// Returns the id.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Creates the id from a record. It was checked when the record was created.
    #[cfg(feature = "console")]
    pub(crate) fn of_record(id: &str) -> Self {
        Self(id.into())
    }

    /// Creates the id of a tenant that may exist, under the rules for stored text. It is used to read and to
    /// name stored tenants.
    pub(crate) fn stored(id: &str) -> Result<Self, InvalidField> {
        Self::checked(id, text::check_stored_filled)
    }

    fn checked(
        id: &str,
        check: impl FnOnce(&str, usize) -> Result<(), TextProblem>,
    ) -> Result<Self, InvalidField> {
        checked(id, Self::MAX_LEN, check)
            .map(Self)
            .map_err(|problem| InvalidField::new(Field::TenantId, problem))
    }
}

/// Returns `id` if it keeps the rules of `check` and has at most `max` bytes.
pub(super) fn checked(
    id: &str,
    max: usize,
    check: impl FnOnce(&str, usize) -> Result<(), TextProblem>,
) -> Result<Box<str>, TextProblem> {
    check(id, max)?;
    if id.len() > max {
        return Err(TextProblem::TooLarge { len: id.len(), max });
    }
    Ok(id.into())
}

impl TryFrom<&str> for TenantId {
    type Error = InvalidField;

    fn try_from(id: &str) -> Result<Self, Self::Error> {
        Self::checked(id, text::check_id)
    }
}

impl FromStr for TenantId {
    type Err = InvalidField;

    fn from_str(id: &str) -> Result<Self, Self::Err> {
        id.try_into()
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for TenantId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}
