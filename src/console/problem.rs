//! The problems of the console, and the problem of each error of the keyring.

use alloc::{
    borrow::Cow,
    format,
    string::{String, ToString},
};

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};

use crate::{
    authority::ChangeError,
    http::problem::{PROBLEM_JSON, Problem, ProblemTypes},
    keyring::KeyringError,
    record::{Field, InvalidField},
};

/// The result of a handler.
pub(super) type ApiResult = Result<Response, Problem>;

/// The time after which a client should retry, in seconds.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");

macro_rules! problems {
    ($($name:ident: $status:literal $kind:literal $title:literal $detail:literal;)*) => {
        $(
            pub(super) fn $name() -> Problem {
                Problem::new($status, $kind, $title).detail($detail)
            }
        )*

        /// The names of all types, for the test that they are documented.
        #[cfg(test)]
        const KINDS: &[&str] = &[$($kind),*];
    };
}

problems! {
    invalid: 422 "invalid-field" "A value cannot be taken" "";
    unreadable: 400 "unreadable-body" "The body cannot be read" "the body is not JSON";
    media_type: 415 "unsupported-media-type" "The body is of another type"
        "send the body as `application/json`";
    too_large: 413 "body-too-large" "The body is too large" "the body has more than 64 KiB";
    quota: 409 "quota-exceeded" "The tenant cannot hold another key" "";
    above_granter: 422 "above-granter" "A grant that you cannot pass on" "";
    above_tier: 422 "above-tier" "Scopes that the tier does not allow" "";
    changed: 412 "changed" "It has changed in the meantime"
        "it was changed since it was read, by somebody else or by an earlier try; read it again";
    precondition_required: 428 "precondition-required" "The version is missing"
        "send the version that is to be changed as `If-Match`";
    owner_disabled: 409 "owner-disabled" "The owner is disabled"
        "the owner of the key is disabled, so a new key would not be valid";
    too_many_disabled: 409 "too-many-disabled-owners" "No further owner can be disabled" "";
    key_expired: 409 "key-expired" "The key has expired"
        "extend the expiry of the key before it gets a new secret";
    idempotency_key_required: 400 "idempotency-key-required" "The idempotency key is missing"
        "send `Idempotency-Key`, 1 to 255 visible ASCII characters";
    idempotency_key_reused: 422 "idempotency-key-reused" "The idempotency key is of another request"
        "this `Idempotency-Key` was used with another request";
    already_issued: 410 "already-issued" "The key has been deleted"
        "the key that was made for this `Idempotency-Key` has been deleted since";
    not_found: 404 "not-found" "Not found" "no key, tenant or route has this name";
    usage_not_counted: 404 "usage-not-counted" "Usage is not counted"
        "the service does not count the requests of keys";
    method_not_allowed: 405 "method-not-allowed" "The method is not allowed"
        "`Allow` names the methods that there are";
    cross_site: 403 "cross-site" "The request comes from another site"
        "only the console's own page may ask for this in a browser";
    api_key_not_allowed: 403 "api-key-not-allowed" "API keys cannot manage keys"
        "sign in to manage keys, without an API key in the request";
    not_offered: 403 "not-offered" "Not available in the console"
        "the service offers this elsewhere and has removed it from the console";
    signed_out: 409 "signed-out" "Somebody else has signed in"
        "the request names another tenant than that of the administrator who is signed in now";
    fault: 500 "fault" "The service is at fault" "the operator of the service must investigate";
}

pub(super) fn unavailable() -> Problem {
    Problem::unavailable("the keys cannot be reached at present")
}

/// Returns the problem of an invalid value of `field`, which `detail` describes.
pub(super) fn invalid_field(
    field: impl Into<String>,
    detail: impl Into<Cow<'static, str>>,
) -> Problem {
    invalid().detail(detail).with("field", field.into())
}

/// Returns a function that converts an invalid text to a problem with the body field `field`.
pub(super) fn invalid_text(field: &'static str) -> impl FnOnce(InvalidField) -> Problem {
    move |invalid| invalid_field(field, invalid.to_string())
}

impl From<KeyringError> for Problem {
    fn from(error: KeyringError) -> Self {
        of_keyring(error, "expires_at")
    }
}

/// Returns the problem of `error`. `lifetime` is the body field that limits the lifetime of the key, which a
/// request can do in several fields.
pub(super) fn of_keyring(error: KeyringError, lifetime: &'static str) -> Problem {
    match error {
        KeyringError::AlreadyIssued(_) => already_issued(),
        KeyringError::QuotaExceeded { held, allowed, tier, .. } => {
            let keys = if allowed == 1 { "key" } else { "keys" };
            quota()
                .detail(format!("the tenant holds {held}, and its tier allows {allowed} {keys}"))
                .with("held", held)
                .with("allowed", allowed)
                .with("tier", tier)
        }
        KeyringError::Conflict => changed(),
        KeyringError::Refused(error) => of_change(&error, lifetime),
        error => match error.http_status() {
            404 => not_found(),
            503 => unavailable(),
            // The remaining conflicts cannot occur: the console creates no tenants and imports no keys.
            _ => fault(),
        },
    }
}

fn of_change(error: &ChangeError, lifetime: &'static str) -> Problem {
    match error {
        ChangeError::Invalid(invalid) => match invalid.field() {
            Field::Network | Field::Networks => invalid_field("networks", invalid.to_string()),
            Field::ResourceId | Field::Resources => invalid_field("resources", invalid.to_string()),
            Field::KeyName => invalid_field("name", invalid.to_string()),
            Field::Reason => invalid_field("reason", invalid.to_string()),
            Field::Labels | Field::LabelName | Field::LabelValue => {
                invalid_field("labels", invalid.to_string())
            }
            // These texts come from the application. The console takes none of them from a request.
            _ => fault(),
        },
        // The error's own text might repeat a value of the request, and problems repeat none.
        ChangeError::UnknownScope(_) => invalid_field("scopes", "there is no such scope"),
        ChangeError::AboveCeiling { scopes, .. } => {
            let problem = above_tier().detail(error.to_string()).with("field", "scopes");
            problem.with_scopes("scopes", scopes)
        }
        ChangeError::AboveGranter(scopes) => {
            let problem = above_granter().detail(error.to_string()).with("field", "scopes");
            problem.with_scopes("scopes", scopes)
        }
        ChangeError::UnknownResource(_) => {
            invalid_field("resources", "there is no such kind of resource")
        }
        ChangeError::ResourcesAboveGranter(kind) => above_granter()
            .detail("you may not pass on all of these resources")
            .with("field", "resources")
            .with("resource", &**kind),
        ChangeError::NetworksAboveGranter => {
            above_granter().detail(error.to_string()).with("field", "networks")
        }
        ChangeError::ExpiryInPast(_) | ChangeError::EndsBeforeStart => {
            invalid_field(lifetime, error.to_string())
        }
        ChangeError::LifetimeTooLong { latest, .. } => {
            invalid_field(lifetime, error.to_string()).with("latest", latest.to_string())
        }
        ChangeError::Expired(_) => key_expired(),
        ChangeError::GracePeriodTooLong(_) | ChangeError::TooManySecrets { .. } => {
            invalid_field("grace_period", error.to_string())
        }
        ChangeError::OwnerDisabled(_) => owner_disabled(),
        ChangeError::OwnerAboveGranter(_) => {
            above_granter().detail("you cannot pass on all that the keys of this owner may do")
        }
        ChangeError::TooManyDisabledOwners => too_many_disabled().detail(error.to_string()),
        ChangeError::Allowances(_) | ChangeError::NoLimitStore => {
            invalid_field("allowances", error.to_string())
        }
        ChangeError::ZeroException(_) => invalid().detail(error.to_string()),
        ChangeError::OtherOwner(_)
        | ChangeError::UnknownTier(_)
        | ChangeError::Import(_)
        | ChangeError::Mint(_)
        | ChangeError::Record(_) => fault(),
    }
}

/// Leaves the body empty. [`write`] writes it, because the link of the type depends on the settings.
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::empty());
        let status = StatusCode::from_u16(self.status());
        *response.status_mut() = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        if self.status() == 503 {
            headers.insert(header::RETRY_AFTER, RETRY_AFTER);
        }
        response.extensions_mut().insert(self);
        response
    }
}

/// Writes the body if `response` is a problem.
pub(super) fn write(response: &mut Response, types: &ProblemTypes) {
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        *response.body_mut() = Body::from(problem.to_json(types));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_type_is_documented() {
        let documentation = include_str!("../http/problem.rs");
        for kind in KINDS {
            let heading = kind.replace('-', " ");
            let is_documented = documentation.lines().any(|line| {
                line.strip_prefix("//! ## ").is_some_and(|line| line.to_lowercase() == heading)
            });
            assert!(is_documented, "{kind}");
        }
        assert_eq!(documentation.matches("\n//! ## ").count(), KINDS.len());
    }
}
