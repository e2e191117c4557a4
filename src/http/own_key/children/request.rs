//! The body of a request for a child.

use alloc::{
    string::{String, ToString as _},
    vec::Vec,
};
use core::time::Duration;

use serde::Deserialize;

use crate::{
    children::{MintChildError, NewChild},
    field::{Field, InvalidField},
    grant::{Networks, Resources},
    http::{
        Headers, OwnKey,
        json_request::{ByKind, Time, invalid_field, resources, some},
        problem::Problem,
        secret_json::{self, Fault},
    },
    keyring::OwnChildError,
    time::Timestamp,
};

/// The members of the body. A member that is left out limits nothing.
///
/// INVARIANT: `null` is refused. To a program that has lost a value it would look as if the child were limited.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::http::own_key) struct Body {
    #[serde(default, deserialize_with = "some")]
    expires_in_seconds: Option<u64>,
    #[serde(default, deserialize_with = "some")]
    expires_at: Option<Time>,
    #[serde(default, deserialize_with = "some")]
    not_before: Option<Time>,
    #[serde(default, deserialize_with = "some")]
    scopes: Option<Vec<String>>,
    #[serde(default, deserialize_with = "resources")]
    resources: Option<ByKind>,
    #[serde(default, deserialize_with = "some")]
    networks: Option<Vec<String>>,
    #[serde(default, deserialize_with = "some")]
    audience: Option<Vec<String>>,
    #[serde(default, deserialize_with = "some")]
    nonce: Option<String>,
}

impl Body {
    /// Reads `body`, which must be a JSON object.
    pub(super) fn read(headers: &(impl Headers + ?Sized), body: &[u8]) -> Result<Self, Problem> {
        if body.len() > OwnKey::MAX_CHILD_BODY_LEN {
            return Err(too_large());
        }
        if !is_json(headers) {
            let problem =
                Problem::new(415, "unsupported-media-type", "The body is of another type");
            return Err(problem.detail("send the body as `application/json`"));
        }
        // Serde would also read an array, as the values of the members in their order.
        if body.trim_ascii_start().first() != Some(&b'{') {
            let problem = Problem::new(400, "unreadable-body", "The body cannot be read");
            return Err(problem.detail("the body is not a JSON object"));
        }
        secret_json::read(body).map_err(Fault::problem)
    }

    /// Returns the member with the end of the child.
    pub(super) fn end_field(&self) -> &'static str {
        if self.expires_at.is_some() { "expires_at" } else { "expires_in_seconds" }
    }

    /// Returns the request for the child, or the problem of a member.
    pub(super) fn request(&self) -> Result<NewChild, Problem> {
        let mut request = match (self.expires_in_seconds, self.expires_at) {
            (Some(seconds), None) => NewChild::lasting(Duration::from_secs(seconds)),
            (None, Some(Time(end))) => NewChild::until(end),
            (None, None) => return Err(Fault::Missing("expires_in_seconds").problem()),
            (Some(_), Some(_)) => {
                let detail = "`expires_at` and `expires_in_seconds` exclude each other";
                return Err(invalid_field("expires_at", detail));
            }
        };
        if let Some(Time(start)) = self.not_before {
            request = request.not_before(start);
        }
        if let Some(scopes) = &self.scopes {
            request = request.scopes(scopes).map_err(|error| invalid("scopes", error))?;
        }
        let of_resources = |error| invalid("resources", error);
        for (kind, resources) in self.resources.iter().flatten() {
            request = request.resources(kind, resources.clone()).map_err(of_resources)?;
        }
        if self.resources.as_ref().is_some_and(ByKind::is_empty) {
            return Err(of_resources(InvalidField::malformed(
                Field::Resources,
                "of at least one kind",
            )));
        }
        if let Some(networks) = &self.networks {
            let networks = Networks::only(networks).map_err(|error| invalid("networks", error))?;
            request = request.networks(networks);
        }
        if let Some(audience) = &self.audience {
            let of_audience = |error| invalid("audience", error);
            if audience.is_empty() {
                let expected = "at least one name, or left out";
                return Err(of_audience(InvalidField::malformed(Field::Audience, expected)));
            }
            for name in audience {
                request = with_audience(request, name).map_err(of_audience)?;
            }
        }
        if let Some(nonce) = &self.nonce {
            request = request.nonce(nonce.as_bytes()).map_err(|error| invalid("nonce", error))?;
        }
        Ok(request)
    }

    /// Returns the problem of a request for which there is no child. `latest` is the latest end that a child may have.
    pub(super) fn problem(&self, error: &OwnChildError, latest: Timestamp) -> Problem {
        let problem = |field| invalid_field(field, error.to_string());
        match error {
            OwnChildError::Lifetime => problem(self.end_field()).with("latest", latest.to_string()),
            // The end is after the year 9999, or the begin is not before the end.
            OwnChildError::Mint(MintChildError::Field(_)) if self.not_before.is_none() => {
                problem(self.end_field())
            }
            OwnChildError::Mint(MintChildError::Field(_)) => problem("not_before"),
            // The largest member makes the child too long.
            _ => problem(self.largest()),
        }
    }

    /// Returns the list whose texts are the longest together.
    fn largest(&self) -> &'static str {
        let texts = |list: &Option<Vec<String>>| list.iter().flatten().map(String::len).sum();
        let ids = |resources: &Resources| match resources {
            Resources::Only(ids) => ids.iter().map(str::len).sum(),
            Resources::All | Resources::Nothing => 0,
        };
        let kinds = self.resources.iter().flatten();
        let lens: [(usize, _); 4] = [
            (texts(&self.scopes), "scopes"),
            (kinds.map(|(kind, resources)| kind.len() + ids(resources)).sum(), "resources"),
            (texts(&self.networks), "networks"),
            (texts(&self.audience), "audience"),
        ];
        lens.into_iter().max().map_or("scopes", |(_, field)| field)
    }
}

fn with_audience(request: NewChild, name: &str) -> Result<NewChild, InvalidField> {
    match name.split_once(':') {
        Some(("host", name)) => request.host(name),
        Some(("operation", name)) => request.operation(name),
        Some(("route", name)) => request.route(name),
        _ => {
            let expected = "`host:`, `operation:` or `route:` and a name";
            Err(InvalidField::malformed(Field::Audience, expected))
        }
    }
}

fn invalid(field: &'static str, error: InvalidField) -> Problem {
    invalid_field(field, error.to_string())
}

pub(super) fn too_large() -> Problem {
    Problem::new(413, "body-too-large", "The body is too large")
        .detail("the body has more than 16 KiB")
}

fn is_json(headers: &(impl Headers + ?Sized)) -> bool {
    let mut values = headers.values("content-type");
    let (Some(value), None) = (values.next(), values.next()) else { return false };
    let kind = value.split(|byte| *byte == b';').next().unwrap_or_default();
    kind.trim_ascii().eq_ignore_ascii_case(b"application/json")
}
