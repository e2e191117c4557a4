//! What the path and the fields of a request name.

use alloc::{format, string::String, vec::Vec};
use core::str::FromStr;

use axum::{
    extract::{FromRequestParts, RawPathParams},
    http::{HeaderMap, HeaderValue, header, request::Parts},
};

use super::problem::Problem;
use crate::{record::TenantId, token::KeyId};

/// The key in the path. What cannot be one does not exist.
pub(super) struct KeyPath(pub(super) KeyId);

impl<S: Send + Sync> FromRequestParts<S> for KeyPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        segment(parts, state, "keyway_key").await.map(Self)
    }
}

/// The tenant in the path.
pub(super) struct TenantPath(pub(super) TenantId);

impl<S: Send + Sync> FromRequestParts<S> for TenantPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        segment(parts, state, "keyway_tenant").await.map(Self)
    }
}

/// The name of the tier in the path.
pub(super) struct TierPath(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for TierPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        segment(parts, state, "keyway_tier").await.map(Self)
    }
}

async fn segment<S: Send + Sync, T: FromStr>(
    parts: &mut Parts,
    state: &S,
    name: &str,
) -> Result<T, Problem> {
    let all = RawPathParams::from_request_parts(parts, state).await;
    let all = all.map_err(|_| Problem::not_found())?;
    let segment = all.iter().find(|(other, _)| *other == name);
    let segment = segment.and_then(|(_, value)| value.parse().ok());
    segment.ok_or_else(Problem::not_found)
}

/// The versions that a request is about (RFC 9110, section 13.1.1).
pub(super) enum IfMatch {
    /// `*`: whichever there is.
    Any,
    /// One of these. A weak tag matches none.
    These(Vec<u64>),
}

impl IfMatch {
    pub(super) fn of(fields: &HeaderMap) -> Option<Self> {
        let mut values = fields.get_all(header::IF_MATCH).into_iter().peekable();
        values.peek()?;
        if fields.get_all(header::IF_MATCH).into_iter().all(|value| value.as_bytes() == b"*") {
            return Some(Self::Any);
        }
        let mut versions = Vec::new();
        for tag in values.flat_map(|value| value.as_bytes().split(|byte| *byte == b',')) {
            if let [b'"', digits @ .., b'"'] = tag.trim_ascii() {
                // As it is written by `etag`, and in no other way.
                let text = str::from_utf8(digits).unwrap_or_default();
                let version = text.parse::<u64>().ok();
                versions.extend(version.filter(|version| format!("{version}") == text));
            }
        }
        Some(Self::These(versions))
    }

    pub(super) fn require(fields: &HeaderMap) -> Result<Self, Problem> {
        Self::of(fields).ok_or_else(Problem::precondition_required)
    }

    /// Succeeds for a thing of this version.
    pub(super) fn check(&self, version: u64) -> Result<(), Problem> {
        match self {
            Self::Any => Ok(()),
            Self::These(versions) if versions.contains(&version) => Ok(()),
            Self::These(_) => Err(Problem::changed()),
        }
    }
}

/// The tag of a version.
pub(super) fn etag(version: u64) -> HeaderValue {
    // INVARIANT: digits and quotes can stand in a field.
    HeaderValue::try_from(format!("\"{version}\"")).unwrap_or(HeaderValue::from_static("\"\""))
}

/// The idempotency key of a request.
pub(super) fn idempotency_key(fields: &HeaderMap) -> Result<&str, Problem> {
    let mut values = fields.get_all("idempotency-key").into_iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return Err(Problem::idempotency_key_required());
    };
    let is_visible = value.as_bytes().iter().all(u8::is_ascii_graphic);
    let text = value.to_str().ok().filter(|text| is_visible && (1..=255).contains(&text.len()));
    text.ok_or_else(Problem::idempotency_key_required)
}
