//! Extractors: parameters of the path and the query, versions, and idempotency keys.

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};

use axum::{
    extract::{FromRequestParts, Query, RawPathParams},
    http::{HeaderMap, HeaderValue, header, request::Parts},
};

use super::problem::{self, invalid_field, invalid_text};
use crate::{
    http::problem::Problem,
    keyring::KeyringError,
    record::{Owner, TenantId},
    store::{KeyCursor, KeyFilter},
    time::Timestamp,
    token::KeyId,
};

/// A parameter of the path.
pub(super) trait PathParameter: Sized {
    /// The name in the router's path.
    const NAME: &str;

    fn parse(text: &str) -> Option<Self>;
}

impl PathParameter for KeyId {
    const NAME: &str = "keyway_id";

    fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

impl PathParameter for TenantId {
    const NAME: &str = "keyway_tenant";

    /// Accepts also ids that existing tenants have and new tenants can no longer get.
    fn parse(text: &str) -> Option<Self> {
        Self::stored(text).ok()
    }
}

impl PathParameter for Owner {
    const NAME: &str = "keyway_owner";

    /// Accepts also ids that existing keys have and new keys can no longer get.
    fn parse(text: &str) -> Option<Self> {
        Self::stored(text).ok()
    }
}

/// The name of a tier.
pub(super) struct TierName(pub(super) String);

impl PathParameter for TierName {
    const NAME: &str = "keyway_tier";

    fn parse(text: &str) -> Option<Self> {
        Some(Self(text.into()))
    }
}

/// Extracts a parameter of the path. Text that cannot be one gets 404.
pub(super) struct Path<T>(pub(super) T);

impl<S: Send + Sync, T: PathParameter> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let all = RawPathParams::from_request_parts(parts, state).await;
        let all = all.map_err(|_| problem::not_found())?;
        let text = all.iter().find(|(name, _)| *name == T::NAME);
        text.and_then(|(_, text)| T::parse(text)).map(Self).ok_or_else(problem::not_found)
    }
}

/// Extracts the parameters of the query. Unknown ones are ignored.
pub(super) struct Parameters(Vec<(String, String)>);

impl<S: Send + Sync> FromRequestParts<S> for Parameters {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let query = Query::<Vec<(String, String)>>::from_request_parts(parts, state).await;
        let unreadable = |_| problem::invalid().detail("the parameters cannot be read");
        query.map(|Query(all)| Self(all)).map_err(unreadable)
    }
}

impl Parameters {
    /// The maximum number of items on a page.
    pub(super) const MAX_LIMIT: usize = 200;
    /// The default number of items on a page.
    const LIMIT: usize = 50;

    /// Returns the value of the parameter `name`. A parameter that is given twice is an error.
    pub(super) fn get(&self, name: &'static str) -> Result<Option<&str>, Problem> {
        let mut values = self.0.iter().filter(|(other, _)| other == name);
        match (values.next(), values.next()) {
            (_, Some(_)) => Err(invalid_field(name, format!("`{name}` is there twice"))),
            (value, None) => Ok(value.map(|(_, value)| &**value)),
        }
    }

    /// Returns the maximum number of items on the requested page.
    pub(super) fn limit(&self) -> Result<usize, Problem> {
        let Some(text) = self.get("limit")? else { return Ok(Self::LIMIT) };
        let limit = text.parse().ok().filter(|limit| (1..=Self::MAX_LIMIT).contains(limit));
        limit.ok_or_else(|| invalid_field("limit", format!("a limit is 1 to {}", Self::MAX_LIMIT)))
    }

    /// Returns the number of days whose usage is requested.
    pub(super) fn days(&self) -> Result<i32, Problem> {
        let Some(text) = self.get("days")? else { return Ok(30) };
        let days = text.parse().ok().filter(|days| (1..=90).contains(days));
        days.ok_or_else(|| invalid_field("days", "usage is shown for 1 to 90 days"))
    }

    /// Returns the key after which the requested page begins.
    pub(super) fn after_key(&self) -> Result<Option<KeyCursor>, Problem> {
        let Some(text) = self.get("after")? else { return Ok(None) };
        let problem = || invalid_field("after", "this is not the `next` of a page");
        read_cursor(text).map(Some).ok_or_else(problem)
    }
}

impl Parameters {
    /// Returns the conditions that the requested keys meet. The keys of one owner, and all other conditions.
    pub(super) fn filter(&self) -> Result<KeyFilter, Problem> {
        let mut filter = KeyFilter::all();
        if let Some(owner) = self.get("owner")? {
            // An owner that no key can have has no keys.
            let owner = Owner::stored(owner).map_err(invalid_text("owner"))?;
            filter = filter.owner(owner);
        }
        if let Some(actor) = self.get("created_by")? {
            filter = filter.created_by(actor);
        }
        if let Some(label) = self.get("label")? {
            let (name, value) = label
                .split_once('=')
                .ok_or_else(|| invalid_field("label", "write a label as `name=value`"))?;
            filter = filter.label(name, value);
        }
        if let Some(time) = self.time("expiring_before")? {
            filter = filter.expiring_before(time);
        }
        if let Some(time) = self.time("unused_since")? {
            filter = filter.unused_since(time);
        }
        if let Some(time) = self.time("due_before")? {
            filter = filter.due_before(time);
        }
        if let Some(state) = self.get("state")? {
            filter = filter
                .in_state(state)
                .map_err(|_| invalid_field("state", "there is no such state"))?;
        }
        Ok(filter)
    }

    fn time(&self, name: &'static str) -> Result<Option<Timestamp>, Problem> {
        let time = self.get(name)?.map(str::parse).transpose();
        time.map_err(|_| invalid_field(name, "write a time as in RFC 3339"))
    }
}

/// Writes a cursor as a string without special characters. Clients send it back unchanged.
pub(super) fn write_cursor(cursor: KeyCursor) -> String {
    format!("{}.{}", cursor.created_at.as_millis(), cursor.id)
}

fn read_cursor(text: &str) -> Option<KeyCursor> {
    let (millis, id) = text.split_once('.')?;
    let created_at = Timestamp::saturating_from_millis(millis.parse().ok()?);
    Some(KeyCursor { created_at, id: id.parse().ok()? })
}

/// Extracts the versions in the `If-Match` header (RFC 9110, section 13.1.1). A request without the header
/// gets 428.
pub(super) enum IfMatch {
    /// `*`: any version.
    Any,
    /// One of these versions. Weak tags and tags in any other form are left out: they match no version.
    These(Vec<u64>),
}

impl<S: Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let values = parts.headers.get_all(header::IF_MATCH);
        if values.iter().next().is_none() {
            return Err(problem::precondition_required());
        }
        if values.iter().all(|value| value.as_bytes() == b"*") {
            return Ok(Self::Any);
        }
        let tags = values.iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
        Ok(Self::These(tags.filter_map(read_etag).collect()))
    }
}

impl IfMatch {
    /// Returns the version if the request names exactly one. `None` for `*` and for a list of several: such a
    /// request could be done twice if it is repeated.
    pub(super) fn one(&self) -> Option<u64> {
        match self {
            Self::These(versions) => match versions[..] {
                [version] => Some(version),
                _ => None,
            },
            Self::Any => None,
        }
    }

    /// Checks that the request names `version`. Returns [`KeyringError::Conflict`] if not.
    pub(super) fn check(&self, version: u64) -> Result<(), KeyringError> {
        match self {
            Self::Any => Ok(()),
            Self::These(versions) if versions.contains(&version) => Ok(()),
            Self::These(_) => Err(KeyringError::Conflict),
        }
    }
}

/// Returns the entity tag of a version.
pub(super) fn etag(version: u64) -> HeaderValue {
    // INVARIANT: digits and quotes are valid in a header value, so the conversion does not fail.
    HeaderValue::try_from(format!("\"{version}\"")).unwrap_or(HeaderValue::from_static("\"\""))
}

/// Reads a version in the form that [`etag`] writes: without sign and leading zeros.
fn read_etag(tag: &[u8]) -> Option<u64> {
    let [b'"', digits @ .., b'"'] = tag.trim_ascii() else { return None };
    let text = str::from_utf8(digits).ok()?;
    text.parse().ok().filter(|version: &u64| version.to_string() == text)
}

/// Returns the idempotency key of a request.
pub(super) fn idempotency_key(headers: &HeaderMap) -> Result<&str, Problem> {
    let mut values = headers.get_all("idempotency-key").into_iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return Err(problem::idempotency_key_required());
    };
    let is_visible = value.as_bytes().iter().all(u8::is_ascii_graphic);
    let text = value.to_str().ok().filter(|text| is_visible && (1..=255).contains(&text.len()));
    text.ok_or_else(problem::idempotency_key_required)
}
