//! The usage of keys: numbers for charts, and a file for spreadsheets.

pub(super) mod csv;

use alloc::{collections::BTreeMap, string::String, vec::Vec};

use axum::http::StatusCode;
use futures_util::future::join;
use serde::{Serialize, Serializer};

use super::{
    app::App,
    auth::{Operator, TenantAdmin},
    body::{MAX_NUMBER, json},
    extract::{Parameters, Path, write_cursor},
    keys::{query, select},
    problem::{self, ApiResult},
};
use crate::{
    http::problem::Problem,
    keyring::{KeyringError, TenantKeys, Usage},
    record::{KeyRecord, TenantId},
    store::KeyCursor,
    token::KeyId,
    usage::{Counts, Day, DayUsage, Span},
};

/// The operations that read usage, by their `operationId`. A console of a keyring without usage does not document them.
pub(super) const OPERATIONS: [&str; 4] = ["usage", "usage_csv", "key_usage", "tenant_usage"];

/// The number of keys in one portion of a [`Walk`].
const PORTION: usize = 100;

// INVARIANT: one read returns the usage of all keys of a page and of a portion. It would leave out any further ones.
const _: () = assert!(PORTION <= Usage::MAX_KEYS && Parameters::MAX_LIMIT <= Usage::MAX_KEYS);

/// The requests of one day. The numbers are at most [`MAX_NUMBER`], so that JavaScript reads them exactly.
#[derive(Serialize)]
struct DayView {
    #[serde(serialize_with = "as_text")]
    day: Day,
    admitted: u64,
    forbidden: u64,
    limited: u64,
}

impl DayView {
    fn of(DayUsage { day, counts }: DayUsage) -> Self {
        let Counts { admitted, forbidden, limited } = counts;
        let [admitted, forbidden, limited] =
            [admitted, forbidden, limited].map(|count| count.min(MAX_NUMBER));
        Self { day, admitted, forbidden, limited }
    }
}

/// The requests of all days of a span.
#[derive(Serialize)]
struct DaysView {
    #[serde(serialize_with = "as_text")]
    from: Day,
    #[serde(serialize_with = "as_text")]
    to: Day,
    days: Vec<DayView>,
}

impl DaysView {
    fn of(span: Span, sums: &Sums) -> Self {
        Self { from: span.from, to: span.to, days: sums.days(span) }
    }
}

/// The sums of rows by day.
#[derive(Default)]
struct Sums(BTreeMap<Day, Counts>);

impl Sums {
    fn of(rows: impl IntoIterator<Item = DayUsage>) -> Self {
        let mut sums = Self::default();
        sums.add(rows);
        sums
    }

    fn add(&mut self, rows: impl IntoIterator<Item = DayUsage>) {
        for DayUsage { day, counts } in rows {
            let sum = self.0.entry(day).or_default();
            *sum = sum.plus(counts);
        }
    }

    /// Returns all days of `span`. Days without a request have zeros, so that clients need no calendar.
    fn days(&self, span: Span) -> Vec<DayView> {
        let days = (0..=span.to.number() - span.from.number()).map(|number| span.from.plus(number));
        let row = |day| DayUsage { day, counts: self.0.get(&day).copied().unwrap_or_default() };
        days.map(row).map(DayView::of).collect()
    }
}

/// A key and its requests, one row for each day with any.
type Used = (KeyRecord, Vec<DayUsage>);

#[derive(Serialize)]
struct UsageView<'k> {
    #[serde(flatten)]
    total: DaysView,
    keys: Vec<KeyDaysView<'k>>,
    next: Option<String>,
}

#[derive(Serialize)]
struct KeyDaysView<'k> {
    id: KeyId,
    name: &'k str,
    days: Vec<DayView>,
}

impl<'k> KeyDaysView<'k> {
    fn of((key, rows): &'k Used, span: Span) -> Self {
        let days = Sums::of(rows.iter().copied()).days(span);
        Self { id: key.id(), name: key.name(), days }
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn as_text<S: Serializer>(day: &Day, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(day)
}

/// Returns the requests of all keys together, and those of each key on one page of the list of keys.
pub(super) async fn usage(admin: TenantAdmin, parameters: Parameters) -> ApiResult {
    let (usage, span) = asked_for(&admin.app, &parameters)?;
    // Both reads run concurrently, because neither depends on the other.
    let (selected, total) = join(select(&admin, &parameters), total(&admin, &usage, span)).await;
    let (page, total) = (selected?.page, total?);
    let keys = of_keys(&usage, admin.keys.id(), page.items, span).await?;
    let view = UsageView {
        total: DaysView::of(span, &total),
        keys: keys.iter().map(|key| KeyDaysView::of(key, span)).collect(),
        next: page.next.map(write_cursor),
    };
    Ok(json(StatusCode::OK, &view))
}

/// Returns the requests of one key.
pub(super) async fn key_usage(
    admin: TenantAdmin,
    Path(id): Path<KeyId>,
    parameters: Parameters,
) -> ApiResult {
    let (usage, span) = asked_for(&admin.app, &parameters)?;
    // INVARIANT: usage is read only for a key that the administrator manages. A member would see others' keys.
    let key = admin.keys.find(id).await?;
    let keys = of_keys(&usage, admin.keys.id(), Vec::from([key]), span).await?;
    let sums = Sums::of(keys.into_iter().flat_map(|(_, rows)| rows));
    Ok(json(StatusCode::OK, &DaysView::of(span, &sums)))
}

/// Returns the requests of all keys of a tenant together.
pub(super) async fn tenant_usage(
    Operator { app, keyring }: Operator,
    Path(tenant): Path<TenantId>,
    parameters: Parameters,
) -> ApiResult {
    let (usage, span) = asked_for(&app, &parameters)?;
    keyring.find_tenant(&tenant).await?;
    let sums = Sums::of(usage.of_tenant(&tenant, span).await?);
    Ok(json(StatusCode::OK, &DaysView::of(span, &sums)))
}

/// Returns the usage, and the days for which the request asks. Their last one is today.
fn asked_for(app: &App, parameters: &Parameters) -> Result<(Usage, Span), Problem> {
    let usage = app.keyring.usage().ok_or_else(problem::usage_not_counted)?;
    let days = parameters.days()?;
    let today = usage.today();
    Ok((usage, Span::days(today.plus(1 - days), today)))
}

/// Returns the requests of all keys that the administrator manages. Deleted keys count as well, except for a member:
/// the owner of a deleted key is not known any more.
async fn total(admin: &TenantAdmin, usage: &Usage, span: Span) -> Result<Sums, KeyringError> {
    if admin.owner.is_none() {
        return Ok(Sums::of(usage.of_tenant(admin.keys.id(), span).await?));
    }
    let mut walk = Walk::new(admin.keys.clone(), usage.clone(), span);
    let mut sums = Sums::default();
    while let Some(portion) = walk.next().await? {
        sums.add(portion.into_iter().flat_map(|(_, rows)| rows));
    }
    Ok(sums)
}

/// The keys that an administrator manages, each with its rows, in portions of [`PORTION`] keys.
struct Walk {
    keys: TenantKeys,
    usage: Usage,
    span: Span,
    after: Option<KeyCursor>,
    is_over: bool,
}

impl Walk {
    fn new(keys: TenantKeys, usage: Usage, span: Span) -> Self {
        Self { keys, usage, span, after: None, is_over: false }
    }

    /// Returns the next portion, or `None` after the last one.
    async fn next(&mut self) -> Result<Option<Vec<Used>>, KeyringError> {
        if self.is_over {
            return Ok(None);
        }
        let page = self.keys.list(&query(PORTION, self.after)).await?;
        self.after = page.next;
        self.is_over = page.next.is_none();
        of_keys(&self.usage, self.keys.id(), page.items, self.span).await.map(Some)
    }
}

/// Returns each of `keys` with its rows. The keys are at most [`Usage::MAX_KEYS`].
async fn of_keys(
    usage: &Usage,
    tenant: &TenantId,
    keys: Vec<KeyRecord>,
    span: Span,
) -> Result<Vec<Used>, KeyringError> {
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<_> = keys.iter().map(KeyRecord::id).collect();
    let mut by_key = BTreeMap::<KeyId, Vec<DayUsage>>::new();
    for row in usage.of_keys(tenant, &ids, span).await? {
        by_key.entry(row.key).or_default().push(DayUsage { day: row.day, counts: row.counts });
    }
    let with_rows = |key: KeyRecord| {
        let rows = by_key.remove(&key.id()).unwrap_or_default();
        (key, rows)
    };
    Ok(keys.into_iter().map(with_rows).collect())
}
