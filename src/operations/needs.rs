//! The declaration of an operation.

use alloc::{string::String, vec::Vec};
use core::{fmt, num::NonZeroU32};

use crate::{
    config::ConfigError,
    grant::ResourceKind,
    scope::{Requirement, ScopeCatalog},
};

/// The needs of an operation: a key with scopes, statements on the resources that it touches, and a weight.
///
/// If the policy declares kinds of resources, an operation that needs a key must say something about each kind:
/// [`resource`](Self::resource), [`handler_checks`](Self::handler_checks) or [`touches_no`](Self::touches_no).
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a declaration does nothing until it is part of operations"]
pub struct Needs {
    scopes: Scopes,
    resources: Vec<(String, Rule)>,
    weights: Vec<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Scopes {
    /// No key is needed.
    Public,
    /// Every active key is enough.
    None,
    All(Vec<String>),
    Any(Vec<String>),
}

/// The statement of an operation on the resources of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// The ids are given to each check.
    Checked,
    /// The handler checks the resources that it touches.
    Handler,
    /// It touches none.
    Untouched,
}

/// The access that an operation requires, with scopes of the catalog.
pub(super) enum Access {
    Nothing,
    Key(Requirement),
}

/// The statements of an operation, by kind.
pub(super) struct Rules {
    pub(super) stated: Vec<(ResourceKind, Rule)>,
    /// A kind about which it says nothing.
    pub(super) unstated: Option<String>,
}

impl Needs {
    fn new(scopes: Scopes) -> Self {
        Self { scopes, resources: Vec::new(), weights: Vec::new() }
    }

    /// Needs an active key with all of `scopes`.
    pub fn all<S: Into<String>>(scopes: impl IntoIterator<Item = S>) -> Self {
        Self::new(Scopes::All(scopes.into_iter().map(Into::into).collect()))
    }

    /// Needs an active key with any one of `scopes`.
    pub fn any<S: Into<String>>(scopes: impl IntoIterator<Item = S>) -> Self {
        Self::new(Scopes::Any(scopes.into_iter().map(Into::into).collect()))
    }

    /// Needs an active key, whatever its scopes.
    pub fn any_key() -> Self {
        Self::new(Scopes::None)
    }

    /// Needs nothing: anyone may call the operation.
    pub fn nothing() -> Self {
        Self::new(Scopes::Public)
    }

    /// Says that the operation touches resources of the kind `kind`, whose ids are given to
    /// [`check`](super::OperationTable::check).
    pub fn resource(self, kind: impl Into<String>) -> Self {
        self.state(kind.into(), Rule::Checked)
    }

    /// Says that the handler checks the resources of the kind `kind` that it touches, by
    /// [`Principal::permit`](crate::Principal::permit) or [`Principal::resources`](crate::Principal::resources).
    pub fn handler_checks(self, kind: impl Into<String>) -> Self {
        self.state(kind.into(), Rule::Handler)
    }

    /// Says that the operation touches no resource of the kind `kind`.
    pub fn touches_no(self, kind: impl Into<String>) -> Self {
        self.state(kind.into(), Rule::Untouched)
    }

    /// Counts one call as `weight` against the [rate](crate::rate) and the [allowances](crate::allowance), for a costly
    /// operation. It is at least 1, and a call counts as 1 without it.
    ///
    /// [`Guard::operations`](https://docs.rs/keyway/latest/keyway/http/struct.Guard.html#method.operations) counts it. Where
    /// one request has the calls of several operations, each call is counted by
    /// [`OperationTable::weight`](super::OperationTable::weight).
    pub fn weight(mut self, weight: u32) -> Self {
        self.weights.push(weight);
        self
    }

    fn state(mut self, kind: String, rule: Rule) -> Self {
        self.resources.push((kind, rule));
        self
    }

    pub(super) fn resolve(
        self,
        catalog: &ScopeCatalog,
    ) -> Result<(Access, Rules, Option<NonZeroU32>), ConfigError> {
        let access = match &self.scopes {
            Scopes::Public => Access::Nothing,
            Scopes::None => Access::Key(catalog.require_none()),
            Scopes::All(scopes) => Access::Key(catalog.require_all(scopes)?),
            Scopes::Any(scopes) => Access::Key(catalog.require_any(scopes)?),
        };
        let mut stated: Vec<(ResourceKind, Rule)> = Vec::new();
        for (kind, rule) in self.resources {
            let handle = catalog.resource(&kind)?;
            let is_repeated = stated.iter().any(|(known, _)| known.name() == kind);
            if is_repeated || matches!(access, Access::Nothing) {
                return Err(ConfigError::ContradictoryNeeds(kind));
            }
            stated.push((handle, rule));
        }
        let weight = match (&*self.weights, &access) {
            ([], _) => None,
            ([weight], Access::Key(_)) if *weight > 0 => NonZeroU32::new(*weight),
            _ => return Err(ConfigError::OperationWeight),
        };
        let is_stated = |name: &str| stated.iter().any(|(kind, _)| kind.name() == name);
        let needs_key = matches!(access, Access::Key(_));
        let unstated = catalog.resources().map(|(name, _)| name).find(|name| !is_stated(name));
        let unstated = unstated.filter(|_| needs_key).map(Into::into);
        Ok((access, Rules { stated, unstated }, weight))
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("public"),
            Self::Key(requirement) => f.write_str(&requirement.in_words()),
        }
    }
}
