//! The children that a guard accepts.

#[cfg(feature = "children")]
use super::Guard;
#[cfg(feature = "children")]
use crate::{children::Place, http::routes::RouteChildren};
use crate::{decision::Principal, grant::OutsideGrant, verifier::Accepts};

/// The children that a guard accepts. By default it accepts none.
#[derive(Clone, Default)]
pub(super) struct AcceptedChildren {
    /// The place for children in a header. `None` means that none are accepted.
    #[cfg(feature = "children")]
    place: Option<Place>,
}

#[cfg(feature = "children")]
impl AcceptedChildren {
    /// Returns which children are accepted in a header.
    #[inline]
    pub(super) fn in_headers(&self) -> Accepts<'_> {
        Accepts::children_at(self.place.as_ref())
    }

    /// Checks that this guard accepts the child of a caller that another guard has admitted, if it has one.
    pub(super) fn check(&self, caller: &Principal) -> Result<(), OutsideGrant> {
        let Some(child) = caller.child() else { return Ok(()) };
        let is_accepted = self.place.as_ref().is_some_and(|place| place.is_in(child.names()));
        if is_accepted { Ok(()) } else { Err(OutsideGrant::Audience) }
    }
}

#[cfg(not(feature = "children"))]
#[allow(clippy::unused_self, clippy::unnecessary_wraps, reason = "its twin reads a field")]
impl AcceptedChildren {
    #[inline]
    pub(super) fn in_headers(&self) -> Accepts<'_> {
        Accepts::NO_CHILDREN
    }

    pub(super) fn check(&self, _: &Principal) -> Result<(), OutsideGrant> {
        Ok(())
    }
}

#[cfg(feature = "children")]
impl Guard {
    /// Returns this guard, accepting the [children](crate::children) that may be used at `place`. By default a guard refuses all
    /// children with status 403.
    ///
    /// Each guard that a request passes must accept them. Routes that are declared with [`Routes`](crate::http::Routes)
    /// accept them by [`Endpoint::accepts_children`](crate::http::Endpoint::accepts_children). Of `place` they keep the
    /// hosts only.
    #[must_use]
    pub fn accepts_children(&self, place: Place) -> Self {
        self.with(|inner| inner.children.place = Some(place))
    }

    /// Returns this guard for the route with this name, which accepts the children that it says.
    pub(in crate::http) fn for_route_children(&self, said: RouteChildren, name: &str) -> Self {
        self.with(|inner| {
            let known = inner.children.place.take().unwrap_or_default();
            let place = known.at_route(name, said.checks_operations);
            inner.children = AcceptedChildren { place: said.in_headers.then_some(place) };
        })
    }

    /// Returns this guard for an application that checks no operations, since it does not know the child of a caller.
    pub(in crate::http) fn without_operations(&self) -> Self {
        self.with(|inner| {
            let place = inner.children.place.take();
            inner.children.place = place.map(Place::without_operations);
        })
    }

    /// Returns this guard for the operation with this name. If it accepts children, it also accepts those that are for this
    /// operation only.
    #[cfg(feature = "tower")]
    pub(in crate::http) fn for_operation_children(&self, operation: &str) -> Self {
        self.with(|inner| {
            let place = inner.children.place.take();
            inner.children.place = place.map(|place| place.operation(operation));
        })
    }
}
