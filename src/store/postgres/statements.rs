//! The SQL statements of a [`PostgresStore`](super::PostgresStore).
//!
//! Each statement is prepared once per connection. A write that consists of one statement is one round trip
//! and one transaction. The statement that makes a change also announces it, so a change is announced if and
//! only if it is committed.

use alloc::{format, string::String, sync::Arc};

use sqlx::{AssertSqlSafe, Postgres, SqlSafeStr, SqlStr, postgres::PgArguments, query::Query};

use super::{pool::Pool, run::ON_PRIMARY, schema::Schema};
use crate::store::sql::{self, CommonStatements};

/// A statement with shared text. The only value inserted into the text is the name of the schema, which has
/// been checked.
#[derive(Clone, Debug)]
pub(super) struct Statement(Arc<str>);

impl Statement {
    /// Qualifies every operator and function with the schema of PostgreSQL itself. An unqualified name
    /// resolves to the first match in the search path. Another role may have created that match, to run as
    /// this role.
    pub(super) fn new(text: impl Into<String>) -> Self {
        let mut text: String = text.into();
        text = text.replace(" IN (", " = ANY (").replace("count(", "pg_catalog.count(");
        // Assignments have no spaces around `=`. All operators in the `OPERATOR()` form have the same
        // precedence, so nested ones need parentheses.
        for operator in ["=", "<", ">", "-", "+", "*"] {
            text = text
                .replace(&format!(" {operator} "), &format!(" OPERATOR(pg_catalog.{operator}) "));
        }
        Self(text.into())
    }

    /// Creates a query for one connection. Behind a pooler the next transaction may use another connection,
    /// on which no statement was prepared.
    pub(super) fn query(&self, pool: &Pool) -> Query<'static, Postgres, PgArguments> {
        sqlx::query(self).persistent(!pool.is_pooled())
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
    pub(super) lookup_many: Statement,
    pub(super) replica_lookup: Statement,
    pub(super) replica_lookup_many: Statement,
    pub(super) tenant: Statement,
    pub(super) tenants: Statement,
    pub(super) key: Statement,
    pub(super) keys: Statement,
    pub(super) keys_of_owner: Statement,
    pub(super) count: Statement,
    pub(super) insert_tenant: Statement,
    pub(super) insert_tenant_with_key: Statement,
    pub(super) update_tenant: Statement,
    pub(super) delete_tenant: Statement,
    pub(super) lock_deleted: Statement,
    pub(super) erase_keys: Statement,
    pub(super) forget_deleted: Statement,
    pub(super) lock_tenant: Statement,
    pub(super) insert_key: Statement,
    pub(super) insert_key_without_limit: Statement,
    pub(super) update_key: Statement,
    pub(super) delete_key: Statement,
    pub(super) record_uses: Statement,
    pub(super) marker: Statement,
    pub(super) replica_marker: Statement,
    pub(super) insert_marker: Statement,
    pub(super) replace_marker: Statement,
    pub(super) beat: Statement,
    pub(super) first_beat: Statement,
    pub(super) prove: Statement,
}

/// The server's clock, in milliseconds.
const CLOCK: &str = "CAST(pg_catalog.date_part('epoch', pg_catalog.clock_timestamp()) \
    * CAST(1000 AS pg_catalog.float8) AS pg_catalog.int8)";

const INSERT_KEY: &str = "keys (id, tenant, created_at, version, record, last_used, owner)";

impl Statements {
    #[allow(clippy::too_many_lines, reason = "one list of statements")]
    pub(super) fn new(schema: &Schema, announces: bool) -> Self {
        let p = schema.prefix();
        // With a plain join, the planner reads a whole table of a few hundred tenants to find one key.
        let join = format!(
            "LEFT JOIN LATERAL (SELECT t.id, t.version, t.record FROM {p}tenants t \
             WHERE t.id = k.tenant LIMIT 1) t ON TRUE"
        );
        let shared = CommonStatements::new(&p, &join, &format!("{ON_PRIMARY} AND "));
        let channel = schema.channel();
        // Counts the rows of the common table `changed`, which has at most one row, and sends the notice in
        // parameter `n`. An empty notice is not sent.
        let notifies = |n: u8| -> String {
            if announces {
                format!(
                    "count(CASE WHEN ${n} = '' THEN '' ELSE \
                     CAST(pg_catalog.pg_notify('{channel}', ${n}) AS pg_catalog.text) END)"
                )
            } else {
                // The parameter is bound in any case, so the statement must use it.
                format!("count(CAST(${n} AS pg_catalog.text))")
            }
        };
        // A change whose notice is not sent is counted, or the proofs of other nodes' feeds would be wrong.
        let counts_silence = |n: u8| {
            let condition = if announces { format!("AND ${n} = ''") } else { String::new() };
            format!(
                "silent AS (UPDATE {p}beats SET silent=silent + CAST(1 AS pg_catalog.int8) \
                 WHERE id = 1 {condition})"
            )
        };
        let live = sql::is_live(&p, 2);
        let exists =
            format!("(EXISTS (SELECT 1 FROM {p}keys WHERE id = $1 AND tenant = $2) AND {live})");
        // Returns one row for unknown keys too, if the replica has a beat. Its last column is the lag.
        let replica_lookup = format!(
            "SELECT {}, {CLOCK} - b.at FROM {p}beats b \
             LEFT JOIN {p}keys k ON k.id = $1 AND k.tenant IS NOT NULL \
             {join} WHERE b.id = 1",
            sql::columns()
        );
        let many =
            |lookup: &str| lookup.replace("k.id = $1", "k.id IN (CAST($1 AS pg_catalog.bytea[]))");
        Self {
            lookup_many: Statement::new(many(&shared.lookup)),
            replica_lookup_many: Statement::new(many(&replica_lookup)),
            replica_lookup: Statement::new(replica_lookup),
            lookup: Statement::new(shared.lookup),
            tenant: Statement::new(shared.tenant),
            tenants: Statement::new(shared.tenants),
            key: Statement::new(shared.key),
            keys: Statement::new(shared.keys),
            keys_of_owner: Statement::new(shared.keys_of_owner),
            count: Statement::new(shared.count),
            insert_tenant: Statement::new(format!(
                "WITH changed AS (INSERT INTO {p}tenants (id, version, record) \
                 VALUES ($1, $2, $3) RETURNING id), {} SELECT {} FROM changed",
                counts_silence(4),
                notifies(4)
            )),
            insert_tenant_with_key: Statement::new(format!(
                "WITH changed AS (INSERT INTO {p}tenants (id, version, record) \
                 VALUES ($1, $2, $3) RETURNING id), \
                 first AS (INSERT INTO {p}{INSERT_KEY} VALUES ($5, $1, $6, $7, $8, $9, $10)), \
                 {} SELECT {} FROM changed",
                counts_silence(4),
                notifies(4)
            )),
            // The last column distinguishes an old version from a missing row.
            update_tenant: Statement::new(format!(
                "WITH changed AS (UPDATE {p}tenants SET version=$2, record=$3 \
                 WHERE id = $1 AND version = $4 AND record IS NOT NULL RETURNING id), \
                 {} SELECT {}, {} FROM changed",
                counts_silence(5),
                notifies(5),
                sql::is_live(&p, 1)
            )),
            // Once this statement is committed, nothing finds the tenant or its keys.
            delete_tenant: Statement::new(format!(
                "WITH changed AS (UPDATE {p}tenants SET version=0, record=NULL \
                 WHERE id = $1 AND record IS NOT NULL RETURNING id), {} SELECT {} FROM changed",
                counts_silence(2),
                notifies(2)
            )),
            // Locks the row of a deleted tenant. A tenant that was created again keeps its keys, and none is
            // created during the erasure.
            lock_deleted: Statement::new(format!(
                "UPDATE {p}tenants SET version=0 WHERE id = $1 AND record IS NULL"
            )),
            erase_keys: Statement::new(shared.erase_keys),
            forget_deleted: Statement::new(format!(
                "DELETE FROM {p}tenants WHERE id = $1 AND record IS NULL"
            )),
            // This is a write and not only a lock. Databases with snapshot isolation then detect that two
            // transactions count the keys of one tenant at the same time.
            lock_tenant: Statement::new(format!(
                "UPDATE {p}tenants SET version=version \
                 WHERE id = $1 AND record IS NOT NULL RETURNING version"
            )),
            insert_key: Statement::new(format!(
                "WITH held AS (SELECT count(*) AS n FROM \
                 (SELECT 1 FROM {p}keys WHERE tenant = $2 ORDER BY created_at, id LIMIT $7) k), \
                 inserted AS (INSERT INTO {p}{INSERT_KEY} \
                 SELECT $1, $2, $3, $4, $5, $6, $8 FROM held WHERE n < $7 \
                 ON CONFLICT (id) DO NOTHING RETURNING id) \
                 SELECT n, EXISTS (SELECT 1 FROM inserted), \
                 EXISTS (SELECT 1 FROM {p}keys WHERE id = $1) FROM held"
            )),
            insert_key_without_limit: Statement::new(format!(
                "WITH inserted AS (INSERT INTO {p}{INSERT_KEY} VALUES ($1, $2, $3, $4, $5, $6, $7) \
                 ON CONFLICT (id) DO NOTHING RETURNING id) \
                 SELECT CAST(0 AS pg_catalog.int8), EXISTS (SELECT 1 FROM inserted), FALSE"
            )),
            update_key: Statement::new(format!(
                "WITH changed AS (UPDATE {p}keys SET version=$3, record=$4, owner=$7 \
                 WHERE id = $1 AND tenant = $2 AND version = $5 AND {live} RETURNING id), \
                 {} SELECT {}, {exists} FROM changed",
                counts_silence(6),
                notifies(6)
            )),
            delete_key: Statement::new(format!(
                "WITH changed AS ({} AND (CAST($3 AS pg_catalog.int8) IS NULL OR version = $3) \
                 RETURNING id), {} SELECT {}, {exists} FROM changed",
                shared.delete_key,
                counts_silence(4),
                notifies(4)
            )),
            // With several arguments `unnest` is part of the grammar, so it cannot be another role's
            // function.
            record_uses: Statement::new(format!(
                "UPDATE {p}keys AS k SET last_used=used.at \
                 FROM unnest(CAST($1 AS pg_catalog.bytea[]), CAST($2 AS pg_catalog.int8[])) \
                 AS used (id, at) \
                 WHERE k.id = used.id AND k.tenant IS NOT NULL \
                 AND (k.last_used IS NULL OR k.last_used < used.at OR k.last_used > $3)"
            )),
            marker: Statement::new(format!(
                "SELECT marker FROM {p}marker WHERE {ON_PRIMARY} AND id = 1"
            )),
            replica_marker: Statement::new(format!("SELECT marker FROM {p}marker WHERE id = 1")),
            insert_marker: Statement::new(format!(
                "INSERT INTO {p}marker (id, marker) VALUES (1, $1) ON CONFLICT (id) DO NOTHING"
            )),
            replace_marker: Statement::new(format!(
                "UPDATE {p}marker SET marker=$1 WHERE id = 1 AND marker = $2"
            )),
            // A beat from the future is replaced as well, so that a clock that was set back does not stop the
            // beats. The result shows whether the row exists, because inserting it needs another right.
            beat: Statement::new(format!(
                "WITH changed AS (UPDATE {p}beats SET at={CLOCK} \
                 WHERE id = 1 AND (at < ({CLOCK} - 500) OR at > ({CLOCK} + 500)) RETURNING id) \
                 SELECT EXISTS (SELECT 1 FROM {p}beats WHERE id = 1)"
            )),
            // Sends the text `$2` on the channel `$1`, and returns the number of changes that were not announced.
            prove: Statement::new(format!(
                "SELECT silent, CAST(pg_catalog.pg_notify($1, $2) AS pg_catalog.text) \
                 FROM {p}beats WHERE {ON_PRIMARY} AND id = 1"
            )),
            first_beat: Statement::new(format!(
                "INSERT INTO {p}beats (id, at, silent) VALUES (1, {CLOCK}, 0) ON CONFLICT (id) DO NOTHING"
            )),
        }
    }
}
