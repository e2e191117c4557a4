//! The owner of a key inside its tenant.

use alloc::boxed::Box;

use super::id::text_id;

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

text_id!(Owner, Owner);
