//! Parts shared by the SQL stores: the tables, the reading statements, and the decoding of rows.
//!
//! There are two main tables, and one row for the marker. A row holds the record as keyway encodes it. Its
//! other columns hold only values that statements select and sort by. Every read compares these columns with
//! the record, so a change by anyone else is detected. The tables of the usage are in `sql/usage.rs`, and those of
//! the events in `sql/events.rs`.
//!
//! | `tenants` | |
//! |---|---|
//! | `id` | the text as bytes, so that no collation treats two ids as equal |
//! | `version` | for compare-and-set |
//! | `record` | null once the tenant is deleted, until its last key is erased |
//!
//! | `keys` | |
//! |---|---|
//! | `id` | 16 bytes |
//! | `tenant` | null once the key is deleted; the id stays, so that it is never accepted again |
//! | `created_at` | milliseconds, the order of lists |
//! | `version` | |
//! | `record` | null once the key is deleted |
//! | `last_used` | milliseconds; beside the record, and not sealed |
//! | `owner` | the text as bytes, for lists of the keys of one owner; null without an owner |

pub(super) mod events;
pub(super) mod limits;
pub(super) mod usage;

use alloc::{collections::BTreeMap, format, string::String, vec::Vec};

use super::{BrokenRow, KeyCursor, KeyQuery, KeyUse, Rows, StoreError, StoredKey};
use crate::{
    record::{KeyRecord, RecordError, TenantId, TenantRecord},
    time::Timestamp,
    token::KeyId,
};

/// The columns of a key `k`, in the order in which a [`KeyRow`] is read.
const KEY: &str = "k.id, k.tenant, k.created_at, k.version, k.record, k.last_used, k.owner";

/// The number of columns of a key.
pub(super) const KEY_COLUMNS: usize = 7;

/// The columns of a tenant `t`, in the order in which a [`TenantRow`] is read.
const TENANT: &str = "t.id, t.version, t.record";

/// The number of columns of a tenant.
#[cfg(feature = "postgres")]
pub(super) const TENANT_COLUMNS: usize = 3;

/// Returns the columns that a lookup selects: those of the key, followed by those of its tenant.
pub(super) fn columns() -> String {
    format!("{KEY}, {TENANT}")
}

/// Returns the condition that the tenant in parameter `n` exists. A statement with this condition finds no
/// keys of a deleted tenant that are still to be erased.
pub(super) fn is_live(prefix: &str, n: u8) -> String {
    format!("EXISTS (SELECT 1 FROM {prefix}tenants t WHERE t.id = ${n} AND t.record IS NOT NULL)")
}

/// The number of keys of a deleted tenant that are erased in one transaction. The portion is small, so that
/// it ends well within any time limit and other writes run between two portions.
pub(super) const PORTION: usize = 2_000;

/// The statements that read or delete keys, in the SQL that both engines run.
#[derive(Clone, Debug)]
pub(super) struct CommonStatements {
    pub(super) lookup: String,
    pub(super) tenant: String,
    pub(super) tenants: String,
    pub(super) key: String,
    pub(super) keys: String,
    /// Like `keys`, of the owner in parameter 4. The limit is parameter 5.
    pub(super) keys_of_owner: String,
    pub(super) count: String,
    pub(super) delete_key: String,
    pub(super) erase_keys: String,
}

impl CommonStatements {
    /// Creates the statements, with `prefix` before the name of each table. `join` joins a key `k` with its
    /// tenant `t`, and keeps a key whose tenant is missing. `gate` is empty, or a condition followed by `AND`
    /// that is put into every read.
    ///
    /// Comparisons have spaces around their operators and assignments have none. `postgres::statements`
    /// relies on this to distinguish them.
    pub(super) fn new(prefix: &str, join: &str, gate: &str) -> Self {
        // Only the id of a deleted key remains.
        let erase = format!(
            "UPDATE {prefix}keys SET tenant=NULL, created_at=0, version=0, record=NULL, \
             last_used=NULL, owner=NULL WHERE"
        );
        // SQLite numbers parameters in the order in which they first occur, so that is the order of their names.
        let keys = |owner_and_limit: [&str; 2]| {
            let [owner, limit] = owner_and_limit;
            format!(
                "SELECT {KEY} FROM {prefix}keys k WHERE {gate}k.tenant = $1 \
                 AND (k.created_at, k.id) > ($2, $3) {owner}AND {} \
                 ORDER BY k.created_at, k.id LIMIT {limit}",
                is_live(prefix, 1)
            )
        };
        Self {
            // One statement sees one snapshot.
            lookup: format!(
                "SELECT {} FROM {prefix}keys k {join} \
                 WHERE {gate}k.id = $1 AND k.tenant IS NOT NULL",
                columns()
            ),
            tenant: format!(
                "SELECT {TENANT} FROM {prefix}tenants t \
                 WHERE {gate}t.id = $1 AND t.record IS NOT NULL"
            ),
            tenants: format!(
                "SELECT {TENANT} FROM {prefix}tenants t WHERE {gate}t.id > $1 \
                 AND t.record IS NOT NULL ORDER BY t.id LIMIT $2"
            ),
            key: format!(
                "SELECT {KEY} FROM {prefix}keys k WHERE {gate}k.id = $1 AND k.tenant = $2 AND {}",
                is_live(prefix, 2)
            ),
            keys: keys(["", "$4"]),
            keys_of_owner: keys(["AND k.owner = $4 ", "$5"]),
            // The order is that of the index. Without it, PostgreSQL collects all of the tenant's rows first,
            // and a limit of 5 takes as long as counting 300,000 keys.
            count: format!(
                "SELECT count(*) FROM (SELECT 1 FROM {prefix}keys k \
                 WHERE {gate}k.tenant = $1 AND {} \
                 ORDER BY k.created_at, k.id LIMIT $2) k",
                is_live(prefix, 1)
            ),
            delete_key: format!("{erase} id = $1 AND tenant = $2 AND {}", is_live(prefix, 2)),
            erase_keys: format!(
                "{erase} id IN (SELECT k.id FROM {prefix}keys k WHERE k.tenant = $1 \
                 ORDER BY k.created_at, k.id LIMIT $2)"
            ),
        }
    }
}

/// The columns of a key.
#[derive(Debug)]
pub(super) struct KeyRow<'r> {
    pub(super) id: &'r [u8],
    pub(super) tenant: &'r [u8],
    pub(super) created_at: i64,
    pub(super) version: i64,
    pub(super) record: Option<&'r [u8]>,
    pub(super) last_used: Option<i64>,
    pub(super) owner: Option<&'r [u8]>,
}

impl KeyRow<'_> {
    pub(super) fn decode(&self) -> Result<KeyRecord, StoreError> {
        let record = self.record.unwrap_or_default();
        let key =
            KeyRecord::decode(record).map_err(|_| RecordError::UnreadableKey(self.named()))?;
        let is_consistent = key.id.as_bytes() == self.id
            && key.tenant.as_str().as_bytes() == self.tenant
            && key.created_at.as_millis() == self.created_at
            && key.version.cast_signed() == self.version
            && owner(&key) == self.owner;
        if !is_consistent {
            return Err(self.inconsistent());
        }
        Ok(key.with_last_used(self.last_used.map(Timestamp::saturating_from_millis)))
    }

    /// Returns the error for a row that another program has changed.
    fn inconsistent(&self) -> StoreError {
        RecordError::UnreadableKey(self.named()).into()
    }

    pub(super) fn named(&self) -> Option<KeyId> {
        KeyId::from_bytes(self.id.try_into().ok()?)
    }

    /// Returns the row's position in a list, or `None` if its id or time is invalid. No cursor can name such
    /// a row.
    fn place(&self) -> Option<KeyCursor> {
        Some(KeyCursor { id: self.named()?, created_at: Timestamp::from_millis(self.created_at)? })
    }
}

/// The columns of a tenant.
#[derive(Debug)]
pub(super) struct TenantRow<'r> {
    pub(super) id: &'r [u8],
    pub(super) version: i64,
    pub(super) record: Option<&'r [u8]>,
}

impl TenantRow<'_> {
    pub(super) fn decode(&self) -> Result<TenantRecord, StoreError> {
        let tenant = TenantRecord::decode(self.record.unwrap_or_default())?;
        let is_consistent = tenant.id.as_str().as_bytes() == self.id
            && tenant.version.cast_signed() == self.version;
        if is_consistent { Ok(tenant) } else { Err(RecordError::UnreadableTenant.into()) }
    }

    fn named(&self) -> Option<TenantId> {
        TenantId::stored(core::str::from_utf8(self.id).ok()?).ok()
    }
}

/// Returns the result of a lookup. The keys of a deleted tenant are not found. A key without a tenant row was
/// written by another program, and is an error.
pub(super) fn stored(
    key: &KeyRow<'_>,
    tenant: Option<&TenantRow<'_>>,
) -> Result<Option<StoredKey>, StoreError> {
    let tenant = tenant.ok_or_else(|| key.inconsistent())?;
    if tenant.record.is_none() {
        return Ok(None);
    }
    Ok(Some(StoredKey { key: key.decode()?, tenant: tenant.decode()? }))
}

/// A page that is being read. It is full when it holds as many rows with a name as were requested. The next
/// page then has a name after which it begins.
pub(super) struct Page<T> {
    rows: Rows<T>,
    free: usize,
}

impl<T> Page<T> {
    pub(super) fn new(max: usize) -> Self {
        Self { rows: Vec::new(), free: max }
    }

    pub(super) fn is_full(&self) -> bool {
        self.free == 0
    }

    pub(super) fn into_rows(self) -> Rows<T> {
        self.rows
    }

    fn push(&mut self, row: Result<T, BrokenRow>, is_named: bool) {
        self.rows.push(row);
        self.free = self.free.saturating_sub(usize::from(is_named));
    }
}

impl Page<KeyRecord> {
    pub(super) fn push_key(&mut self, row: &KeyRow<'_>, tenant: &TenantId, query: &KeyQuery) {
        match row.decode() {
            Ok(key) if query.matches(&key) => self.push(Ok(key), true),
            Ok(_) => {}
            Err(_) => {
                let place = row.place();
                self.push(Err(BrokenRow::of_key(tenant.clone(), place)), place.is_some());
            }
        }
    }
}

impl Page<TenantRecord> {
    pub(super) fn push_tenant(&mut self, row: &TenantRow<'_>) {
        if let Ok(tenant) = row.decode() {
            self.push(Ok(tenant), true);
        } else {
            let id = row.named();
            let is_named = id.is_some();
            self.push(Err(BrokenRow::of_tenant(id)), is_named);
        }
    }
}

/// Returns the owner of `key` as its column holds it.
pub(super) fn owner(key: &KeyRecord) -> Option<&[u8]> {
    key.owner.as_ref().map(|owner| owner.as_str().as_bytes())
}

/// Returns the creation time and id after which a page of keys begins.
pub(super) fn start(query: &KeyQuery) -> (i64, Vec<u8>) {
    query.cursor().map_or((i64::MIN, Vec::new()), |cursor| {
        (cursor.created_at.as_millis(), cursor.id.as_bytes().to_vec())
    })
}

/// Returns the id after which a page of tenants begins. No id is empty, so every tenant follows the empty id.
pub(super) fn tenants_start(after: Option<&TenantId>) -> &[u8] {
    after.map_or(&[], |id| id.as_str().as_bytes())
}

/// Returns the latest use of each key, ordered by id. The order makes two nodes lock rows in the same order.
pub(super) fn latest(uses: &[KeyUse]) -> BTreeMap<KeyId, i64> {
    let mut latest = BTreeMap::new();
    for KeyUse { id, at } in uses {
        let at = at.as_millis();
        latest.entry(*id).and_modify(|known: &mut i64| *known = at.max(*known)).or_insert(at);
    }
    latest
}

/// Converts a number of rows for SQL.
pub(super) fn limit(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// Converts a count from SQL.
pub(super) fn count(count: i64) -> u32 {
    u32::try_from(count.max(0)).unwrap_or(u32::MAX)
}
