//! The permissions of keys: scope names, the catalog that orders them, sets, and the requirements of routes.
//!
//! A [`ScopeCatalog`] declares every [`Scope`] once. A [`ScopeSet`] is downward closed in the catalog's
//! order: a set with `operator` also has `operator.jobs`. By Birkhoff's theorem these sets form a finite
//! distributive lattice. Its bottom is the empty set. Its top is obtained only explicitly, from
//! [`ScopeCatalog::all`].
//!
//! ```
//! use keyway::{ScopeCatalog, scope::ScopeDeclaration};
//!
//! let catalog = ScopeCatalog::new([
//!     ScopeDeclaration::new("operator", "Full control of the shop floor"),
//!     ScopeDeclaration::new("operator.jobs", "Job control"),
//!     ScopeDeclaration::new("reporting", "Read access to reports"),
//! ])?;
//! let granted = catalog.set(["operator"])?;
//!
//! assert!(granted.covers(catalog.set(["operator.jobs"])?));
//! assert!(catalog.require_all(["operator.jobs"])?.check(granted).is_ok());
//! let missing = catalog.require_all(["reporting"])?.check(granted).unwrap_err();
//! assert_eq!(missing.to_string(), "missing scope `reporting`");
//! # Ok::<(), keyway::ConfigError>(())
//! ```

pub(crate) mod catalog;
mod requirement;
mod set;

use alloc::boxed::Box;
use core::{borrow::Borrow, fmt, str::FromStr};

pub(crate) use self::{catalog::ScopeCatalog, requirement::List};
pub use self::{
    catalog::ScopeDeclaration,
    requirement::{MissingScope, Requirement},
    set::ScopeSet,
};
use crate::field::{Field, InvalidField};

/// The name of one permission, such as `operator.jobs`.
///
/// A name has 1 to 100 characters of an RFC 6749 scope-token (section 3.3): printable ASCII without space,
/// `"` and `\`. It is case-sensitive.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scope(Box<str>);

impl Scope {
    /// The longest name, in characters.
    pub const MAX_LEN: usize = 100;

    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns whether this name is `other` cut off at one of its dots.
    fn prefixes(&self, other: &Self) -> bool {
        other.0.strip_prefix(&*self.0).is_some_and(|rest| rest.starts_with('.'))
    }
}

impl TryFrom<&str> for Scope {
    type Error = InvalidField;

    fn try_from(text: &str) -> Result<Self, Self::Error> {
        let allowed = |byte: u8| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
        if text.is_empty() || text.len() > Self::MAX_LEN || !text.bytes().all(allowed) {
            return Err(InvalidField::malformed(
                Field::Scope,
                "1 to 100 printable ASCII characters without space, `\"` and `\\`",
            ));
        }
        Ok(Self(text.into()))
    }
}

impl FromStr for Scope {
    type Err = InvalidField;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.try_into()
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for Scope {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Scope {
    fn borrow(&self) -> &str {
        &self.0
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for Scope {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}
