//! The settings of every command: policy, store, peppers, environment and actor.

use std::path::PathBuf;

use clap::Args;
use keyway::{ConfigError, Pepper, Peppers, Policy, store::PostgresBuilder};

use crate::{failure::Failure, hidden::hide};

/// The variable with the store's path or URL. It may contain a password.
const STORE: &str = "KEYCTL_STORE";
/// The variable with the current pepper, in base64.
const PEPPER: &str = "KEYCTL_PEPPER";

/// The settings of every command.
#[derive(Args, Debug)]
#[command(next_help_heading = "Settings")]
pub struct Settings {
    /// The policy of the service: issuer, scopes and tiers, as JSON.
    #[arg(long, global = true, value_name = "FILE", env = "KEYCTL_POLICY")]
    policy: Option<PathBuf>,
    /// A SQLite file, or `postgres://…` without a password. `KEYCTL_STORE` may contain a password.
    #[arg(long, global = true, value_name = "PATH|URL")]
    store: Option<String>,
    /// The schema of the tables in PostgreSQL.
    #[arg(
        long,
        global = true,
        default_value = PostgresBuilder::DEFAULT_SCHEMA,
        value_name = "NAME",
        env = "KEYCTL_SCHEMA"
    )]
    pub schema: String,
    /// Open a store whose settings can lose acknowledged writes in a crash.
    #[arg(long, global = true, env = "KEYCTL_ACCEPT_DATA_LOSS")]
    pub accept_data_loss: bool,
    /// Open a PostgreSQL server whose failover can lose acknowledged writes.
    #[arg(long, global = true, env = "KEYCTL_ACCEPT_ASYNCHRONOUS_FAILOVER")]
    pub accept_asynchronous_failover: bool,
    /// The environment in tokens.
    #[arg(long, global = true, default_value = "live", env = "KEYCTL_ENVIRONMENT")]
    environment: String,
    /// The file with the current pepper, in base64. The alternative is the variable `KEYCTL_PEPPER`.
    #[arg(long, global = true, value_name = "FILE", env = "KEYCTL_PEPPER_FILE")]
    pepper_file: Option<PathBuf>,
    /// The slot of the current pepper.
    #[arg(
        long,
        global = true,
        default_value_t = 0,
        value_name = "SLOT",
        env = "KEYCTL_PEPPER_SLOT"
    )]
    pepper_slot: u8,
    /// An older pepper whose tokens and seals are accepted: its slot, and a file or `env:VARIABLE`.
    #[arg(long, global = true, value_name = "SLOT=FILE", value_parser = older)]
    retiring: Vec<Older>,
    /// An older pepper whose tokens alone are accepted.
    #[arg(long, global = true, value_name = "SLOT=FILE", value_parser = older)]
    retired: Vec<Older>,
    /// The name in audit events and as the creator of keys.
    #[arg(long, global = true, default_value = "keyctl", env = "KEYCTL_ACTOR")]
    pub actor: String,
    /// Write audit events to the audit table of the store, which is created if it is missing.
    #[arg(long, global = true, env = "KEYCTL_AUDIT")]
    pub audit: bool,
}

/// The slot and the place of an older pepper.
#[derive(Clone, Debug)]
pub struct Older {
    slot: u8,
    place: String,
}

fn older(text: &str) -> Result<Older, String> {
    let parts = text.split_once('=');
    let parts = parts.and_then(|(slot, place)| Some((slot.parse().ok()?, place)));
    let (slot, place) = parts.ok_or("write the slot and the file, such as `0=/run/old-pepper`")?;
    Ok(Older { slot, place: place.into() })
}

/// The place of the keys.
#[derive(Debug)]
pub enum Place {
    /// A SQLite file.
    File(PathBuf),
    /// The URL of a PostgreSQL server.
    Server(String),
}

impl Settings {
    /// Reads the policy.
    pub fn policy(&self) -> Result<Policy, Failure> {
        let path = self.policy.as_ref().ok_or_else(|| {
            Failure::usage("no policy was given")
                .remedy("name its file with --policy or KEYCTL_POLICY")
        })?;
        Ok(Policy::from_file(path, |text| serde_json::from_str(text))?)
    }

    /// Returns the environment.
    pub fn environment(&self) -> &str {
        &self.environment
    }

    /// Reads the peppers.
    pub fn peppers(&self) -> Result<Peppers, Failure> {
        let current = match &self.pepper_file {
            Some(path) => Pepper::from_file(path),
            None => Pepper::from_env(PEPPER),
        };
        let current = current.map_err(|error| {
            Failure::from(error)
                .remedy(format!("name its file with --pepper-file, or set {PEPPER}"))
        })?;
        let mut peppers = Peppers::new(current.in_slot(self.pepper_slot)?);
        for older in &self.retiring {
            peppers = peppers.retiring(older.read()?)?;
        }
        for older in &self.retired {
            peppers = peppers.retired(older.read()?)?;
        }
        Ok(peppers)
    }

    /// Returns the place of the keys.
    ///
    /// # Errors
    ///
    /// If there is none, or if the URL among the arguments has a password, which other users of the machine
    /// could read there.
    pub fn place(&self) -> Result<Place, Failure> {
        let of_variable = || std::env::var(STORE).ok().filter(|text| !text.is_empty());
        let Some(text) = self.store.clone().or_else(of_variable) else {
            let remedy = format!("name a SQLite file or a PostgreSQL URL with --store or {STORE}");
            return Err(Failure::usage("no store was given").remedy(remedy));
        };
        if !(text.starts_with("postgres://") || text.starts_with("postgresql://")) {
            return Ok(Place::File(text.into()));
        }
        let passwords = passwords(&text);
        for password in &passwords {
            hide(password);
            hide(&decoded(password));
        }
        if self.store.is_some() && !passwords.is_empty() {
            let remedy = format!("put the URL into {STORE}, or the password into PGPASSWORD");
            let message = "the URL among the arguments has a password, which other users can read";
            return Err(Failure::usage(message).remedy(remedy));
        }
        Ok(Place::Server(text))
    }
}

impl Older {
    fn read(&self) -> Result<Pepper, ConfigError> {
        let pepper = match self.place.strip_prefix("env:") {
            Some(variable) => Pepper::from_env(variable)?,
            None => Pepper::from_file(&self.place)?,
        };
        pepper.in_slot(self.slot)
    }
}

/// Returns the passwords in a URL, as they are written there.
fn passwords(url: &str) -> Vec<String> {
    let (_, rest) = url.split_once("://").unwrap_or_default();
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    // A password may contain `/` or `@`, if it was not encoded as it should be.
    let user = rest.rsplit_once('@').map(|(user, _)| user);
    let password = user.and_then(|user| user.split_once(':')).map(|(_, password)| password);
    let of_query = query.split('&').filter_map(|pair| pair.strip_prefix("password="));
    let all = password.into_iter().chain(of_query).filter(|password| !password.is_empty());
    all.map(str::to_owned).collect()
}

/// Decodes the percent encoding of a URL.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        bytes.extend_from_slice(before.as_bytes());
        let code = after.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match code {
            Some(code) => {
                bytes.push(code);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(b'%');
                rest = after;
            }
        }
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_of_urls_are_found() {
        for (url, found) in [
            ("postgres://db/app", vec![]),
            ("postgres://ann@db/app", vec![]),
            ("postgres://ann:s3cret@db/app", vec!["s3cret"]),
            ("postgres://ann:s/3@c@db/app", vec!["s/3@c"]),
            ("postgres://db/app?user=ann&password=s3cret", vec!["s3cret"]),
        ] {
            assert_eq!(passwords(url), found, "{url}");
        }
        assert_eq!(decoded("s%33cr%C3%A9t%"), "s3crét%");
    }
}
