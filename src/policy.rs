//! The application's configuration: issuer, scopes and tiers.

use alloc::{string::String, sync::Arc, vec::Vec};
#[cfg(feature = "children")]
use core::time::Duration;

use crate::{
    config::ConfigError,
    record::TenantRecord,
    scope::{ScopeCatalog, ScopeSet},
    text,
    tier::{Allowance, Ceiling, Rate, Terms, Tier, what_is_lower},
    token,
};

/// Issuer, scopes and tiers, checked for consistency. Clones share one policy.
///
/// A policy can be deserialized from any serde format (feature `serde`), or built:
///
/// ```
/// use keyway::{Policy, ScopeCatalog, Tier, scope::ScopeDeclaration};
///
/// let catalog = ScopeCatalog::new([ScopeDeclaration::new("reporting", "Read reports")])?;
/// let policy = Policy::new("mm", catalog, Tier::built_in())?;
/// assert_eq!(policy.tier("advanced").map(|tier| tier.keys), Some(5));
///
/// let read: Policy = serde_json::from_str(r#"{
///     "issuer": "mm",
///     "scopes": [{ "name": "reporting", "description": "Read reports" }],
///     "resources": [{ "name": "machine", "description": "One machine" }],
///     "tiers": [{ "name": "free", "keys": 2, "scopes": ["reporting"], "max_lifetime_days": 90 }]
/// }"#)?;
/// assert_eq!(read.tiers().len(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// `resources` are the kinds of resources that keys can be [limited to](crate::grant). Without `tiers`, the
/// built-in tiers apply: Lite with 1 key and Advanced with 5.
#[derive(Clone, Debug)]
pub struct Policy(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    issuer: String,
    catalog: ScopeCatalog,
    /// In ascending order. `ceilings` has the ceiling of each as a set.
    tiers: Vec<Tier>,
    ceilings: Vec<ScopeSet>,
    /// `None` means that keys have no children.
    #[cfg(feature = "children")]
    max_child_lifetime: Option<Duration>,
}

impl Policy {
    /// Maximum number of tiers of a policy. A resolved key stores the index of its tier in one byte.
    pub const MAX_TIERS: usize = 256;
    /// The longest lifetime of a child that a policy can allow.
    #[cfg(feature = "children")]
    pub const LONGEST_CHILD: Duration = Duration::from_secs(31 * 86_400);

    /// Creates the policy of a service whose tokens begin with `issuer`, with `tiers` in ascending order.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] names the first inconsistency.
    pub fn new(
        issuer: impl Into<String>,
        catalog: ScopeCatalog,
        tiers: impl IntoIterator<Item = Tier>,
    ) -> Result<Self, ConfigError> {
        let issuer = issuer.into();
        token::check_issuer(&issuer)?;
        let tiers: Vec<Tier> = tiers.into_iter().collect();
        if tiers.is_empty() || tiers.len() > Self::MAX_TIERS {
            return Err(ConfigError::Tiers(tiers.len()));
        }
        let mut ceilings = Vec::with_capacity(tiers.len());
        for (index, tier) in tiers.iter().enumerate() {
            check(tier)?;
            if tiers.iter().take(index).any(|earlier| earlier.name == tier.name) {
                return Err(ConfigError::DuplicateTier(tier.name.clone()));
            }
            ceilings.push(match &tier.scopes {
                Ceiling::All => catalog.all(),
                Ceiling::Only(names) => catalog.set(names).map_err(|error| {
                    error.within(alloc::format!("the ceiling of tier `{}`", tier.name))
                })?,
            });
        }
        let tiers_with_ceilings = || tiers.iter().zip(&ceilings);
        let pairs = tiers_with_ceilings().zip(tiers_with_ceilings().skip(1));
        for ((lower, lower_ceiling), (higher, higher_ceiling)) in pairs {
            check_ascending(lower, higher)?;
            if let [scope, ..] = &*catalog.names_above(*lower_ceiling, *higher_ceiling) {
                let what = alloc::format!("its ceiling is without scope `{scope}`");
                return Err(descending(lower, higher, what));
            }
        }
        Ok(Self(Arc::new(Inner {
            issuer,
            catalog,
            tiers,
            ceilings,
            #[cfg(feature = "children")]
            max_child_lifetime: None,
        })))
    }

    /// Returns this policy, letting keys have [children](crate::children), each of which is valid for at most `lifetime` at a
    /// stretch. A day suffices for most uses. By default no key has children.
    ///
    /// Each new secret then also gets a public key for the signatures of children. Keys that were issued before can have
    /// children after their next rotation. In a configuration file this is `max_child_lifetime_seconds`.
    ///
    /// # Errors
    ///
    /// [`ConfigError::ChildLifetime`] unless `lifetime` is at least a second and at most 31 days.
    #[cfg(feature = "children")]
    pub fn with_children(self, lifetime: Duration) -> Result<Self, ConfigError> {
        if lifetime.as_secs() == 0 || lifetime > Self::LONGEST_CHILD {
            return Err(ConfigError::ChildLifetime(lifetime));
        }
        let Inner { issuer, catalog, tiers, ceilings, .. } = &*self.0;
        Ok(Self(Arc::new(Inner {
            issuer: issuer.clone(),
            catalog: catalog.clone(),
            tiers: tiers.clone(),
            ceilings: ceilings.clone(),
            max_child_lifetime: Some(lifetime),
        })))
    }

    /// Returns the longest time for which a child is valid at a stretch, or `None` if keys have no children.
    #[cfg(feature = "children")]
    pub fn max_child_lifetime(&self) -> Option<Duration> {
        self.0.max_child_lifetime
    }

    /// Reads the policy from the file at `path`, with `parse` for its format.
    ///
    /// ```no_run
    /// use keyway::Policy;
    ///
    /// // With the crate `toml`: |text| toml::from_str(text)
    /// let policy = Policy::from_file("policy.json", |text| serde_json::from_str(text))?;
    /// # Ok::<(), keyway::ConfigError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ConfigError::Unreadable`] if the file cannot be read or is not UTF-8, or with the error of `parse`. The
    /// message names the path.
    #[cfg(feature = "std")]
    pub fn from_file<E: core::fmt::Display>(
        path: impl AsRef<std::path::Path>,
        parse: impl FnOnce(&str) -> Result<Self, E>,
    ) -> Result<Self, ConfigError> {
        let path = path.as_ref();
        let file = ConfigError::file(path);
        let text = std::fs::read_to_string(path)
            .map_err(|error| ConfigError::unreadable(&*file, &error))?;
        // Some editors begin a file with a byte order mark, which parsers refuse.
        parse(text.strip_prefix('\u{feff}').unwrap_or(&text)).map_err(|error| {
            ConfigError::unreadable(alloc::format!("the policy in {file}"), &error)
        })
    }

    /// Returns the issuer, with which every token begins.
    pub fn issuer(&self) -> &str {
        &self.0.issuer
    }

    /// Returns the scope catalog.
    pub fn catalog(&self) -> &ScopeCatalog {
        &self.0.catalog
    }

    /// Returns the tiers in ascending order.
    pub fn tiers(&self) -> &[Tier] {
        &self.0.tiers
    }

    /// Returns the tier with this name.
    pub fn tier(&self, name: &str) -> Option<&Tier> {
        self.0.tiers.iter().find(|tier| tier.name == name)
    }

    /// Returns the maximum set of scopes for the keys of a tier.
    pub fn ceiling(&self, tier: &str) -> Option<ScopeSet> {
        self.place_of(tier).map(|(_, _, ceiling)| ceiling)
    }

    /// Returns the limits that hold for `tenant`: those of its tier, and its exceptions. `None` if the policy does not have
    /// the tier.
    ///
    /// Scopes of the exceptions that the catalog does not declare allow nothing.
    pub fn terms(&self, tenant: &TenantRecord) -> Option<Terms> {
        self.placed_terms(tenant).map(|(_, terms)| terms)
    }

    /// Returns the index of the tenant's tier in [`tiers`](Self::tiers), and the limits that hold for the tenant.
    pub(crate) fn placed_terms(&self, tenant: &TenantRecord) -> Option<(u8, Terms)> {
        let (index, tier, ceiling) = self.place_of(&tenant.tier)?;
        let exceptions = &tenant.exceptions;
        let terms = Terms {
            keys: exceptions.keys.unwrap_or(tier.keys),
            rate: exceptions.rate.unwrap_or(tier.rate),
            tenant_rate: exceptions.tenant_rate.unwrap_or(tier.tenant_rate),
            allowances: exceptions.allowances.as_ref().unwrap_or(&tier.allowances).clone(),
            max_lifetime: exceptions.max_lifetime.unwrap_or(tier.max_lifetime),
            max_idle: tier.max_idle,
            scopes: match &exceptions.scopes {
                None => ceiling,
                Some(Ceiling::All) => self.catalog().all(),
                Some(Ceiling::Only(names)) => self.catalog().set_of_declared(names),
            },
        };
        Some((index, terms))
    }

    /// Returns the index of a tier in [`tiers`](Self::tiers), the tier, and its ceiling.
    pub(crate) fn place_of(&self, tier: &str) -> Option<(u8, &Tier, ScopeSet)> {
        let index = self.0.tiers.iter().position(|other| other.name == tier)?;
        let (tier, ceiling) = (self.0.tiers.get(index)?, self.0.ceilings.get(index)?);
        Some((u8::try_from(index).ok()?, tier, *ceiling))
    }
}

fn check(tier: &Tier) -> Result<(), ConfigError> {
    // The name is part of the path of the console's preview.
    text::check_filled(&tier.name, 64)
        .and_then(|()| text::check_no_dots(&tier.name))
        .map_err(|problem| ConfigError::TierName { name: tier.name.clone(), problem })?;
    if [tier.rate, tier.tenant_rate].into_iter().flatten().any(Rate::is_zero) {
        return Err(ConfigError::ZeroRate(tier.name.clone()));
    }
    Allowance::check(&tier.allowances)
        .map_err(|problem| ConfigError::Allowances { tier: tier.name.clone(), problem })?;
    if tier.max_lifetime.is_some_and(|lifetime| lifetime.as_millis() == 0) {
        return Err(ConfigError::ZeroLifetime(tier.name.clone()));
    }
    if tier.max_idle.is_some_and(|time| time.as_millis() == 0) {
        return Err(ConfigError::ZeroIdle(tier.name.clone()));
    }
    Ok(())
}

/// Checks that no limit of `higher` is below that of `lower`.
fn check_ascending(lower: &Tier, higher: &Tier) -> Result<(), ConfigError> {
    let is_lower = |lower: Option<Rate>, higher: Option<Rate>| {
        lower.zip(higher).is_some_and(|(lower, higher)| !higher.covers(lower))
    };
    let what = if higher.keys < lower.keys {
        let plural = if lower.keys == 1 { "" } else { "s" };
        alloc::format!("it allows {} and not {} key{plural} or more", higher.keys, lower.keys)
    } else if lower.rate.is_none() && higher.rate.is_some() {
        "it has a rate, which the other one has not".into()
    } else if is_lower(lower.rate, higher.rate) {
        "its rate is lower".into()
    } else if lower.tenant_rate.is_none() && higher.tenant_rate.is_some() {
        "it has a rate for the tenant, which the other one has not".into()
    } else if is_lower(lower.tenant_rate, higher.tenant_rate) {
        "its rate for the tenant is lower".into()
    } else if let Some(what) = what_is_lower(&lower.allowances, &higher.allowances) {
        what
    } else if lower.max_lifetime.is_none() && higher.max_lifetime.is_some() {
        "it has a longest lifetime, which the other one has not".into()
    } else if higher.max_lifetime.is_some() && higher.max_lifetime < lower.max_lifetime {
        "its longest lifetime is shorter".into()
    } else if lower.max_idle.is_none() && higher.max_idle.is_some() {
        "it disables keys that are not used, which the other one does not".into()
    } else if higher.max_idle.is_some() && higher.max_idle < lower.max_idle {
        "it disables keys that are not used for a shorter time".into()
    } else {
        return Ok(());
    };
    Err(descending(lower, higher, what))
}

fn descending(lower: &Tier, higher: &Tier, what: String) -> ConfigError {
    ConfigError::Descending { lower: lower.name.clone(), higher: higher.name.clone(), what }
}

#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for Policy {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(serde::Deserialize)]
        #[serde(rename = "Policy", deny_unknown_fields)]
        struct Document {
            issuer: String,
            scopes: Vec<crate::scope::ScopeDeclaration>,
            #[serde(default)]
            resources: Vec<crate::resource::ResourceDeclaration>,
            tiers: Option<Vec<Tier>>,
            #[cfg(feature = "children")]
            max_child_lifetime_seconds: Option<u64>,
        }

        let document = Document::deserialize(deserializer)?;
        let tiers = document.tiers.unwrap_or_else(|| Tier::built_in().into());
        let catalog = match document.resources {
            none if none.is_empty() => ScopeCatalog::new(document.scopes),
            kinds => {
                ScopeCatalog::new(document.scopes).and_then(|catalog| catalog.with_resources(kinds))
            }
        };
        let policy = catalog.and_then(|catalog| Self::new(document.issuer, catalog, tiers));
        #[cfg(feature = "children")]
        let policy = match document.max_child_lifetime_seconds.map(Duration::from_secs) {
            Some(lifetime) => policy.and_then(|policy| policy.with_children(lifetime)),
            None => policy,
        };
        policy.map_err(serde::de::Error::custom)
    }
}
