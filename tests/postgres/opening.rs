//! Checks that a store makes when it opens: tables, rights, settings and standbys.

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

use keyway::{
    PostgresStore,
    store::{PostgresBuilder, PostgresError},
};

use sqlx::{Executor, postgres::PgPoolOptions};

use super::{
    keyring, refused,
    support::server::{Server, fresh_schema, shared},
};

/// Creates a role, and returns the server's URL for it.
fn role(server: &Server, name: &str) -> String {
    server.sql(&format!("CREATE ROLE {name} LOGIN"));
    server.url().replace("keyway@", &format!("{name}@"))
}

fn builder(schema: &str) -> PostgresBuilder {
    PostgresStore::builder().schema(schema)
}

async fn fails(builder: PostgresBuilder, url: &str) -> PostgresError {
    builder.connect(url).await.unwrap_err()
}

#[tokio::test]
#[ignore = "needs PostgreSQL"]
async fn owner_of_schema_creates_tables_without_other_rights() {
    let server = shared();
    let schema = fresh_schema();
    let url = role(server, &format!("owner_{schema}"));
    server.sql(&format!("CREATE SCHEMA {schema} AUTHORIZATION owner_{schema}"));
    // The role may not create a schema, and `connect` does not need that right here.
    let refused = fails(builder(&fresh_schema()), &url).await;
    assert!(matches!(refused, PostgresError::CannotCreate { .. }), "{refused}");
    let keyring = keyring(builder(&schema).connect(&url).await.unwrap());
    let _ = keyring.create_tenant("acme", "lite").await.unwrap();
}

#[tokio::test]
#[ignore = "needs PostgreSQL"]
async fn missing_right_names_the_grant_that_helps() {
    let server = shared();
    let schema = fresh_schema();
    let user = format!("Reader \"{schema}\"");
    server.sql(&format!("CREATE ROLE \"{}\" LOGIN", user.replace('"', "\"\"")));
    let url = server.url().replace("keyway@", &format!("Reader%20%22{schema}%22@"));
    builder(&schema).connect(&server.url()).await.unwrap();

    // Three states are tried: no right on the schema, the schema without its tables, and one table without a
    // right.
    let error = fails(builder(&schema), &url).await;
    let PostgresError::MissingGrant { grant, .. } = &error else { panic!("{error}") };
    assert_eq!(error.code().as_deref(), Some("42501"));
    assert!(error.to_string().contains(grant), "{error}");
    let (usage, tables) = grant.split_once("; ").unwrap();
    server.sql(usage);
    let error = fails(builder(&schema), &url).await;
    assert!(matches!(error, PostgresError::MissingGrant { .. }), "{error}");
    server.sql(tables);
    builder(&schema).connect(&url).await.unwrap();
    let quoted = user.replace('"', "\"\"");
    server.sql(&format!("REVOKE SELECT ON {schema}.keys FROM \"{quoted}\""));
    let error = fails(builder(&schema), &url).await;
    assert!(matches!(error, PostgresError::MissingGrant { .. }), "{error}");
}

#[tokio::test]
#[ignore = "needs PostgreSQL"]
async fn write_without_right_names_the_grant_that_helps() {
    let server = shared();
    let schema = fresh_schema();
    let url = role(server, &format!("reader_{schema}"));
    builder(&schema).connect(&server.url()).await.unwrap();
    server.sql(&format!(
        "GRANT USAGE ON SCHEMA {schema} TO reader_{schema}; \
         GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO reader_{schema}"
    ));
    // A role that only reads can open the store.
    let keyring = keyring(builder(&schema).connect(&url).await.unwrap());
    let error = keyring.create_tenant("acme", "lite").await.unwrap_err();
    let text = crate::support::chain(&error).join(": ");
    assert!(text.contains("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES"), "{text}");
}

#[tokio::test]
#[ignore = "needs PostgreSQL"]
async fn right_to_create_is_named_where_it_is_missing() {
    let server = shared();
    let schema = fresh_schema();
    let url = role(server, &format!("newcomer_{schema}"));
    let error = fails(builder(&schema), &url).await;
    let PostgresError::CannotCreate { grant, .. } = &error else { panic!("{error}") };
    assert_eq!(*grant, format!("GRANT CREATE ON DATABASE postgres TO newcomer_{schema}"));
    // Once the schema exists, another right is missing.
    server.sql(&format!(
        "CREATE SCHEMA {schema}; GRANT USAGE ON SCHEMA {schema} TO newcomer_{schema}"
    ));
    let error = fails(builder(&schema), &url).await;
    let PostgresError::CannotCreate { grant, .. } = &error else { panic!("{error}") };
    server.sql(grant);
    builder(&schema).connect(&url).await.unwrap();
}

#[tokio::test]
#[ignore = "needs PostgreSQL"]
async fn tables_of_another_release_are_left_alone() {
    let server = shared();
    let schema = fresh_schema();
    builder(&schema).connect(&server.url()).await.unwrap();
    server.sql(&format!("UPDATE {schema}.schema_version SET version = 99"));
    let error = refused(builder(&schema), server).await;
    assert!(matches!(error, PostgresError::TooNew { found: 99, known: 1 }), "{error}");
    // A missing right does not hide this error.
    let url = role(server, &format!("late_{schema}"));
    server.sql(&format!(
        "GRANT USAGE ON SCHEMA {schema} TO late_{schema}; \
         GRANT SELECT ON {schema}.schema_version TO late_{schema}"
    ));
    let error = fails(builder(&schema), &url).await;
    assert!(matches!(error, PostgresError::TooNew { found: 99, known: 1 }), "{error}");
    server.sql(&format!("UPDATE {schema}.schema_version SET version = 0"));
    let error = refused(builder(&schema), server).await;
    assert!(matches!(error, PostgresError::TooOld { found: 0, known: 1 }), "{error}");
    server.sql(&format!("DELETE FROM {schema}.schema_version"));
    let error = refused(builder(&schema), server).await;
    assert!(matches!(error, PostgresError::TooOld { found: 0, known: 1 }), "{error}");
}

#[tokio::test]
#[ignore = "needs PostgreSQL"]
async fn missing_table_is_named_and_not_created() {
    let server = shared();
    let schema = fresh_schema();
    builder(&schema).connect(&server.url()).await.unwrap();
    // The last one that is dropped is the first one that is checked.
    for table in ["event_sequences", "events", "usage_nodes", "usage_months", "usage_days", "keys"]
    {
        server.sql(&format!("DROP TABLE {schema}.{table}"));
        let error = refused(builder(&schema), server).await;
        let missing = format!("{schema}.{table}");
        let is_named = matches!(&error, PostgresError::Incomplete { table } if *table == missing);
        assert!(is_named, "{error}");
        let exists = format!("SELECT to_regclass('{schema}.{table}') IS NULL");
        assert_eq!(server.sql(&exists), "t");
    }
    // The version table is missing, and the other tables exist.
    let schema = fresh_schema();
    builder(&schema).connect(&server.url()).await.unwrap();
    server.sql(&format!("DROP TABLE {schema}.schema_version"));
    let began = Instant::now();
    let error = refused(builder(&schema), server).await;
    let missing = format!("{schema}.schema_version");
    assert!(matches!(&error, PostgresError::Incomplete { table } if *table == missing), "{error}");
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
}

#[tokio::test]
#[ignore = "needs PostgreSQL"]
async fn other_tables_in_the_schema_are_left_alone() {
    let server = shared();
    let schema = fresh_schema();
    server.sql(&format!(
        "CREATE SCHEMA {schema}; CREATE TABLE {schema}.invoices (id INT); \
         INSERT INTO {schema}.invoices VALUES (7)"
    ));
    let keyring = keyring(builder(&schema).connect(&server.url()).await.unwrap());
    let _ = keyring.create_tenant("acme", "lite").await.unwrap();
    assert_eq!(server.sql(&format!("SELECT id FROM {schema}.invoices")), "7");
}

#[tokio::test]
#[ignore = "needs PostgreSQL"]
async fn standby_is_refused_as_primary() {
    let primary = Server::start(&[]);
    let standby = primary.standby();
    let builder = builder("keyway").accept_asynchronous_failover();
    builder.clone().connect(&primary.url()).await.unwrap();
    let error = fails(builder.clone(), &standby.url()).await;
    assert!(matches!(error, PostgresError::InRecovery), "{error}");
    // With this default a standby refuses even the query whether it is in recovery.
    standby.set("default_transaction_isolation", "serializable");
    let deadline = Instant::now() + Duration::from_secs(10);
    let pool = PgPoolOptions::new().max_connections(1).connect_lazy(&standby.url()).unwrap();
    while pool.fetch_one("SELECT 1").await.is_ok() {
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let error = fails(builder, &standby.url()).await;
    assert!(matches!(error, PostgresError::InRecovery), "{error}");
}

/// Waits until `pg_stat_replication` shows `number` clients and each has replied.
fn wait_for_clients(server: &Server, number: &str) {
    let select = "SELECT count(*) FROM pg_stat_replication \
                  WHERE state = 'backup' OR reply_time IS NOT NULL";
    let deadline = Instant::now() + Duration::from_secs(30);
    while server.sql(select) != number {
        assert!(Instant::now() < deadline, "{}", server.sql("TABLE pg_stat_replication"));
        sleep(Duration::from_millis(20));
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL"]
async fn only_clients_that_can_be_promoted_count_as_standbys() {
    // On a busy machine the receivers lag behind. The log that they still need must not be removed.
    let settings = ["wal_level=logical", "wal_keep_size=1GB"];
    let server = Server::start(&settings);
    builder("keyway").connect(&server.url()).await.unwrap();
    // A role without `pg_monitor` sees neither states nor positions.
    server.sql("CREATE ROLE plain LOGIN; GRANT USAGE ON SCHEMA keyway TO plain");
    server.sql("GRANT SELECT ON ALL TABLES IN SCHEMA keyway TO plain");
    let plain = server.url().replace("keyway@", "plain@");
    // The table is large enough for a backup that runs until the test ends.
    server.sql("CREATE TABLE big AS SELECT repeat('x', 500) FROM generate_series(1, 100000)");

    let _archive = server.client("pg_receivewal", &["-D", "."]);
    let _backup =
        server.client("pg_basebackup", &["-D", "backup", "-r", "32", "-X", "stream", "-c", "fast"]);
    let _changes = server.client(
        "pg_recvlogical",
        &["--slot=changes", "--plugin=test_decoding", "--create-slot", "--start", "-f", "changes"],
    );
    // The clients are the archive, the backup with its log stream, and the decoded changes.
    wait_for_clients(&server, "4");
    for url in [&server.url(), &plain] {
        let opened = builder("keyway").connect(url).await;
        assert!(opened.is_ok(), "{opened:?} {}", server.sql("TABLE pg_stat_replication"));
    }
    // Programs with other names are recognized by their replies, if the role may see these.
    let conninfo =
        format!("host=127.0.0.1 port={} user=keyway application_name=barman", server.port());
    let _barman = server.client("pg_receivewal", &["-D", ".", "--dbname", &conninfo]);
    wait_for_clients(&server, "5");
    builder("keyway").connect(&server.url()).await.unwrap();
    let error = fails(builder("keyway"), &plain).await;
    assert!(error.to_string().contains("`barman`"), "{error}");

    // The control: a client that can be promoted is refused, and named with its address.
    let _standby = server.standby();
    wait_for_clients(&server, "6");
    for (url, named) in [(server.url(), "`standby` at 127.0.0.1"), (plain, "`standby`")] {
        let error = fails(builder("keyway"), &url).await;
        let PostgresError::AsynchronousFailover { standbys, .. } = &error else {
            panic!("{error}")
        };
        assert!(standbys.iter().any(|standby| standby == named), "{error}");
        assert!(error.to_string().contains(named), "{error}");
        builder("keyway").accept_asynchronous_failover().connect(&url).await.unwrap();
    }
}

/// Waits until new connections have this `synchronous_commit` and the standby's state follows the names.
fn wait_for_setting(primary: &Server, value: &str, is_named: bool) {
    let select = "SELECT current_setting('synchronous_commit'), sync_state <> 'async' \
                  FROM pg_stat_replication";
    let expected = format!("{value}|{}", if is_named { "t" } else { "f" });
    let deadline = Instant::now() + Duration::from_secs(30);
    while primary.sql(select) != expected {
        assert!(Instant::now() < deadline, "{}", primary.sql("TABLE pg_stat_replication"));
        sleep(Duration::from_millis(20));
    }
}

#[tokio::test]
#[ignore = "needs PostgreSQL"]
async fn only_known_good_settings_protect_against_failover() {
    let primary = Server::start(&[]);
    let url = primary.url();
    let open = || builder("keyway").connect(&url);
    // Without a standby, all these values wait for the server's own disk.
    for value in ["on", "remote_apply", "remote_write", "local"] {
        primary.set("synchronous_commit", value);
        assert!(open().await.is_ok(), "{value}");
    }
    let _standby = primary.standby();
    wait_for_clients(&primary, "1");
    for (names, value, opens) in [
        ("", "on", false),
        ("", "local", false),
        ("standby", "on", true),
        ("standby", "remote_apply", true),
        ("ANY 1 (standby)", "on", true),
        ("*", "on", true),
        ("standby", "remote_write", false),
        ("standby", "local", false),
        // Commits then wait for a client that is never promoted.
        ("archive", "on", false),
    ] {
        primary.set("synchronous_standby_names", names);
        primary.set("synchronous_commit", value);
        let is_named = !matches!(names, "" | "archive");
        wait_for_setting(&primary, value, is_named);
        let opened = open().await;
        assert_eq!(opened.is_ok(), opens, "{names} {value} {opened:?}");
        if let Err(error) = opened {
            assert!(matches!(error, PostgresError::AsynchronousFailover { .. }), "{error}");
            let named = if names == "standby" { value } else { names };
            assert!(error.to_string().contains(&format!("is `{named}`")), "{error}");
            builder("keyway").accept_asynchronous_failover().connect(&primary.url()).await.unwrap();
        }
    }
}
