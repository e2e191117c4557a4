//! The databases of a test, in a form that another process can read.

use std::{
    env, fs,
    path::PathBuf,
    sync::atomic::{AtomicU32, Ordering},
};

use keyway::{
    Keyring, Pepper, Policy, PostgresStore, ScopeCatalog, SqliteStore, Tier,
    keyring::KeyringBuilder, scope::ScopeDeclaration, store::AnyEventStore,
};

use crate::{
    faults::Fault,
    support::server::{Server, fresh_schema},
};

#[derive(Clone, Debug)]
pub enum Database {
    Sqlite {
        path: PathBuf,
        /// How many pages the write-ahead log may have before it is copied into the database.
        checkpoint: i64,
        /// Whether commits do not wait for the disk, which the application has accepted.
        is_lax: bool,
    },
    Postgres {
        url: String,
        schema: String,
        /// Whether the application has accepted every danger of the server's settings.
        accepts: bool,
    },
}

impl Database {
    /// Creates an empty database in its own schema.
    pub fn on(server: &Server) -> Self {
        Self::Postgres { url: server.url(), schema: fresh_schema(), accepts: false }
    }

    /// Returns the same database, reached through port `to`.
    pub fn through(&self, to: u16) -> Self {
        let mut changed = self.clone();
        if let Self::Postgres { url, .. } = &mut changed {
            *url = format!("postgres://keyway@127.0.0.1:{to}/postgres");
        }
        changed
    }

    /// Returns the same database for an application that accepts the danger of the server's settings.
    pub fn accepting(&self) -> Self {
        let mut changed = self.clone();
        if let Self::Postgres { accepts, .. } = &mut changed {
            *accepts = true;
        }
        changed
    }

    pub fn name(&self) -> &'static str {
        match self {
            Self::Sqlite { .. } => "SQLite",
            Self::Postgres { .. } => "PostgreSQL",
        }
    }

    pub async fn open(&self, fault: Option<Fault>) -> AnyEventStore {
        let store = match self {
            Self::Sqlite { path, checkpoint, is_lax } => {
                let mut builder =
                    SqliteStore::builder(path).pragma("wal_autocheckpoint", *checkpoint);
                if *is_lax {
                    const NORMAL: i64 = 1;
                    builder = builder.pragma("synchronous", NORMAL).accept_data_loss();
                }
                AnyEventStore::new(builder.open().await.unwrap())
            }
            Self::Postgres { url, schema, accepts } => {
                let mut builder = PostgresStore::builder().schema(schema).max_connections(4);
                if *accepts {
                    builder = builder.accept_data_loss().accept_asynchronous_failover();
                }
                AnyEventStore::new(builder.connect(url).await.unwrap())
            }
        };
        match fault {
            Some(fault) => fault.planted_in(store),
            None => store,
        }
    }

    pub fn to_words(&self) -> Vec<String> {
        match self {
            Self::Sqlite { path, checkpoint, is_lax } => {
                let path = path.to_str().unwrap().into();
                vec!["sqlite".into(), path, checkpoint.to_string(), is_lax.to_string()]
            }
            Self::Postgres { url, schema, accepts } => {
                vec!["postgres".into(), url.clone(), schema.clone(), accepts.to_string()]
            }
        }
    }

    pub fn from_words<'w>(words: &mut impl Iterator<Item = &'w str>) -> Self {
        let kind = words.next().unwrap();
        let mut next = || words.next().unwrap().to_owned();
        match kind {
            "sqlite" => Self::Sqlite {
                path: next().into(),
                checkpoint: next().parse().unwrap(),
                is_lax: next().parse().unwrap(),
            },
            _ => Self::Postgres { url: next(), schema: next(), accepts: next().parse().unwrap() },
        }
    }
}

/// Builds a keyring over `store`. Every process of these tests builds the same one.
pub fn keyring(store: &AnyEventStore) -> Keyring {
    builder(store).build().unwrap()
}

pub fn builder(store: &AnyEventStore) -> KeyringBuilder {
    let scope = |name| ScopeDeclaration::new(name, "for tests");
    let catalog = ScopeCatalog::new([scope("read"), scope("write")]).unwrap();
    let policy = Policy::new("mm", catalog, Tier::built_in()).unwrap();
    Keyring::builder(policy, Pepper::from_bytes(&[7; 32]).unwrap())
        .environment("live")
        .store_with_events(store.clone())
}

/// A directory that is removed when the test ends.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("keyway-processes-{}-{number}", std::process::id());
        let folder = env::temp_dir().join(name);
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub fn database(&self, name: &str) -> Database {
        Database::Sqlite { path: self.path(name), checkpoint: 1_000, is_lax: false }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
