//! Checks whether a server's settings keep acknowledged writes.
//!
//! Only values that are known to be safe pass. A value that a later release of PostgreSQL adds is refused
//! until it has been reviewed. The statements have no parameters, so that a pooler can serve each with
//! another connection.

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};

use sqlx::{AssertSqlSafe, Executor, PgConnection, Row, postgres::PgRow};

use super::{PostgresError, run::is_in_recovery};

/// Succeeds if the server is not in recovery and therefore is a primary.
pub(super) async fn check_primary(connection: &mut PgConnection) -> Result<(), PostgresError> {
    let is_in_recovery = match connection.fetch_one("SELECT pg_catalog.pg_is_in_recovery()").await {
        Ok(row) => row.try_get(0)?,
        Err(error) if is_in_recovery(&error) => true,
        Err(error) => return Err(error.into()),
    };
    if is_in_recovery { Err(PostgresError::InRecovery) } else { Ok(()) }
}

/// Succeeds if committed writes survive a crash of the server.
pub(super) async fn check_durability(connection: &mut PgConnection) -> Result<(), PostgresError> {
    // Each of these values of `synchronous_commit` waits at least for the server's own disk.
    let commits: &[&str] = &["on", "remote_apply", "remote_write", "local"];
    for (name, safe) in
        [("fsync", &["on"][..]), ("full_page_writes", &["on"]), ("synchronous_commit", commits)]
    {
        if let Some(value) = setting(connection, name).await?
            && !safe.contains(&&*value)
        {
            return Err(PostgresError::NotDurable { setting: name, value });
        }
    }
    Ok(())
}

/// Succeeds if the promotion of a standby loses no acknowledged write. Either there is no standby, or commits
/// wait until a synchronous standby has written them to its disk.
pub(super) async fn check_standbys(connection: &mut PgConnection) -> Result<(), PostgresError> {
    let Some(names) = setting(connection, "synchronous_standby_names").await? else {
        return Ok(());
    };
    let waits = !names.trim().is_empty();
    let standbys = standbys(connection).await?;
    if !waits && standbys.is_empty() {
        return Ok(());
    }
    let refused = |setting, value, standbys: Vec<Standby>| {
        let standbys = standbys.into_iter().map(|standby| standby.name).collect();
        Err(PostgresError::AsynchronousFailover { setting, value, standbys })
    };
    if waits
        && let Some(value) = setting(connection, "synchronous_commit").await?
        && !matches!(&*value, "on" | "remote_apply")
    {
        // `local` does not wait for the standby. `remote_write` waits until the standby's operating system
        // has the data, which is lost when that machine stops.
        return refused("synchronous_commit", value, standbys);
    }
    // The named standbys may be other clients, such as `pg_receivewal`. In that case no standby is protected.
    let is_unprotected = standbys.iter().all(|standby| standby.is_asynchronous);
    if !standbys.is_empty() && (!waits || is_unprotected) {
        return refused("synchronous_standby_names", names, standbys);
    }
    Ok(())
}

/// A client of the server's write-ahead log that can be promoted.
struct Standby {
    name: String,
    /// Whether the server reports that it does not wait for this standby. A role without `pg_read_all_stats`
    /// cannot see this.
    is_asynchronous: bool,
}

async fn standbys(connection: &mut PgConnection) -> Result<Vec<Standby>, PostgresError> {
    let select = "SELECT w.application_name, pg_catalog.host(w.client_addr), w.state, w.sync_state, \
                  s.slot_type, w.reply_time IS NOT NULL, w.replay_lsn IS NOT NULL \
                  FROM pg_catalog.pg_stat_replication w \
                  LEFT JOIN pg_catalog.pg_replication_slots s \
                  ON s.active_pid OPERATOR(pg_catalog.=) w.pid";
    let rows = connection.fetch_all(select).await?;
    let standbys = rows.iter().map(standby).collect::<Result<Vec<_>, _>>()?;
    Ok(standbys.into_iter().flatten().collect())
}

/// Reads a client of the write-ahead log. The client counts as a standby unless its row shows otherwise.
fn standby(row: &PgRow) -> Result<Option<Standby>, sqlx::Error> {
    let text = |column: usize| row.try_get::<Option<String>, _>(column);
    let (name, host, state, sync_state, slot) = (text(0)?, text(1)?, text(2)?, text(3)?, text(4)?);
    let (has_replied, has_replayed): (bool, bool) = (row.try_get(5)?, row.try_get(6)?);
    if slot.as_deref() == Some("logical") || state.as_deref() == Some("backup") {
        return Ok(None);
    }
    // Programs that only receive the log never report a replayed position. A standby reports one in its first
    // reply.
    let is_receiver = matches!(name.as_deref(), Some("pg_receivewal" | "pg_basebackup"));
    if !has_replayed && (has_replied || is_receiver) {
        return Ok(None);
    }
    let name = name.filter(|name| !name.is_empty()).unwrap_or_else(|| "unnamed".to_string());
    let name = match host {
        Some(host) => format!("`{name}` at {host}"),
        None => format!("`{name}`"),
    };
    Ok(Some(Standby { name, is_asynchronous: sync_state.as_deref() == Some("async") }))
}

/// Returns the value of a setting, or `None` if the database has no such setting.
async fn setting(
    connection: &mut PgConnection,
    name: &'static str,
) -> Result<Option<String>, PostgresError> {
    let current = format!("SELECT pg_catalog.current_setting('{name}', true)");
    Ok(connection.fetch_one(AssertSqlSafe(current)).await?.try_get(0)?)
}
