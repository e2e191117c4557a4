//! New keys.

use alloc::{
    collections::BTreeMap,
    string::{String, ToString},
    sync::Arc,
    vec::Vec,
};

use axum::{
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::Response,
};
use serde::Deserialize;
use utoipa::ToSchema;

use super::super::{
    admin::TenantAdmin,
    app::App,
    body::{Json, json, some, time},
    parts::{etag, idempotency_key},
    problem::Problem,
    refusal::invalid_text,
    views::{IssuedView, KeyView},
};
use crate::{
    authority::NewKey,
    keyring::{IssuedKey, KeyringError},
    policy::Policy,
    record::{KeyRecord, Labels, TenantRecord},
    time::Timestamp,
};

/// A key that is to be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewKey)]
pub(in super::super) struct NewKeyBody {
    /// One line.
    #[schema(min_length = 1, max_length = 100)]
    name: String,
    /// All that it may do, with what that implies; nothing without it.
    #[serde(default)]
    #[schema(max_items = 256)]
    scopes: Vec<String>,
    #[serde(default, deserialize_with = "some")]
    #[schema(value_type = BTreeMap<String, String>)]
    labels: Option<BTreeMap<String, String>>,
    /// It is not valid before this time.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    not_before: Option<String>,
    /// It is not valid from this time on. Without it, it lives as long as the tier allows.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<String>,
}

/// A [`NewKeyBody`] whose values can be taken.
struct Wanted {
    name: String,
    scopes: Vec<String>,
    labels: Labels,
    not_before: Option<Timestamp>,
    expires_at: Option<Timestamp>,
}

impl NewKeyBody {
    fn check(self) -> Result<Wanted, Problem> {
        let read = |field, text: Option<String>| text.map(|text| time(field, &text)).transpose();
        let labels = Labels::new(self.labels.unwrap_or_default());
        Ok(Wanted {
            name: self.name,
            scopes: self.scopes,
            labels: labels.map_err(invalid_text("labels"))?,
            not_before: read("not_before", self.not_before)?,
            expires_at: read("expires_at", self.expires_at)?,
        })
    }
}

impl Wanted {
    fn request(&self, idempotency_key: &str) -> Result<NewKey, Problem> {
        let mut request = NewKey::named(&*self.name)
            .scopes(self.scopes.iter().map(String::as_str))
            .labels(self.labels.clone())
            .idempotency_key(idempotency_key)
            .map_err(|_| Problem::idempotency_key_required())?;
        if let Some(start) = self.not_before {
            request = request.not_before(start);
        }
        if let Some(end) = self.expires_at {
            request = request.expires_at(end);
        }
        Ok(request)
    }

    /// Whether `key`, as it was issued, is what is wanted.
    fn is(&self, key: &KeyRecord, policy: &Policy) -> bool {
        let catalog = policy.catalog();
        let (granted, unknown) = catalog.set_of_known(key.scopes());
        let expires_as_wanted = match (self.expires_at, key.expires_at()) {
            (None, Some(end)) => {
                // The tier of that time said so.
                let lifetimes = policy.tiers().iter().filter_map(|tier| tier.max_lifetime);
                let mut ends = lifetimes.map(|lifetime| key.created_at().checked_add(lifetime));
                ends.any(|other| other.unwrap_or(Timestamp::MAX) == end)
            }
            (wanted, end) => wanted == end,
        };
        self.name == key.name()
            && unknown.is_empty()
            && catalog.set(&self.scopes).is_ok_and(|scopes| scopes == granted)
            && self.labels == *key.labels()
            && self.not_before == key.not_before()
            && expires_as_wanted
    }
}

/// Issues a key, whose token is in this answer and in no other.
///
/// A repetition with the same `Idempotency-Key` issues no second key and tells the first one without its
/// token; whoever missed that gives the key a new secret.
#[utoipa::path(post, path = "/api/keys", tag = "keys", request_body = NewKeyBody,
    params(("Idempotency-Key" = String, Header, min_length = 1, max_length = 255,
        pattern = "^[!-~]{1,255}$", description = "Made up anew for each key that is wanted")),
    responses(
        (status = 201, body = IssuedView, description = "The key, with its token",
            headers(("etag" = String), ("location" = String))),
        (status = 200, body = IssuedView, description = "A repetition: the key, without its token",
            headers(("etag" = String), ("location" = String))),
    ))]
pub(in super::super) async fn create_key(
    State(app): State<Arc<App>>,
    admin: TenantAdmin,
    fields: HeaderMap,
    Json(body): Json<NewKeyBody>,
) -> Result<Response, Problem> {
    let idempotency_key = idempotency_key(&fields)?;
    let wanted = body.check()?;
    let tenant = app.keyring.find_tenant(admin.keys.id()).await?;
    let issued = match admin.keys.issue(wanted.request(idempotency_key)?).await {
        Ok(IssuedKey { key, token }) => (key, Some(token.reveal())),
        Err(KeyringError::AlreadyIssued(id)) => match admin.keys.find(id).await {
            // What has become of it since is not what was asked for.
            Ok(key) if key.version() == 1 && !wanted.is(&key, app.keyring.policy()) => {
                return Err(Problem::idempotency_key_reused());
            }
            Ok(key) => (key, None),
            Err(KeyringError::NoKey) => return Err(Problem::already_issued()),
            Err(error) => return Err(error.into()),
        },
        Err(error) => return Err(error.into()),
    };
    let (key, token) = issued;
    let status = if token.is_some() { StatusCode::CREATED } else { StatusCode::OK };
    let token = token.as_ref().map(|token| token.as_str());
    let mut response = tell_issued(&app, &key, &tenant, token, status);
    // Relative to the path of the request, so that it holds behind any proxy.
    let place = ["keys/", &key.id().to_string()].concat();
    if let Ok(place) = HeaderValue::try_from(place) {
        response.headers_mut().insert(header::LOCATION, place);
    }
    Ok(response)
}

/// Tells a key with its new token, or that this was told before. Nothing in it fails: nobody could tell the
/// token again.
pub(super) fn tell_issued(
    app: &App,
    key: &KeyRecord,
    tenant: &TenantRecord,
    token: Option<&str>,
    status: StatusCode,
) -> Response {
    let key_view = KeyView::of(key, tenant, app.now());
    let view = IssuedView { key: key_view, token, replayed: token.is_none() };
    let mut response = json(status, &view);
    response.headers_mut().insert(header::ETAG, etag(key.version()));
    response
}
