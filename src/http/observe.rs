//! Observability of requests: one event and one count of each request, with its outcome.

#[cfg(feature = "metrics")]
mod meter;
#[cfg(feature = "tracing")]
mod trace;

#[cfg(feature = "metrics")]
pub use self::meter::describe_metrics;
use alloc::sync::Arc;

use crate::{
    decision::{Principal, ResolvedKey},
    token::KeyId,
    verifier::VerifyError,
};

/// One request, from its start to its verdict. A request that is dropped before its verdict is not observed.
pub(super) struct Observation {
    /// The id of the key that the token claims. The token was minted here.
    claimed: Option<KeyId>,
    /// The key that the caller holds, if it cannot be used.
    inactive: Option<Arc<ResolvedKey>>,
    #[cfg(feature = "metrics")]
    meter: meter::Meter,
}

impl Observation {
    #[inline]
    pub(super) fn begin() -> Self {
        Self {
            claimed: None,
            inactive: None,
            #[cfg(feature = "metrics")]
            meter: meter::Meter::start(),
        }
    }

    /// Records the key id that the token claims, for a verdict that waits for the store.
    pub(super) fn claims(&mut self, key: Option<KeyId>) {
        self.claimed = key;
    }

    /// Records that the caller holds a key that cannot be used.
    pub(super) fn is_of(&mut self, inactive: Option<Arc<ResolvedKey>>) {
        self.inactive = inactive;
    }

    /// Records an admitted request, and returns the span for the handler's work.
    #[inline]
    pub(super) fn admitted(self, caller: &Principal) -> RequestSpan {
        self.tell(Outcome::Admitted, Some(caller), None);
        RequestSpan::of(caller)
    }

    /// Records that the caller holds the key that it claims, for endpoints that check nothing else.
    pub(super) fn held(self) {
        self.tell(Outcome::Admitted, None, None);
    }

    /// Records that the caller holds the key that it claims, and may not do what it asks for.
    pub(super) fn forbidden(self) {
        self.tell(Outcome::Forbidden, None, None);
    }

    pub(super) fn anonymous(self) {
        self.tell(Outcome::Anonymous, None, None);
    }

    /// Records a request that was admitted by a credential besides a key.
    pub(super) fn alternative(self) {
        self.tell(Outcome::Alternative, None, None);
    }

    /// Records a refusal. `caller` is the caller if it was verified nevertheless.
    pub(super) fn refused(self, error: &VerifyError, caller: Option<&Principal>) {
        self.tell(Outcome::of(error), caller, Some(error));
    }

    #[inline]
    fn tell(self, outcome: Outcome, caller: Option<&Principal>, error: Option<&VerifyError>) {
        #[cfg(feature = "metrics")]
        self.meter.stop(outcome);
        #[cfg(feature = "tracing")]
        trace::event(outcome, self.claimed, self.inactive.as_deref(), caller, error);
        _ = (self.claimed, self.inactive, outcome, caller, error);
    }
}

/// Records that a handler read a caller on a route without a guard.
#[cfg(any(feature = "axum", feature = "actix"))]
pub(super) fn unguarded() {
    #[cfg(feature = "tracing")]
    trace::unguarded();
}

/// The outcome of a request. Its names are the values of the event's field and of the counter's label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Admitted,
    Anonymous,
    Alternative,
    Missing,
    InvalidRequest,
    Rejected,
    Inactive,
    Forbidden,
    Limited,
    Tampered,
    Unavailable,
}

/// Expands a macro with the name of an outcome as a literal.
#[cfg(any(feature = "metrics", feature = "tracing"))]
macro_rules! with_word {
    ($outcome:expr, $macro:ident) => {
        match $outcome {
            Outcome::Admitted => $macro!("admitted"),
            Outcome::Anonymous => $macro!("anonymous"),
            Outcome::Alternative => $macro!("alternative"),
            Outcome::Missing => $macro!("missing"),
            Outcome::InvalidRequest => $macro!("invalid_request"),
            Outcome::Rejected => $macro!("rejected"),
            Outcome::Inactive => $macro!("inactive"),
            Outcome::Forbidden => $macro!("forbidden"),
            Outcome::Limited => $macro!("limited"),
            Outcome::Tampered => $macro!("tampered"),
            Outcome::Unavailable => $macro!("unavailable"),
        }
    };
}
#[cfg(any(feature = "metrics", feature = "tracing"))]
use with_word;

impl Outcome {
    fn of(error: &VerifyError) -> Self {
        match error {
            VerifyError::Missing => Self::Missing,
            VerifyError::BadRequest => Self::InvalidRequest,
            VerifyError::Rejected => Self::Rejected,
            VerifyError::Inactive(_) => Self::Inactive,
            VerifyError::Forbidden(_) => Self::Forbidden,
            VerifyError::Limited { .. } | VerifyError::UsedUp { .. } => Self::Limited,
            VerifyError::Tampered => Self::Tampered,
            VerifyError::Unavailable(_) => Self::Unavailable,
        }
    }
}

/// The span around the handler of an admitted request. It names tenant and key.
#[derive(Clone, Debug, Default)]
pub(super) struct RequestSpan {
    /// `None` for a request without a key.
    #[cfg(feature = "tracing")]
    span: Option<tracing::Span>,
}

impl RequestSpan {
    #[inline]
    fn of(caller: &Principal) -> Self {
        _ = caller;
        Self {
            #[cfg(feature = "tracing")]
            span: Some(trace::span(caller)),
        }
    }

    /// Enters the span until the returned value is dropped.
    ///
    /// A closure instead would move requests and responses.
    #[inline]
    #[cfg_attr(not(feature = "tracing"), allow(clippy::unused_self, reason = "there is no span"))]
    pub(super) fn enter(&self) -> Entered<'_> {
        Entered {
            #[cfg(feature = "tracing")]
            _span: self.span.as_ref().map(tracing::Span::enter),
            _request: core::marker::PhantomData,
        }
    }
}

/// Guard value for being inside the span of a request.
#[must_use = "what is dropped at once is nothing to be inside of"]
pub(super) struct Entered<'r> {
    #[cfg(feature = "tracing")]
    _span: Option<tracing::span::Entered<'r>>,
    _request: core::marker::PhantomData<&'r ()>,
}
