//! Editing and deleting keys.

use alloc::{string::String, vec::Vec};

use axum::{http::StatusCode, response::IntoResponse};
use serde::Deserialize;

use super::{
    super::{
        auth::TenantAdmin,
        body::{Json, Time, labels, some},
        children,
        extract::{IfMatch, Path},
        limits::{ByKind, networks, resources},
        problem::{ApiResult, of_keyring},
    },
    create::{check_end, lifetime, lifetime_field},
    find_version, key_response,
};
use crate::{audit::ChangeKind, authority::KeyEdit, grant::Networks, record::Labels, token::KeyId};

/// Changes to a key. A field that is left out is not changed.
#[derive(Default, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub(in super::super) struct EditBody {
    #[serde(deserialize_with = "some")]
    name: Option<String>,
    #[serde(deserialize_with = "some")]
    scopes: Option<Vec<String>>,
    #[serde(deserialize_with = "labels")]
    labels: Option<Labels>,
    /// Kinds that are left out are not changed.
    #[serde(deserialize_with = "resources")]
    resources: Option<ByKind>,
    #[serde(deserialize_with = "networks")]
    networks: Option<Networks>,
    /// The inner `None` is `null`.
    #[serde(deserialize_with = "some")]
    not_before: Option<Option<Time>>,
    #[serde(deserialize_with = "some")]
    expires_at: Option<Option<Time>>,
    #[serde(deserialize_with = "some")]
    expires_in: Option<u64>,
    #[serde(deserialize_with = "some")]
    enabled: Option<bool>,
    #[serde(deserialize_with = "some")]
    children: Option<bool>,
}

/// Changes a key. A key that an operator has suspended stays suspended.
pub(in super::super) async fn change_key(
    admin: TenantAdmin,
    Path(id): Path<KeyId>,
    if_match: IfMatch,
    Json(body): Json<EditBody>,
) -> ApiResult {
    let TenantAdmin { app, keys, .. } = &admin;
    let lifetime = lifetime(body.expires_at.is_some(), body.expires_in)?;
    children::check(body.children, app.keyring.policy())?;
    let tenant = admin.tenant().await?;
    check_end(app, &tenant, lifetime)?;
    let key = find_version(keys, ChangeKind::EditKey, id, &if_match).await?;
    if body == EditBody::default() {
        return Ok(key_response(app, &key, &tenant));
    }
    let field =
        lifetime_field(body.not_before.is_some(), body.expires_at.is_some(), lifetime.is_some());
    let mut edit = KeyEdit::new();
    if let Some(name) = body.name {
        edit = edit.name(name);
    }
    if let Some(scopes) = body.scopes {
        edit = edit.scopes(scopes);
    }
    if let Some(labels) = body.labels {
        edit = edit.labels(labels);
    }
    for (kind, resources) in body.resources.into_iter().flatten() {
        edit = edit.resources(&kind, resources);
    }
    if let Some(networks) = body.networks {
        edit = edit.networks(networks);
    }
    if let Some(start) = body.not_before {
        edit = edit.not_before(start.map(|Time(start)| start));
    }
    if let Some(end) = body.expires_at {
        edit = edit.expires_at(end.map(|Time(end)| end));
    }
    if let Some(lifetime) = lifetime {
        edit = edit.expires_in(lifetime);
    }
    if let Some(enabled) = body.enabled {
        edit = edit.enabled(enabled);
    }
    // Without the feature, the member was refused above.
    #[cfg(feature = "children")]
    if let Some(children) = body.children {
        edit = edit.children(children);
    }
    let edited = keys.edit(id, key.version(), edit).await;
    let edited = edited.map_err(|error| of_keyring(error, field))?;
    Ok(key_response(app, &edited, &tenant))
}

/// Deletes a key permanently. A key that cannot be read any more has no version, and is deleted with
/// `If-Match: *`.
pub(in super::super) async fn delete_key(
    admin: TenantAdmin,
    Path(id): Path<KeyId>,
    if_match: IfMatch,
) -> ApiResult {
    if matches!(if_match, IfMatch::Any) {
        admin.keys.delete(id).await?;
    } else {
        let key = find_version(&admin.keys, ChangeKind::DeleteKey, id, &if_match).await?;
        admin.keys.delete_version(id, key.version()).await?;
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}
