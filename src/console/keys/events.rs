//! The history of a key.

use alloc::vec::Vec;

use axum::http::StatusCode;
use serde::Serialize;

use super::super::{
    auth::TenantAdmin,
    body::json,
    extract::Path,
    problem::{self, ApiResult},
    trail::{TrailEvent, TrailPage},
};
use crate::token::KeyId;

/// The maximum number of events in a response.
const MAX: usize = 200;

/// The kinds of events that the record of a key counts as changes.
const CHANGES: [&str; 5] =
    ["key_edited", "key_rotated", "grace_period_ended", "key_suspended", "key_resumed"];

#[derive(Serialize)]
struct EventsView {
    items: Vec<TrailEvent>,
    complete: bool,
}

/// Returns the history of a key, as far as the service keeps it.
pub(in super::super) async fn key_events(admin: TenantAdmin, Path(id): Path<KeyId>) -> ApiResult {
    // INVARIANT: the trail is read only for a key that the tenant holds. A trail need not check that itself.
    let key = admin.keys.find(id).await?;
    let Some(trail) = &admin.app.trail else {
        return Ok(json(StatusCode::OK, &EventsView { items: Vec::new(), complete: false }));
    };
    let read = (trail.read)(admin.keys.id().clone(), id, MAX).await;
    let TrailPage { events: mut items, complete } = read.map_err(|_| problem::unavailable())?;
    // `RecentEvents` misses changes by other processes and writes whose response was lost. The record counts
    // them, so a count that is ahead of the events shows that some are missing. The reports of leaks are compared
    // apart: a report that changed nothing is an event too, and would take the place of a missing change.
    let is_behind = || {
        let lacks = |kinds: &[&str], count| {
            let events = items.iter().filter(|event| kinds.contains(&&*event.kind)).count();
            u64::try_from(events).is_ok_and(|events| events < count)
        };
        trail.has_all_changes
            && (lacks(&CHANGES, key.changes) || lacks(&["leak_reported"], key.leaks))
    };
    let complete = complete && items.len() <= MAX && !is_behind();
    items.truncate(MAX);
    Ok(json(StatusCode::OK, &EventsView { items, complete }))
}
