//! Creating keys.

use alloc::{
    string::{String, ToString},
    vec::Vec,
};
use core::time::Duration;

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Deserialize;

use super::{
    super::{
        app::App,
        auth::TenantAdmin,
        body::{Json, Time, labels, some},
        children,
        extract::idempotency_key,
        limits::{ByKind, are_those_of, networks_of, resources},
        problem::{self, ApiResult, invalid_field, of_keyring},
    },
    issued_response,
};
use crate::{
    authority::NewKey,
    grant::Networks,
    http::problem::Problem,
    keyring::{IssuedKey, KeyringError},
    policy::Policy,
    record::{KeyRecord, Labels, TenantRecord},
    time::Timestamp,
};

/// A request for a new key.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct NewKeyBody {
    name: String,
    #[serde(default)]
    scopes: Vec<String>,
    #[serde(default, deserialize_with = "labels")]
    labels: Option<Labels>,
    #[serde(default, deserialize_with = "resources")]
    resources: Option<ByKind>,
    /// Read after the headers were checked, since the description cannot say which texts are networks.
    networks: Option<Vec<String>>,
    not_before: Option<Time>,
    expires_at: Option<Time>,
    #[serde(default, deserialize_with = "some")]
    expires_in: Option<u64>,
    #[serde(default, deserialize_with = "some")]
    children: Option<bool>,
}

impl NewKeyBody {
    fn request(
        &self,
        lifetime: Option<Duration>,
        networks: &Networks,
        idempotency_key: &str,
    ) -> Result<NewKey, Problem> {
        let mut request = NewKey::named(&*self.name)
            .networks(networks.clone())
            .scopes(self.scopes.iter().map(String::as_str))
            .labels(self.labels.clone().unwrap_or_default())
            .idempotency_key(idempotency_key)
            .map_err(|_| problem::idempotency_key_required())?;
        for (kind, resources) in self.resources.iter().flatten() {
            request = request.resources(kind, resources.clone());
        }
        if let Some(Time(start)) = self.not_before {
            request = request.not_before(start);
        }
        // Without the feature, the member was refused before.
        #[cfg(feature = "children")]
        if let Some(children) = self.children {
            request = request.children(children);
        }
        Ok(match (self.expires_at, lifetime) {
            (Some(Time(end)), _) => request.expires_at(end),
            (None, Some(lifetime)) => request.expires_in(lifetime),
            (None, None) => request,
        })
    }

    /// Checks whether `key`, in the state in which it was issued, is the key that this body requests.
    fn is(
        &self,
        key: &KeyRecord,
        lifetime: Option<Duration>,
        networks: &Networks,
        policy: &Policy,
    ) -> bool {
        let catalog = policy.catalog();
        let (granted, unknown) = catalog.set_of_known(key.scopes());
        let after = |lifetime| key.created_at().checked_add(lifetime);
        let expires_as_wanted = match (self.expires_at, lifetime, key.expires_at()) {
            (Some(Time(wanted)), _, end) => end == Some(wanted),
            (None, Some(lifetime), end) => end == after(lifetime),
            (None, None, None) => true,
            // The tenant's tier at the time of creation set the end. It may be any of the tiers.
            (None, None, Some(end)) => {
                let lifetimes = policy.tiers().iter().filter_map(|tier| tier.max_lifetime);
                lifetimes.map(after).any(|other| other.unwrap_or(Timestamp::MAX) == end)
            }
        };
        self.name == key.name()
            && unknown.is_empty()
            && catalog.set(&self.scopes).is_ok_and(|scopes| scopes == granted)
            && self.labels.as_ref().unwrap_or(&Labels::NONE) == key.labels()
            && are_those_of(key, self.resources.as_ref(), networks)
            && self.not_before.map(|Time(start)| start) == key.not_before()
            && self.children.unwrap_or_default() == key.children
            && expires_as_wanted
    }
}

/// Returns the lifetime of a key from the `expires_in` of a body. `has_end` says whether the body has an
/// `expires_at`, which would be a contradiction.
pub(super) fn lifetime(has_end: bool, seconds: Option<u64>) -> Result<Option<Duration>, Problem> {
    match seconds {
        Some(_) if has_end => {
            let detail = "a key ends either at a time or after so many seconds";
            Err(invalid_field("expires_in", detail))
        }
        Some(0) => Err(invalid_field("expires_in", "a key lives for a second at least")),
        seconds => Ok(seconds.map(Duration::from_secs)),
    }
}

/// Checks that a key with this lifetime would not end after the year 9999, the last timestamp. Otherwise its
/// end would be brought forward to that silently.
///
/// Tiers with a longest lifetime are not checked here. They refuse such an expiry and report the latest that
/// they allow.
pub(super) fn check_end(
    app: &App,
    tenant: &TenantRecord,
    lifetime: Option<Duration>,
) -> Result<(), Problem> {
    let terms = app.keyring.policy().terms(tenant);
    match lifetime {
        Some(lifetime)
            if terms.is_none_or(|terms| terms.max_lifetime.is_none())
                && app.now().checked_add(lifetime).is_none() =>
        {
            Err(invalid_field("expires_in", "the key would end after the year 9999"))
        }
        _ => Ok(()),
    }
}

/// Returns the body field to name in a problem if the lifetime of the key is refused.
pub(super) fn lifetime_field(has_start: bool, has_end: bool, is_relative: bool) -> &'static str {
    match (is_relative, has_end, has_start) {
        (true, ..) => "expires_in",
        (false, false, true) => "not_before",
        (false, ..) => "expires_at",
    }
}

/// Issues a key. Its token is in this response and in no other.
///
/// A repetition with the same `Idempotency-Key` issues no second key. It returns the first one without its
/// token.
pub(in super::super) async fn create_key(
    admin: TenantAdmin,
    headers: HeaderMap,
    Json(body): Json<NewKeyBody>,
) -> ApiResult {
    let app = &admin.app;
    let idempotency_key = idempotency_key(&headers)?;
    let lifetime = lifetime(body.expires_at.is_some(), body.expires_in)?;
    let networks = networks_of(body.networks.as_deref())?;
    children::check(body.children, app.keyring.policy())?;
    let tenant = admin.tenant().await?;
    check_end(app, &tenant, lifetime)?;
    let request = body.request(lifetime, &networks, idempotency_key)?;
    let issued = match admin.keys.issue_to(tenant.clone(), request).await {
        Ok(IssuedKey { key, token }) => (key, Some(token.reveal())),
        Err(KeyringError::AlreadyIssued(id)) => match admin.keys.find(id).await {
            // Version 1 is the key as it was issued. A later version may differ from any request, so it is
            // not compared.
            Ok(key)
                if key.version() == 1
                    && !body.is(&key, lifetime, &networks, app.keyring.policy()) =>
            {
                return Err(problem::idempotency_key_reused());
            }
            Ok(key) => (key, None),
            Err(KeyringError::NoKey) => return Err(problem::already_issued()),
            Err(error) => return Err(error.into()),
        },
        Err(error) => {
            let (has_start, has_end) = (body.not_before.is_some(), body.expires_at.is_some());
            let field = lifetime_field(has_start, has_end, lifetime.is_some());
            return Err(of_keyring(error, field));
        }
    };
    let (key, token) = issued;
    let status = if token.is_some() { StatusCode::CREATED } else { StatusCode::OK };
    let token = token.as_ref().map(|token| token.as_str());
    let mut response = issued_response(app, &key, &tenant, token, status);
    // The location is relative to the path of the request, so that it is correct behind any proxy.
    if let Ok(location) = HeaderValue::try_from(["keys/", &key.id().to_string()].concat()) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}
