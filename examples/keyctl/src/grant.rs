//! Issuing and editing keys: scopes, resources, networks, owner, expiry and children.

use std::time::Duration;

use clap::Args;
use keyway::{
    KeyEdit, NewKey, TenantId, Timestamp,
    grant::{Networks, Resources},
    record::{Labels, Owner},
};

use crate::{
    children::Children,
    failure::Failure,
    key_list::label,
    keys::{Named, report},
    secrets::TokenPlace,
    session::Session,
    tenants::tenant,
    times::{duration, from_now},
};

/// A new key. It has no scopes and may touch no resource unless they are named.
#[derive(Args, Debug)]
pub struct Issue {
    /// The tenant of the key.
    #[arg(long, value_parser = tenant)]
    tenant: TenantId,
    /// The name of the key.
    #[arg(long)]
    name: String,
    #[command(flatten)]
    grant: GrantArguments,
    /// Issue at most one key for this text, such as the number of a ticket, however often this is repeated.
    #[arg(long, value_name = "TEXT")]
    idempotency_key: Option<String>,
    #[command(flatten)]
    token: TokenPlace,
}

/// A change of a key.
#[derive(Args, Debug)]
pub struct Edit {
    #[command(flatten)]
    key: Named,
    /// Edit only if the key still has this version.
    #[arg(long)]
    version: Option<u64>,
    /// The new name.
    #[arg(long)]
    name: Option<String>,
    #[command(flatten)]
    grant: GrantArguments,
    /// Take all scopes away.
    #[arg(long, conflicts_with = "scopes")]
    no_scopes: bool,
    /// Allow all networks.
    #[arg(long, conflicts_with = "networks")]
    any_network: bool,
    /// Remove all labels.
    #[arg(long, conflicts_with = "labels")]
    no_labels: bool,
    /// The key belongs to no owner.
    #[arg(long, conflicts_with = "owner")]
    no_owner: bool,
    /// Remove the expiry. The longest lifetime of the tier still holds.
    #[arg(long, conflicts_with_all = ["expires_at", "expires_in"])]
    no_expiry: bool,
}

/// The properties of a key.
#[derive(Args, Debug)]
struct GrantArguments {
    /// A scope. It can be repeated. When editing, the named scopes replace all others.
    #[arg(long = "scope", value_name = "SCOPE")]
    scopes: Vec<String>,
    /// The resources of one kind: `machine=all`, `machine=mill-1,mill-2`, or `machine=` for none.
    #[arg(long = "resource", value_name = "KIND=IDS", value_parser = resource)]
    resources: Vec<(String, Resources)>,
    /// A network from which the key may be used, such as `192.0.2.0/24`. It can be repeated.
    #[arg(long = "network", value_name = "NETWORK")]
    networks: Vec<String>,
    /// A note on the key. It can be repeated.
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,
    /// The person or team that the key belongs to.
    #[arg(long)]
    owner: Option<Owner>,
    /// The time from which the key is valid.
    #[arg(long, value_name = "TIME|DURATION", value_parser = from_now)]
    not_before: Option<Timestamp>,
    /// The time from which the key is no longer valid.
    #[arg(long, value_name = "TIME", conflicts_with = "expires_in")]
    expires_at: Option<Timestamp>,
    /// The time after which the key is no longer valid, such as `90d`.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    expires_in: Option<Duration>,
    /// Whether the holder may derive short-lived keys from it, its children. A new key may have none by default.
    #[arg(long, value_name = "on|off")]
    children: Option<Children>,
}

fn resource(text: &str) -> Result<(String, Resources), String> {
    let problem = "write a kind and ids, such as `machine=mill-1,mill-2` or `machine=all`";
    let (kind, ids) = text.split_once('=').ok_or(problem)?;
    let resources = match ids {
        "all" => Resources::All,
        ids => {
            let ids = ids.split(',').filter(|id| !id.is_empty());
            Resources::only(ids).map_err(|error| error.to_string())?
        }
    };
    Ok((kind.into(), resources))
}

impl Issue {
    /// Issues the key.
    pub async fn run(self, session: &Session) -> Result<(), Failure> {
        let mut request = NewKey::named(self.name).scopes(self.grant.scopes);
        for (kind, resources) in self.grant.resources {
            request = request.resources(&kind, resources);
        }
        if !self.grant.networks.is_empty() {
            request = request.networks(Networks::only(&self.grant.networks)?);
        }
        request = request.labels(Labels::new(self.grant.labels)?);
        if let Some(owner) = self.grant.owner {
            request = request.owner(owner);
        }
        if let Some(start) = self.grant.not_before {
            request = request.not_before(start);
        }
        if let Some(end) = self.grant.expires_at {
            request = request.expires_at(end);
        }
        if let Some(lifetime) = self.grant.expires_in {
            request = request.expires_in(lifetime);
        }
        if let Some(children) = self.grant.children {
            request = request.children(children.allowed(session)?);
        }
        if let Some(text) = &self.idempotency_key {
            request = request.idempotency_key(text)?;
        }
        let mut tokens = self.token.open(session.out)?;
        let issued = session.keyring.tenant(self.tenant).issue(request).await?;
        tokens.write_one(issued, "issued")
    }
}

impl Edit {
    /// Edits the key in the version that is read now, or in the given one.
    pub async fn run(self, session: &Session) -> Result<(), Failure> {
        let (id, given) = (self.key.key, self.version);
        let found = session.keyring.find_key(id).await?.key;
        let Some(edit) = self.edit(session)? else {
            return Err(Failure::usage("no change was given").remedy("`--help` lists the changes"));
        };
        let keys = session.keyring.tenant(found.tenant().clone());
        let edited = keys.edit(id, given.unwrap_or(found.version()), edit).await?;
        report(session, &edited, "changed").await
    }

    /// Returns the edit, or `None` if it would change nothing.
    fn edit(self, session: &Session) -> Result<Option<KeyEdit>, Failure> {
        let mut edits: Vec<Box<dyn FnOnce(KeyEdit) -> KeyEdit>> = Vec::new();
        let grant = self.grant;
        if let Some(name) = self.name {
            edits.push(Box::new(|edit| edit.name(name)));
        }
        if self.no_scopes || !grant.scopes.is_empty() {
            edits.push(Box::new(|edit| edit.scopes(grant.scopes)));
        }
        for (kind, resources) in grant.resources {
            edits.push(Box::new(move |edit| edit.resources(&kind, resources)));
        }
        if self.any_network {
            edits.push(Box::new(|edit| edit.networks(Networks::Any)));
        } else if !grant.networks.is_empty() {
            let networks = Networks::only(&grant.networks)?;
            edits.push(Box::new(|edit| edit.networks(networks)));
        }
        if self.no_labels || !grant.labels.is_empty() {
            let labels = Labels::new(grant.labels)?;
            edits.push(Box::new(|edit| edit.labels(labels)));
        }
        if self.no_owner || grant.owner.is_some() {
            edits.push(Box::new(|edit| edit.owner(grant.owner)));
        }
        if let Some(start) = grant.not_before {
            edits.push(Box::new(move |edit| edit.not_before(start)));
        }
        if self.no_expiry || grant.expires_at.is_some() {
            edits.push(Box::new(move |edit| edit.expires_at(grant.expires_at)));
        }
        if let Some(lifetime) = grant.expires_in {
            edits.push(Box::new(move |edit| edit.expires_in(lifetime)));
        }
        if let Some(children) = grant.children {
            let allowed = children.allowed(session)?;
            edits.push(Box::new(move |edit| edit.children(allowed)));
        }
        if edits.is_empty() {
            return Ok(None);
        }
        Ok(Some(edits.into_iter().fold(KeyEdit::new(), |edit, change| change(edit))))
    }
}
