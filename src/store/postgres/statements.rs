//! What a [`PostgresStore`](super::PostgresStore) says to the server.
//!
//! Each statement is prepared once per connection. A write that is one statement is one round trip
//! and one transaction. Changes are announced by the statement that makes them, so that they are
//! announced if and only if they are committed.

use alloc::{
    format,
    string::{String, ToString},
    sync::Arc,
};

use sqlx::{AssertSqlSafe, SqlSafeStr, SqlStr};

use super::schema::Schema;
use crate::store::sql::{self, Shared};

/// A statement whose text is shared by all who execute it. Only the name of the schema was put into
/// it, which has been checked.
#[derive(Clone, Debug)]
pub(super) struct Statement(Arc<str>);

impl Statement {
    fn new(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }
}

impl SqlSafeStr for &Statement {
    fn into_sql_str(self) -> SqlStr {
        AssertSqlSafe(Arc::clone(&self.0)).into_sql_str()
    }
}

#[derive(Debug)]
pub(super) struct Statements {
    pub(super) lookup: Statement,
    pub(super) replica_lookup: Statement,
    pub(super) tenant: Statement,
    pub(super) tenants: Statement,
    pub(super) key: Statement,
    pub(super) keys: Statement,
    pub(super) count: Statement,
    pub(super) insert_tenant: Statement,
    pub(super) insert_tenant_with_key: Statement,
    pub(super) update_tenant: Statement,
    pub(super) delete_tenant: Statement,
    pub(super) delete_keys: Statement,
    pub(super) lock_tenant: Statement,
    pub(super) insert_key: Statement,
    pub(super) update_key: Statement,
    pub(super) delete_key: Statement,
    pub(super) record_uses: Statement,
    pub(super) beat: Statement,
}

/// The server's clock, in milliseconds.
const CLOCK: &str = "(extract(epoch FROM clock_timestamp()) * 1000)::bigint";

const INSERT_KEY: &str = "keys (id, tenant, created_at, version, record, last_used)";

impl Statements {
    pub(super) fn new(schema: &Schema, announces: bool) -> Self {
        let p = schema.prefix();
        // With a plain join, the planner reads all of a table of a few hundred tenants for one key.
        let join = format!(
            "LEFT JOIN LATERAL (SELECT t.id, t.version, t.record FROM {p}tenants t \
             WHERE t.id = k.tenant LIMIT 1) t ON TRUE"
        );
        let shared = Shared::new(&p, &join);
        let channel = schema.channel();
        // Announces the `kind` and id of each row of the common table `changed`, and counts them.
        let count_and_tell = |kind: &str| -> String {
            if announces {
                // An id is text in UTF-8 in any case; a payload is text, so it goes as hex.
                format!("count(pg_notify('{channel}', '{kind}' || encode(id, 'hex')))")
            } else {
                "count(*)".to_string()
            }
        };
        Self {
            // One row in any case, which tells how far behind it is.
            replica_lookup: Statement::new(format!(
                "SELECT {}, {CLOCK} - b.at FROM {p}beats b \
                 LEFT JOIN {p}keys k ON k.id = $1 AND k.tenant IS NOT NULL \
                 {join} WHERE b.id = 1",
                sql::columns()
            )),
            lookup: Statement::new(shared.lookup),
            tenant: Statement::new(shared.tenant),
            tenants: Statement::new(shared.tenants),
            key: Statement::new(shared.key),
            keys: Statement::new(shared.keys),
            count: Statement::new(shared.count),
            insert_tenant: Statement::new(format!(
                "INSERT INTO {p}tenants (id, version, record) VALUES ($1, $2, $3)"
            )),
            insert_tenant_with_key: Statement::new(format!(
                "WITH tenant AS (INSERT INTO {p}tenants (id, version, record) VALUES ($1, $2, $3)) \
                 INSERT INTO {p}{INSERT_KEY} VALUES ($4, $1, $5, $6, $7, $8)"
            )),
            // The last column tells an old version from a missing row.
            update_tenant: Statement::new(format!(
                "WITH changed AS (UPDATE {p}tenants SET version = $2, record = $3 \
                 WHERE id = $1 AND version = $4 RETURNING id) \
                 SELECT {}, EXISTS (SELECT 1 FROM {p}tenants WHERE id = $1) FROM changed",
                count_and_tell("t")
            )),
            delete_tenant: Statement::new(format!(
                "WITH changed AS (DELETE FROM {p}tenants WHERE id = $1 RETURNING id) \
                 SELECT {} FROM changed",
                count_and_tell("t")
            )),
            delete_keys: Statement::new(shared.delete_keys),
            // A write and not only a lock, so that databases that isolate by snapshots see that two
            // who count the keys of one tenant are in each other's way.
            lock_tenant: Statement::new(format!(
                "UPDATE {p}tenants SET version = version WHERE id = $1 RETURNING version"
            )),
            insert_key: Statement::new(format!(
                "WITH held AS (SELECT count(*) AS n FROM {p}keys WHERE tenant = $2), \
                 inserted AS (INSERT INTO {p}{INSERT_KEY} \
                 SELECT $1, $2, $3, $4, $5, $6 FROM held WHERE n < $7 \
                 ON CONFLICT (id) DO NOTHING RETURNING id) \
                 SELECT n, EXISTS (SELECT 1 FROM inserted) FROM held"
            )),
            update_key: Statement::new(format!(
                "WITH changed AS (UPDATE {p}keys SET version = $3, record = $4 \
                 WHERE id = $1 AND tenant = $2 AND version = $5 RETURNING id) \
                 SELECT {}, EXISTS (SELECT 1 FROM {p}keys WHERE id = $1 AND tenant = $2) \
                 FROM changed",
                count_and_tell("k")
            )),
            delete_key: Statement::new(format!(
                "WITH changed AS ({} RETURNING id) SELECT {} FROM changed",
                shared.delete_key,
                count_and_tell("k")
            )),
            record_uses: Statement::new(format!(
                "UPDATE {p}keys AS k SET last_used = used.at \
                 FROM unnest($1::bytea[], $2::bigint[]) AS used (id, at) \
                 WHERE k.id = used.id AND k.tenant IS NOT NULL \
                 AND (k.last_used IS NULL OR k.last_used < used.at)"
            )),
            beat: Statement::new(format!(
                "UPDATE {p}beats SET at = {CLOCK} WHERE id = 1 AND at < {CLOCK} - 500"
            )),
        }
    }
}
