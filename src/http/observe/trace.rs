//! Events and spans of `tracing`.

use core::{
    error::Error,
    fmt::{self, Write as _},
};

use tracing::{
    Level, Span, event,
    field::{self, DisplayValue},
    info_span,
};

use super::{Outcome, with_word};
use crate::{
    decision::{Principal, ResolvedKey},
    token::KeyId,
    verifier::VerifyError,
};

/// The target of all events and spans.
const TARGET: &str = "keyway";

/// Emits the one event of a request.
///
/// The event holds nothing of the request except the id of a key, which is public. The id is included only if
/// the caller has proven to hold the key, or if possession cannot be determined.
#[inline]
pub(super) fn event(
    outcome: Outcome,
    claimed: Option<KeyId>,
    inactive: Option<&ResolvedKey>,
    caller: Option<&Principal>,
    error: Option<&VerifyError>,
) {
    // One macro call per level, because `tracing` caches the interest of subscribers for each call site. The
    // fields are computed only if a subscriber is interested.
    macro_rules! event_of {
        ($level:expr) => {
            event!(
                target: TARGET,
                $level,
                outcome = word(outcome),
                tenant = caller.map(Principal::tenant).or(inactive.map(ResolvedKey::tenant)),
                key = key(outcome, inactive.map(ResolvedKey::id).or(claimed), caller),
                error = cause(error),
            )
        };
    }
    match outcome {
        Outcome::Admitted | Outcome::Anonymous | Outcome::Alternative | Outcome::Missing => {
            event_of!(Level::DEBUG);
        }
        Outcome::InvalidRequest
        | Outcome::Rejected
        | Outcome::Inactive
        | Outcome::Forbidden
        | Outcome::Limited => event_of!(Level::INFO),
        Outcome::Tampered | Outcome::Unavailable => event_of!(Level::ERROR),
    }
}

/// Emits an event that a handler read a caller on a route without a guard.
#[cfg(any(feature = "axum", feature = "actix"))]
pub(super) fn unguarded() {
    event!(target: TARGET, Level::ERROR, outcome = "unguarded");
}

/// Returns the span around the handler.
#[inline]
pub(super) fn span(caller: &Principal) -> Span {
    info_span!(
        target: TARGET,
        "api_key",
        tenant = caller.tenant(),
        key = %caller.key_id(),
    )
}

fn word(outcome: Outcome) -> &'static str {
    macro_rules! literal {
        ($word:literal) => {
            $word
        };
    }
    with_word!(outcome, literal)
}

fn key(
    outcome: Outcome,
    claimed: Option<KeyId>,
    caller: Option<&Principal>,
) -> Option<DisplayValue<KeyId>> {
    let key = match outcome {
        Outcome::Inactive | Outcome::Tampered | Outcome::Unavailable => claimed,
        // `OwnKey` checks only possession, so there is no `Principal`. The claimed id is proven then.
        Outcome::Admitted => caller.map(Principal::key_id).or(claimed),
        _ => caller.map(Principal::key_id),
    };
    key.map(field::display)
}

/// Returns the cause of an outage. For denials, the outcome says everything.
fn cause(error: Option<&VerifyError>) -> Option<DisplayValue<Chain<'_>>> {
    match error? {
        VerifyError::Unavailable(cause) => Some(field::display(Chain(&**cause))),
        _ => None,
    }
}

/// Displays an error and its causes in one line.
///
/// Control characters are escaped. Otherwise the text of a store could begin another line of the log or
/// control the terminal that shows it.
struct Chain<'e>(&'e (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = OneLine(f);
        write!(line, "{}", self.0)?;
        let mut next = self.0.source();
        while let Some(cause) = next {
            write!(line, ": {cause}")?;
            next = cause.source();
        }
        Ok(())
    }
}

/// Writes control characters as Rust escapes.
struct OneLine<'w, 'f>(&'w mut fmt::Formatter<'f>);

impl fmt::Write for OneLine<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for piece in text.split_inclusive(char::is_control) {
            let end = piece.chars().next_back().filter(|last| last.is_control());
            self.0.write_str(piece.trim_end_matches(char::is_control))?;
            if let Some(control) = end {
                write!(self.0, "{}", control.escape_default())?;
            }
        }
        Ok(())
    }
}
