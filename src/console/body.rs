//! Bodies, as JSON.

use alloc::{
    borrow::ToOwned,
    format,
    string::{String, ToString},
};

use axum::{
    body::{Body, to_bytes},
    extract::{FromRequest, Request},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::Response,
};
use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned};
use serde_json::error::Category;

use super::problem::Problem;
use crate::time::Timestamp;

/// The most bytes that are read of a body.
const MAX_LEN: usize = 64 * 1024;

/// The body of a request: all of it, and nothing that is not known.
pub(super) struct Json<T>(pub(super) T);

impl<S: Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        if !is_json(request.headers()) {
            return Err(Problem::media_type());
        }
        // Or the sender went away, and reads no answer.
        let body = to_bytes(request.into_body(), MAX_LEN).await;
        read(&body.map_err(|_| Problem::too_large())?).map(Self)
    }
}

fn is_json(fields: &HeaderMap) -> bool {
    let mut kinds = fields.get_all(header::CONTENT_TYPE).into_iter();
    let (Some(kind), None) = (kinds.next(), kinds.next()) else { return false };
    let kind = kind.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
    kind.trim_ascii().eq_ignore_ascii_case(b"application/json")
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    // An array would be read, too, as the values of the members in their order.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(Problem::unreadable().with_detail("the body is not a JSON object"));
    }
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let read = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = error.path().to_string();
        unreadable(&path, error.inner())
    })?;
    deserializer.end().map_err(|error| unreadable("", &error))?;
    Ok(read)
}

/// What is wrong with a body, without anything of its values: they may be secret.
fn unreadable(path: &str, error: &serde_json::Error) -> Problem {
    let problem = Problem::unreadable();
    if error.classify() != Category::Data {
        let place = format!("the body is not JSON from line {} on", error.line());
        return problem.with_detail(place);
    }
    let text = error.to_string();
    let quoted = || text.split('`').nth(1).unwrap_or_default().to_owned();
    if text.starts_with("unknown field") {
        // The names that there are stand behind the one that there is not.
        let known = text.split_once("`, ").map_or("nothing", |(_, known)| known);
        let known = known.split(" at line ").next().unwrap_or_default();
        return problem.with_detail(format!("the body has a member that is not known: {known}"));
    }
    if text.starts_with("missing field") {
        let detail = format!("`{}` is missing", quoted());
        return problem.with_detail(detail).with_field(quoted());
    }
    if text.starts_with("duplicate field") {
        let detail = format!("`{}` is there twice", quoted());
        return problem.with_detail(detail).with_field(quoted());
    }
    // INVARIANT: only a member that is known has a value that is read.
    let member = path.split(['.', '[']).next().unwrap_or_default();
    let detail = format!("`{member}` is of another type");
    problem.with_detail(detail).with_field(member.to_owned())
}

/// A member that may be left out, and is no `null`.
pub(super) fn some<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    T::deserialize(deserializer).map(Some)
}

/// The time that the member `field` names.
pub(super) fn time(field: &'static str, text: &str) -> Result<Timestamp, Problem> {
    let problem =
        |error: crate::time::InvalidTimestamp| Problem::invalid_field(field, error.to_string());
    text.parse().map_err(problem)
}

/// Succeeds for a text of a length that somebody may paste: a token with something around it.
pub(super) fn check_pasted(field: &'static str, text: &str) -> Result<(), Problem> {
    if text.chars().count() > 2_000 {
        let detail = format!("the {field} has more than 2000 characters");
        return Err(Problem::invalid_field(field, detail));
    }
    Ok(())
}

/// An answer with a body.
pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Response {
    let Ok(text) = serde_json::to_string(body) else {
        return axum::response::IntoResponse::into_response(Problem::fault());
    };
    text_of(status, "application/json", text)
}

/// An answer of any type.
pub(super) fn text_of(status: StatusCode, kind: &'static str, text: String) -> Response {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
