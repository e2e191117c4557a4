//! Import of the digests of another system's keys from CSV.
//!
//! All lines are checked before the first key is imported. Repeating an import changes nothing.

mod check;
mod format;
mod rows;

use std::{collections::BTreeSet, path::PathBuf};

use clap::Args;
use keyway::{KeyringError, import::ForeignFormat};
use serde_json::json;

use self::{
    check::{Checked, State, check},
    format::FormatArguments,
    rows::{Row, read},
};
use crate::{
    failure::{Failure, Reason},
    output::Output,
    progress::{Bar, Shown},
    session::Session,
    settings::Settings,
    table::Table,
};

/// An import from CSV. The first line names the columns.
#[derive(Args, Debug)]
#[command(
    after_help = "Columns: tenant, name and digest (hexadecimal or base64), and if needed public, scopes \
    (separated by spaces), owner, expires_at, enabled (true or false), last_used, masked. Digests of tokens \
    are imported, never tokens."
)]
pub struct Import {
    /// The CSV file.
    file: PathBuf,
    #[command(flatten)]
    format: FormatArguments,
    /// Create tenants that do not exist, on this tier.
    #[arg(long, value_name = "TIER")]
    create_tenants: Option<String>,
    /// Import keys even if their tenant then holds more than its tier allows.
    #[arg(long)]
    over_quota: bool,
    /// Check every line, and change nothing.
    #[arg(long)]
    dry_run: bool,
    /// When to show a progress bar on stderr.
    #[arg(long, value_enum, default_value_t = Shown::Auto)]
    progress: Shown,
}

/// Something wrong in one line of the file.
#[derive(Debug)]
pub struct Problem {
    line: u64,
    message: String,
}

impl Import {
    /// Returns the format of the tokens.
    pub fn format(&self) -> Result<ForeignFormat, Failure> {
        self.format.format()
    }
}

/// Checks the file, and imports its keys if nothing is wrong.
pub async fn run(session: &Session, settings: &Settings, import: &Import) -> Result<(), Failure> {
    let path = import.file.display().to_string();
    let text = std::fs::read(&import.file)
        .map_err(|error| Failure::usage(format!("`{path}` cannot be read: {error}")))?;
    let format = import.format()?;
    let (rows, mut problems) =
        read(&text, &format, import.over_quota).map_err(|failure| failure.at(&path))?;
    let checked = check(session, settings, import, rows, &mut problems).await?;
    problems.sort_by_key(|problem| problem.line);
    if !problems.is_empty() {
        return refuse(session, &path, &problems);
    }
    if import.dry_run {
        preview(session, &checked)
    } else {
        import_all(session, import, checked).await
    }
}

fn refuse(session: &Session, path: &str, problems: &[Problem]) -> Result<(), Failure> {
    for Problem { line, message } in problems {
        let value = json!({ "file": path, "line": line, "problem": message });
        session.out.problem(&value, &format!("{path}:{line}: {message}"));
    }
    let count = Output::count(problems.len(), "problem");
    let message = format!("nothing was imported: {count} in `{path}`");
    Err(Failure::refused(message).remedy("correct these lines, and try with --dry-run"))
}

fn preview(session: &Session, checked: &Checked) -> Result<(), Failure> {
    let is_new = |state: &&State| **state == State::New;
    let fresh = checked.rows.iter().map(|(_, state)| state).filter(is_new).count();
    let known = checked.rows.len() - fresh;
    let value = json!({
        "dry_run": true,
        "to_create": checked.missing,
        "to_import": fresh,
        "already_imported": known,
    });
    session.out.result(&value, || {
        let mut table = Table::new(&["line", "tenant", "name", "action"]);
        for (row, state) in &checked.rows {
            let action = if *state == State::New { "import" } else { "already imported" };
            table.row(vec![row.line.to_string(), row.tenant.to_string(), row.name.clone(), action.into()]);
        }
        let missing: Vec<_> = checked.missing.iter().map(ToString::to_string).collect();
        let tenants = if missing.is_empty() { "none".into() } else { missing.join(", ") };
        format!("{table}Dry run: {fresh} to import, {known} already imported, tenants to create: {tenants}\n")
    })
}

/// The numbers of an import that is running.
#[derive(Default)]
struct Counts {
    created: usize,
    imported: usize,
    known: usize,
    refused: usize,
}

async fn import_all(session: &Session, import: &Import, checked: Checked) -> Result<(), Failure> {
    let mut counts = Counts::default();
    let all = checked.rows.len();
    let bar = Bar::new("importing", u64::try_from(all).unwrap_or_default(), import.progress);
    let done = write(session, import, checked, &mut counts, &bar).await;
    let Counts { created, imported, known, refused } = counts;
    let tried = imported + known + refused;
    bar.show(u64::try_from(tried).unwrap_or_default(), "lines");
    bar.end();
    let left = all - tried;
    let value = json!({
        "tenants_created": created,
        "imported": imported,
        "already_imported": known,
        "refused": refused,
        "not_tried": left,
    });
    session.out.result(&value, || {
        let done = format!("{imported} imported, {known} already imported");
        format!("{done}, {refused} refused, {left} not tried, {created} tenants created\n")
    })?;
    done?;
    if refused == 0 { Ok(()) } else { Err(Failure::reported(Reason::Refused)) }
}

/// Imports the rows. A row that is refused does not stop the others, and a store that is away does.
async fn write(
    session: &Session,
    import: &Import,
    checked: Checked,
    counts: &mut Counts,
    bar: &Bar,
) -> Result<(), Failure> {
    let keyring = &session.keyring;
    let repeat = "repeat the command: keys that are imported already are left as they are";
    let missing: BTreeSet<_> = checked.missing.into_iter().collect();
    for tenant in missing {
        let tier = import.create_tenants.as_deref().unwrap_or_default();
        match keyring.create_empty_tenant(tenant.as_str(), tier).await {
            Ok(_) => counts.created += 1,
            // Somebody else has created it since the check.
            Err(KeyringError::TenantExists(_)) => {}
            Err(error) => return Err(Failure::from(error).remedy(repeat)),
        }
    }
    for (number, (Row { line, tenant, key, .. }, _)) in checked.rows.into_iter().enumerate() {
        if number.is_multiple_of(100) {
            bar.show(u64::try_from(number).unwrap_or_default(), "lines");
        }
        match keyring.tenant(tenant).import(key).await {
            Ok(_) => counts.imported += 1,
            Err(KeyringError::AlreadyImported(_)) => counts.known += 1,
            Err(error) => {
                let failure = Failure::from(error).at(&format!("line {line}"));
                if failure.reason == Reason::Unavailable {
                    return Err(failure.remedy(repeat));
                }
                counts.refused += 1;
                session.out.warn(&format!("not imported: {}", failure.message()));
            }
        }
    }
    Ok(())
}
