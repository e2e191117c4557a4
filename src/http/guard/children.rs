//! The children that a guard accepts.

#[cfg(all(feature = "children", any(feature = "tower", feature = "actix")))]
use super::super::Admission;
use super::super::credential::{Presented, Source};
use super::{super::incoming::Incoming, Guard};
use crate::{bearer::CredentialError, decision::Principal, grant::OutsideGrant, verifier::Accepts};
#[cfg(feature = "children")]
use crate::{
    children::Place,
    http::{routes::RouteChildren, ticket},
};

/// The children that a guard accepts. By default it accepts none.
#[derive(Clone, Default)]
pub(super) struct AcceptedChildren {
    /// The place for children in a header. `None` means that none are accepted.
    #[cfg(feature = "children")]
    place: Option<Place>,
    /// The place whose tickets are accepted in the query. `None` means that the query is not read.
    #[cfg(feature = "children")]
    tickets: Option<Place>,
}

#[cfg(feature = "children")]
impl AcceptedChildren {
    /// Returns which children are accepted as a credential from this source.
    #[inline]
    pub(super) fn accepts(&self, source: Source) -> Accepts<'_> {
        match source {
            Source::Authorization | Source::KeyHeader => Accepts::children_at(self.place.as_ref()),
            Source::Ticket => Accepts::tickets_for(self.tickets.as_ref()),
        }
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
    pub(super) fn accepts(&self, _: Source) -> Accepts<'_> {
        Accepts::NO_CHILDREN
    }

    pub(super) fn check(&self, _: &Principal) -> Result<(), OutsideGrant> {
        Ok(())
    }
}

#[cfg(not(feature = "children"))]
impl Guard {
    /// Returns the credential of a request.
    #[inline]
    pub(super) fn presented<'r>(
        &self,
        request: &'r impl Incoming,
    ) -> Result<Option<Presented<'r>>, CredentialError> {
        self.credential(request.headers())
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
            inner.children = AcceptedChildren {
                tickets: said.tickets.then(|| place.clone()),
                place: said.in_headers.then_some(place),
            };
            if said.tickets {
                inner.errors.offer_tickets();
            }
        })
    }

    /// Returns the credential of a request, in its headers or as a ticket in its query.
    #[inline]
    pub(super) fn presented<'r>(
        &self,
        request: &'r impl Incoming,
    ) -> Result<Option<Presented<'r>>, CredentialError> {
        let in_header = self.credential(request.headers())?;
        if self.0.children.tickets.is_none() {
            return Ok(in_header);
        }
        match (in_header, ticket::find(request.query())?) {
            (Some(_), Some(_)) => Err(CredentialError::Several),
            (in_header, None) => Ok(in_header),
            (None, Some(token)) => Ok(Some(Presented { token, source: Source::Ticket })),
        }
    }

    /// Returns whether an adapter must take the ticket out of the address of an admitted request before any other code sees
    /// it.
    #[cfg(any(feature = "tower", feature = "actix"))]
    pub(in crate::http) fn must_remove_ticket(&self, admission: &Admission) -> bool {
        admission.source == Some(Source::Ticket) && !self.0.keeps_credential
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
