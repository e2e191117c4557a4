//! Changing, rotating and deleting keys.

use alloc::{borrow::ToOwned, collections::BTreeMap, string::String, sync::Arc, vec::Vec};
use core::time::Duration;

use axum::{
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Deserializer};
use utoipa::ToSchema;

use super::{
    super::{
        admin::TenantAdmin,
        app::App,
        body::{Json, some, time},
        parts::{IfMatch, KeyPath, idempotency_key},
        problem::Problem,
        refusal::invalid_text,
        replays::{Rotation, Seen},
        views::{IssuedView, KeyView},
    },
    create::tell_issued,
    tell,
};
use crate::{
    authority::{KeyEdit, Overlap},
    keyring::{IssuedKey, KeyringError},
    record::Labels,
    time::Timestamp,
};

/// Changes to a key. What is left out stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = KeyChanges)]
pub(in super::super) struct ChangesBody {
    /// One line.
    #[serde(default, deserialize_with = "some")]
    #[schema(value_type = String, min_length = 1, max_length = 100, required = false)]
    name: Option<String>,
    /// All that it may do from now on, with what that implies.
    #[serde(default, deserialize_with = "some")]
    #[schema(value_type = Vec<String>, max_items = 256, required = false)]
    scopes: Option<Vec<String>>,
    #[serde(default, deserialize_with = "some")]
    #[schema(value_type = BTreeMap<String, String>, required = false)]
    labels: Option<BTreeMap<String, String>>,
    /// It is not valid before this time; `null` is at once.
    #[serde(default, deserialize_with = "some")]
    #[schema(value_type = Option<String>, format = DateTime, required = false)]
    not_before: Option<Option<String>>,
    /// It is not valid from this time on; `null` is never.
    #[serde(default, deserialize_with = "some")]
    #[schema(value_type = Option<String>, format = DateTime, required = false)]
    expires_at: Option<Option<String>>,
    /// Switches it on or off.
    #[serde(default, deserialize_with = "some")]
    #[schema(value_type = bool, required = false)]
    enabled: Option<bool>,
}

impl ChangesBody {
    fn is_nothing(&self) -> bool {
        self.name.is_none()
            && self.scopes.is_none()
            && self.labels.is_none()
            && self.not_before.is_none()
            && self.expires_at.is_none()
            && self.enabled.is_none()
    }

    fn edit(self) -> Result<KeyEdit, Problem> {
        let mut edit = KeyEdit::new();
        if let Some(name) = self.name {
            edit = edit.name(name);
        }
        if let Some(scopes) = self.scopes {
            edit = edit.scopes(scopes);
        }
        if let Some(labels) = self.labels {
            edit = edit.labels(Labels::new(labels).map_err(invalid_text("labels"))?);
        }
        if let Some(start) = self.not_before {
            edit = edit.not_before(read("not_before", start)?);
        }
        if let Some(end) = self.expires_at {
            edit = edit.expires_at(read("expires_at", end)?);
        }
        if let Some(enabled) = self.enabled {
            edit = edit.enabled(enabled);
        }
        Ok(edit)
    }
}

fn read(field: &'static str, text: Option<String>) -> Result<Option<Timestamp>, Problem> {
    text.map(|text| time(field, &text)).transpose()
}

/// Changes a key.
///
/// What an operator has suspended stays suspended.
#[utoipa::path(patch, path = "/api/keys/{id}", tag = "keys", request_body = ChangesBody,
    params(
        ("id" = String, Path, description = "The id of the key", pattern = "^[0-9A-Za-z]{16}$"),
        ("If-Match" = String, Header, description = "The `ETag` of what is changed",
            pattern = "^\"[0-9]{1,19}\"$"),
    ),
    responses((status = 200, body = KeyView, headers(("etag" = String)))))]
pub(in super::super) async fn change_key(
    State(app): State<Arc<App>>,
    admin: TenantAdmin,
    KeyPath(id): KeyPath,
    fields: HeaderMap,
    Json(changes): Json<ChangesBody>,
) -> Result<Response, Problem> {
    let if_match = IfMatch::require(&fields)?;
    let is_nothing = changes.is_nothing();
    let edit = changes.edit()?;
    let tenant = app.keyring.find_tenant(admin.keys.id()).await?;
    let key = admin.keys.find(id).await?;
    if_match.check(key.version())?;
    if is_nothing {
        return Ok(tell(&app, &key, &tenant));
    }
    let key = admin.keys.edit(id, key.version(), edit).await?;
    Ok(tell(&app, &key, &tenant))
}

/// How long the secret before is accepted.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Rotation)]
pub(in super::super) struct RotationBody {
    #[schema(value_type = OverlapView)]
    overlap: OverlapBody,
}

/// `none`, `until_first_use`, or a number of seconds.
#[derive(ToSchema)]
#[schema(as = Overlap)]
#[allow(dead_code, reason = "it describes what `OverlapBody` reads")]
#[serde(untagged)]
enum OverlapView {
    Word(OverlapWord),
    /// For so many seconds.
    Seconds(u32),
}

#[derive(ToSchema)]
#[allow(dead_code, reason = "it describes what `OverlapBody` reads")]
#[serde(rename_all = "snake_case")]
enum OverlapWord {
    /// Not at all. For a secret that has leaked.
    None,
    /// Until the new secret is used, at most for 24 hours.
    UntilFirstUse,
}

/// An overlap, or something else.
struct OverlapBody(Option<Overlap>);

impl<'de> Deserialize<'de> for OverlapBody {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        // `60.0` is a whole number in JSON.
        let seconds = |seconds| Duration::try_from_secs_f64(seconds).ok();
        let is_whole = |duration: &Duration| duration.subsec_nanos() == 0;
        Ok(Self(match value.as_str() {
            Some("none") => Some(Overlap::None),
            Some("until_first_use") => Some(Overlap::UntilFirstUse),
            Some(_) => None,
            None => value.as_f64().and_then(seconds).filter(is_whole).map(Overlap::For),
        }))
    }
}

/// Gives a key a new secret, whose token is in this answer and in no other.
///
/// A repetition with the same `Idempotency-Key` makes no further one: it is told the key without a token by
/// the process that has done it, and by any other that the key has changed.
#[utoipa::path(post, path = "/api/keys/{id}/rotate", tag = "keys", request_body = RotationBody,
    params(
        ("id" = String, Path, description = "The id of the key", pattern = "^[0-9A-Za-z]{16}$"),
        ("If-Match" = String, Header, description = "The `ETag` of the key",
            pattern = "^\"[0-9]{1,19}\"$"),
        ("Idempotency-Key" = String, Header, min_length = 1, max_length = 255,
            pattern = "^[!-~]{1,255}$", description = "Made up anew for each rotation"),
    ),
    responses((status = 200, body = IssuedView, headers(("etag" = String)))))]
pub(in super::super) async fn rotate_key(
    State(app): State<Arc<App>>,
    admin: TenantAdmin,
    KeyPath(id): KeyPath,
    fields: HeaderMap,
    Json(RotationBody { overlap }): Json<RotationBody>,
) -> Result<Response, Problem> {
    let if_match = IfMatch::require(&fields)?;
    let mut rotation = Rotation {
        tenant: admin.keys.id().clone(),
        key: id,
        idempotency_key: idempotency_key(&fields)?.to_owned(),
        rotated_before: None,
        overlap: overlap.0.ok_or_else(|| {
            let detail = "an overlap is `none`, `until_first_use` or a number of seconds";
            Problem::invalid_field("overlap", detail)
        })?,
    };
    let tenant = app.keyring.find_tenant(admin.keys.id()).await?;
    // The second time, another request was faster, which may be a repetition of this one.
    for _ in 0..2 {
        let key = admin.keys.find(id).await?;
        rotation.rotated_before = key.rotated_at();
        match app.replays.seen(&rotation) {
            Seen::No => {}
            Seen::Done => return Ok(tell_issued(&app, &key, &tenant, None, StatusCode::OK)),
            Seen::Otherwise => return Err(Problem::idempotency_key_reused()),
        }
        if_match.check(key.version())?;
        app.replays.note(rotation.clone());
        match admin.keys.rotate(id, key.version(), rotation.overlap).await {
            Ok(IssuedKey { key, token }) => {
                let token = token.reveal();
                return Ok(tell_issued(&app, &key, &tenant, Some(&token), StatusCode::OK));
            }
            Err(KeyringError::Conflict) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Problem::changed())
}

/// Deletes a key, for good.
#[utoipa::path(delete, path = "/api/keys/{id}", tag = "keys",
    params(
        ("id" = String, Path, description = "The id of the key", pattern = "^[0-9A-Za-z]{16}$"),
        ("If-Match" = Option<String>, Header,
            description = "The `ETag` of the key, if only that version is to be deleted",
            pattern = "^\"[0-9]{1,19}\"$"),
    ),
    responses((status = 204, description = "It is gone")))]
pub(in super::super) async fn delete_key(
    admin: TenantAdmin,
    KeyPath(id): KeyPath,
    fields: HeaderMap,
) -> Result<Response, Problem> {
    if let Some(if_match) = IfMatch::of(&fields) {
        if_match.check(admin.keys.find(id).await?.version())?;
    }
    admin.keys.delete(id).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
