//! Tenants: their list, creation, suspension and deletion.

use clap::Subcommand;
use keyway::{TenantId, Timestamp, record::Suspension};
use serde_json::json;

use crate::{
    confirm::Consent,
    contract::{self, SetExceptions, SetTier},
    failure::Failure,
    session::Session,
    table::Table,
    times::from_now,
    views::{suspension_text, tenant_table, tenant_value},
};

/// The commands on tenants.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// List the tenants, in the order of their ids.
    List {
        /// Begin after this tenant.
        #[arg(long, value_name = "TENANT", value_parser = tenant)]
        after: Option<TenantId>,
        /// Show at most this number of tenants.
        #[arg(long, value_name = "NUMBER")]
        limit: Option<usize>,
    },
    /// Show one tenant, its limits and the number of its keys.
    Show {
        /// The id of the tenant.
        #[arg(value_parser = tenant)]
        tenant: TenantId,
    },
    /// Create a tenant without keys.
    Create {
        /// The id of the tenant.
        tenant: String,
        /// The tier of the tenant.
        #[arg(long)]
        tier: String,
    },
    /// Delete a tenant and all of its keys permanently.
    Delete {
        /// The id of the tenant.
        #[arg(value_parser = tenant)]
        tenant: TenantId,
        #[command(flatten)]
        consent: Consent,
    },
    /// Suspend a tenant: none of its keys can be used.
    Suspend {
        /// The id of the tenant.
        #[arg(value_parser = tenant)]
        tenant: TenantId,
        #[command(flatten)]
        suspend: Suspend,
    },
    /// Lift the suspension of a tenant.
    Resume {
        /// The id of the tenant.
        #[arg(value_parser = tenant)]
        tenant: TenantId,
    },
    /// Move a tenant to another tier, after a preview of the effect on its keys.
    SetTier(SetTier),
    /// Replace the limits of a tenant that differ from its tier. `show` shows them.
    SetExceptions(SetExceptions),
    /// Disable an owner: none of the owner's keys can be used, now and later.
    DisableOwner(OwnerOfTenant),
    /// Enable an owner again.
    EnableOwner(OwnerOfTenant),
}

/// The reason and the end of a suspension.
#[derive(clap::Args, Debug)]
#[group(id = "suspension")]
pub struct Suspend {
    /// The reason, which the tenant may read.
    #[arg(long)]
    reason: String,
    /// The end, as a time or as a duration from now. Without it the suspension holds until it is lifted.
    #[arg(long, value_name = "TIME|DURATION", value_parser = from_now)]
    until: Option<Timestamp>,
}

impl Suspend {
    /// Returns the suspension.
    pub fn suspension(&self) -> Result<Suspension, Failure> {
        Ok(match self.until {
            Some(end) => Suspension::until(end, &self.reason)?,
            None => Suspension::permanent(&self.reason)?,
        })
    }
}

/// An owner in a tenant.
#[derive(clap::Args, Debug)]
pub struct OwnerOfTenant {
    /// The id of the tenant.
    #[arg(value_parser = tenant)]
    tenant: TenantId,
    /// The owner.
    owner: keyway::record::Owner,
}

/// Reads the id of a tenant.
pub fn tenant(text: &str) -> Result<TenantId, String> {
    text.parse().map_err(|error: keyway::record::InvalidField| error.to_string())
}

/// Runs a command.
pub async fn run(session: &Session, command: Command) -> Result<(), Failure> {
    let keyring = &session.keyring;
    match command {
        Command::List { after, limit } => list(session, after, limit).await,
        Command::Show { tenant } => show(session, &tenant).await,
        Command::Create { tenant, tier } => {
            let keys = keyring.create_empty_tenant(&tenant, &tier).await?;
            changed(session, &keyring.find_tenant(keys.id()).await?, "created")
        }
        Command::Delete { tenant, consent } => {
            let held = match keyring.tenant(tenant.clone()).quota().await {
                Ok(quota) => quota.held.to_string(),
                // An interrupted deletion has left keys and no row, and a broken row has to be deletable.
                Err(error) if error.is_not_found() || error.is_tampered() => "any remaining".into(),
                Err(error) => return Err(error.into()),
            };
            consent.ask(&format!("this deletes tenant `{tenant}` and {held} keys permanently"))?;
            keyring.delete_tenant(&tenant).await?;
            let value = json!({ "deleted": true, "tenant": tenant });
            session.out.result(&value, || format!("deleted tenant {tenant}\n"))
        }
        Command::Suspend { tenant, suspend } => {
            let suspended = keyring.suspend_tenant(&tenant, suspend.suspension()?).await?;
            changed(session, &suspended, "suspended")
        }
        Command::Resume { tenant } => {
            changed(session, &keyring.resume_tenant(&tenant).await?, "resumed")
        }
        Command::SetTier(command) => contract::set_tier(session, command).await,
        Command::SetExceptions(command) => contract::set_exceptions(session, command).await,
        Command::DisableOwner(OwnerOfTenant { tenant, owner }) => {
            let changed_to = keyring.tenant(tenant).disable_owner(&owner).await?;
            changed(session, &changed_to, &format!("disabled owner {owner} in"))
        }
        Command::EnableOwner(OwnerOfTenant { tenant, owner }) => {
            let changed_to = keyring.tenant(tenant).enable_owner(&owner).await?;
            changed(session, &changed_to, &format!("enabled owner {owner} in"))
        }
    }
}

fn changed(
    session: &Session,
    tenant: &keyway::record::TenantRecord,
    done: &str,
) -> Result<(), Failure> {
    session.out.result(&tenant_value(tenant), || {
        format!("{done} tenant {} on tier {}\n", tenant.id(), tenant.tier())
    })
}

async fn list(
    session: &Session,
    mut after: Option<TenantId>,
    limit: Option<usize>,
) -> Result<(), Failure> {
    let (mut tenants, mut broken) = (Vec::new(), Vec::new());
    let mut left = limit.unwrap_or(usize::MAX);
    while left > 0 {
        let page = session.keyring.tenants(after.as_ref(), left.min(1_000)).await?;
        left = left.saturating_sub(page.items.len() + page.broken.len());
        broken.extend(page.broken);
        tenants.extend(page.items);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let values: Vec<_> = tenants.iter().map(tenant_value).collect();
    session.out.list(&values, || tenant_table(&tenants))?;
    if let Some(next) = after {
        session.out.note(&format!("there are more: continue with --after {next}"));
    }
    session.report_broken(&broken)
}

async fn show(session: &Session, id: &TenantId) -> Result<(), Failure> {
    let quota = session.keyring.tenant(id.clone()).quota().await?;
    let tenant = &quota.tenant;
    let mut value = tenant_value(tenant);
    if let Some(fields) = value.as_object_mut() {
        fields.insert("held".into(), json!(quota.held));
        fields.insert("allowed".into(), json!(quota.allowed));
    }
    session.out.result(&value, || {
        let owners: Vec<_> = tenant.disabled_owners().iter().map(ToString::to_string).collect();
        let fields = vec![
            ("id", tenant.id().to_string()),
            ("tier", tenant.tier().to_owned()),
            ("exceptions", tenant.exceptions().to_string()),
            ("keys", format!("{} of {}", quota.held, quota.allowed)),
            ("suspended", suspension_text(tenant.suspension())),
            ("disabled owners", crate::table::or_dash(Some(owners.join(", ")))),
            ("created", tenant.created_at().to_string()),
            ("version", tenant.version().to_string()),
        ];
        Table::of_fields(fields).to_string()
    })
}
