//! The responses that the rows of the table expect, byte for byte.

/// The expected response to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// No credential was presented.
    Missing,
    /// More than one credential was presented.
    Several,
    /// The credential cannot be read.
    Unreadable,
    /// The credential is longer than any token.
    TooLong,
    /// The token is not valid. The guard knows this without asking cache or store.
    Malformed,
    /// The token is not valid. The response is the same as for [`Malformed`](Self::Malformed).
    Rejected,
    /// The key cannot be used now: its state, and the text for that state.
    Inactive(&'static str, &'static str),
    /// A scope is missing.
    Forbidden(&'static Lacks),
    /// The key may not touch the machine of the path.
    OtherMachine,
    /// The key may not be used from the network of the client.
    OtherNetwork,
    /// The child is for another place, or none is accepted.
    OtherAudience,
    /// The key cannot be verified at present.
    Unavailable,
    /// The same from a guard that also takes keys from `x-api-key`, and whose response says so.
    Keyed(&'static Self),
    /// The same from a guard that takes keys from `x-api-key` only.
    Only(&'static Self),
    /// The same from a handler on a route with an optional guard.
    Optional(&'static Self),
    /// The handler ran and returned this text.
    Ran(&'static str),
    /// The handler ran. The response has no body, because the request was a `HEAD`.
    RanForHead,
    /// Like [`Missing`](Self::Missing), but without a body, because the request was a `HEAD`.
    MissingForHead,
    /// The handler ran and panicked. The connection ends without a response.
    Panicked,
    /// A handler needs a caller and its route has no guard.
    Unguarded,
    /// The path does not exist.
    NotFound,
    /// The path does not serve this method. It serves the listed ones.
    NotAllowed(&'static str),
    /// The server responds before any middleware runs.
    Server(u16),
    /// Like [`Server`](Self::Server), or the server closes the connection while the client is still writing.
    Cut(u16),
    /// The server lets the client send its body, and then responds.
    Continue,
}

/// The scopes that a caller lacks.
#[derive(Debug, PartialEq, Eq)]
pub struct Lacks {
    /// The scopes that the route requires, as the challenge lists them.
    pub required: &'static str,
    /// The missing ones of them, as JSON.
    pub scopes: &'static str,
    pub r#match: &'static str,
    pub detail: &'static str,
}

/// A response as the client sees it, without the headers that servers add themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    pub status: u16,
    /// Sorted.
    pub fields: Vec<(String, String)>,
    pub body: String,
}

const BASE: &str = "https://docs.rs/keyway/latest/keyway/http/problem/index.html#";

impl Expected {
    /// Returns whether a handler runs.
    pub fn runs(self) -> bool {
        matches!(self, Self::Ran(_) | Self::RanForHead | Self::Panicked)
    }

    /// Returns whether cache and store must not be asked.
    pub fn asks_nothing(self) -> bool {
        if let Self::Keyed(expected) | Self::Only(expected) | Self::Optional(expected) = self {
            return expected.asks_nothing();
        }
        matches!(
            self,
            Self::Missing
                | Self::MissingForHead
                | Self::Several
                | Self::Unreadable
                | Self::TooLong
                | Self::Malformed
                | Self::NotFound
                | Self::NotAllowed(_)
                | Self::Server(_)
                | Self::Cut(_)
                | Self::Unguarded
        )
    }

    /// Returns whether the request is a `HEAD`.
    pub fn is_for_head(self) -> bool {
        matches!(self, Self::RanForHead | Self::MissingForHead)
    }

    /// Returns the status if the server responds before any middleware runs.
    pub fn own_status(self) -> Option<u16> {
        match self {
            Self::Server(status) | Self::Cut(status) => Some(status),
            _ => None,
        }
    }

    /// Returns the whole expected response, unless the server itself responds.
    pub fn shown(self) -> Option<Shown> {
        const REALM: &str = r#"Bearer realm="mm""#;
        let invalid = || format!(r#"{REALM}, error="invalid_token""#);
        let bad = |detail| {
            let challenge = format!(r#"{REALM}, error="invalid_request""#);
            let body = problem("invalid-request", "The credential cannot be taken", 400, detail);
            refused(400, body, &[("www-authenticate", &challenge)])
        };
        Some(match self {
            Self::Missing => {
                let detail = "send the API key as `Authorization: Bearer <API key>`";
                let body = problem("missing-credential", "An API key is required", 401, detail);
                refused(401, body, &[("www-authenticate", REALM)])
            }
            Self::MissingForHead => Shown { body: String::new(), ..Self::Missing.shown()? },
            Self::Several => bad("more than one credential was presented"),
            Self::Unreadable => bad(
                "the credential cannot be read; it is sent as `Authorization: Bearer <API key>`",
            ),
            Self::TooLong => bad("the credential is longer than any API key"),
            Self::Malformed | Self::Rejected => {
                let title = "The API key is not valid";
                let body = problem("invalid-token", title, 401, "the API key is not valid");
                refused(401, body, &[("www-authenticate", &invalid())])
            }
            Self::Inactive(state, said) => {
                let detail = format!("the API key cannot be used: {said}");
                let title = "The API key cannot be used now";
                let body = problem("inactive-key", title, 401, &detail);
                let body = with(&body, &format!(r#""state":"{state}""#));
                refused(401, body, &[("www-authenticate", &invalid())])
            }
            Self::Forbidden(lacks) => {
                let Lacks { required, scopes, r#match, detail } = lacks;
                let title = "The API key may not do this";
                let body = problem("insufficient-scope", title, 403, detail);
                let body = with(&body, &format!(r#""scopes":{scopes},"match":"{match}""#));
                let challenge =
                    format!(r#"{REALM}, error="insufficient_scope", scope="{required}""#);
                refused(403, body, &[("www-authenticate", &challenge)])
            }
            Self::OtherMachine => {
                let detail = "the API key may not touch this resource of the kind `machine`";
                let title = "The API key may not touch this";
                let body = problem("other-resource", title, 403, detail);
                refused(403, with(&body, r#""resource":"machine""#), &[])
            }
            Self::OtherNetwork => {
                let detail = "the API key may not be used from this network";
                let title = "The API key may not be used from here";
                refused(403, problem("other-network", title, 403, detail), &[])
            }
            Self::OtherAudience => {
                let detail = "this short-lived API key is for another place";
                let title = "The API key is for another place";
                refused(403, problem("other-audience", title, 403, detail), &[])
            }
            Self::Unavailable => {
                let detail = "API keys cannot be verified at present";
                let body = problem("unavailable", "Temporarily unavailable", 503, detail);
                refused(503, body, &[("retry-after", "1")])
            }
            Self::Unguarded => {
                let detail = "this route reads the caller of the API key and has no guard";
                let body = problem("unguarded-route", "The service is at fault", 500, detail);
                refused(500, body, &[])
            }
            Self::Keyed(expected) => keyed(expected.shown()?),
            Self::Only(expected) => only(expected.shown()?),
            Self::Optional(expected) => {
                let mut shown = expected.shown()?;
                shown.fields.push(("vary".into(), "authorization".into()));
                shown.fields.sort();
                shown
            }
            Self::Ran(said) => {
                let own = ("content-type", "text/plain; charset=utf-8");
                // `Vary`, where a shared cache could not know that the response depends on the key.
                let vary = match said {
                    said if said.starts_with("/optional") => Some("authorization"),
                    said if said.starts_with("/keyed ") => Some("authorization, x-api-key"),
                    said if said.starts_with("/only ") => Some("x-api-key"),
                    _ => None,
                };
                let fields: Vec<_> = vary.map(|names| ("vary", names)).into_iter().collect();
                shown(200, said, &[&[own], &*fields].concat())
            }
            Self::RanForHead => shown(200, "", &[("content-type", "text/plain; charset=utf-8")]),
            Self::NotFound => shown(404, "", &[]),
            Self::NotAllowed(allow) => shown(405, "", &[("allow", allow)]),
            Self::Continue => shown(100, "", &[]),
            Self::Panicked | Self::Server(_) | Self::Cut(_) => return None,
        })
    }
}

const BEARER_FORM: &str = "`Authorization: Bearer <API key>`";
const BEARER: &str = r#"Bearer realm="mm""#;
const OWN: &str = r#"ApiKey realm="mm", header="x-api-key""#;

fn keyed(mut shown: Shown) -> Shown {
    let both = format!("{BEARER_FORM} or `x-api-key: <API key>`");
    shown.body = shown.body.replace(BEARER_FORM, &both);
    let own = only(shown.clone()).fields;
    shown.fields.extend(own.into_iter().filter(|(name, _)| name == "www-authenticate"));
    shown.fields.sort();
    shown
}

fn only(mut shown: Shown) -> Shown {
    shown.body = shown.body.replace(BEARER_FORM, "`x-api-key: <API key>`");
    for (_, value) in &mut shown.fields {
        *value = value.replace(BEARER, OWN);
    }
    shown
}

fn problem(kind: &str, title: &str, status: u16, detail: &str) -> String {
    format!(r#"{{"type":"{BASE}{kind}","title":"{title}","status":{status},"detail":"{detail}"}}"#)
}

/// Adds members to the JSON text `object`.
fn with(object: &str, members: &str) -> String {
    format!("{},{members}}}", object.strip_suffix('}').unwrap())
}

fn refused(status: u16, body: String, fields: &[(&str, &str)]) -> Shown {
    let own = [("cache-control", "no-store"), ("content-type", "application/problem+json")];
    Shown { body, ..shown(status, "", &[&own, fields].concat()) }
}

fn shown(status: u16, body: &str, fields: &[(&str, &str)]) -> Shown {
    let mut fields: Vec<_> =
        fields.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    fields.sort();
    Shown { status, fields, body: body.into() }
}
