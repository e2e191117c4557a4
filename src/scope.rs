//! What a key may do: names, the catalogue that orders them, sets, and what a route requires.
//!
//! A [`ScopeCatalog`] declares every [`Scope`] once. A [`ScopeSet`] is downward closed in its order:
//! whoever holds `operator` holds `operator.jobs`. By Birkhoff's theorem these sets are a finite
//! distributive lattice, whose bottom is nothing and whose top is only ever named
//! ([`ScopeCatalog::all`]).
//!
//! ```
//! use keyway::scope::{ScopeCatalog, ScopeDeclaration};
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
//! # Ok::<(), keyway::scope::CatalogError>(())
//! ```

mod catalog;
mod requirement;
mod set;

use alloc::boxed::Box;
use core::{borrow::Borrow, fmt, str::FromStr};

pub(crate) use self::requirement::List;
pub use self::{
    catalog::{CatalogError, ScopeCatalog, ScopeDeclaration},
    requirement::{MissingScope, Requirement},
    set::ScopeSet,
};

/// The name of one permission, such as `operator.jobs`.
///
/// 1 to 100 characters of an RFC 6749 scope-token (section 3.3): printable ASCII without space, `"`
/// and `\`. Case matters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scope(Box<str>);

impl Scope {
    /// The longest name, in characters.
    pub const MAX_LEN: usize = 100;

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this name is `other` cut off at one of its dots.
    fn prefixes(&self, other: &Self) -> bool {
        other.0.strip_prefix(&*self.0).is_some_and(|rest| rest.starts_with('.'))
    }
}

impl TryFrom<&str> for Scope {
    type Error = InvalidScope;

    fn try_from(text: &str) -> Result<Self, Self::Error> {
        let allowed = |byte: u8| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
        if text.is_empty() || text.len() > Self::MAX_LEN || !text.bytes().all(allowed) {
            return Err(InvalidScope(()));
        }
        Ok(Self(text.into()))
    }
}

impl FromStr for Scope {
    type Err = InvalidScope;

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

/// A text is not the name of a scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a scope is 1 to 100 printable ASCII characters without space, `\"` and `\\`")]
pub struct InvalidScope(());

#[cfg(feature = "serde")]
impl serde::Serialize for Scope {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}
