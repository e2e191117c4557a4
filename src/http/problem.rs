//! The problem types of refusals (RFC 9457): of guards, of keyway's own endpoints, and of the console.
//!
//! Each refusal has a body of type `application/problem+json`. Its `type` is a link to one of the headings
//! below. The headings do not change, so programs may branch on the name after the `#`. `title`, `status` and
//! `detail` are always present. Further members are described with their type. Nothing of the request is
//! repeated.
//!
//! An application that describes the types itself sets their address with [`ProblemTypes`]. The names after
//! the address are those of the headings.
//!
//! ```json
//! {
//!   "type": "https://docs.rs/keyway/latest/keyway/http/problem/index.html#insufficient-scope",
//!   "title": "The API key may not do this",
//!   "status": 403,
//!   "detail": "missing `operator.jobs`",
//!   "scopes": ["operator.jobs"],
//!   "match": "all"
//! }
//! ```
//!
//! # Missing credential
//!
//! Status 401. The request came without an API key, and this route needs one.
//!
//! # Invalid request
//!
//! Status 400. More than one credential was presented, or it cannot be read.
//!
//! # Invalid token
//!
//! Status 401. The API key is not valid. A malformed, forged, deleted or unknown key and a key of another
//! service get the same response.
//!
//! # Inactive key
//!
//! Status 401. The caller holds the key, but the key cannot be used now. `state` is one of `disabled`,
//! `owner_disabled`, `suspended`, `tenant_suspended`, `expired` and `not_yet_valid`.
//!
//! # Insufficient scope
//!
//! Status 403. The key lacks a scope that the route requires. `scopes` names the missing scopes. If `match`
//! is `all`, the key needs all of them; if it is `any`, one is enough. `withheld` names those of them that
//! were granted to the key and that the tier of its tenant withholds. It is absent if there are none.
//!
//! # Other resource
//!
//! Status 403. The key may not touch the resource that the request is about. `resource` names the kind of the resource.
//!
//! # Other audience
//!
//! Status 403. The credential is a short-lived key that was derived from another one. It is for other places, or this route
//! does not accept such keys.
//!
//! # Other network
//!
//! Status 403. The key may not be used from the network of the client, or the service does not know the address of the
//! client.
//!
//! # Children not allowed
//!
//! Status 403. The key may not have short-lived keys. `reason` is `off` if the tenant has not allowed them,
//! `after_rotation` if the key must be rotated first, `previous_secret` if only a newer secret of the key may have
//! them, and `policy` if the service allows none.
//!
//! # Previous secret
//!
//! Status 403. The API key is from before the last rotation and is still accepted for a while. Only the newest one
//! can rotate the key. If the response with the newest one was lost, the tenant can rotate the key.
//!
//! # Rotated meanwhile
//!
//! Status 409. Another request rotated or deleted the API key while this one was about to rotate it.
//!
//! # Too many secrets
//!
//! Status 409. The API key was rotated twice before, and both older ones are still accepted. `Retry-After` is the
//! time until the first of them ends.
//!
//! # Rate exceeded
//!
//! Status 429. The key has been used more often than its rate allows, or all keys of its tenant
//! together more often than theirs. `Retry-After` is the time to wait.
//!
//! # Allowance used up
//!
//! Status 429. All keys of the tenant together have used the units that they may use in this month or another period, or the
//! request needs more units than are left. `Retry-After` is the time until the next period.
//!
//! # Unavailable
//!
//! Status 503. The store did not respond. A guard cannot verify API keys at present, which says nothing about
//! the key's validity. The outcome of a request to the console is unknown. Retry after `Retry-After`. Resend a
//! leak report that gets this status. Tokens that were already handled stay handled.
//!
//! # Leak report rejected
//!
//! Status 403. The report is not signed by a key that is accepted here. A missing signature, a signature of
//! another key and a signature of another body get the same response.
//!
//! # Leak report unreadable
//!
//! Status 400. The report is signed, but not a JSON array of objects with `token` and `type`. No
//! token was handled.
//!
//! # Leak report too large
//!
//! Status 413. The report has more than 1 MB or more than 1,000 tokens. No token was handled.
//!
//! # Gateway request ambiguous
//!
//! Status 400. A gateway asked about a request whose method or path another server could read differently. `reason` is a
//! word for the part that is ambiguous, such as `dot-segment`. No key was read.
//!
//! # Gateway route undeclared
//!
//! Status 403. A gateway asked about a method and path that no declared route serves. No key was read.
//!
//! # Unknown operation
//!
//! Status 404. The service has no operation at this path.
//!
//! # Unguarded route
//!
//! Status 500. A handler of the service needs a caller, but its route has no guard.
//!
//! # Problems of the console
//!
//! The console has the types below, and [unavailable](#unavailable). The endpoint for short-lived keys has some of
//! them: invalid field, unreadable body, unsupported media type, and body too large. `field` is the body field or the
//! parameter that is in error, if there is one.
//!
//! ## Invalid field
//!
//! Status 422. The value of `field` is not accepted. If a key would live longer than its tier allows,
//! or a short-lived key longer than the service allows, `latest` is the latest expiry that it may have.
//!
//! ## Unreadable body
//!
//! Status 400. The body is not JSON, lacks a field, or has a field that is unknown or of the wrong type.
//!
//! ## Unsupported media type
//!
//! Status 415. The body is not `application/json`.
//!
//! ## Body too large
//!
//! Status 413. The body is larger than 64 KiB, or that for a short-lived key larger than 16 KiB.
//!
//! ## Quota exceeded
//!
//! Status 409. The tenant holds as many keys as its tier allows, or more. `held` is the number of its keys,
//! `allowed` is the number that the tier allows, and `tier` is the name of the tier.
//!
//! ## Above granter
//!
//! Status 422. The caller cannot grant the scopes in `scopes`, because the caller does not have them. For a limit on
//! resources or networks that is above the caller's, `field` says which.
//!
//! ## Above tier
//!
//! Status 422. The tenant's tier does not allow the scopes in `scopes`.
//!
//! ## Changed
//!
//! Status 412. The key or tenant no longer has the version in `If-Match`, or another request changed it
//! first. An earlier attempt of the same client, whose response was lost, may have made the change. Read it
//! again.
//!
//! ## Precondition required
//!
//! Status 428. The request needs `If-Match` with the version that it changes.
//!
//! ## Key expired
//!
//! Status 409. The key has expired, and a new secret would be expired as well. Change the expiry first.
//!
//! ## Idempotency key required
//!
//! Status 400. The request needs `Idempotency-Key`: 1 to 255 visible ASCII characters. Use a new random value
//! for each key or rotation, and the same value for each retry of the request.
//!
//! ## Idempotency key reused
//!
//! Status 422. This `Idempotency-Key` was used before, for a request with another body.
//!
//! ## Already issued
//!
//! Status 410. The key that was issued for this `Idempotency-Key` has been deleted since. No second one is
//! issued.
//!
//! ## Owner disabled
//!
//! Status 409. The owner of the requested key is disabled in the tenant. Enable the owner first.
//!
//! ## Too many disabled owners
//!
//! Status 409. The tenant has 1,000 disabled owners. Delete the keys of one of them, and enable that owner.
//!
//! ## Not found
//!
//! Status 404. The resource does not exist, or the caller has no access to it.
//!
//! ## Usage not counted
//!
//! Status 404. The service does not count the requests of keys: its keyring has no store of usage.
//!
//! ## Method not allowed
//!
//! Status 405. The `Allow` header lists the methods of the resource.
//!
//! ## Cross site
//!
//! Status 403. A browser sent the request on behalf of a page of another origin.
//!
//! ## API key not allowed
//!
//! Status 403. The request presents an API key, and this console does not accept API keys.
//!
//! ## Not offered
//!
//! Status 403. The application does this elsewhere and has removed it from the console.
//!
//! ## Signed out
//!
//! Status 409. The `Keyway-Tenant` header names a tenant that is not the tenant of the user who is signed in
//! now.
//!
//! ## Fault
//!
//! Status 500. An error in the service, which its operator must investigate.

use alloc::{borrow::Cow, string::String, vec::Vec};
use core::fmt;

use serde::{Serialize, ser::SerializeMap};
use serde_json::Value;

use crate::config::ConfigError;
use crate::scope::Scope;

/// The base address of problem types, for example `https://errors.example.com/api-keys#`.
///
/// A type is this text followed by a name, such as `insufficient-scope`. The default is the address of this
/// page.
///
/// ```
/// use keyway::http::problem::ProblemTypes;
///
/// let types = ProblemTypes::new("https://errors.example.com/api-keys#")?;
/// assert_eq!(types.link("unavailable"), "https://errors.example.com/api-keys#unavailable");
/// assert!(ProblemTypes::new("https://errors.example.com/API keys").is_err());
/// # Ok::<(), keyway::ConfigError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProblemTypes(Cow<'static, str>);

impl ProblemTypes {
    pub(crate) const DEFAULT: &'static Self = &Self(Cow::Borrowed(BASE));

    /// Sets the base address, which is the beginning of a URI: 1 to 256 characters that URIs may hold.
    ///
    /// Names are appended without a separator, so `base` usually ends with `#`, `/` or `:`.
    ///
    /// # Errors
    ///
    /// Returns [`ConfigError`] if `base` is empty, too long, or has a character that URIs may not
    /// hold.
    pub fn new(base: impl Into<Cow<'static, str>>) -> Result<Self, ConfigError> {
        let base = base.into();
        // RFC 3986, section 2: reserved and unreserved characters, and `%`, which begins an encoded one.
        let may_be =
            |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=%".contains(&byte);
        if base.is_empty() || base.len() > 256 || !base.bytes().all(may_be) {
            return Err(ConfigError::ProblemTypes(base.into_owned()));
        }
        Ok(Self(base))
    }

    /// Returns the URI of the type `name`.
    pub fn link(&self, name: &str) -> String {
        [&*self.0, name].concat()
    }
}

impl Default for ProblemTypes {
    fn default() -> Self {
        Self::DEFAULT.clone()
    }
}

impl fmt::Display for ProblemTypes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

const BASE: &str = "https://docs.rs/keyway/latest/keyway/http/problem/index.html#";

/// The content type of problems.
pub(crate) const PROBLEM_JSON: &str = "application/problem+json";

/// The body of a refusal. The link of its type is made when it is written, because the address depends on the
/// settings of the guard or the console.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    status: u16,
    kind: &'static str,
    title: &'static str,
    detail: Cow<'static, str>,
    /// The further members, in the order of the body.
    members: Vec<(&'static str, Value)>,
}

impl Problem {
    /// Creates a problem of the type `kind`, which is one of the headings above.
    pub(crate) const fn new(status: u16, kind: &'static str, title: &'static str) -> Self {
        Self { status, kind, title, detail: Cow::Borrowed(""), members: Vec::new() }
    }

    /// Creates the problem of a store that does not respond.
    pub(crate) fn unavailable(detail: &'static str) -> Self {
        Self::new(503, "unavailable", "Temporarily unavailable").detail(detail)
    }

    pub(crate) fn status(&self) -> u16 {
        self.status
    }

    /// Returns the name of the type.
    pub(super) fn name(&self) -> &'static str {
        self.kind
    }

    /// Returns the text of the member `detail`.
    pub(super) fn text(&self) -> Cow<'static, str> {
        self.detail.clone()
    }

    pub(crate) fn detail(mut self, detail: impl Into<Cow<'static, str>>) -> Self {
        self.detail = detail.into();
        self
    }

    /// Adds a further member.
    pub(crate) fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.members.push((name, value.into()));
        self
    }

    /// Adds a further member with the names of `scopes`.
    pub(crate) fn with_scopes(self, name: &'static str, scopes: &[Scope]) -> Self {
        let names: Vec<_> = scopes.iter().map(Scope::as_str).collect();
        self.with(name, names)
    }

    /// Returns the body, with a link to the type in `types`.
    pub(crate) fn to_json(&self, types: &ProblemTypes) -> String {
        // Most problems fit in this capacity, so the text is not reallocated.
        let mut text = Vec::with_capacity(320);
        // Serializing this type never fails, and JSON is UTF-8.
        let written = serde_json::to_writer(&mut text, &Linked(self, types));
        written.ok().and_then(|()| String::from_utf8(text).ok()).unwrap_or_default()
    }
}

struct Linked<'p>(&'p Problem, &'p ProblemTypes);

impl Serialize for Linked<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(problem, types) = self;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("type", &types.link(problem.kind))?;
        map.serialize_entry("title", problem.title)?;
        map.serialize_entry("status", &problem.status)?;
        map.serialize_entry("detail", &problem.detail)?;
        for (name, value) in &problem.members {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}
