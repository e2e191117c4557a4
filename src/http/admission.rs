//! Requests that a guard admits.

use alloc::{boxed::Box, string::String, sync::Arc};

#[cfg(any(feature = "tower", feature = "actix"))]
use super::Guard;
#[cfg(any(feature = "axum", feature = "actix"))]
use super::Response;
use super::{
    credential::Source,
    observe::{Entered, RequestSpan},
    response::{VARY, rate_headers},
};
use crate::{decision::Principal, rate::RateStatus};

/// An admitted request.
#[derive(Clone, Debug, Default)]
pub struct Admission {
    pub(super) principal: Option<Principal>,
    pub(super) source: Option<Source>,
    pub(super) rate: Option<Box<RateStatus>>,
    /// The request headers on which the response depends, for shared caches that do not know of them.
    pub(super) vary: Option<Arc<str>>,
    pub(super) span: RequestSpan,
}

impl Admission {
    /// Returns the caller. It is `None` only if the guard is [optional](super::Guard::optional) and no
    /// credential was presented, or after [`take_principal`](Self::take_principal).
    pub fn principal(&self) -> Option<&Principal> {
        self.principal.as_ref()
    }

    /// Takes the caller out, for a handler to keep. Afterwards [`principal`](Self::principal) returns `None`.
    pub fn take_principal(&mut self) -> Option<Principal> {
        self.principal.take()
    }

    /// Enters the span of the request. The handler's work belongs to the span until the returned value is
    /// dropped.
    #[inline]
    #[allow(dead_code, reason = "who brings a handler of their own enters no span")]
    pub(super) fn enter_span(&self) -> Entered<'_> {
        self.span.enter()
    }

    /// Returns the headers to add to the handler's response.
    ///
    /// They show how much of its rate the key has left, if it has a rate. `Vary` is among them where a shared
    /// cache could otherwise give one caller's response to another.
    ///
    /// A response to a ticket gets `Cache-Control: no-store`. Otherwise a cache could return it for the same address after the
    /// ticket has ended.
    ///
    /// Append `Vary` to an existing one. The other headers replace existing ones.
    pub fn headers(&self) -> impl Iterator<Item = (&'static str, String)> + use<> {
        let vary = self.vary.as_deref().map(|headers| (VARY, headers.into()));
        let uncached = self.is_of_ticket().then(|| ("cache-control", "no-store".into()));
        self.rate.as_deref().map(rate_headers).into_iter().flatten().chain(vary).chain(uncached)
    }

    #[cfg(feature = "children")]
    fn is_of_ticket(&self) -> bool {
        self.source == Some(Source::Ticket)
    }

    #[cfg(not(feature = "children"))]
    #[allow(clippy::unused_self, reason = "its twin reads a field")]
    fn is_of_ticket(&self) -> bool {
        false
    }
}

/// Marker for a request that an optional guard admitted without a key.
///
/// An adapter inserts it into the request extensions, so that an extractor which needs a caller can return
/// the guard's own refusal.
#[cfg(any(feature = "tower", feature = "actix"))]
#[derive(Clone, Debug)]
pub(super) struct AdmittedWithoutKey(
    #[cfg_attr(
        not(any(feature = "axum", feature = "actix")),
        allow(dead_code, reason = "only extractors read it")
    )]
    pub(super) Guard,
);

/// Returns the caller for a handler that takes an `Option`, or `None` if there was no key.
///
/// Returns `Err` if no guard has run, because the handler would then ignore every key.
#[cfg(feature = "axum")]
pub(super) fn caller(
    caller: Option<&Principal>,
    without_key: Option<&AdmittedWithoutKey>,
) -> Result<Option<Principal>, Response> {
    match (caller, without_key) {
        (Some(caller), _) => Ok(Some(caller.clone())),
        (None, Some(_)) => Ok(None),
        (None, None) => Err(unguarded()),
    }
}

/// Returns the caller as [`caller`] does, but refuses a request without a key.
#[cfg(any(feature = "axum", feature = "actix"))]
pub(super) fn required_caller(
    caller: Option<&Principal>,
    without_key: Option<&AdmittedWithoutKey>,
) -> Result<Principal, Response> {
    match (caller, without_key) {
        (Some(caller), _) => Ok(caller.clone()),
        (None, Some(AdmittedWithoutKey(guard))) => Err(guard.missing()),
        (None, None) => Err(unguarded()),
    }
}

#[cfg(any(feature = "axum", feature = "actix"))]
fn unguarded() -> Response {
    super::observe::unguarded();
    Response::unguarded()
}
