//! The contract of a tenant: its tier, and its exceptions from it. Each change is previewed first.

use clap::Args;
use keyway::{
    TenantId,
    allowance::Allowance,
    keyring::{QuotaUse, TermsPreview},
    rate::Rate,
};
use serde_json::{Value, json};

use crate::{
    confirm::Consent,
    exceptions::ExceptionLimits,
    failure::Failure,
    session::Session,
    table::{Table, or_dash},
    tenants::tenant,
    times::{duration, now},
};

/// A move to another tier.
#[derive(Args, Debug)]
pub struct SetTier {
    /// The id of the tenant.
    #[arg(value_parser = tenant)]
    tenant: TenantId,
    /// The tier.
    tier: String,
    #[command(flatten)]
    change: Previewed,
}

/// New exceptions. Limits that are not given are the tier's.
#[derive(Args, Debug)]
pub struct SetExceptions {
    /// The id of the tenant.
    #[arg(value_parser = tenant)]
    tenant: TenantId,
    /// The number of keys.
    #[arg(long)]
    keys: Option<u32>,
    /// The rate of each key, such as `100/60s`, or `unlimited`.
    #[arg(long, value_name = "REQUESTS/DURATION", value_parser = rate)]
    rate: Option<Limit<Rate>>,
    /// The rate of the tenant as a whole.
    #[arg(long, value_name = "REQUESTS/DURATION", value_parser = rate)]
    tenant_rate: Option<Limit<Rate>>,
    /// An allowance over all nodes, such as `100000/month` or `600/60s`, or `unlimited`. It can be repeated.
    #[arg(long = "allowance", value_name = "UNITS/PERIOD", value_parser = allowance)]
    allowances: Vec<Limit<Allowance>>,
    /// The longest lifetime of keys, such as `90d`, or `unlimited`.
    #[arg(long, value_name = "DURATION", value_parser = lifetime)]
    max_lifetime: Option<Limit<u64>>,
    /// A scope that keys may have. It can be repeated.
    #[arg(long = "scope", value_name = "SCOPE", conflicts_with = "all_scopes")]
    scopes: Vec<String>,
    /// Allow all scopes.
    #[arg(long)]
    all_scopes: bool,
    /// Remove all exceptions.
    #[arg(long, conflicts_with_all = ["keys", "rate", "tenant_rate", "allowances", "max_lifetime", "scopes", "all_scopes"])]
    none: bool,
    #[command(flatten)]
    change: Previewed,
}

/// A change of which the effect is shown first.
#[derive(Args, Debug)]
struct Previewed {
    /// Show the effect, and change nothing.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    consent: Consent,
}

/// A limit, or no limit at all.
#[derive(Clone, Copy, Debug)]
struct Limit<T>(Option<T>);

fn rate(text: &str) -> Result<Limit<Rate>, String> {
    if text == "unlimited" {
        return Ok(Limit(None));
    }
    let parts = text.split_once('/').and_then(|(requests, period)| {
        let seconds = duration(period).ok()?.as_secs();
        Some(Rate { requests: requests.parse().ok()?, per_seconds: u32::try_from(seconds).ok()? })
    });
    Ok(Limit(Some(parts.ok_or("write a rate such as `100/60s`, or `unlimited`")?)))
}

fn allowance(text: &str) -> Result<Limit<Allowance>, String> {
    if text == "unlimited" {
        return Ok(Limit(None));
    }
    let parts = text.split_once('/').and_then(|(units, period)| {
        let units = units.parse().ok()?;
        if period == "month" {
            return Some(Allowance::per_month(units));
        }
        let seconds = u32::try_from(duration(period).ok()?.as_secs()).ok()?;
        Some(Allowance::per_seconds(units, seconds)).filter(|_| seconds > 0)
    });
    let parts =
        parts.ok_or("write an allowance such as `100000/month` or `600/60s`, or `unlimited`")?;
    Ok(Limit(Some(parts)))
}

fn lifetime(text: &str) -> Result<Limit<u64>, String> {
    if text == "unlimited" { Ok(Limit(None)) } else { Ok(Limit(Some(duration(text)?.as_secs()))) }
}

/// Moves a tenant to another tier.
pub async fn set_tier(session: &Session, command: SetTier) -> Result<(), Failure> {
    let SetTier { tenant, tier, change } = command;
    let preview = session.keyring.preview_tier(&tenant, &tier).await?;
    let question = format!("moves tenant `{tenant}` from tier {} to {tier}", preview.tenant.tier());
    if !change.agrees(session, &preview, &question)? {
        return Ok(());
    }
    let version = preview.tenant.version();
    let quota = session.keyring.set_tier_version(&tenant, version, &tier).await?;
    report(session, &quota, &preview, "moved")
}

/// Replaces the exceptions of a tenant.
pub async fn set_exceptions(session: &Session, command: SetExceptions) -> Result<(), Failure> {
    let limits = ExceptionLimits {
        keys: command.keys,
        rate: command.rate.map(|limit| limit.0),
        tenant_rate: command.tenant_rate.map(|limit| limit.0),
        allowances: (!command.allowances.is_empty())
            .then(|| command.allowances.iter().map(|limit| limit.0).collect()),
        max_lifetime_seconds: command.max_lifetime.map(|limit| limit.0),
        scopes: match (command.all_scopes, command.scopes.is_empty()) {
            (true, _) => Some(None),
            (false, false) => Some(Some(command.scopes)),
            (false, true) => None,
        },
    };
    let exceptions = limits.build(session.keyring.policy());
    let exceptions = exceptions.map_err(|(field, problem)| {
        Failure::usage(format!("--{}: {problem}", field.replace('_', "-")))
    })?;
    if exceptions.is_empty() && !command.none {
        let failure = Failure::usage("no exception was given");
        return Err(failure.remedy("name limits, or remove all exceptions with --none"));
    }
    let tenant = command.tenant;
    let preview = session.keyring.preview_exceptions(&tenant, exceptions.clone()).await?;
    let from = preview.tenant.exceptions();
    let question =
        format!("changes the exceptions of tenant `{tenant}` from {from} to {exceptions}");
    if !command.change.agrees(session, &preview, &question)? {
        return Ok(());
    }
    let version = preview.tenant.version();
    let quota = session.keyring.set_exceptions(&tenant, version, exceptions).await?;
    report(session, &quota, &preview, "changed")
}

impl Previewed {
    /// Shows the preview. Returns whether to make the change. A change that takes something away needs consent.
    fn agrees(
        &self,
        session: &Session,
        preview: &TermsPreview,
        question: &str,
    ) -> Result<bool, Failure> {
        if self.dry_run {
            let value = json!({ "dry_run": true, "preview": preview_value(preview) });
            session.out.result(&value, || format!("this {question}\n{}", preview_text(preview)))?;
            return Ok(false);
        }
        let over = preview.held > preview.terms.keys;
        if !preview.affected.is_empty() || over || !preview.complete {
            session.out.note(preview_text(preview).trim_end());
            self.consent.ask(&format!(
                "this {question}, with an effect on {} keys",
                preview.affected.len()
            ))?;
        }
        Ok(true)
    }
}

fn report(
    session: &Session,
    quota: &QuotaUse,
    preview: &TermsPreview,
    done: &str,
) -> Result<(), Failure> {
    let tenant = &quota.tenant;
    let mut value = crate::views::tenant_value(tenant);
    if let Some(fields) = value.as_object_mut() {
        fields.insert("held".into(), json!(quota.held));
        fields.insert("allowed".into(), json!(quota.allowed));
        fields.insert("affected_keys".into(), json!(preview.affected.len()));
    }
    session.out.result(&value, || {
        let (id, tier, exceptions) = (tenant.id(), tenant.tier(), tenant.exceptions());
        let (held, allowed) = (quota.held, quota.allowed);
        format!(
            "{done} tenant {id}: tier {tier}, exceptions {exceptions}, {held} of {allowed} keys\n"
        )
    })
}

fn preview_value(preview: &TermsPreview) -> Value {
    let affected = preview.affected.iter().map(
        |key| json!({ "id": key.id, "name": key.name, "loses": key.loses, "ends_at": key.ends_at }),
    );
    json!({
        "tenant": preview.tenant.id(),
        "version": preview.tenant.version(),
        "from_tier": preview.tenant.tier(),
        "tier": preview.tier,
        "held": preview.held,
        "allowed": preview.terms.keys,
        "affected": affected.collect::<Vec<_>>(),
        "complete": preview.complete,
    })
}

fn preview_text(preview: &TermsPreview) -> String {
    let (held, allowed) = (preview.held, preview.terms.keys);
    let mut text = format!("{held} keys held, {allowed} allowed\n");
    if held > allowed {
        text.push_str("the keys stay, and the tenant gets no further key until it holds fewer\n");
    }
    if preview.affected.is_empty() {
        text.push_str("no key may do less or ends earlier\n");
    } else {
        let mut table = Table::new(&["key", "name", "loses", "ends"]);
        for key in &preview.affected {
            let loses: Vec<_> = key.loses.iter().map(ToString::to_string).collect();
            let ends = key
                .ends_at
                .map(|end| if end <= now() { "at once".into() } else { end.to_string() });
            table.row(vec![
                key.id.to_string(),
                key.name.clone(),
                or_dash(Some(loses.join(" "))),
                or_dash(ends),
            ]);
        }
        text.push_str(&table.to_string());
    }
    if !preview.complete {
        text.push_str("not all keys could be read: more may be affected\n");
    }
    text
}
