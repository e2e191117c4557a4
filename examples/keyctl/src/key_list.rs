//! The list of keys, with filters.

use std::collections::BTreeMap;

use clap::Args;
use keyway::{
    KeyRecord, TenantId, Timestamp,
    record::{Owner, TenantRecord},
    store::{BrokenRow, KeyFilter, KeyQuery},
};

use crate::{
    failure::Failure,
    session::Session,
    tenants::tenant,
    times::{ago, from_now},
    views::{key_row, key_table, key_value},
};

/// A list of keys. Each further condition narrows it.
#[derive(Args, Debug)]
pub struct List {
    /// The tenant. Without it, the keys of all tenants are listed.
    #[arg(long, value_parser = tenant)]
    tenant: Option<TenantId>,
    /// Keys of this owner.
    #[arg(long)]
    owner: Option<Owner>,
    /// Keys that this actor has issued.
    #[arg(long, value_name = "ACTOR")]
    created_by: Option<String>,
    /// Keys with this label.
    #[arg(long, value_name = "NAME=VALUE", value_parser = label)]
    label: Option<(String, String)>,
    /// Keys in this state: active, disabled, owner_disabled, suspended, tenant_suspended, expired,
    /// not_yet_valid or unknown_tier.
    #[arg(long)]
    state: Option<String>,
    /// Keys that end before this time, such as `30d` for the next 30 days. Ended ones are included.
    #[arg(long, value_name = "TIME|DURATION", value_parser = from_now)]
    expiring_before: Option<Timestamp>,
    /// Keys that were not used since this time, such as `90d` for the last 90 days.
    #[arg(long, value_name = "TIME|DURATION", value_parser = ago)]
    unused_since: Option<Timestamp>,
    /// Keys that were imported and not rotated since.
    #[arg(long)]
    imported: bool,
    /// Keys of one tenant with this text in the name, the masked key or the id.
    #[arg(long, value_name = "TEXT", requires = "tenant")]
    containing: Option<String>,
    /// Show at most this number of keys.
    #[arg(long, value_name = "NUMBER")]
    limit: Option<usize>,
}

/// Reads a label.
pub fn label(text: &str) -> Result<(String, String), String> {
    let parts = text.split_once('=').ok_or("write a name and a value, such as `team=erp`")?;
    Ok((parts.0.into(), parts.1.into()))
}

/// Lists keys.
pub async fn run(session: &Session, list: List) -> Result<(), Failure> {
    let filter = list.filter()?;
    let limit = list.limit.unwrap_or(usize::MAX);
    let mut found = Found {
        session,
        limit,
        tenants: BTreeMap::new(),
        keys: Vec::new(),
        count: 0,
        broken: Vec::new(),
    };
    let is_complete = match &list.tenant {
        Some(tenant) => found.of_tenant(tenant, &filter, list.containing.as_deref()).await?,
        None => found.of_all(&filter).await?,
    };
    if !session.out.json {
        let mut table = key_table();
        for key in &found.keys {
            if let Some(tenant) = found.tenants.get(key.tenant()) {
                table.row(key_row(key, tenant, session.keyring.policy()));
            }
        }
        session.out.list(&[], || table)?;
    }
    if !is_complete {
        session.out.note("there are more keys: raise --limit");
    }
    session.report_broken(&found.broken)
}

impl List {
    fn filter(&self) -> Result<KeyFilter, Failure> {
        let mut filter = KeyFilter::all();
        if let Some(owner) = &self.owner {
            filter = filter.owner(owner.clone());
        }
        if let Some(actor) = &self.created_by {
            filter = filter.created_by(actor);
        }
        if let Some((name, value)) = &self.label {
            filter = filter.label(name, value);
        }
        if let Some(state) = &self.state {
            filter = filter.in_state(state)?;
        }
        if let Some(time) = self.expiring_before {
            filter = filter.expiring_before(time);
        }
        if let Some(time) = self.unused_since {
            filter = filter.unused_since(time);
        }
        Ok(if self.imported { filter.imported() } else { filter })
    }
}

/// The keys that were found so far. JSON is written as keys are found. A table needs all of them.
struct Found<'s> {
    session: &'s Session,
    limit: usize,
    tenants: BTreeMap<TenantId, TenantRecord>,
    keys: Vec<KeyRecord>,
    count: usize,
    broken: Vec<BrokenRow>,
}

impl Found<'_> {
    async fn of_tenant(
        &mut self,
        tenant: &TenantId,
        filter: &KeyFilter,
        text: Option<&str>,
    ) -> Result<bool, Failure> {
        // Without this, a tenant that does not exist would look like one without keys.
        let record = self.session.keyring.find_tenant(tenant).await?;
        self.tenants.insert(tenant.clone(), record);
        let keys = self.session.keyring.tenant(tenant.clone());
        let mut query = KeyQuery::all().matching(filter.clone()).limit(KeyQuery::MAX_LIMIT);
        if let Some(text) = text {
            query = query.containing(text);
        }
        loop {
            let page = keys.list(&query).await?;
            if !self.add(page.items, page.broken).await? {
                return Ok(false);
            }
            match page.next {
                Some(next) => query = query.after(next),
                None => return Ok(true),
            }
        }
    }

    async fn of_all(&mut self, filter: &KeyFilter) -> Result<bool, Failure> {
        let mut after = None;
        loop {
            let page = self.session.keyring.all_keys(filter, after.as_ref()).await?;
            if !self.add(page.items, page.broken).await? {
                return Ok(false);
            }
            after = page.next;
            if after.is_none() {
                return Ok(true);
            }
        }
    }

    /// Adds a page. Returns `false` if the limit leaves keys out.
    async fn add(&mut self, keys: Vec<KeyRecord>, broken: Vec<BrokenRow>) -> Result<bool, Failure> {
        self.broken.extend(broken);
        for key in keys {
            if self.count >= self.limit {
                return Ok(false);
            }
            if !self.tenants.contains_key(key.tenant()) {
                match self.session.keyring.find_tenant(key.tenant()).await {
                    Ok(tenant) => _ = self.tenants.insert(key.tenant().clone(), tenant),
                    // The row of the tenant is named among the broken ones, or it was deleted meanwhile.
                    Err(error) if error.is_tampered() || error.is_not_found() => continue,
                    Err(error) => return Err(error.into()),
                }
            }
            self.count += 1;
            if let Some(tenant) = self.tenants.get(key.tenant())
                && self.session.out.json
            {
                let value = key_value(&key, tenant, self.session.keyring.policy());
                self.session.out.line(&value)?;
            } else {
                self.keys.push(key);
            }
        }
        Ok(true)
    }
}
