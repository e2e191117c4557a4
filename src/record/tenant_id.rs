//! The id of a tenant.

use alloc::boxed::Box;

use super::id::text_id;

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

#[cfg(feature = "std")]
impl TenantId {
    /// Creates the id from a record. It was checked when the record was created.
    pub(crate) fn of_record(id: &str) -> Self {
        Self(id.into())
    }
}

text_id!(TenantId, TenantId);
