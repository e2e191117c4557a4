//! Request and response bodies, as JSON. Both may hold tokens, so both are wiped.

use alloc::{collections::BTreeMap, format, string::String};

use axum::{
    body::Body,
    extract::{FromRequest, Request},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use serde::{
    Deserialize as _, Deserializer, Serialize,
    de::{DeserializeOwned, Error as _},
};

use super::{
    extract::etag,
    problem::{self, invalid_field},
};
pub(super) use crate::http::json_request::{Time, some};
use crate::{
    http::{
        problem::Problem,
        secret_json::{self, Fault},
        wiped::{self, TooLarge, Wiped},
    },
    record::Labels,
};

/// The largest number in a body that is not another one too: numbers are read as `f64`.
pub(super) const MAX_NUMBER: u64 = (1 << 53) - 1;

/// The maximum length of a request body, in bytes.
const MAX_LEN: usize = 64 * 1024;

/// Extracts a request body. The body is read whole, and unknown fields are an error.
pub(super) struct Json<T>(pub(super) T);

impl<S: Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        if !is_json(request.headers()) {
            return Err(problem::media_type());
        }
        let body = wiped::collect(request.into_body(), MAX_LEN).await;
        let body = body.map_err(|TooLarge| problem::too_large())?;
        // Serde would also read an array, as the values of the fields in their order.
        if body.as_ref().trim_ascii_start().first() != Some(&b'{') {
            return Err(problem::unreadable().detail("the body is not a JSON object"));
        }
        secret_json::read(body.as_ref()).map(Self).map_err(Fault::problem)
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let mut kinds = headers.get_all(header::CONTENT_TYPE).into_iter();
    let (Some(kind), None) = (kinds.next(), kinds.next()) else { return false };
    let kind = kind.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
    kind.trim_ascii().eq_ignore_ascii_case(b"application/json")
}

/// Deserializes labels, which may be left out but must not be `null`.
pub(super) fn labels<'de, D>(deserializer: D) -> Result<Option<Labels>, D::Error>
where
    D: Deserializer<'de>,
{
    let labels = BTreeMap::<String, String>::deserialize(deserializer)?;
    Labels::new(labels).map(Some).map_err(D::Error::custom)
}

/// Checks that a pasted text has at most 2,000 characters: enough for a token with text around it.
pub(super) fn check_pasted(field: &'static str, text: &str) -> Result<(), Problem> {
    if text.chars().count() > 2_000 {
        return Err(invalid_field(field, format!("the {field} has more than 2000 characters")));
    }
    Ok(())
}

/// Returns a response with a JSON body, which has no secrets.
pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Response {
    match serde_json::to_vec(body) {
        Ok(bytes) => response_of(status, "application/json", Body::from(bytes)),
        Err(_) => problem::fault().into_response(),
    }
}

/// Returns a response with a JSON body that has a token. The body is wiped when its last part is dropped.
pub(super) fn secret_json(status: StatusCode, body: &impl Serialize) -> Response {
    let mut bytes = Wiped::with_capacity(1024);
    if serde_json::to_writer(&mut bytes, body).is_err() {
        return problem::fault().into_response();
    }
    response_of(status, "application/json", Body::from(Bytes::from_owner(bytes)))
}

/// Adds an `ETag` to a response that describes the state of a key or tenant at `version`.
pub(super) fn versioned(version: u64, mut response: Response) -> Response {
    response.headers_mut().insert(header::ETAG, etag(version));
    response
}

/// Returns a response with a body of the content type `kind`.
pub(super) fn response_of(status: StatusCode, kind: &'static str, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
