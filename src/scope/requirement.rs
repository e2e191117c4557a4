//! The scopes that a route requires of a caller.

use alloc::{string::String, vec::Vec};
use core::fmt;

use super::{
    Scope, ScopeCatalog, ScopeSet,
    set::{Bits, contains, holds_all, holds_any},
};

/// The scopes that a route requires, resolved once, when the service starts.
///
/// [`ScopeCatalog::require_all`], [`ScopeCatalog::require_any`] and [`ScopeCatalog::require_none`] create it.
/// An unknown scope is an error there: the service does not start, and no request ever fails for it.
#[derive(Clone)]
pub struct Requirement {
    catalog: ScopeCatalog,
    fingerprint: u64,
    need: Bits,
    mode: Mode,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    All,
    Any,
}

impl Requirement {
    pub(super) fn new(catalog: ScopeCatalog, need: Bits, mode: Mode) -> Self {
        Self { fingerprint: catalog.fingerprint(), catalog, need, mode }
    }

    /// Checks that `have` meets the requirement. A set of another catalog never does.
    ///
    /// # Errors
    ///
    /// [`MissingScope`] names the missing scopes.
    #[inline]
    pub fn check(&self, have: ScopeSet) -> Result<(), MissingScope> {
        let met = self.fingerprint == have.catalog()
            && match self.mode {
                Mode::All => holds_all(have.bits(), self.need),
                Mode::Any => holds_any(have.bits(), self.need),
            };
        if met { Ok(()) } else { Err(self.missing(have)) }
    }

    /// Returns the scopes that the requirement names, sorted.
    pub fn scopes(&self) -> impl Iterator<Item = &Scope> {
        self.entries().map(|(_, scope)| scope)
    }

    /// Returns whether any one of [`scopes`](Self::scopes) suffices.
    pub fn is_any(&self) -> bool {
        self.mode == Mode::Any
    }

    /// Returns the fingerprint of the catalog that declares the scopes.
    #[cfg(feature = "tower")]
    pub(crate) fn catalog(&self) -> u64 {
        self.fingerprint
    }

    /// Returns the requirement as tables of routes and operations show it, such as `manager or reporting`.
    pub(crate) fn in_words(&self) -> String {
        let scopes: Vec<_> = self.scopes().map(Scope::as_str).collect();
        match &*scopes {
            [] => "any key".into(),
            scopes => scopes.join(if self.is_any() { " or " } else { " and " }),
        }
    }

    /// Returns whether both are the same requirement.
    #[cfg(feature = "http")]
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        (self.fingerprint, self.need, self.mode) == (other.fingerprint, other.need, other.mode)
    }

    #[cold]
    fn missing(&self, have: ScopeSet) -> MissingScope {
        let ours = have.catalog() == self.fingerprint;
        let scopes = self
            .entries()
            .filter(|(index, _)| !(ours && contains(have.bits(), *index)))
            .map(|(_, scope)| scope.clone())
            .collect();
        MissingScope { scopes, withheld: Vec::new(), any: self.is_any() }
    }

    /// Adds to `missing` the scopes that the key was `granted` and its tenant's tier withholds.
    #[cold]
    pub(crate) fn with_withheld(&self, missing: MissingScope, granted: ScopeSet) -> MissingScope {
        if granted.catalog() != self.fingerprint {
            return missing;
        }
        let is_withheld = |(index, scope): &(usize, &Scope)| {
            contains(granted.bits(), *index) && missing.scopes.contains(scope)
        };
        let withheld = self.entries().filter(is_withheld).map(|(_, scope)| scope.clone()).collect();
        MissingScope { withheld, ..missing }
    }

    fn entries(&self) -> impl Iterator<Item = (usize, &Scope)> {
        self.catalog
            .iter()
            .map(|(scope, _)| scope)
            .enumerate()
            .filter(|(index, _)| contains(self.need, *index))
    }
}

impl fmt::Debug for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} of ", self.mode)?;
        f.debug_set().entries(self.scopes()).finish()
    }
}

/// The error of a caller that lacks a scope which a route requires.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingScope {
    scopes: Vec<Scope>,
    withheld: Vec<Scope>,
    any: bool,
}

impl MissingScope {
    /// Returns the missing scopes. All of them are needed, unless [`is_any`](Self::is_any).
    pub fn scopes(&self) -> &[Scope] {
        &self.scopes
    }

    /// Returns those of [`scopes`](Self::scopes) that the key was granted but the tier of its tenant
    /// withholds. Another tier gives them back. Granting them again does not.
    pub fn withheld(&self) -> &[Scope] {
        &self.withheld
    }

    /// Returns whether one of [`scopes`](Self::scopes) suffices.
    pub fn is_any(&self) -> bool {
        self.any
    }
}

impl fmt::Display for MissingScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &*self.scopes {
            [] => return f.write_str("the caller's scopes are of another catalog"),
            [_, _, ..] if self.any => "missing one of ",
            _ => "missing ",
        })?;
        fmt::Display::fmt(&List(&self.scopes), f)?;
        match &*self.withheld {
            [] => Ok(()),
            withheld => write!(f, "; the tier of the tenant withholds {}", List(withheld)),
        }
    }
}

/// A list of scopes as it appears in a sentence.
pub(crate) struct List<'s>(pub(crate) &'s [Scope]);

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.len() == 1 { "scope " } else { "scopes " })?;
        for (index, scope) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(f, "{separator}`{scope}`")?;
        }
        Ok(())
    }
}

impl core::error::Error for MissingScope {}
