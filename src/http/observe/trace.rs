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
use crate::{decision::Principal, token::KeyId, verifier::VerifyError};

/// What all events and spans are told apart by.
const TARGET: &str = "keyway";

/// The one event of a request.
///
/// Nothing in it is of the request but the id of a key, which is public, and that only if the caller has
/// proven to hold the key, or if nobody can tell.
#[inline]
pub(super) fn event(
    outcome: Outcome,
    claimed: Option<KeyId>,
    caller: Option<&Principal>,
    error: Option<&VerifyError>,
) {
    // Each level is a place of its own, since whether anybody listens is kept for each place. None of
    // the fields is made unless somebody does.
    macro_rules! event_of {
        ($level:expr) => {
            event!(
                target: TARGET,
                $level,
                outcome = word(outcome),
                tenant = caller.map(Principal::tenant),
                key = key(outcome, claimed, caller),
                error = cause(error),
            )
        };
    }
    match outcome {
        Outcome::Admitted | Outcome::Anonymous | Outcome::Missing => event_of!(Level::DEBUG),
        Outcome::InvalidRequest
        | Outcome::Rejected
        | Outcome::Inactive
        | Outcome::Forbidden
        | Outcome::Limited => event_of!(Level::INFO),
        Outcome::Tampered | Outcome::Unavailable => event_of!(Level::ERROR),
    }
}

/// The span around the handler.
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
        // Whose endpoint asks for no more than to hold a key knows no caller.
        Outcome::Admitted => caller.map(Principal::key_id).or(claimed),
        _ => caller.map(Principal::key_id),
    };
    key.map(field::display)
}

/// Why nobody can tell. Of what is denied, the outcome says everything.
fn cause(error: Option<&VerifyError>) -> Option<DisplayValue<Chain<'_>>> {
    match error? {
        VerifyError::Unavailable(cause) => Some(field::display(Chain(&**cause))),
        _ => None,
    }
}

/// An error and its causes, in one line: whatever a store says, it can neither begin another line of the
/// log nor speak to the terminal that shows it.
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

/// Writes control characters as what stands for them in Rust.
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
