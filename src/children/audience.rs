//! The audience of children, and the places where children are presented.

use alloc::{boxed::Box, string::String, vec::Vec};
use core::fmt;

use crate::{
    field::{Field, InvalidField},
    text,
};

/// One name in the audience of a child. `Display` writes it as it stands in a caveat.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Audience {
    Host(Box<str>),
    Operation(Box<str>),
    Route(Box<str>),
}

impl Audience {
    /// The longest name, in characters.
    const MAX_LEN: usize = 200;

    pub(super) fn new(kind: fn(Box<str>) -> Self, name: &str) -> Result<Self, InvalidField> {
        text::check_filled(name, Self::MAX_LEN)
            .map_err(|problem| InvalidField::new(Field::Audience, problem))?;
        Ok(kind(name.into()))
    }

    /// Reads an item of a caveat.
    pub(super) fn read(item: &str) -> Option<Self> {
        let (kind, name) = item.split_once(':')?;
        let kind = match kind {
            "host" => Self::Host,
            "operation" => Self::Operation,
            "route" => Self::Route,
            _ => return None,
        };
        Self::new(kind, name).ok()
    }
}

impl fmt::Display for Audience {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(name) => write!(f, "host:{name}"),
            Self::Operation(name) => write!(f, "operation:{name}"),
            Self::Route(name) => write!(f, "route:{name}"),
        }
    }
}

/// The place where a child is presented, by the names that children may have in their audience.
///
/// A child with hosts in its audience is accepted at one of these hosts only. The same holds for routes and operations. One
/// with several kinds of names must meet each kind. A name that the place does not say is not met.
///
/// ```
/// use keyway::children::Place;
///
/// let place = Place::new().host("api.example.com").route("GET /events");
/// # _ = place;
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    hosts: Vec<Box<str>>,
    route: Option<Box<str>>,
    operations: Operations,
}

/// The operations of a place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Operations {
    /// They are not known, so a child that is limited to some is refused.
    #[default]
    Unknown,
    /// Each is checked afterwards.
    CheckedLater,
    /// The place is the operation with this name, and no other.
    #[cfg(feature = "tower")]
    Only(Box<str>),
}

impl Operations {
    fn contain(&self, name: &str) -> bool {
        #[cfg(not(feature = "tower"))]
        let _ = name;
        match self {
            Self::Unknown => false,
            Self::CheckedLater => true,
            #[cfg(feature = "tower")]
            Self::Only(own) => **own == *name,
        }
    }
}

impl Place {
    /// Creates a place without names. It accepts only children without an audience.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a name of the machine or service.
    #[must_use]
    pub fn host(mut self, name: impl Into<String>) -> Self {
        self.hosts.push(name.into().into());
        self
    }

    /// Sets the name of the route, such as `GET /events`. It replaces an earlier one.
    #[must_use]
    pub fn route(mut self, name: impl Into<String>) -> Self {
        self.route = Some(name.into().into());
        self
    }

    /// Says that each operation is checked afterwards, by [`OperationTable::check`](crate::operations::OperationTable::check).
    /// A child that is limited to some operations is refused at any other place.
    #[must_use]
    pub fn checks_operations(mut self) -> Self {
        self.operations = Operations::CheckedLater;
        self
    }

    /// Returns the place of the route with this name at the same hosts. Operations are known there only if the handler checks
    /// them.
    #[cfg(feature = "http")]
    pub(crate) fn at_route(&self, name: &str, checks_operations: bool) -> Self {
        let place = Self { hosts: self.hosts.clone(), ..Self::default() }.route(name);
        if checks_operations { place.checks_operations() } else { place }
    }

    /// Returns this place for the operation with this name only.
    #[cfg(feature = "tower")]
    pub(crate) fn operation(mut self, name: &str) -> Self {
        self.operations = Operations::Only(name.into());
        self
    }

    /// Returns this place for handlers that check no operations.
    #[cfg(feature = "http")]
    pub(crate) fn without_operations(mut self) -> Self {
        self.operations = Operations::Unknown;
        self
    }

    /// Returns whether a child with this audience may be used here.
    pub(crate) fn is_in(&self, audience: &[Audience]) -> bool {
        let (mut host, mut route, mut operation) = <(Names, Names, Names)>::default();
        for name in audience {
            match name {
                Audience::Host(name) => host.note(self.hosts.contains(name)),
                Audience::Route(name) => route.note(self.route.as_ref() == Some(name)),
                Audience::Operation(name) => operation.note(self.operations.contain(name)),
            }
        }
        host.are_met() && route.are_met() && operation.are_met()
    }

    /// Returns whether `audience` is this route and nothing else.
    #[cfg(feature = "http")]
    pub(crate) fn is_only_route_of(&self, audience: &[Audience]) -> bool {
        matches!(audience, [Audience::Route(name)] if self.route.as_ref() == Some(name))
    }
}

/// The names of one kind in an audience.
#[derive(Default)]
struct Names {
    are_some: bool,
    is_met: bool,
}

impl Names {
    fn note(&mut self, is_met: bool) {
        self.are_some = true;
        self.is_met |= is_met;
    }

    fn are_met(&self) -> bool {
        self.is_met || !self.are_some
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn audience(items: &[&str]) -> Vec<Audience> {
        items.iter().map(|item| Audience::read(item).unwrap()).collect()
    }

    #[test]
    fn each_kind_of_name_must_be_met_by_one_of_its_names() {
        let place = Place::new().host("api").host("api.example.com").route("GET /events");
        for (items, expected) in [
            (&[][..], true),
            (&["host:api"], true),
            (&["host:other", "host:api.example.com"], true),
            (&["host:other"], false),
            (&["route:GET /events"], true),
            (&["route:GET /events", "route:GET /other"], true),
            (&["route:POST /events"], false),
            (&["host:api", "route:GET /events"], true),
            (&["host:other", "route:GET /events"], false),
            (&["host:api", "route:GET /other"], false),
            (&["operation:start"], false),
            (&["host:api", "operation:start"], false),
        ] {
            assert_eq!(place.is_in(&audience(items)), expected, "{items:?}");
        }
        let place = Place::new().checks_operations();
        assert!(place.is_in(&audience(&["operation:start"])));
        assert!(!place.is_in(&audience(&["host:api", "operation:start"])));
    }

    #[cfg(feature = "tower")]
    #[test]
    fn place_of_one_operation_meets_its_name_only() {
        let place = Place::new().host("api").operation("start");
        for (items, expected) in [
            (&[][..], true),
            (&["operation:start"], true),
            (&["operation:move", "operation:start"], true),
            (&["operation:move"], false),
            (&["operation:Start"], false),
            (&["host:other", "operation:start"], false),
        ] {
            assert_eq!(place.is_in(&audience(items)), expected, "{items:?}");
        }
        assert!(!place.without_operations().is_in(&audience(&["operation:start"])));
    }

    #[cfg(feature = "http")]
    #[test]
    fn place_of_a_route_keeps_the_hosts_and_nothing_else() {
        let all = Place::new().host("api").route("GET /old").checks_operations();
        let place = all.at_route("GET /new", false);
        assert_eq!(place, Place::new().host("api").route("GET /new"));
        assert_eq!(all.at_route("GET /new", true), place.clone().checks_operations());
        for (items, expected) in [
            (&["route:GET /new"][..], true),
            (&[], false),
            (&["route:GET /old"], false),
            (&["route:GET /new", "route:GET /old"], false),
            (&["host:api", "route:GET /new"], false),
            (&["host:api"], false),
        ] {
            assert_eq!(place.is_only_route_of(&audience(items)), expected, "{items:?}");
        }
    }

    #[test]
    fn unknown_kind_or_unnamed_item_is_refused() {
        for item in ["", "api", ":api", "host", "host:", "Host:api", "tenant:acme", "host: "] {
            assert_eq!(Audience::read(item), None, "{item:?}");
        }
        assert_eq!(Audience::read("host:a:b").unwrap().to_string(), "host:a:b");
    }

    use alloc::string::ToString as _;
}
