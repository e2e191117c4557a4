//! What the SQL stores share: their tables, their reading statements, and what a row becomes.
//!
//! Two tables. A row is the record as keyway encodes it, and beside it only what statements select
//! and sort by; those columns are compared with the record whenever it is read, so that whoever
//! changes one is found out.
//!
//! | `tenants` | |
//! |---|---|
//! | `id` | the text as bytes, so that no collation can say that two are the same |
//! | `version` | for compare-and-set |
//! | `record` | |
//!
//! | `keys` | |
//! |---|---|
//! | `id` | 16 bytes |
//! | `tenant` | null once the key is deleted: the id stays, so that it is never used again |
//! | `created_at` | milliseconds, the order of lists |
//! | `version` | |
//! | `record` | null once the key is deleted |
//! | `last_used` | milliseconds; beside the record, and not sealed |

use alloc::{collections::BTreeMap, format, string::String, vec::Vec};

use super::{KeyQuery, KeyUse, StoreError, StoredKey};
use crate::{
    record::{DecodeError, KeyRecord, TenantId, TenantRecord},
    time::Timestamp,
    token::KeyId,
};

/// The columns of a key `k`, in the order in which a [`KeyRow`] is read.
const KEY: &str = "k.id, k.tenant, k.created_at, k.version, k.record, k.last_used";

/// The columns of a tenant `t`, in the order in which a [`TenantRow`] is read.
const TENANT: &str = "t.id, t.version, t.record";

/// What a look-up selects: the columns of the key, and behind them those of its tenant.
pub(super) fn columns() -> String {
    format!("{KEY}, {TENANT}")
}

/// The statements that read and that delete keys, in the SQL that both engines run.
#[derive(Clone, Debug)]
pub(super) struct Shared {
    pub(super) lookup: String,
    pub(super) tenant: String,
    pub(super) tenants: String,
    pub(super) key: String,
    pub(super) keys: String,
    pub(super) count: String,
    pub(super) delete_key: String,
    pub(super) delete_keys: String,
}

impl Shared {
    /// With `prefix` before the name of each table. `join` brings a key `k` its tenant `t`, and shows a
    /// key whose tenant is missing.
    pub(super) fn new(prefix: &str, join: &str) -> Self {
        // What is left of a deleted key is its id.
        let erase = format!(
            "UPDATE {prefix}keys SET tenant = NULL, created_at = 0, version = 0, record = NULL, \
             last_used = NULL WHERE"
        );
        Self {
            // One statement sees one snapshot.
            lookup: format!(
                "SELECT {} FROM {prefix}keys k {join} \
                 WHERE k.id = $1 AND k.tenant IS NOT NULL",
                columns()
            ),
            tenant: format!("SELECT {TENANT} FROM {prefix}tenants t WHERE t.id = $1"),
            tenants: format!(
                "SELECT {TENANT} FROM {prefix}tenants t WHERE t.id > $1 \
                 ORDER BY t.id LIMIT $2"
            ),
            key: format!("SELECT {KEY} FROM {prefix}keys k WHERE k.id = $1 AND k.tenant = $2"),
            keys: format!(
                "SELECT {KEY} FROM {prefix}keys k WHERE k.tenant = $1 \
                 AND (k.created_at, k.id) > ($2, $3) ORDER BY k.created_at, k.id LIMIT $4"
            ),
            count: format!("SELECT count(*) FROM {prefix}keys k WHERE k.tenant = $1"),
            delete_key: format!("{erase} id = $1 AND tenant = $2"),
            delete_keys: format!("{erase} tenant = $1"),
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
    pub(super) record: &'r [u8],
    pub(super) last_used: Option<i64>,
}

impl KeyRow<'_> {
    pub(super) fn decode(&self) -> Result<KeyRecord, StoreError> {
        let key = KeyRecord::decode(self.record).map_err(|error| error.of_key(self.named()))?;
        let is_consistent = key.id.as_bytes() == self.id
            && key.tenant.as_str().as_bytes() == self.tenant
            && key.created_at.as_millis() == self.created_at
            && key.version.cast_signed() == self.version;
        if !is_consistent {
            return Err(self.inconsistent());
        }
        Ok(key.with_last_used(self.last_used.map(Timestamp::saturating_from_millis)))
    }

    /// Somebody else has written to the row.
    fn inconsistent(&self) -> StoreError {
        DecodeError::new("key").of_key(self.named()).into()
    }

    fn named(&self) -> Option<KeyId> {
        KeyId::from_bytes(self.id.try_into().ok()?)
    }
}

/// The columns of a tenant.
#[derive(Debug)]
pub(super) struct TenantRow<'r> {
    pub(super) id: &'r [u8],
    pub(super) version: i64,
    pub(super) record: &'r [u8],
}

impl TenantRow<'_> {
    pub(super) fn decode(&self) -> Result<TenantRecord, StoreError> {
        let tenant = TenantRecord::decode(self.record)?;
        let is_consistent = tenant.id.as_str().as_bytes() == self.id
            && tenant.version.cast_signed() == self.version;
        if is_consistent { Ok(tenant) } else { Err(DecodeError::new("tenant").into()) }
    }
}

/// What a look-up has found; a key without a tenant is a row that somebody else has written.
pub(super) fn stored(
    key: &KeyRow<'_>,
    tenant: Option<&TenantRow<'_>>,
) -> Result<StoredKey, StoreError> {
    let tenant = tenant.ok_or_else(|| key.inconsistent())?;
    Ok(StoredKey { key: key.decode()?, tenant: tenant.decode()? })
}

/// Where a page of keys begins: behind this creation time and id.
pub(super) fn start(query: &KeyQuery) -> (i64, Vec<u8>) {
    query.cursor().map_or((i64::MIN, Vec::new()), |cursor| {
        (cursor.created_at.as_millis(), cursor.id.as_bytes().to_vec())
    })
}

/// Where a page of tenants begins. No id is empty, so all are behind the empty one.
pub(super) fn tenants_start(after: Option<&TenantId>) -> &[u8] {
    after.map_or(&[], |id| id.as_str().as_bytes())
}

/// The latest use of each key, in the order of ids, so that two nodes lock rows in the same order.
pub(super) fn latest(uses: &[KeyUse]) -> BTreeMap<KeyId, i64> {
    let mut latest = BTreeMap::new();
    for KeyUse { id, at } in uses {
        let at = at.as_millis();
        latest.entry(*id).and_modify(|known: &mut i64| *known = at.max(*known)).or_insert(at);
    }
    latest
}

/// A number of rows as SQL has it.
pub(super) fn limit(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// A count as SQL has it.
pub(super) fn count(count: i64) -> u32 {
    u32::try_from(count.max(0)).unwrap_or(u32::MAX)
}
