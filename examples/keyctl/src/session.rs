//! An open store with its keyring, for the time of one command.

use std::path::Path;

use keyway::{
    Keyring, PostgresStore, SqliteStore,
    allowance::WhenAway,
    import::ForeignFormat,
    keyring::KeyringBuilder,
    store::{AuditTable, BrokenRow, KeyStore, LimitStore},
};

use crate::{
    failure::{Failure, Reason},
    output::Output,
    settings::{Place, Settings},
};

/// An open store with its keyring.
#[derive(Debug)]
pub struct Session {
    /// The keyring. Its changes name the actor of the settings.
    pub keyring: Keyring,
    /// The output of the command.
    pub out: Output,
    audit: Option<AuditTable>,
}

/// The way in which a session opens its store.
#[derive(Debug, Default)]
pub struct Opening {
    /// Whether a missing SQLite file is created. Otherwise a mistyped path would be an empty store.
    pub creates: bool,
    /// The format of imported tokens.
    pub format: Option<ForeignFormat>,
}

impl Session {
    /// Opens the store of `settings`, and checks that it belongs to its issuer, environment and peppers.
    pub async fn open(settings: &Settings, out: Output, opening: Opening) -> Result<Self, Failure> {
        let mut builder = Keyring::builder(settings.policy()?, settings.peppers()?)
            .environment(settings.environment());
        if let Some(format) = opening.format {
            builder = builder.accept_imported(format);
        }
        match settings.place()? {
            Place::File(path) => {
                if !opening.creates {
                    check_exists(&path)?;
                }
                let mut store = SqliteStore::builder(&path);
                if settings.accept_data_loss {
                    store = store.accept_data_loss();
                }
                let store = store.open().await?;
                let audit = if settings.audit { Some(store.audit_table().await?) } else { None };
                Self::with(settings, out, builder, store, audit).await
            }
            Place::Server(url) => {
                let mut store =
                    PostgresStore::builder().max_connections(3).schema(&settings.schema);
                if settings.accept_data_loss {
                    store = store.accept_data_loss();
                }
                if settings.accept_asynchronous_failover {
                    store = store.accept_asynchronous_failover();
                }
                let store = store.connect(&url).await?;
                let audit = if settings.audit { Some(store.audit_table().await?) } else { None };
                Self::with(settings, out, builder, store, audit).await
            }
        }
    }

    async fn with(
        settings: &Settings,
        out: Output,
        builder: KeyringBuilder,
        store: impl KeyStore + LimitStore + Clone,
        audit: Option<AuditTable>,
    ) -> Result<Self, Failure> {
        // The policy may have allowances. No command counts against them.
        let builder = builder.store(store.clone()).shared_limits(store, WhenAway::Refuse);
        let builder = match audit.clone() {
            Some(table) => builder.audit(table),
            None => builder,
        };
        let keyring = builder.open().await?.acting_as(&settings.actor);
        Ok(Self { keyring, out, audit })
    }

    /// Writes the audit events that still wait. Returns the outcome of the command, or the failure to write
    /// them.
    pub async fn close(self, outcome: Result<(), Failure>) -> Result<(), Failure> {
        if let Some(table) = &self.audit {
            let flushed = table.flush().await;
            if let Err(error) = flushed {
                self.out.warn("the audit events of this command were not written");
                return outcome.and(Err(error.into()));
            }
        }
        outcome
    }

    /// Names rows that cannot be shown on stderr. Returns a failure if there are any, so that scripts notice.
    pub fn report_broken(&self, broken: &[BrokenRow]) -> Result<(), Failure> {
        for row in broken {
            self.out.warn(&format!("left out: {row}"));
        }
        if broken.is_empty() { Ok(()) } else { Err(Failure::reported(Reason::Refused)) }
    }
}

fn check_exists(path: &Path) -> Result<(), Failure> {
    if path.exists() {
        return Ok(());
    }
    let message = format!("there is no store at `{}`", path.display());
    Err(Failure::unavailable(message).remedy("check --store, or create it with `keyctl init`"))
}
