//! What a request that is not admitted is answered.

use alloc::{
    borrow::Cow,
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::{fmt, time::Duration};

use super::{
    CredentialError,
    problem::{Missing, Problem},
};
use crate::{
    decision::KeyState,
    rate::RateStatus,
    scope::{Requirement, Scope},
    tier::Rate,
    verifier::VerifyError,
};

/// An answer in place of that of a handler: a status, header fields and a body, none of which is of a
/// web framework.
#[derive(Clone, PartialEq, Eq)]
pub struct Answer {
    status: u16,
    fields: Vec<(&'static str, Cow<'static, str>)>,
    body: String,
}

impl Answer {
    /// The status code.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The header fields; names are in lower case.
    pub fn fields(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.fields.iter().map(|(name, value)| (*name, &**value))
    }

    /// The body, of the type that the fields say.
    pub fn body(&self) -> &str {
        &self.body
    }

    /// The body, for a framework that takes it.
    pub fn into_body(self) -> String {
        self.body
    }

    pub(super) fn new(status: u16) -> Self {
        Self { status, fields: Vec::with_capacity(4), body: String::new() }
    }

    pub(super) fn with(mut self, name: &'static str, value: impl Into<Cow<'static, str>>) -> Self {
        self.fields.push((name, value.into()));
        self
    }

    pub(super) fn json(self, kind: &'static str, body: String) -> Self {
        Self { body, ..self.with("content-type", kind).with("cache-control", "no-store") }
    }

    /// The answer of a handler that needs a caller, on a route that does not look for one.
    #[cfg(any(feature = "axum", feature = "actix"))]
    pub(super) fn unguarded() -> Self {
        Self::problem(&Problem {
            detail: "this route reads the caller of the API key and has no guard",
            ..problem(500, "unguarded-route", "The service is at fault")
        })
    }

    pub(super) fn problem(problem: &Problem<'_>) -> Self {
        Self::new(problem.status).json("application/problem+json", problem.to_json())
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("status", &self.status)
            .field("fields", &self.fields)
            .field("body", &self.body)
            .finish()
    }
}

/// How long a client waits before it asks again whether a key can be verified.
pub(super) const UNAVAILABLE_RETRY: &str = "1";

/// Answers refusals for one realm.
#[derive(Clone, Debug)]
pub(super) struct Refusals {
    /// `Bearer realm="…"`.
    challenge: String,
}

impl Refusals {
    /// `realm` is of visible ASCII characters and spaces.
    pub(super) fn new(realm: &str) -> Self {
        let mut challenge = String::from("Bearer realm=\"");
        for character in realm.chars() {
            // A quoted string (RFC 9110, section 5.6.4).
            if matches!(character, '"' | '\\') {
                challenge.push('\\');
            }
            challenge.push(character);
        }
        challenge.push('"');
        Self { challenge }
    }

    /// The answer to a credential that cannot be taken.
    pub(super) fn unreadable(&self, error: CredentialError) -> Answer {
        self.invalid_request(&error.to_string())
    }

    /// The answer to a caller who was refused. `requirement` is that of the route.
    pub(super) fn refused(&self, error: &VerifyError, requirement: &Requirement) -> Answer {
        match error {
            VerifyError::Missing => Answer::problem(&Problem {
                detail: "send the API key as `Authorization: Bearer <API key>`",
                ..problem(401, "missing-credential", "An API key is required")
            })
            // Without an error code, since nothing was presented (RFC 6750, section 3.1).
            .with("www-authenticate", self.challenge.clone()),
            VerifyError::BadRequest => self.unreadable(CredentialError::Unreadable),
            // That a record was tampered with is for the host alone.
            VerifyError::Rejected | VerifyError::Tampered => self.invalid_token(None),
            VerifyError::Inactive(state) => self.invalid_token(Some(*state)),
            VerifyError::Forbidden(missing) => {
                let required: Vec<_> = requirement.scopes().map(Scope::as_str).collect();
                let code = ["insufficient_scope\", scope=\"", &required.join(" ")].concat();
                Answer::problem(&Problem {
                    detail: &missing.to_string(),
                    missing: Some(Missing {
                        scopes: missing.scopes(),
                        r#match: if missing.is_any() { "any" } else { "all" },
                    }),
                    ..problem(403, "insufficient-scope", "The API key may not do this")
                })
                .with("www-authenticate", self.challenge_with(&code))
            }
            VerifyError::Limited { retry_after } => Answer::problem(&Problem {
                detail: "the API key has been used more often than its tier allows",
                ..problem(429, "rate-exceeded", "Too many requests")
            })
            .with("retry-after", whole_seconds(*retry_after).to_string()),
            VerifyError::Unavailable(_) => Answer::problem(&Problem {
                detail: "API keys cannot be verified at present",
                ..problem(503, "unavailable", "Temporarily unavailable")
            })
            .with("retry-after", UNAVAILABLE_RETRY),
        }
    }

    fn invalid_request(&self, detail: &str) -> Answer {
        Answer::problem(&Problem {
            detail,
            ..problem(400, "invalid-request", "The credential cannot be taken")
        })
        .with("www-authenticate", self.challenge_with("invalid_request"))
    }

    fn invalid_token(&self, state: Option<KeyState>) -> Answer {
        let answer = match state {
            None => Answer::problem(&Problem {
                detail: "the API key is not valid",
                ..problem(401, "invalid-token", "The API key is not valid")
            }),
            Some(state) => Answer::problem(&Problem {
                detail: &VerifyError::Inactive(state).to_string(),
                state: Some(state.as_str()),
                ..problem(401, "inactive-key", "The API key cannot be used now")
            }),
        };
        answer.with("www-authenticate", self.challenge_with("invalid_token"))
    }

    fn challenge_with(&self, code: &str) -> String {
        [&*self.challenge, ", error=\"", code, "\""].concat()
    }
}

/// A problem of this type; the detail is for the caller to say.
pub(super) fn problem(status: u16, kind: &'static str, title: &'static str) -> Problem<'static> {
    Problem { kind, title, status, detail: "", state: None, missing: None }
}

/// Seconds, rounded up, so that nobody comes back a moment too early.
fn whole_seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

/// What a key has left, for the answer of a handler and for a refusal alike
/// (draft-ietf-httpapi-ratelimit-headers-10). Both are lists of one string with parameters, which are
/// integers (RFC 9651), and the string names the policy.
pub(super) fn rate_fields(status: &RateStatus) -> [(&'static str, String); 2] {
    let Rate { requests, per_seconds } = status.rate();
    // Section 3.1: "q" is the quota, in requests unless "qu" says otherwise, and "w" the window in
    // whole seconds, not zero.
    let policy = format!("\"key\";q={requests};w={per_seconds}");
    // Sections 4.1.1 and 4.1.2: "r" is what remains, and "t" the number of seconds "until additional quota [...] is
    // made available": one more request, not all of them. Of a refusal it agrees with `Retry-After`,
    // which must not be earlier (section 6).
    let left = format!("\"key\";r={};t={}", status.remaining(), whole_seconds(status.next()));
    [("ratelimit-policy", policy), ("ratelimit", left)]
}
