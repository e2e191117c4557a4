//! Reading a tenant's keys.

pub(super) mod change;
pub(super) mod create;
pub(super) mod events;

use alloc::{string::String, sync::Arc, vec::Vec};

use axum::{
    extract::State,
    http::{StatusCode, header},
    response::Response,
};
use futures_util::future::join;
use serde::{Deserialize, de::IntoDeserializer};
use utoipa::ToSchema;

use super::{
    admin::TenantAdmin,
    app::App,
    body::{Json, check_pasted, json},
    paging::{Parameters, write_cursor},
    parts::{KeyPath, etag},
    problem::Problem,
    views::{FoundView, KeyView, KeysView, StateView},
};
use crate::{
    decision::KeyState,
    keyring::{Page, TenantKeys},
    record::{KeyRecord, TenantRecord},
    store::{KeyCursor, KeyQuery},
    time::Timestamp,
};

/// The most keys that are read for one page, where a filter passes few of them.
const MAX_READ: usize = 5_000;

/// One page of the tenant's keys, in the order of their creation.
///
/// With a `state`, a page may be shorter than its limit, or empty, and still have a `next`.
#[utoipa::path(get, path = "/api/keys", tag = "keys",
    params(
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 200, description = "50 without it"),
        ("after" = Option<String>, Query, description = "The `next` of the page before",
            pattern = "^-?[0-9]{1,15}[.][0-9A-Za-z]{16}$"),
        ("state" = Option<StateView>, Query, description = "Only keys in this state"),
    ),
    responses((status = 200, body = KeysView)))]
pub(super) async fn list_keys(
    State(app): State<Arc<App>>,
    admin: TenantAdmin,
    parameters: Parameters,
) -> Result<Response, Problem> {
    let (limit, after) = (parameters.limit()?, parameters.after_key()?);
    let state = parameters.get("state")?.map(read_state).transpose()?;
    let tenant = app.keyring.find_tenant(admin.keys.id());
    let (tenant, page, is_from_start) = match state {
        None => {
            let query = query(limit, after);
            // At once, since neither needs the other.
            let (tenant, page) = join(tenant, admin.keys.list(&query)).await;
            (tenant?, page?, after.is_none())
        }
        Some(state) => {
            let tenant = tenant.await?;
            let now = app.now();
            let is_wanted =
                |key: &KeyRecord| StateView::from(KeyState::of(key, &tenant, now)) == state;
            let page = filtered(&admin.keys, limit, after, is_wanted).await?;
            (tenant, page, false)
        }
    };
    tell_page(&app, tenant, page, is_from_start).await
}

/// Tells a page of the keys of `tenant`, which may be all that it holds.
pub(super) async fn tell_page(
    app: &App,
    tenant: TenantRecord,
    page: Page<KeyRecord>,
    is_from_start: bool,
) -> Result<Response, Problem> {
    let held = if is_from_start && page.next.is_none() {
        u32::try_from(page.items.len()).unwrap_or(u32::MAX)
    } else {
        app.keyring.quota_use(tenant.clone()).await?.held
    };
    let view = KeysView {
        items: views(&page.items, &tenant, app.now()),
        held,
        allowed: app.keyring.allowed(&tenant),
        next: page.next.map(write_cursor),
    };
    Ok(json(StatusCode::OK, &view))
}

fn read_state(text: &str) -> Result<StateView, Problem> {
    let read = StateView::deserialize(
        IntoDeserializer::<serde::de::value::Error>::into_deserializer(text),
    );
    read.map_err(|_| Problem::invalid_field("state", "there is no such state"))
}

pub(super) fn query(limit: usize, after: Option<KeyCursor>) -> KeyQuery {
    let query = KeyQuery::all().limit(limit);
    match after {
        Some(cursor) => query.after(cursor),
        None => query,
    }
}

pub(super) fn views<'k>(
    keys: &'k [KeyRecord],
    tenant: &TenantRecord,
    now: Timestamp,
) -> Vec<KeyView<'k>> {
    keys.iter().map(|key| KeyView::of(key, tenant, now)).collect()
}

/// The first `limit` keys behind `after` that are wanted, of those that are read at most.
async fn filtered(
    keys: &TenantKeys,
    limit: usize,
    mut after: Option<KeyCursor>,
    is_wanted: impl Fn(&KeyRecord) -> bool,
) -> Result<Page<KeyRecord>, Problem> {
    let mut items = Vec::new();
    for _ in 0..MAX_READ / KeyQuery::MAX_LIMIT {
        let page = keys.list(&query(KeyQuery::MAX_LIMIT, after)).await?;
        let mut read = page.items.into_iter();
        while let Some(key) = read.next() {
            after = Some(KeyCursor::of(&key));
            if is_wanted(&key) {
                items.push(key);
            }
            if items.len() == limit {
                let has_more = read.len() > 0 || page.next.is_some();
                return Ok(Page { items, next: after.filter(|_| has_more) });
            }
        }
        if page.next.is_none() {
            return Ok(Page { items, next: None });
        }
    }
    Ok(Page { items, next: after })
}

/// One key.
#[utoipa::path(get, path = "/api/keys/{id}", tag = "keys",
    params(("id" = String, Path, description = "The id of the key", pattern = "^[0-9A-Za-z]{16}$")),
    responses((status = 200, body = KeyView, headers(("etag" = String)))))]
pub(super) async fn get_key(
    State(app): State<Arc<App>>,
    admin: TenantAdmin,
    KeyPath(id): KeyPath,
) -> Result<Response, Problem> {
    let key = admin.keys.find(id).await?;
    let tenant = app.keyring.find_tenant(admin.keys.id()).await?;
    Ok(tell(&app, &key, &tenant))
}

/// Tells a key with its version.
pub(super) fn tell(app: &App, key: &KeyRecord, tenant: &TenantRecord) -> Response {
    let mut response = json(StatusCode::OK, &KeyView::of(key, tenant, app.now()));
    response.headers_mut().insert(header::ETAG, etag(key.version()));
    response
}

/// What is searched for. It may be a whole token, so it has no `Debug`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Search {
    /// A part of the name, of the masked token or of the id, or a whole token, which nobody notes down.
    #[schema(max_length = 2000)]
    text: String,
}

/// Finds keys. At most 100 are told.
#[utoipa::path(post, path = "/api/keys/search", tag = "keys", request_body = Search,
    responses((status = 200, body = FoundView)))]
pub(super) async fn search_keys(
    State(app): State<Arc<App>>,
    admin: TenantAdmin,
    Json(Search { text }): Json<Search>,
) -> Result<Response, Problem> {
    check_pasted("text", &text)?;
    let found = admin.keys.search(text.trim()).await?;
    let tenant = app.keyring.find_tenant(admin.keys.id()).await?;
    let items = views(&found, &tenant, app.now());
    Ok(json(StatusCode::OK, &FoundView { items }))
}
