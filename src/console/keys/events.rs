//! What happened to a key.

use alloc::{string::String, sync::Arc, vec::Vec};

use axum::{extract::State, http::StatusCode, response::Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::super::{
    admin::TenantAdmin,
    app::App,
    body::json,
    parts::KeyPath,
    problem::Problem,
    trail::{TrailEvent, TrailPage},
};
use crate::time::Timestamp;

/// The most events that are told.
const MAX: usize = 200;

/// What happened to a key.
#[derive(Serialize, ToSchema)]
#[schema(as = Events)]
pub(in super::super) struct EventsView {
    /// The newest first; at most 200.
    items: Vec<EventView>,
    /// Whether these are all. If not, older ones may be missing.
    complete: bool,
}

/// Something that happened.
#[derive(Serialize, ToSchema)]
#[schema(as = Event)]
struct EventView {
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    /// On whose behalf, in the words of the service; may be empty.
    actor: String,
    /// What, in one word such as `key_edited`.
    kind: String,
    /// What else is known of it; may be empty.
    detail: String,
}

/// What happened to a key, as far as the service keeps it.
#[utoipa::path(get, path = "/api/keys/{id}/events", tag = "keys",
    params(("id" = String, Path, description = "The id of the key", pattern = "^[0-9A-Za-z]{16}$")),
    responses((status = 200, body = EventsView)))]
pub(in super::super) async fn key_events(
    State(app): State<Arc<App>>,
    admin: TenantAdmin,
    KeyPath(id): KeyPath,
) -> Result<Response, Problem> {
    // A trail is asked only for what the tenant holds.
    admin.keys.find(id).await?;
    let TrailPage { mut events, complete } = match &app.trail {
        None => TrailPage::default(),
        Some(trail) => {
            let read = trail.read(admin.keys.id(), id, MAX).await;
            read.map_err(|_| Problem::unavailable())?
        }
    };
    let complete = complete && events.len() <= MAX;
    events.truncate(MAX);
    let view = |TrailEvent { at, actor, kind, detail }| EventView { at, actor, kind, detail };
    let view = EventsView { items: events.into_iter().map(view).collect(), complete };
    Ok(json(StatusCode::OK, &view))
}
