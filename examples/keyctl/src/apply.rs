//! Declarative apply: tenants and keys as a JSON manifest describes them.
//!
//! A property that the manifest does not mention stays as it is. Nothing is deleted without `--prune`. Every
//! change names the version that was read, so a concurrent change is reported and never overwritten.

mod changes;
mod execute;
mod limits;
mod manifest;
mod plan;
mod prune;
mod report;
mod saved;

use std::path::PathBuf;

use clap::Args;

use self::{
    execute::execute,
    manifest::Manifest,
    plan::{Pruning, plan},
    report::{report_problems, show},
    saved::{SavedPlan, fingerprint},
};
use crate::{confirm::Consent, failure::Failure, secrets::TokenPlace, session::Session};

/// An application of a manifest.
#[derive(Args, Debug)]
pub struct Apply {
    /// The manifest, as JSON.
    manifest: PathBuf,
    /// Show what would be created and changed, and change nothing.
    #[arg(long)]
    dry_run: bool,
    /// With --dry-run: write the versions that were read to this file, for --plan.
    #[arg(long, value_name = "FILE", requires = "dry_run")]
    save_plan: Option<PathBuf>,
    /// Change only what still has the versions of this file. Everything else is reported as a conflict.
    #[arg(long, value_name = "FILE", conflicts_with = "dry_run")]
    plan: Option<PathBuf>,
    /// Delete keys of the manifest's tenants that it does not name.
    #[arg(long)]
    prune: bool,
    /// Delete tenants that the manifest does not name, with all of their keys.
    #[arg(long)]
    prune_tenants: bool,
    #[command(flatten)]
    tokens: TokenPlace,
    #[command(flatten)]
    consent: Consent,
}

/// Applies a manifest.
pub async fn run(session: &Session, apply: &Apply) -> Result<(), Failure> {
    let path = apply.manifest.display().to_string();
    let text = std::fs::read_to_string(&apply.manifest)
        .map_err(|error| Failure::usage(format!("`{path}` cannot be read: {error}")))?;
    let manifest = match Manifest::read(&text, session.keyring.policy()) {
        Ok(manifest) => manifest,
        Err(problems) => return report_problems(session, &path, &problems),
    };
    let saved = apply.plan.as_deref().map(|file| SavedPlan::read(file, &text)).transpose()?;
    let pruning = Pruning { keys: apply.prune, tenants: apply.prune_tenants };
    let plan = plan(session, &manifest, saved.as_ref(), pruning).await?;
    if !plan.problems.is_empty() {
        return report_problems(session, &path, &plan.problems);
    }
    if apply.dry_run {
        if let Some(file) = &apply.save_plan {
            plan.seen.write(file, fingerprint(&text))?;
        }
        return show(session, &plan);
    }
    let deleted = plan.deletions();
    if !deleted.is_empty() {
        apply.consent.ask(&format!("this deletes permanently: {}", deleted.join(", ")))?;
    }
    let mut tokens = apply.tokens.open(session.out)?;
    execute(session, plan, &mut tokens).await
}
