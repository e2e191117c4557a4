//! Which part of a list is asked for.

use alloc::{format, string::String, vec::Vec};

use axum::{
    extract::{FromRequestParts, Query},
    http::request::Parts,
};

use super::problem::Problem;
use crate::{store::KeyCursor, time::Timestamp};

/// The parameters of a list. Those that are not known mean nothing.
pub(super) struct Parameters(Vec<(String, String)>);

impl<S: Send + Sync> FromRequestParts<S> for Parameters {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let query = Query::<Vec<(String, String)>>::from_request_parts(parts, state).await;
        let Query(all) =
            query.map_err(|_| Problem::invalid().with_detail("the parameters cannot be read"))?;
        Ok(Self(all))
    }
}

impl Parameters {
    /// The most items of a page, for lists of things that are cheap to read.
    pub(super) const MAX_LIMIT: usize = 200;
    /// Items of a page of which nothing is said.
    const LIMIT: usize = 50;

    /// The value of the parameter `name`.
    pub(super) fn get(&self, name: &'static str) -> Result<Option<&str>, Problem> {
        let mut values = self.0.iter().filter(|(other, _)| other == name);
        let value = values.next().map(|(_, value)| &**value);
        if values.next().is_some() {
            return Err(Problem::invalid_field(name, format!("`{name}` is there twice")));
        }
        Ok(value)
    }

    /// How many items a page has at most.
    pub(super) fn limit(&self) -> Result<usize, Problem> {
        let Some(text) = self.get("limit")? else { return Ok(Self::LIMIT) };
        let limit = text.parse().ok().filter(|limit| (1..=Self::MAX_LIMIT).contains(limit));
        limit.ok_or_else(|| {
            Problem::invalid_field("limit", format!("a limit is 1 to {}", Self::MAX_LIMIT))
        })
    }

    /// Behind which key a page begins.
    pub(super) fn after_key(&self) -> Result<Option<KeyCursor>, Problem> {
        let Some(text) = self.get("after")? else { return Ok(None) };
        let cursor = read_cursor(text);
        let problem = || Problem::invalid_field("after", "this is not the `next` of a page");
        cursor.map(Some).ok_or_else(problem)
    }
}

/// A cursor as a text without special characters, which clients hand back as it is.
pub(super) fn write_cursor(cursor: KeyCursor) -> String {
    format!("{}.{}", cursor.created_at.as_millis(), cursor.id)
}

fn read_cursor(text: &str) -> Option<KeyCursor> {
    let (millis, id) = text.split_once('.')?;
    let created_at = Timestamp::saturating_from_millis(millis.parse().ok()?);
    Some(KeyCursor { created_at, id: id.parse().ok()? })
}
