//! What an operator sees of requests: one event and one count of each, with its outcome.

#[cfg(feature = "metrics")]
mod meter;
#[cfg(feature = "tracing")]
mod trace;

#[cfg(feature = "metrics")]
pub use self::meter::describe_metrics;
use crate::{decision::Principal, token::KeyId, verifier::VerifyError};

/// One request, from the moment it came to its verdict. What is dropped before that is not observed.
pub(super) struct Observation {
    /// The key that the caller claims to hold, of a token that was minted here.
    claimed: Option<KeyId>,
    #[cfg(feature = "metrics")]
    meter: meter::Meter,
}

impl Observation {
    #[inline]
    pub(super) fn begin() -> Self {
        Self {
            claimed: None,
            #[cfg(feature = "metrics")]
            meter: meter::Meter::start(),
        }
    }

    /// The verdict has to wait for the store.
    pub(super) fn claims(&mut self, key: Option<KeyId>) {
        self.claimed = key;
    }

    /// The caller may go on. The handler's work is to be done inside the span.
    #[inline]
    pub(super) fn admitted(self, caller: &Principal) -> RequestSpan {
        self.tell(Outcome::Admitted, Some(caller), None);
        RequestSpan::of(caller)
    }

    /// The caller holds the key that it claims to hold, which is all that was asked.
    pub(super) fn held(self) {
        self.tell(Outcome::Admitted, None, None);
    }

    pub(super) fn anonymous(self) {
        self.tell(Outcome::Anonymous, None, None);
    }

    /// The caller is refused. `caller` is who it is, if it was verified nevertheless.
    pub(super) fn refused(self, error: &VerifyError, caller: Option<&Principal>) {
        self.tell(Outcome::of(error), caller, Some(error));
    }

    #[inline]
    fn tell(self, outcome: Outcome, caller: Option<&Principal>, error: Option<&VerifyError>) {
        #[cfg(feature = "metrics")]
        self.meter.stop(outcome);
        #[cfg(feature = "tracing")]
        trace::event(outcome, self.claimed, caller, error);
        _ = (self.claimed, outcome, caller, error);
    }
}

/// What became of a request. The words are those of the event's field and of the counter's label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Admitted,
    Anonymous,
    Missing,
    InvalidRequest,
    Rejected,
    Inactive,
    Forbidden,
    Limited,
    Tampered,
    Unavailable,
}

/// Does something with the word of an outcome as a literal.
#[cfg(any(feature = "metrics", feature = "tracing"))]
macro_rules! with_word {
    ($outcome:expr, $macro:ident) => {
        match $outcome {
            Outcome::Admitted => $macro!("admitted"),
            Outcome::Anonymous => $macro!("anonymous"),
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
            VerifyError::Limited { .. } => Self::Limited,
            VerifyError::Tampered => Self::Tampered,
            VerifyError::Unavailable(_) => Self::Unavailable,
        }
    }
}

/// The span around the handler of an admitted request, which names tenant and key.
#[derive(Clone, Debug, Default)]
pub(super) struct RequestSpan {
    /// There is none for a request without a key.
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

    /// Until what this gives is dropped, whatever is done is inside the span. It is no closure, since
    /// that would move requests and responses about.
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

/// Being inside the span of a request.
#[must_use = "what is dropped at once is nothing to be inside of"]
pub(super) struct Entered<'r> {
    #[cfg(feature = "tracing")]
    _span: Option<tracing::span::Entered<'r>>,
    _request: core::marker::PhantomData<&'r ()>,
}
