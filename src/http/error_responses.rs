//! The error responses of one guard.

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};

use super::{
    ForwardAuth, Response,
    credential::KeyHeaders,
    problem::{Problem, ProblemTypes},
    refusal::{Reason, Refusal},
    response::seconds,
};
#[cfg(feature = "tower")]
use crate::operations::OperationError;
use crate::{
    bearer::CredentialError,
    decision::KeyState,
    grant::OutsideGrant,
    scope::{Requirement, Scope},
    verifier::VerifyError,
};

/// The time in seconds after which a client may retry when a key cannot be verified.
pub(super) const UNAVAILABLE_RETRY: &str = "1";

/// Makes the responses of one guard to requests that it refuses.
#[derive(Clone, Debug)]
pub(super) struct ErrorResponses {
    realm: String,
    /// The form in which a key is sent: `Authorization: Bearer <API key>`, in backquotes.
    form: String,
    /// The challenges without an error code, such as `Bearer realm="…"`.
    challenges: Vec<String>,
    types: ProblemTypes,
    gateway: Option<ForwardAuth>,
}

impl ErrorResponses {
    /// Creates the error responses. `realm` consists of visible ASCII characters and spaces.
    pub(super) fn new(realm: &str) -> Self {
        let (form, challenges) = Default::default();
        let types = ProblemTypes::default();
        let mut errors = Self { realm: String::new(), form, challenges, types, gateway: None };
        errors.set_realm(realm, &KeyHeaders::Authorization);
        errors
    }

    /// Sets the realm, as in [`new`](Self::new), for keys that come in `headers`.
    pub(super) fn set_realm(&mut self, realm: &str, headers: &KeyHeaders) {
        self.realm = realm.into();
        self.set_headers(headers);
    }

    pub(super) fn set_headers(&mut self, headers: &KeyHeaders) {
        let realm = quoted(&self.realm);
        let bearer = headers.takes_authorization();
        let bearer = bearer.then(|| {
            ("`Authorization: Bearer <API key>`".to_string(), format!("Bearer realm={realm}"))
        });
        // No registered scheme denotes a credential as the plain value of a header (RFC 9110, section 11.1).
        let own = headers.own().map(|name| {
            (format!("`{name}: <API key>`"), format!("ApiKey realm={realm}, header=\"{name}\""))
        });
        let (forms, challenges): (Vec<_>, Vec<_>) = bearer.into_iter().chain(own).unzip();
        self.form = forms.join(" or ");
        self.challenges = challenges;
    }

    /// Says in later responses that a ticket may be sent too.
    #[cfg(feature = "children")]
    pub(super) fn offer_tickets(&mut self) {
        self.form.push_str(", or a ticket in the query as `ticket=<ticket>`");
    }

    pub(super) fn set_types(&mut self, types: ProblemTypes) {
        self.types = types;
    }

    pub(super) fn set_gateway(&mut self, gateway: ForwardAuth) {
        self.gateway = Some(gateway);
    }

    /// Returns a challenge for HTTP Basic, which asks for UTF-8 (RFC 7617, section 2.1).
    pub(super) fn basic(&self) -> String {
        format!("Basic realm={}, charset=\"UTF-8\"", quoted(&self.realm))
    }

    /// Returns the response to a credential that cannot be read.
    pub(super) fn unreadable(&self, error: CredentialError) -> Response {
        let detail = match error {
            CredentialError::Unreadable => format!("{error}; it is sent as {}", self.form),
            error => error.to_string(),
        };
        let problem =
            Problem::new(400, "invalid-request", "The credential cannot be taken").detail(detail);
        let refusal = Refusal::new(&problem, Reason::Verify(VerifyError::BadRequest), None);
        let answer = self.problem(&problem).refusing(refusal);
        self.finish(self.challenge(answer, "invalid_request"))
    }

    /// Returns the response to a caller that is refused. `requirement` is the requirement of the route.
    pub(super) fn refused(&self, error: &VerifyError, requirement: &Requirement) -> Response {
        let respond = |problem: &Problem| {
            let refusal = Refusal::new(problem, Reason::Verify(error.clone()), Some(requirement));
            self.problem(problem).refusing(refusal)
        };
        let answer = match error {
            VerifyError::Missing => {
                let problem = Problem::new(401, "missing-credential", "An API key is required")
                    .detail(format!("send the API key as {}", self.form));
                // No error code, because no credential was presented (RFC 6750, section 3.1).
                self.challenge(respond(&problem), "")
            }
            VerifyError::BadRequest => return self.unreadable(CredentialError::Unreadable),
            // Only the application may learn that a record was tampered with.
            VerifyError::Rejected | VerifyError::Tampered => {
                self.challenge(respond(&invalid_token(None)), "invalid_token")
            }
            VerifyError::Inactive(state) => {
                self.challenge(respond(&invalid_token(Some(*state))), "invalid_token")
            }
            VerifyError::Forbidden(OutsideGrant::Resource(kind)) => {
                let problem = Problem::new(403, "other-resource", "The API key may not touch this")
                    .detail(error.to_string())
                    .with("resource", &**kind);
                respond(&problem)
            }
            VerifyError::Forbidden(OutsideGrant::Audience) => {
                let problem =
                    Problem::new(403, "other-audience", "The API key is for another place")
                        .detail(error.to_string());
                respond(&problem)
            }
            VerifyError::Forbidden(OutsideGrant::Network) => {
                let problem =
                    Problem::new(403, "other-network", "The API key may not be used from here")
                        .detail(error.to_string());
                respond(&problem)
            }
            VerifyError::Forbidden(OutsideGrant::Scope(missing)) => {
                let required: Vec<_> = requirement.scopes().map(Scope::as_str).collect();
                let code = ["insufficient_scope\", scope=\"", &required.join(" ")].concat();
                let mut problem =
                    Problem::new(403, "insufficient-scope", "The API key may not do this")
                        .detail(missing.to_string())
                        .with_scopes("scopes", missing.scopes())
                        .with("match", if missing.is_any() { "any" } else { "all" });
                if !missing.withheld().is_empty() {
                    problem = problem.with_scopes("withheld", missing.withheld());
                }
                self.challenge(respond(&problem), &code)
            }
            VerifyError::Limited { retry_after } => {
                let problem = Problem::new(429, "rate-exceeded", "Too many requests")
                    .detail("the API key has been used more often than its rate allows");
                respond(&problem).with("retry-after", seconds(*retry_after))
            }
            VerifyError::UsedUp { retry_after } => {
                let problem = Problem::new(429, "allowance-used-up", "The allowance is used up")
                    .detail("the tenant of the API key has used up an allowance of its tier");
                respond(&problem).with("retry-after", seconds(*retry_after))
            }
            VerifyError::Unavailable(_) => {
                let problem = Problem::unavailable("API keys cannot be verified at present");
                let seconds = error.retry_after().map_or(UNAVAILABLE_RETRY.into(), seconds);
                respond(&problem).with("retry-after", seconds)
            }
        };
        self.finish(answer)
    }

    /// Returns the refusal of a request that a gateway asks about, before any key is read.
    pub(super) fn unread(&self, problem: &Problem, reason: Reason) -> Response {
        let answer = self.problem(problem).refusing(Refusal::new(problem, reason, None));
        match self.gateway {
            Some(gateway) => gateway.translate_unread(answer),
            None => answer,
        }
    }

    /// Returns the response to a request whose path is no operation.
    #[cfg(feature = "tower")]
    pub(super) fn unknown_operation(&self) -> Response {
        let problem = Problem::new(404, "unknown-operation", "There is no such operation")
            .detail(OperationError::Unknown.to_string());
        let refusal = Refusal::new(&problem, Reason::UnknownOperation, None);
        self.finish(self.problem(&problem).refusing(refusal))
    }

    pub(super) fn problem(&self, problem: &Problem) -> Response {
        Response::problem(problem, &self.types)
    }

    /// Adds every challenge. Each gets this error code, unless the code is empty.
    fn challenge(&self, answer: Response, code: &str) -> Response {
        self.challenges.iter().fold(answer, |answer, challenge| {
            let challenge = match code {
                "" => challenge.clone(),
                code => [challenge, ", error=\"", code, "\""].concat(),
            };
            answer.with("www-authenticate", challenge)
        })
    }

    /// Returns the response in the form that the gateway reads, if there is one.
    pub(super) fn finish(&self, answer: Response) -> Response {
        match self.gateway {
            Some(gateway) => gateway.translate(answer),
            None => answer,
        }
    }
}

/// Returns the problem of a token that is not valid, or whose key is in this state.
fn invalid_token(state: Option<KeyState>) -> Problem {
    match state {
        None => Problem::new(401, "invalid-token", "The API key is not valid")
            .detail("the API key is not valid"),
        Some(state) => Problem::new(401, "inactive-key", "The API key cannot be used now")
            .detail(VerifyError::Inactive(state).to_string())
            .with("state", state.as_str()),
    }
}

/// Returns a quoted string (RFC 9110, section 5.6.4).
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        if matches!(character, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(character);
    }
    quoted.push('"');
    quoted
}
