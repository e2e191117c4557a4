//! Stores behind `PgBouncer` in transaction mode.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    thread,
    time::Duration,
};

use keyway::{
    Keyring, NewKey, PostgresStore,
    store::{Change, KeyLookup},
};
use sqlx::{
    Executor, PgPool, Row,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use super::{
    keyring,
    support::{
        Events,
        server::{Bouncer, fresh_schema, shared},
    },
    writes::{NOTE_SETTINGS, run, write_everything},
};

/// Runs every kind of operation through a pooler in transaction mode.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL and PgBouncer"]
async fn store_works_through_a_transaction_pooler() {
    let server = shared();
    // The pooler refuses start-up parameters by default, and ignores them if configured to.
    let ignoring = "ignore_startup_parameters = extra_float_digits,options";
    for lines in [&[][..], &[ignoring]] {
        let bouncer = Bouncer::start(server, lines);
        let schema = fresh_schema();
        let builder = PostgresStore::builder().schema(&schema).time_limit(Duration::from_secs(7));
        let store = builder.feed_url(server.url()).connect(&bouncer.url()).await.unwrap();
        let keyring = keyring(store.clone());
        run(server, &schema, NOTE_SETTINGS).await;
        write_everything(&keyring).await;
        // Each transaction has the limits, and no server connection keeps them.
        let seen =
            format!("SELECT DISTINCT isolation, statement, lock, idle, path FROM {schema}.seen");
        assert_eq!(server.sql(&seen), "read committed|7s|7s|7s|pg_catalog, pg_temp");
        let pool = PgPoolOptions::new().max_connections(4).connect_lazy_with(
            bouncer.url().parse::<PgConnectOptions>().unwrap().extra_float_digits(None),
        );
        for _ in 0..8 {
            let shown = pool.fetch_one("SELECT current_setting('search_path')").await.unwrap();
            let shown: String = shown.try_get(0).unwrap();
            assert!(shown.contains("public"), "{shown}");
        }

        // Many concurrent clients share few server connections.
        let tasks: Vec<_> = (0..40)
            .map(|number| {
                let keyring = keyring.clone();
                tokio::spawn(async move {
                    let name = format!("tenant-{number}");
                    let (tenant, issued) = keyring.create_tenant(&name, "advanced").await.unwrap();
                    let _ = tenant.issue(NewKey::named("second")).await.unwrap();
                    tenant.disable(issued.key.id()).await.unwrap();
                    assert_eq!(tenant.search("").await.unwrap().items.len(), 2);
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        // The feed connects to the server directly.
        feed_works(&store, &keyring).await;
    }
}

/// Without a direct address the feed cannot listen through the pooler, so it ends.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL and PgBouncer"]
async fn feed_through_a_pooler_ends_at_once() {
    let server = shared();
    let bouncer = Bouncer::start(server, &[]);
    let store = PostgresStore::builder().schema(fresh_schema());
    let store = store.connect(&bouncer.url()).await.unwrap();
    let mut feed = Events(store.feed());
    let next = tokio::time::timeout(Duration::from_secs(5), feed.next());
    assert_eq!(next.await.unwrap(), None);
}

/// Checks that a change made by one node reaches another one through the feed of `store`.
async fn feed_works(store: &PostgresStore, writes: &Keyring) {
    let mut feed = Events(store.feed());
    let heard = async {
        assert_eq!(feed.next().await, Some(Change::Gap));
        writes.create_empty_tenant("heard", "lite").await.unwrap();
        feed.next().await
    };
    let change = tokio::time::timeout(Duration::from_secs(10), heard).await.unwrap();
    assert!(matches!(change, Some(Change::Notice(_))), "{change:?}");
}

/// The application's own pool connects through the pooler.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL and PgBouncer"]
async fn own_pool_through_a_pooler_works_if_configured() {
    let server = shared();
    let bouncer = Bouncer::start(server, &["ignore_startup_parameters = extra_float_digits"]);
    let pool = PgPool::connect(&bouncer.url()).await.unwrap();
    let builder = PostgresStore::builder().schema(fresh_schema()).transaction_pooling();
    let keyring = keyring(builder.open(pool).await.unwrap());
    let tasks: Vec<_> = (0..20)
        .map(|number| {
            let keyring = keyring.clone();
            tokio::spawn(async move {
                let name = format!("tenant-{number}");
                let (tenant, issued) = keyring.create_tenant(&name, "advanced").await.unwrap();
                tenant.delete(issued.key.id()).await.unwrap();
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

/// The replica is behind a pooler, and the primary is not.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL and PgBouncer"]
async fn replica_through_a_pooler_works_if_configured() {
    let server = shared();
    let bouncer = Bouncer::start(server, &["ignore_startup_parameters = extra_float_digits"]);
    let store = PostgresStore::builder().schema(fresh_schema());
    let store = store.connect(&server.url()).await.unwrap();
    let (_, issued) = keyring(store.clone()).create_tenant("acme", "lite").await.unwrap();
    let mut feed = Events(store.feed());
    assert_eq!(feed.next().await, Some(Change::Gap));
    tokio::spawn(async move { while feed.next().await.is_some() {} });
    let pool = PgPoolOptions::new().max_connections(20).connect(&bouncer.url()).await.unwrap();
    let lag = Duration::from_secs(30);
    let replica = store.replica(pool, lag).transaction_pooling();
    let lookups: Vec<_> = (0..200)
        .map(|_| {
            let (replica, id) = (replica.clone(), issued.key.id());
            tokio::spawn(async move { replica.lookup(id).await })
        })
        .collect();
    for lookup in lookups {
        assert!(lookup.await.unwrap().unwrap().is_some());
    }
}

/// Forwards clients that send no `options` to a server, and refuses others as RDS Proxy does.
fn refusing_proxy(server: u16) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for mut client in listener.incoming().map_while(Result::ok) {
            let mut length = [0; 4];
            client.read_exact(&mut length).unwrap();
            let mut hello = vec![0; u32::from_be_bytes(length) as usize - 4];
            client.read_exact(&mut hello).unwrap();
            if hello.windows(9).any(|name| name == b"\0options\0") {
                let fields = b"SFATAL\0VFATAL\0C0A000\0MFeature not supported\0\0";
                let length = u32::try_from(fields.len() + 4).unwrap().to_be_bytes();
                client.write_all(&[&b"E"[..], &length, fields].concat()).unwrap();
                continue;
            }
            let mut server = TcpStream::connect(("127.0.0.1", server)).unwrap();
            server.write_all(&[&length[..], &hello].concat()).unwrap();
            for (mut from, mut to) in
                [(client.try_clone().unwrap(), server.try_clone().unwrap()), (server, client)]
            {
                thread::spawn(move || {
                    let _ = io::copy(&mut from, &mut to);
                    let _ = to.shutdown(Shutdown::Both);
                });
            }
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL"]
async fn store_works_through_a_proxy_without_settings() {
    let server = shared();
    let port = refusing_proxy(server.port());
    let url = format!("postgres://keyway@127.0.0.1:{port}/postgres?sslmode=disable");
    let store = PostgresStore::builder().schema(fresh_schema());
    let store = store.feed_url(server.url()).connect(&url).await.unwrap();
    let keyring = keyring(store.clone());
    write_everything(&keyring).await;
    feed_works(&store, &keyring).await;
}

/// A feed works through a pooler in session mode, although the pooler refuses most settings.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL and PgBouncer"]
async fn feed_works_through_a_session_pooler() {
    let server = shared();
    let bouncer = Bouncer::start(server, &["pool_mode = session"]);
    let store = PostgresStore::builder().schema(fresh_schema());
    let store = store.feed_url(bouncer.url()).connect(&bouncer.url()).await.unwrap();
    let keyring = keyring(store.clone());
    feed_works(&store, &keyring).await;
}
