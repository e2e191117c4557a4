//! Grants: the scopes of a key, the resources that it may touch, and the networks that it may be used from.
//!
//! A grant is an element of the product of three lattices. One grant covers another if it does so in each of them.
//! Every rule that holds for scopes holds for the whole: a granter passes on at most its own grant.

use alloc::{boxed::Box, string::String, sync::Arc, vec::Vec};
use core::net::IpAddr;

use crate::{
    codec::{Reader, Writer},
    resource::ResourceKinds,
    scope::{MissingScope, ScopeSet},
};
pub use crate::{
    network::{Network, NetworkList, Networks},
    resource::{ResourceDeclaration, ResourceId, ResourceIds, ResourceKind, Resources},
};

/// The most that a granter may pass on: scopes, and the limits on resources and networks.
///
/// [`Principal::grant`](crate::Principal::grant) returns the grant of a caller. A person or program without a key has
/// the grant that the application gives it:
///
/// ```
/// use keyway::{
///     ScopeCatalog,
///     grant::{Grant, Networks, Resources},
///     scope::ScopeDeclaration,
/// };
///
/// let catalog = ScopeCatalog::new([ScopeDeclaration::new("reporting", "Read reports")])?;
/// let all = Grant::unlimited(catalog.all());
/// let office = all.clone().networks(Networks::only(["192.0.2.0/24"])?);
/// assert!(all.covers(&office) && !office.covers(&all));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    scopes: ScopeSet,
    /// `None` if nothing is limited.
    limits: Option<Arc<Limits>>,
}

/// The limits of a key or granter on resources and networks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) resources: ResourceLimits,
    pub(crate) networks: Networks,
}

/// The resources of each kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ResourceLimits {
    /// All resources of all kinds that are declared.
    Unlimited,
    /// The resources of each kind, by name. Kinds that are missing have none.
    Kinds(Box<[(Box<str>, Resources)]>),
}

impl Grant {
    /// Creates the grant of `scopes`, for all resources and from any network.
    pub fn unlimited(scopes: ScopeSet) -> Self {
        Self { scopes, limits: None }
    }

    pub(crate) fn limited(scopes: ScopeSet, limits: Limits) -> Self {
        Self { scopes, limits: (limits != Limits::NONE).then(|| Arc::new(limits)) }
    }

    /// Limits the grant to these resources of the kind `kind`. Resources of kinds that are not named are left out, once
    /// any kind is named.
    #[must_use]
    pub fn resources(self, kind: &ResourceKind, resources: Resources) -> Self {
        let mut limits = self.limits.as_deref().cloned().unwrap_or(Limits::NONE);
        let mut kinds = match limits.resources {
            ResourceLimits::Unlimited => Vec::new(),
            ResourceLimits::Kinds(kinds) => kinds.into_vec(),
        };
        kinds.retain(|(name, _)| **name != *kind.name());
        kinds.push((kind.name().into(), resources));
        limits.resources = ResourceLimits::of(kinds);
        Self::limited(self.scopes, limits)
    }

    /// Limits the grant to these networks.
    #[must_use]
    pub fn networks(self, networks: Networks) -> Self {
        let limits = self.limits.as_deref().cloned().unwrap_or(Limits::NONE);
        Self::limited(self.scopes, Limits { networks, ..limits })
    }

    /// Returns the scopes.
    pub fn scopes(&self) -> ScopeSet {
        self.scopes
    }

    /// Returns whether `other` permits nothing that this grant does not (≥ in the lattice). A grant without limits also
    /// permits resources of kinds that are declared later, so no grant of single kinds covers it.
    pub fn covers(&self, other: &Self) -> bool {
        self.scopes.covers(other.scopes)
            && self.limits().resources.covers(&other.limits().resources)
            && self.limits().networks.covers(&other.limits().networks)
    }

    /// Returns what both grants permit (∧).
    #[must_use]
    pub fn meet(&self, other: &Self) -> Self {
        let (left, right) = (self.limits(), other.limits());
        let limits = Limits {
            resources: left.resources.meet(&right.resources),
            networks: left.networks.meet(&right.networks),
        };
        Self::limited(self.scopes.meet(other.scopes), limits)
    }

    pub(crate) fn limits(&self) -> &Limits {
        static NONE: Limits = Limits::NONE;
        self.limits.as_deref().unwrap_or(&NONE)
    }
}

impl Limits {
    pub(crate) const NONE: Self =
        Self { resources: ResourceLimits::Unlimited, networks: Networks::Any };

    /// Returns whether a client may use the key. Its `address` is asked for only if the networks are limited, and may not
    /// be known.
    #[inline]
    pub(crate) fn permit(&self, address: impl FnOnce() -> Option<IpAddr>) -> bool {
        match &self.networks {
            Networks::Any => true,
            networks @ Networks::Only(_) => {
                address().is_some_and(|address| networks.contains(address))
            }
        }
    }
}

impl ResourceLimits {
    /// Returns these kinds, of which each occurs once.
    pub(crate) fn of(mut kinds: Vec<(Box<str>, Resources)>) -> Self {
        kinds.retain(|(_, resources)| *resources != Resources::Nothing);
        kinds.sort_by(|(left, _), (right, _)| left.cmp(right));
        Self::Kinds(kinds.into())
    }

    /// Returns the resources of the kind `kind`.
    pub(crate) fn of_kind(&self, kind: &str) -> &Resources {
        match self {
            Self::Unlimited => &Resources::All,
            Self::Kinds(kinds) => kinds
                .iter()
                .find_map(|(name, resources)| (**name == *kind).then_some(resources))
                .unwrap_or(&Resources::Nothing),
        }
    }

    fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Unlimited, _) => true,
            (Self::Kinds(_), Self::Unlimited) => false,
            (Self::Kinds(_), Self::Kinds(kinds)) => {
                kinds.iter().all(|(kind, resources)| self.of_kind(kind).covers(resources))
            }
        }
    }

    fn meet(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::Unlimited, limits) | (limits, Self::Unlimited) => limits.clone(),
            (Self::Kinds(kinds), other) => {
                let both = |(kind, resources): &(Box<str>, Resources)| {
                    (kind.clone(), resources.meet(other.of_kind(kind)))
                };
                Self::of(kinds.iter().map(both).collect())
            }
        }
    }
}

/// The limits that a key's record has: what it was granted, whatever the catalog declares today.
///
/// INVARIANT: sorted by kind, each kind once, and no [`Resources::Nothing`], so that a record has one encoding.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct StoredLimits {
    pub(crate) resources: Vec<(String, Resources)>,
    pub(crate) networks: Networks,
}

impl StoredLimits {
    pub(crate) fn write(&self, writer: &mut Writer) {
        writer.len(self.resources.len());
        for (kind, resources) in &self.resources {
            writer.str(kind);
            resources.write(writer);
        }
        self.networks.write(writer);
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let kind = |reader: &mut Reader<'_>| Some((reader.string()?, Resources::read(reader)?));
        let resources = reader
            .list(kind)
            .filter(|kinds| kinds.is_sorted_by(|(left, _), (right, _)| left < right))?;
        Some(Self { resources, networks: Networks::read(reader)? })
    }

    /// Returns the resources of the kind `kind`.
    pub(crate) fn of_kind(&self, kind: &str) -> &Resources {
        self.resources
            .iter()
            .find_map(|(name, resources)| (name == kind).then_some(resources))
            .unwrap_or(&Resources::Nothing)
    }

    /// Replaces the resources of the kind `kind`.
    pub(crate) fn set(&mut self, kind: &str, resources: Resources) {
        self.resources.retain(|(name, _)| name != kind);
        if resources != Resources::Nothing {
            self.resources.push((kind.into(), resources));
            self.resources.sort_by(|(left, _), (right, _)| left.cmp(right));
        }
    }

    /// Returns a kind that `kinds` does not declare, and of which the key may not touch all resources.
    pub(crate) fn unknown<'k>(&'k self, kinds: &ResourceKinds) -> Option<&'k str> {
        let is_unknown = |kind: &str| kinds.names().all(|declared| declared != kind);
        self.resources
            .iter()
            .find(|(kind, resources)| *resources != Resources::All && is_unknown(kind))
            .map(|(kind, _)| &**kind)
    }

    /// Returns the limits for verification, or `None` if nothing is limited.
    pub(crate) fn resolve(&self, kinds: &ResourceKinds) -> Option<Limits> {
        let is_all = |kind: &str| *self.of_kind(kind) == Resources::All;
        let is_unlimited = kinds.names().all(is_all)
            && self.resources.iter().all(|(_, resources)| *resources == Resources::All);
        let resources = if is_unlimited {
            ResourceLimits::Unlimited
        } else {
            let kinds = self.resources.iter();
            ResourceLimits::of(kinds.map(|(kind, of)| (kind.as_str().into(), of.clone())).collect())
        };
        let limits = Limits { resources, networks: self.networks.clone() };
        (limits != Limits::NONE).then_some(limits)
    }
}

/// A caller that is verified may not do what it asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OutsideGrant {
    /// The key lacks a scope.
    #[error(transparent)]
    Scope(#[from] MissingScope),
    /// The key may not touch the resource of this kind. A key that is limited to some resources of a kind that the catalog
    /// does not declare is refused everywhere, since no route can say which of them it touches.
    #[error("the API key may not touch this resource of the kind `{0}`")]
    Resource(Box<str>),
    /// The caller has presented a child, which is for another place, or the place accepts no children.
    #[error("this short-lived API key is for another place")]
    Audience,
    /// The key may not be used from the network of the client, or the address of the client is not known.
    #[error("the API key may not be used from this network")]
    Network,
}

#[cfg(test)]
mod tests;
