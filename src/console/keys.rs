//! Reading a tenant's keys.

pub(super) mod bulk;
pub(super) mod create;
pub(super) mod edit;
pub(super) mod events;
pub(super) mod rotate;

use alloc::vec::Vec;

use axum::{http::StatusCode, response::Response};
use futures_util::future::join;
use serde::Deserialize;

use super::{
    app::App,
    auth::TenantAdmin,
    body::{Json, check_pasted, json, secret_json, versioned},
    children::prefix_of,
    extract::{IfMatch, Parameters, Path, write_cursor},
    problem::ApiResult,
    views::{FoundView, IssuedView, KeysView, broken},
};
use crate::{
    audit::ChangeKind,
    http::{problem::Problem, secret_json::Secret},
    keyring::{Page, TenantKeys},
    record::{KeyRecord, TenantRecord},
    store::{KeyCursor, KeyFilter, KeyQuery},
    token::KeyId,
};

/// The maximum number of keys that one filtered page reads, even if few of them pass the filter.
const MAX_READ: usize = 5_000;

/// Returns one page of the tenant's keys, in the order of their creation.
pub(super) async fn list_keys(admin: TenantAdmin, parameters: Parameters) -> ApiResult {
    let Selected { tenant, page, is_from_start } = select(&admin, &parameters).await?;
    page_of(&admin.app, tenant, page, is_from_start).await
}

/// The page of keys that a request selects.
pub(super) struct Selected {
    tenant: TenantRecord,
    pub(super) page: Page<KeyRecord>,
    /// Whether no key of the tenant comes before the page.
    is_from_start: bool,
}

/// Returns the page of keys that `parameters` select.
pub(super) async fn select(
    admin: &TenantAdmin,
    parameters: &Parameters,
) -> Result<Selected, Problem> {
    let (limit, after) = (parameters.limit()?, parameters.after_key()?);
    let filter = parameters.filter()?;
    let TenantAdmin { app, keys, .. } = admin;
    if filter == KeyFilter::all() {
        let query = query(limit, after);
        // Both reads run concurrently, because neither depends on the other.
        let (tenant, page) = join(admin.tenant(), keys.list(&query)).await;
        let is_from_start = after.is_none() && admin.owner.is_none();
        return Ok(Selected { tenant: tenant?, page: page?, is_from_start });
    }
    let tenant = admin.tenant().await?;
    let facts = app.keyring.facts(tenant.clone());
    let is_wanted = |key: &KeyRecord| filter.matches_in(key, Some(&facts));
    let page = filtered(keys, &filter, limit, after, is_wanted).await?;
    Ok(Selected { tenant, page, is_from_start: false })
}

/// Responds with a page of `tenant`'s keys.
///
/// `is_from_start` says that no key comes before the page. If none comes after it either, the page shows how
/// many keys the tenant holds, and the store is not asked for their number.
pub(super) async fn page_of(
    app: &App,
    tenant: TenantRecord,
    page: Page<KeyRecord>,
    is_from_start: bool,
) -> ApiResult {
    let held = if is_from_start && page.next.is_none() {
        u32::try_from(page.items.len() + page.broken.len()).unwrap_or(u32::MAX)
    } else {
        app.keyring.quota_use(tenant.clone()).await?.held
    };
    let view = KeysView {
        items: page.items.iter().map(|key| app.view(key, &tenant)).collect(),
        held,
        allowed: app.keyring.allowed(&tenant),
        broken: broken(&page.broken),
        next: page.next.map(write_cursor),
    };
    Ok(json(StatusCode::OK, &view))
}

pub(super) fn query(limit: usize, after: Option<KeyCursor>) -> KeyQuery {
    let query = KeyQuery::all().limit(limit);
    match after {
        Some(cursor) => query.after(cursor),
        None => query,
    }
}

/// Returns the first `limit` keys after `after` that are wanted. Stops after `MAX_READ` keys, with a cursor
/// to continue from. The store selects by the owner of `filter`, for which it has an index.
async fn filtered(
    keys: &TenantKeys,
    filter: &KeyFilter,
    limit: usize,
    mut after: Option<KeyCursor>,
    is_wanted: impl Fn(&KeyRecord) -> bool,
) -> Result<Page<KeyRecord>, Problem> {
    let (mut items, mut broken) = (Vec::new(), Vec::new());
    for _ in 0..MAX_READ / KeyQuery::MAX_LIMIT {
        let query = query(KeyQuery::MAX_LIMIT, after).matching(filter.only_owner());
        let page = keys.list(&query).await?;
        broken.extend(page.broken);
        let mut read = page.items.into_iter();
        while let Some(key) = read.next() {
            after = Some(KeyCursor::of(&key));
            if is_wanted(&key) {
                items.push(key);
            }
            if items.len() == limit {
                let has_more = read.len() > 0 || page.next.is_some();
                return Ok(Page { items, next: after.filter(|_| has_more), broken });
            }
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    Ok(Page { items, next: after, broken })
}

/// Returns one key.
pub(super) async fn get_key(admin: TenantAdmin, Path(id): Path<KeyId>) -> ApiResult {
    let key = admin.keys.find(id).await?;
    let tenant = admin.tenant().await?;
    Ok(key_response(&admin.app, &key, &tenant))
}

/// Responds with a key, and its version as the `ETag`.
pub(super) fn key_response(app: &App, key: &KeyRecord, tenant: &TenantRecord) -> Response {
    versioned(key.version(), json(StatusCode::OK, &app.view(key, tenant)))
}

/// Responds with a key and its new token, or without a token to a repetition.
///
/// INVARIANT: it cannot fail. The key is written already, and its token could not be returned a second time.
fn issued_response(
    app: &App,
    key: &KeyRecord,
    tenant: &TenantRecord,
    token: Option<&str>,
    status: StatusCode,
) -> Response {
    let view = IssuedView {
        key: app.view(key, tenant),
        token,
        child_prefix: prefix_of(&app.keyring, key),
        replayed: token.is_none(),
    };
    versioned(key.version(), secret_json(status, &view))
}

/// Returns the key `id` if `if_match` names its version. Otherwise records the refused change in the audit.
pub(super) async fn find_version(
    keys: &TenantKeys,
    change: ChangeKind,
    id: KeyId,
    if_match: &IfMatch,
) -> Result<KeyRecord, Problem> {
    let named = |key: KeyRecord| if_match.check(key.version()).map(|()| key);
    let found = keys.find(id).await.and_then(named);
    match found {
        Ok(key) => Ok(key),
        Err(error) => Err(keys.refused(change, id, error).await.into()),
    }
}

/// The text of a search. It may be a whole token, so there is no `Debug`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Search {
    text: Secret,
}

/// Finds keys by a text. Returns at most 100.
pub(super) async fn search_keys(
    admin: TenantAdmin,
    Json(Search { text }): Json<Search>,
) -> ApiResult {
    check_pasted("text", &text)?;
    let found = admin.keys.search(text.trim()).await?;
    let tenant = admin.tenant().await?;
    let items = found.items.iter().map(|key| admin.app.view(key, &tenant)).collect();
    Ok(json(StatusCode::OK, &FoundView { items, broken: broken(&found.broken) }))
}
