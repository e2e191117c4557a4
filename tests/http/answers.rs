//! What the rows of the table expect, to the byte.

/// What has to be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// No credential was presented.
    Missing,
    /// More than one was.
    Several,
    /// It cannot be read.
    Unreadable,
    /// It is longer than any.
    TooLong,
    /// It is not valid, which is known without asking cache or store.
    Malformed,
    /// It is not valid, in the same words.
    Rejected,
    /// The key cannot be used now: its state, and what is said of it.
    Inactive(&'static str, &'static str),
    /// A scope is missing.
    Forbidden(&'static Lacks),
    /// Nobody can tell at present.
    Unavailable,
    /// The handler ran and said this.
    Ran(&'static str),
    /// The handler ran, and its answer has no body since the request was a `HEAD`.
    RanForHead,
    /// As [`Missing`](Self::Missing), without a body since the request was a `HEAD`.
    MissingForHead,
    /// The handler ran and panicked: the connection ends without an answer.
    Panicked,
    /// A handler without a guard needs a caller.
    Unguarded,
    /// There is no such path.
    NotFound,
    /// The path is not for this method, but for those.
    NotAllowed(&'static str),
    /// The server answers this before any middleware is asked.
    Server(u16),
    /// As [`Server`](Self::Server), or the server hangs up while the client is still writing.
    Cut(u16),
    /// The server lets the client send its body, and then answers.
    Continue,
}

/// What a caller lacks.
#[derive(Debug, PartialEq, Eq)]
pub struct Lacks {
    /// What the route requires, as the challenge lists it.
    pub required: &'static str,
    /// What of that is missing, as JSON.
    pub scopes: &'static str,
    pub r#match: &'static str,
    pub detail: &'static str,
}

/// An answer as the client sees it, of those fields that are not the server's own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    pub status: u16,
    /// Sorted.
    pub fields: Vec<(String, String)>,
    pub body: String,
}

const BASE: &str = "https://docs.rs/keyway/latest/keyway/http/problem/index.html#";

impl Expected {
    /// Whether a handler ran.
    pub fn runs(self) -> bool {
        matches!(self, Self::Ran(_) | Self::RanForHead | Self::Panicked)
    }

    /// Whether cache and store must not be asked.
    pub fn asks_nothing(self) -> bool {
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

    /// Whether the answer is to a `HEAD`.
    pub fn is_for_head(self) -> bool {
        matches!(self, Self::RanForHead | Self::MissingForHead)
    }

    /// The status, if the server answers before any middleware is asked.
    pub fn own_status(self) -> Option<u16> {
        match self {
            Self::Server(status) | Self::Cut(status) => Some(status),
            _ => None,
        }
    }

    /// The whole answer, if it is not the server's own.
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
            Self::Ran(said) => shown(200, said, &[("content-type", "text/plain; charset=utf-8")]),
            Self::RanForHead => shown(200, "", &[("content-type", "text/plain; charset=utf-8")]),
            Self::NotFound => shown(404, "", &[]),
            Self::NotAllowed(allow) => shown(405, "", &[("allow", allow)]),
            Self::Continue => shown(100, "", &[]),
            Self::Panicked | Self::Server(_) | Self::Cut(_) => return None,
        })
    }
}

fn problem(kind: &str, title: &str, status: u16, detail: &str) -> String {
    format!(r#"{{"type":"{BASE}{kind}","title":"{title}","status":{status},"detail":"{detail}"}}"#)
}

/// `object` with more members.
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
