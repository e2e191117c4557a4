//! The statements of routes on children of keys.

#[cfg(feature = "children")]
use alloc::format;
use alloc::string::String;
use core::fmt;

#[cfg(feature = "children")]
use super::{Declared, Endpoint, Fault, Operation};
use crate::{config::ConfigError, http::Guard};

/// The children that a route accepts.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::http) struct RouteChildren {
    /// Whether it accepts children in a header.
    #[cfg(feature = "children")]
    pub(in crate::http) in_headers: bool,
    /// Whether the handler checks the operations to which a child is limited.
    #[cfg(feature = "children")]
    pub(in crate::http) checks_operations: bool,
    /// Whether it accepts tickets in the query.
    #[cfg(feature = "children")]
    pub(in crate::http) tickets: bool,
}

#[cfg(feature = "children")]
impl RouteChildren {
    /// Checks that a route of this method may say this.
    pub(super) fn check(
        self,
        method: &str,
        place: &impl Fn() -> String,
    ) -> Result<(), ConfigError> {
        if self.tickets && method != "GET" {
            return Err(ConfigError::TicketMethod(place()));
        }
        Ok(())
    }

    /// Returns `guard` for the route with this method and path.
    pub(super) fn apply(self, guard: &Guard, method: &str, path: &str) -> Guard {
        guard.for_route_children(self, &format!("{method} {path}"))
    }
}

#[cfg(not(feature = "children"))]
#[allow(clippy::unused_self, clippy::unnecessary_wraps, reason = "its twin reads a field")]
impl RouteChildren {
    pub(super) fn check(self, _: &str, _: &impl Fn() -> String) -> Result<(), ConfigError> {
        Ok(())
    }

    pub(super) fn apply(self, guard: &Guard, _: &str, _: &str) -> Guard {
        guard.clone()
    }
}

impl fmt::Display for RouteChildren {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        #[cfg(feature = "children")]
        if self.in_headers {
            f.write_str(", or children")?;
        }
        #[cfg(feature = "children")]
        if self.tickets {
            f.write_str(", or tickets")?;
        }
        _ = f;
        Ok(())
    }
}

#[cfg(feature = "children")]
impl<H> Endpoint<H> {
    /// Accepts [children](crate::children) in place of the key that is required. Without this call a route refuses them with
    /// status 403. Call it after a requirement.
    ///
    /// The audience of a child may name the route by its method and path, as [`Routes::table`](super::Routes::table) prints
    /// them: `GET /machines/{id}`. A request with `HEAD` is one with `GET` if the handler of `GET` serves it. The audience may
    /// also have a name that the guard of the routes gives:
    ///
    /// ```
    /// # #[cfg(feature = "axum")] {
    /// # use keyway::Keyring;
    /// use keyway::{Guard, children::Place, http::{Routes, axum::get}};
    ///
    /// # fn routes(keyring: &Keyring) {
    /// let guard = Guard::new(keyring).accepts_children(Place::new().host("api.example.com"));
    /// let routes: Routes<axum::routing::MethodRouter> = Routes::new(guard)
    ///     .route("/machines/{id}", get(async || "").require(["reporting"]).accepts_children())
    ///     .route("/settings", get(async || "").require(["manager"]));
    /// # _ = routes;
    /// # }
    /// # }
    /// ```
    pub fn accepts_children(self) -> Self {
        self.say(|children| !core::mem::replace(&mut children.in_headers, true))
    }

    /// Accepts children that are limited to operations too, since the handler checks each operation by
    /// [`OperationTable::check`](crate::operations::OperationTable::check). This is for routes that serve many operations,
    /// such as the endpoint of an MCP server. Call it after [`accepts_children`](Self::accepts_children).
    pub fn checks_operations(self) -> Self {
        self.say(|children| {
            children.in_headers && !core::mem::replace(&mut children.checks_operations, true)
        })
    }

    /// Accepts a ticket in the query as well: `?ticket=<child>`. This is for `EventSource` and `WebSocket` in browsers, which
    /// cannot send headers. Call it after a requirement, for a handler of `GET`, which serves `HEAD` too. A `WebSocket` over
    /// HTTP/1.1 is a `GET`.
    ///
    /// A ticket is a [child](crate::children) whose audience is this route and nothing else, and whose end is at most
    /// 60 seconds away by the clock of the server. Anything else in this parameter is refused: a key, another child, or
    /// an empty value. So are two tickets, and a ticket beside a credential in a header. The query of other routes is
    /// not read. A ticket in a header is a child like any other.
    ///
    /// A ticket needs no percent-encoding. The `~` in it may be `%7E`, as `URLSearchParams` writes it in browsers. A
    /// ticket with another escape is refused.
    ///
    /// ```
    /// use std::time::Duration;
    /// use keyway::children::NewChild;
    ///
    /// // Less than the minute that is allowed, so that two clocks may differ.
    /// let ticket = NewChild::lasting(Duration::from_secs(30)).route("GET /events")?;
    /// # _ = ticket;
    /// # #[cfg(feature = "axum")] {
    /// # use keyway::http::axum::{Endpoint, get};
    /// let events: Endpoint = get(async || "").require(["reporting"]).accept_ticket();
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// A ticket may be used several times before it ends. It only opens a stream, which need not end with it; see
    /// [`Ended::until_parent_ends`](crate::verifier::Ended::until_parent_ends).
    ///
    /// The guard takes the ticket out of the address before the handler and layers inside the guard see it, unless it
    /// [keeps credentials](super::Guard::keep_credential). With axum this needs the feature `axum`, since `tower` alone does not
    /// know axum's original address. Proxies, servers and layers outside the guard see the ticket, and may log it.
    pub fn accept_ticket(self) -> Self {
        self.say(|children| !core::mem::replace(&mut children.tickets, true))
    }

    /// Changes what the latest handlers that need a key say about children. `change` returns whether it may say so.
    fn say(mut self, change: impl Fn(&mut RouteChildren) -> bool) -> Self {
        let needs_key =
            |operation: &&mut Operation<H>| matches!(operation.declared, Some(Declared::Key(..)));
        let latest = self.operations.iter_mut().filter(|operation| operation.is_latest);
        let changed = latest.filter(needs_key).map(|operation| change(&mut operation.children));
        let is_said = changed.reduce(|all, one| all && one).unwrap_or(false);
        if !is_said || !self.is_complete() {
            self.fault.get_or_insert(Fault::Children);
        }
        self
    }
}
