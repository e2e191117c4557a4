//! The manifest, and what is wrong in it. Each problem names its field, such as `tenants[0].keys[2].scopes`.

use std::collections::{BTreeMap, BTreeSet};

use keyway::{
    Policy, TenantId, Timestamp,
    grant::{Networks, Resources},
    record::{Labels, Owner},
    scope::ScopeSet,
};
use serde::{Deserialize, Deserializer};

use crate::exceptions::ExceptionLimits;

/// Something wrong in one field of the manifest.
#[derive(Clone, Debug)]
pub struct Problem {
    /// The path of the field.
    pub field: String,
    /// The problem.
    pub message: String,
}

/// The tenants that a manifest describes.
#[derive(Debug)]
pub struct Manifest {
    /// The tenants, in the order of the manifest.
    pub tenants: Vec<TenantSpec>,
}

/// A tenant.
#[derive(Debug)]
pub struct TenantSpec {
    /// The path of the tenant in the manifest.
    pub place: String,
    /// The id.
    pub id: TenantId,
    /// The tier.
    pub tier: String,
    /// The exceptions. `None` leaves them as they are.
    pub exceptions: Option<ExceptionLimits>,
    /// The keys.
    pub keys: Vec<KeySpec>,
}

/// A key. `None` leaves a property as it is, and gives a key that is created the safe default.
#[derive(Debug)]
pub struct KeySpec {
    /// The path of the key in the manifest.
    pub place: String,
    /// The name, which no other key of the tenant has.
    pub name: String,
    /// The scopes.
    pub scopes: Option<ScopeSet>,
    /// The resources by kind. Kinds that are not named are taken away.
    pub resources: Option<BTreeMap<String, Resources>>,
    /// The networks.
    pub networks: Option<Networks>,
    /// The labels.
    pub labels: Option<Labels>,
    /// The owner. The inner `None` is no owner.
    pub owner: Option<Option<Owner>>,
    /// The expiry. The inner `None` is no expiry.
    pub expires_at: Option<Option<Timestamp>>,
    /// Whether the key is enabled.
    pub enabled: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ManifestText {
    tenants: Vec<TenantText>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TenantText {
    id: String,
    tier: String,
    exceptions: Option<ExceptionLimits>,
    #[serde(default)]
    keys: Vec<KeyText>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyText {
    name: String,
    scopes: Option<Vec<String>>,
    resources: Option<BTreeMap<String, ResourceText>>,
    /// The inner `None` is any network.
    #[serde(default, deserialize_with = "nullable")]
    networks: Option<Option<Vec<String>>>,
    labels: Option<BTreeMap<String, String>>,
    #[serde(default, deserialize_with = "nullable")]
    owner: Option<Option<String>>,
    #[serde(default, deserialize_with = "nullable")]
    expires_at: Option<Option<Timestamp>>,
    enabled: Option<bool>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "write a list of ids, or `all`")]
enum ResourceText {
    Word(AllWord),
    Ids(Vec<String>),
}

#[derive(Deserialize)]
enum AllWord {
    #[serde(rename = "all")]
    All,
}

/// Distinguishes `null` from a field that is left out.
fn nullable<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

impl Manifest {
    /// Reads a manifest, and checks all of it against the policy.
    ///
    /// # Errors
    ///
    /// Everything that is wrong. A text that is not such JSON at all has one problem, with its line.
    pub fn read(text: &str, policy: &Policy) -> Result<Self, Vec<Problem>> {
        let mut reader = serde_json::Deserializer::from_str(text);
        let read: Result<ManifestText, _> = serde_path_to_error::deserialize(&mut reader);
        let read = read.map_err(|error| {
            let field = error.path().to_string();
            vec![Problem { field, message: error.into_inner().to_string() }]
        })?;
        reader
            .end()
            .map_err(|error| vec![Problem { field: ".".into(), message: error.to_string() }])?;
        let mut checker = Checker { policy, problems: Vec::new() };
        let tenants = checker.tenants(read);
        if checker.problems.is_empty() { Ok(Self { tenants }) } else { Err(checker.problems) }
    }
}

/// Collects what is wrong, so that all of it is reported at once.
struct Checker<'p> {
    policy: &'p Policy,
    problems: Vec<Problem>,
}

impl Checker<'_> {
    fn wrong(&mut self, field: String, message: impl ToString) {
        self.problems.push(Problem { field, message: message.to_string() });
    }

    /// Returns a value, or adds its problem.
    fn keep<T>(&mut self, field: String, value: Result<T, impl ToString>) -> Option<T> {
        value.map_err(|problem| self.wrong(field, problem)).ok()
    }

    fn tenants(&mut self, manifest: ManifestText) -> Vec<TenantSpec> {
        let (mut specs, mut ids) = (Vec::new(), BTreeSet::new());
        for (number, tenant) in manifest.tenants.into_iter().enumerate() {
            let place = format!("tenants[{number}]");
            let id = self.keep(format!("{place}.id"), TenantId::try_from(&*tenant.id));
            if !ids.insert(tenant.id.clone()) {
                self.wrong(
                    format!("{place}.id"),
                    format!("tenant `{}` is described twice", tenant.id),
                );
            }
            if self.policy.tier(&tenant.tier).is_none() {
                let tiers: Vec<_> = self.policy.tiers().iter().map(|tier| &*tier.name).collect();
                let tier = tenant.tier.escape_debug();
                let message =
                    format!("the policy has no tier `{tier}`: it has {}", tiers.join(", "));
                self.wrong(format!("{place}.tier"), message);
            }
            if let Some(Err((field, problem))) =
                tenant.exceptions.as_ref().map(|limits| limits.build(self.policy))
            {
                self.wrong(format!("{place}.exceptions.{field}"), problem);
            }
            let keys = self.keys(&place, tenant.keys);
            if let Some(id) = id {
                let (tier, exceptions) = (tenant.tier, tenant.exceptions);
                specs.push(TenantSpec { place, id, tier, exceptions, keys });
            }
        }
        specs
    }

    fn keys(&mut self, tenant: &str, keys: Vec<KeyText>) -> Vec<KeySpec> {
        let (mut specs, mut names) = (Vec::new(), BTreeSet::new());
        for (number, key) in keys.into_iter().enumerate() {
            let place = format!("{tenant}.keys[{number}]");
            if !names.insert(key.name.clone()) {
                let name = key.name.escape_debug();
                self.wrong(format!("{place}.name"), format!("the tenant has two keys `{name}`"));
            }
            specs.push(self.key(place, key));
        }
        specs
    }

    fn key(&mut self, place: String, key: KeyText) -> KeySpec {
        let at = |field: &str| format!("{place}.{field}");
        let length = key.name.chars().count();
        if !(1..=keyway::KeyRecord::MAX_NAME_LEN).contains(&length) {
            self.wrong(at("name"), "a name has 1 to 100 characters");
        }
        let catalog = self.policy.catalog();
        let scopes = key.scopes.map(|names| {
            for (number, name) in names.iter().enumerate() {
                if let Err(error) = catalog.set([name]) {
                    self.wrong(format!("{place}.scopes[{number}]"), error);
                }
            }
            catalog.set(&names).unwrap_or(catalog.none())
        });
        let resources = key.resources.map(|kinds| {
            let mut resources = BTreeMap::new();
            for (kind, ids) in kinds {
                let field = format!("{place}.resources.{kind}");
                if let Err(error) = self.policy.catalog().resource(&kind) {
                    self.wrong(field.clone(), error);
                }
                let ids = match ids {
                    ResourceText::Word(AllWord::All) => Some(Resources::All),
                    ResourceText::Ids(ids) => self.keep(field, Resources::only(ids)),
                };
                resources.extend(ids.map(|ids| (kind, ids)));
            }
            resources
        });
        let networks = key.networks.and_then(|networks| match networks {
            None => Some(Networks::Any),
            Some(networks) => self.keep(at("networks"), Networks::only(networks)),
        });
        let labels = key.labels.and_then(|labels| self.keep(at("labels"), Labels::new(labels)));
        let owner = key.owner.and_then(|owner| match owner {
            None => Some(None),
            Some(owner) => self.keep(at("owner"), Owner::try_from(&*owner)).map(Some),
        });
        let (name, expires_at, enabled) = (key.name, key.expires_at, key.enabled);
        KeySpec { place, name, scopes, resources, networks, labels, owner, expires_at, enabled }
    }
}
