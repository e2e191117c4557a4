//! The failures of commands: a message, the remedy, and the exit code.

use std::{error::Error, fmt::Write as _, io};

use keyway::{
    ConfigError, KeyringError,
    import::ImportError,
    record::InvalidField,
    store::{PostgresError, SqliteError, StoreError, sqlx},
    verifier::OpenError,
};
use serde_json::json;

use crate::hidden::complain;

/// The reason for a failure, which decides the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The request was refused or failed.
    Refused,
    /// The command or its settings are wrong.
    Usage,
    /// The store did not respond. The outcome of a write is unknown.
    Unavailable,
}

impl Reason {
    /// Returns the exit code.
    pub fn code(self) -> u8 {
        match self {
            Self::Refused => 1,
            Self::Usage => 2,
            Self::Unavailable => 3,
        }
    }
}

/// A command failed. It has no `Display`: [`report`](Self::report) alone writes it, without secrets.
#[derive(Debug)]
pub struct Failure {
    /// The reason.
    pub reason: Reason,
    message: String,
    remedy: Option<String>,
}

impl Failure {
    /// Creates a failure of a request that was refused.
    pub fn refused(message: impl Into<String>) -> Self {
        Self { reason: Reason::Refused, message: message.into(), remedy: None }
    }

    /// Creates a failure of a command or setting that is wrong.
    pub fn usage(message: impl Into<String>) -> Self {
        Self { reason: Reason::Usage, message: message.into(), remedy: None }
    }

    /// Creates a failure of a store that does not respond.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self { reason: Reason::Unavailable, message: message.into(), remedy: None }
    }

    /// Creates a failure without a message, for a command that has already reported all of it.
    pub fn reported(reason: Reason) -> Self {
        Self { reason, message: String::new(), remedy: None }
    }

    /// Sets the remedy, in the imperative.
    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    /// Puts `place` before the message.
    #[must_use]
    pub fn at(mut self, place: &str) -> Self {
        self.message = format!("{place}: {}", self.message);
        self
    }

    /// Returns the message.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Writes the failure to stderr: for people, or as one line of JSON.
    pub fn report(&self, as_json: bool) {
        if self.message.is_empty() {
            return;
        }
        let mut text = String::new();
        if as_json {
            let error =
                json!({ "error": self.message, "remedy": self.remedy, "code": self.reason.code() });
            _ = writeln!(text, "{error}");
        } else {
            _ = writeln!(text, "error: {}", self.message);
            if let Some(remedy) = &self.remedy {
                _ = writeln!(text, "  {remedy}");
            }
        }
        complain(&text);
    }
}

/// Returns the message of an error and of its sources, without repetition.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let message = cause.to_string();
        if !text.contains(&message) {
            _ = write!(text, ": {message}");
        }
        next = cause.source();
    }
    text
}

const AWAY: &str = "the outcome of a change is unknown: check the store, look with `show`, then repeat the command";

const DURABLE: &str =
    "correct the setting, or open the store as the service does: --accept-data-loss";

const FAILOVER: &str =
    "correct the setting, or open the store as the service does: --accept-asynchronous-failover";

const ADDRESS: &str = "write it as `postgres://user:password@server:5432/database`, with `%2F` for `/` in the password";

impl From<KeyringError> for Failure {
    fn from(error: KeyringError) -> Self {
        let failure = Self::refused(chain(&error));
        match &error {
            KeyringError::Unavailable(StoreError::Corrupt(_)) => failure,
            KeyringError::Unavailable(_) => {
                Self { reason: Reason::Unavailable, ..failure.remedy(AWAY) }
            }
            KeyringError::NoTenant(_) => failure.remedy("`keyctl tenants list` shows the tenants"),
            KeyringError::NoKey => failure.remedy("`keyctl keys list` shows the keys"),
            KeyringError::Conflict => {
                failure.remedy("nothing was changed: look at the record, and repeat the command")
            }
            KeyringError::QuotaExceeded { .. } => failure.remedy(
                "delete a key, move the tenant to a larger tier, or set an exception for `--keys`",
            ),
            KeyringError::Rejected => {
                failure.remedy("check that the whole token was read, and the environment")
            }
            error if error.is_tampered() => failure.remedy(
                "another program has changed a row: `keyctl keys list` names it, and `keyctl keys delete KEY \
                 --tenant TENANT` removes a key without reading it",
            ),
            _ => failure,
        }
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        let message = chain(&error);
        match error {
            OpenError::Config(_) => Self::usage(message),
            OpenError::Unavailable(_) => Self::unavailable(message),
            _ => Self::refused(message)
                .remedy("compare --policy, --environment and the pepper with those of the service"),
        }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::usage(chain(&error))
    }
}

impl From<InvalidField> for Failure {
    fn from(error: InvalidField) -> Self {
        Self::usage(chain(&error))
    }
}

impl From<ImportError> for Failure {
    fn from(error: ImportError) -> Self {
        Self::refused(chain(&error))
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::unavailable(chain(&error))
    }
}

impl From<SqliteError> for Failure {
    fn from(error: SqliteError) -> Self {
        let failure = Self::refused(chain(&error));
        match error {
            SqliteError::NotDurable { .. } => failure.remedy(DURABLE),
            SqliteError::TooNew { .. } | SqliteError::ForeignWal { .. } => failure,
            _ => Self { reason: Reason::Unavailable, ..failure },
        }
    }
}

impl From<PostgresError> for Failure {
    fn from(error: PostgresError) -> Self {
        let failure = Self::refused(chain(&error));
        match error {
            PostgresError::Database(cause)
                if matches!(cause.downcast_ref(), Some(sqlx::Error::Configuration(_))) =>
            {
                Self { reason: Reason::Usage, ..failure.remedy(ADDRESS) }
            }
            PostgresError::Database(_) | PostgresError::TimedOut(_) | PostgresError::InRecovery => {
                Self {
                    reason: Reason::Unavailable,
                    ..failure.remedy("check the address, the server and the role")
                }
            }
            PostgresError::NotDurable { .. } => failure.remedy(DURABLE),
            PostgresError::AsynchronousFailover { .. } => failure.remedy(FAILOVER),
            _ => failure,
        }
    }
}

/// An output that cannot be written. A closed pipe is no reason for a message.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::reported(Reason::Refused);
        }
        Self::refused(format!("the output cannot be written: {error}"))
    }
}
