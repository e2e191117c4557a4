//! Responses of guards and of keyway's own endpoints.

use alloc::{
    borrow::{Cow, ToOwned},
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::{fmt, time::Duration};

#[cfg(any(feature = "axum", feature = "actix"))]
use super::refusal::Reason;
use super::{
    problem::{PROBLEM_JSON, Problem, ProblemTypes},
    refusal::Refusal,
};
use crate::{
    allowance::slices::UsedUp,
    rate::RateStatus,
    tier::{Period, Rate},
};

/// A response in place of the handler's: status, headers and body, independent of a web framework.
///
/// Two responses are equal if the same is sent for both.
#[derive(Clone)]
pub struct Response {
    status: u16,
    headers: Vec<(&'static str, Cow<'static, str>)>,
    body: String,
    /// Whether a gateway reads the response. A gateway understands only HTTP statuses.
    is_for_gateway: bool,
    refusal: Option<Refusal>,
}

impl Response {
    /// Returns the status code.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Returns the headers. Names are in lower case.
    pub fn headers(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.headers.iter().map(|(name, value)| (*name, &**value))
    }

    /// Returns the body. Its type is in the `content-type` header.
    pub fn body(&self) -> &str {
        &self.body
    }

    /// Returns the body by value, for a framework.
    pub fn into_body(self) -> String {
        self.body
    }

    /// Returns the reason, if the response refuses a request for its key or its caller.
    ///
    /// ```
    /// # use keyway::{Keyring, MemoryStore, Pepper, Policy};
    /// use keyway::{VerifyError, http::Reason};
    ///
    /// # pollster::block_on(async {
    /// # let policy: Policy = serde_json::from_str(r#"{
    /// #     "issuer": "mm",
    /// #     "scopes": [{ "name": "reporting", "description": "Read reports" }]
    /// # }"#)?;
    /// # let keyring = Keyring::builder(policy, Pepper::from_bytes(&[7; 32])?)
    /// #     .environment("live")
    /// #     .store(MemoryStore::new())
    /// #     .build()?;
    /// let request = [("accept", &b"*/*"[..])];
    /// let answer = keyring.require(["reporting"])?.admit(&request[..]).await.unwrap_err();
    /// let refusal = answer.refusal().unwrap();
    /// assert!(matches!(refusal.reason(), Reason::Verify(VerifyError::Missing)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    pub fn refusal(&self) -> Option<&Refusal> {
        self.refusal.as_ref()
    }

    /// Returns the first value of this header.
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        self.headers().find(|(other, _)| *other == name).map(|(_, value)| value)
    }

    /// Returns the text that explains a refusal, for protocols without bodies.
    ///
    /// It is parsed from the body, so that other refusals do not hold a copy.
    pub(super) fn detail(&self) -> String {
        let body: Option<serde_json::Value> = serde_json::from_str(&self.body).ok();
        let detail = body.as_ref().and_then(|body| body.get("detail")?.as_str());
        detail.unwrap_or_default().to_owned()
    }

    /// Returns whether a protocol other than plain HTTP may carry the refusal.
    pub(super) fn is_for_any_protocol(&self) -> bool {
        !self.is_for_gateway
    }

    pub(super) fn new(status: u16) -> Self {
        Self {
            status,
            headers: Vec::with_capacity(4),
            body: String::new(),
            is_for_gateway: false,
            refusal: None,
        }
    }

    pub(super) fn with(mut self, name: &'static str, value: impl Into<Cow<'static, str>>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(super) fn json(self, kind: &'static str, body: String) -> Self {
        Self { body, ..self.with("content-type", kind).with("cache-control", "no-store") }
    }

    /// Returns this response with another status and content type, and without a body.
    pub(super) fn without_body(mut self, status: u16, content_type: &'static str) -> Self {
        for (name, value) in &mut self.headers {
            if *name == "content-type" {
                *value = content_type.into();
            }
        }
        Self { status, body: String::new(), ..self }
    }

    /// Returns this response with another status, as a refusal that only a gateway reads.
    pub(super) fn for_gateway(self, status: u16) -> Self {
        Self { status, is_for_gateway: true, ..self }
    }

    /// Returns the response of a handler that reads a caller on a route without a guard.
    #[cfg(any(feature = "axum", feature = "actix"))]
    pub(super) fn unguarded() -> Self {
        let problem = Problem::new(500, "unguarded-route", "The service is at fault")
            .detail("this route reads the caller of the API key and has no guard");
        let refusal = Refusal::new(&problem, Reason::Unguarded, None);
        Self::problem(&problem, ProblemTypes::DEFAULT).refusing(refusal)
    }

    /// Returns this response with the reason of the refusal.
    pub(super) fn refusing(self, refusal: Refusal) -> Self {
        Self { refusal: Some(refusal), ..self }
    }

    /// Returns the response of a problem, with a link to its type in `types`.
    pub(super) fn problem(problem: &Problem, types: &ProblemTypes) -> Self {
        Self::new(problem.status()).json(PROBLEM_JSON, problem.to_json(types))
    }
}

impl PartialEq for Response {
    fn eq(&self, other: &Self) -> bool {
        let sent = |response: &Self| (response.status, response.is_for_gateway);
        sent(self) == sent(other) && self.headers == other.headers && self.body == other.body
    }
}

impl Eq for Response {}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response")
            .field("status", &self.status)
            .field("headers", &self.headers)
            .field("body", &self.body)
            .finish_non_exhaustive()
    }
}

/// The header that lists the request headers on which a response depends (RFC 9110, section 12.5.5).
pub(super) const VARY: &str = "vary";

/// Returns the decimal text of [`whole_seconds`].
pub(super) fn seconds(duration: Duration) -> Cow<'static, str> {
    whole_seconds(duration).to_string().into()
}

/// Returns the duration in seconds, rounded up, so that no client returns too early.
fn whole_seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

/// Returns the rate headers (draft-ietf-httpapi-ratelimit-headers-10), for admitted and refused requests.
///
/// Both headers are lists with one string, which names the policy. Its parameters are integers (RFC 9651).
pub(super) fn rate_headers(status: &RateStatus) -> [(&'static str, String); 2] {
    let Rate { requests, per_seconds } = status.rate();
    // Section 3.1: "q" is the quota, in requests unless "qu" sets another unit. "w" is the window in whole
    // seconds and not zero.
    let name = if status.is_of_tenant() { "tenant" } else { "key" };
    let policy = format!("\"{name}\";q={requests};w={per_seconds}");
    // Sections 4.1.1 and 4.1.2: "r" is the remaining quota. "t" is the number of seconds "until additional
    // quota [...] is made available", which means one more request and not all of them. In a refusal it
    // equals `Retry-After`, which must not be earlier (section 6).
    let left = format!("\"{name}\";r={};t={}", status.remaining(), whole_seconds(status.next()));
    [("ratelimit-policy", policy), ("ratelimit", left)]
}

/// Returns the same headers for an allowance that has not enough units left. All units come back with the next window.
pub(super) fn used_up_headers(used_up: &UsedUp) -> [(&'static str, String); 2] {
    let UsedUp { allowance, window, left, retry_after } = used_up;
    let name = match allowance.period {
        Period::Month => String::from("month"),
        Period::Seconds(seconds) => format!("{seconds}s"),
    };
    let most = |units: u64| units.min(LARGEST_INTEGER);
    let policy = format!("\"{name}\";q={};w={}", most(allowance.units), window.seconds());
    let left = format!("\"{name}\";r={};t={}", most(*left), whole_seconds(*retry_after));
    [("ratelimit-policy", policy), ("ratelimit", left)]
}

/// The largest integer of a structured field (RFC 9651, section 3.3.1).
const LARGEST_INTEGER: u64 = 999_999_999_999_999;
