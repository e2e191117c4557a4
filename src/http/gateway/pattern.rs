//! A declared path, in parts.

use alloc::{borrow::ToOwned as _, vec::Vec};

use super::target::{Target, is_plain};
use crate::config::ConfigError;

/// A declared path.
#[derive(Clone, Debug)]
pub(super) struct Pattern<'p> {
    pub(super) path: &'p str,
    /// The segments. A [`Part::Rest`] is the last one.
    pub(super) parts: Vec<Part<'p>>,
    /// Whether the path has a slash after its last segment.
    pub(super) is_slashed: bool,
}

/// A segment of a declared path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part<'p> {
    Literal(&'p str),
    /// One segment, with the name of the parameter.
    Parameter(&'p str),
    /// One or more segments, with the name of the parameter.
    Rest(&'p str),
}

impl<'p> Pattern<'p> {
    pub(super) fn parse(path: &'p str) -> Result<Self, ConfigError> {
        let invalid = |problem| ConfigError::GatewayPath { path: path.to_owned(), problem };
        let inner = path.strip_prefix('/').ok_or_else(|| invalid("it does not begin with `/`"))?;
        let (inner, is_slashed) = match inner.strip_suffix('/') {
            Some(inner) => (inner, true),
            None => (inner, false),
        };
        let mut parts = Vec::new();
        for segment in inner.split('/').filter(|_| !inner.is_empty()) {
            if matches!(parts.last(), Some(Part::Rest(_))) {
                return Err(invalid("a `{*name}` is not its last segment"));
            }
            parts.push(Part::parse(segment).map_err(invalid)?);
        }
        if is_slashed && matches!(parts.last(), Some(Part::Rest(_))) {
            return Err(invalid("a slash follows a `{*name}`"));
        }
        Ok(Self { path, parts, is_slashed })
    }
}

impl<'p> Part<'p> {
    fn parse(segment: &'p str) -> Result<Self, &'static str> {
        if segment.is_empty() {
            return Err("it has an empty segment");
        }
        if let Some(inner) = segment.strip_prefix('{').and_then(|inner| inner.strip_suffix('}')) {
            let (name, is_rest) = match inner.strip_prefix('*') {
                Some(name) => (name, true),
                None => (inner, false),
            };
            let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
            if name.is_empty() || !name.bytes().all(is_name) {
                return Err("a parameter is not `{name}` or `{*name}`");
            }
            return Ok(if is_rest { Self::Rest(name) } else { Self::Parameter(name) });
        }
        // A segment that no request can have would never be served.
        let is_reachable = Target::parse(&[b"/", segment.as_bytes()].concat()).is_ok();
        if !segment.bytes().all(is_plain) || !is_reachable {
            return Err("a segment is neither plain text of a URL nor one parameter");
        }
        Ok(Self::Literal(segment))
    }
}
