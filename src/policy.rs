//! What the host decides once: issuer, scopes and tiers.

use alloc::{string::String, sync::Arc, vec::Vec};

use crate::{
    scope::{CatalogError, ScopeCatalog, ScopeSet},
    text::{self, TextProblem},
    tier::{Ceiling, Tier},
    token,
};

/// The host's decisions, checked against each other. Clones share one policy.
///
/// It is read from any serde format (feature `serde`), or built:
///
/// ```
/// use keyway::{policy::Policy, scope::{ScopeCatalog, ScopeDeclaration}, tier::Tier};
///
/// let catalog = ScopeCatalog::new([ScopeDeclaration::new("reporting", "Read reports")])?;
/// let policy = Policy::new("mm", catalog, Tier::built_in())?;
/// assert_eq!(policy.tier("advanced").map(|tier| tier.keys), Some(5));
///
/// let read: Policy = serde_json::from_str(r#"{
///     "issuer": "mm",
///     "scopes": [{ "name": "reporting", "description": "Read reports" }],
///     "tiers": [{ "name": "free", "keys": 2, "scopes": ["reporting"], "max_lifetime_days": 90 }]
/// }"#)?;
/// assert_eq!(read.tiers().len(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Without `tiers`, the built-in ones hold: Lite with 1 key and Advanced with 5.
#[derive(Clone, Debug)]
pub struct Policy(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    issuer: String,
    catalog: ScopeCatalog,
    /// In ascending order, each with its ceiling as a set.
    tiers: Vec<Tier>,
    ceilings: Vec<ScopeSet>,
}

impl Policy {
    /// The most tiers that a policy holds: a resolved key notes the place of its tier in one byte.
    pub const MAX_TIERS: usize = 256;

    /// The policy of a service whose tokens begin with `issuer`, with `tiers` in ascending order.
    ///
    /// # Errors
    ///
    /// [`PolicyError`] names the first inconsistency.
    pub fn new(
        issuer: impl Into<String>,
        catalog: ScopeCatalog,
        tiers: impl IntoIterator<Item = Tier>,
    ) -> Result<Self, PolicyError> {
        let issuer = issuer.into();
        token::check_issuer(&issuer)?;
        let tiers: Vec<Tier> = tiers.into_iter().collect();
        if tiers.is_empty() {
            return Err(PolicyError::NoTiers);
        }
        if tiers.len() > Self::MAX_TIERS {
            return Err(PolicyError::TooManyTiers(tiers.len()));
        }
        let mut ceilings = Vec::with_capacity(tiers.len());
        for (index, tier) in tiers.iter().enumerate() {
            check(tier)?;
            if tiers.iter().take(index).any(|earlier| earlier.name == tier.name) {
                return Err(PolicyError::DuplicateTier(tier.name.clone()));
            }
            ceilings.push(match &tier.scopes {
                Ceiling::All => catalog.all(),
                Ceiling::Only(names) => catalog
                    .set(names)
                    .map_err(|source| PolicyError::Ceiling { tier: tier.name.clone(), source })?,
            });
        }
        let tiers_with_ceilings = || tiers.iter().zip(&ceilings);
        let pairs = tiers_with_ceilings().zip(tiers_with_ceilings().skip(1));
        for ((lower, lower_ceiling), (higher, higher_ceiling)) in pairs {
            check_ascending(lower, higher)?;
            if let [scope, ..] = &*catalog.names_above(*lower_ceiling, *higher_ceiling) {
                let what = alloc::format!("scope `{scope}`");
                return Err(descending(lower, higher, what));
            }
        }
        Ok(Self(Arc::new(Inner { issuer, catalog, tiers, ceilings })))
    }

    /// What every token begins with.
    pub fn issuer(&self) -> &str {
        &self.0.issuer
    }

    /// The scopes.
    pub fn catalog(&self) -> &ScopeCatalog {
        &self.0.catalog
    }

    /// The tiers in ascending order.
    pub fn tiers(&self) -> &[Tier] {
        &self.0.tiers
    }

    /// The tier with this name.
    pub fn tier(&self, name: &str) -> Option<&Tier> {
        self.0.tiers.iter().find(|tier| tier.name == name)
    }

    /// The scopes that the keys of a tier may have at most.
    pub fn ceiling(&self, tier: &str) -> Option<ScopeSet> {
        self.tier_and_ceiling(tier).map(|(_, ceiling)| ceiling)
    }

    /// The place of a tier among [`tiers`](Self::tiers), and its ceiling.
    pub(crate) fn tier_and_ceiling(&self, tier: &str) -> Option<(u8, ScopeSet)> {
        let index = self.0.tiers.iter().position(|other| other.name == tier)?;
        let ceiling = self.0.ceilings.get(index)?;
        Some((u8::try_from(index).ok()?, *ceiling))
    }
}

fn check(tier: &Tier) -> Result<(), PolicyError> {
    text::check_filled(&tier.name, 64)
        .map_err(|problem| PolicyError::TierName { name: tier.name.clone(), problem })?;
    if tier.rate.is_some_and(|rate| rate.requests == 0 || rate.per_seconds == 0) {
        return Err(PolicyError::ZeroRate(tier.name.clone()));
    }
    if tier.max_lifetime.is_some_and(|lifetime| lifetime.as_millis() == 0) {
        return Err(PolicyError::ZeroLifetime(tier.name.clone()));
    }
    Ok(())
}

/// A higher tier never has less than a lower one.
fn check_ascending(lower: &Tier, higher: &Tier) -> Result<(), PolicyError> {
    let what = if higher.keys < lower.keys {
        alloc::format!("{} keys", lower.keys)
    } else if lower.rate.is_none() && higher.rate.is_some()
        || matches!((lower.rate, higher.rate), (Some(low), Some(high)) if !high.covers(low))
    {
        "its rate".into()
    } else if lower.max_lifetime.is_none() && higher.max_lifetime.is_some()
        || higher.max_lifetime.is_some() && higher.max_lifetime < lower.max_lifetime
    {
        "its longest lifetime".into()
    } else {
        return Ok(());
    };
    Err(descending(lower, higher, what))
}

fn descending(lower: &Tier, higher: &Tier, what: String) -> PolicyError {
    PolicyError::Descending { lower: lower.name.clone(), higher: higher.name.clone(), what }
}

/// A policy contradicts itself.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// No token can begin with this issuer.
    #[error(transparent)]
    Issuer(#[from] token::FormatError),
    /// The scopes are inconsistent.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// There is no tier that a tenant could be on.
    #[error("the policy has no tier")]
    NoTiers,
    /// More tiers than [`Policy::MAX_TIERS`].
    #[error("the policy has {0} tiers, and at most 256 are allowed")]
    TooManyTiers(usize),
    /// The name of a tier.
    #[error("the name of the tier `{}` {problem}", name.escape_debug())]
    TierName {
        /// The name.
        name: String,
        /// What is wrong with it.
        problem: TextProblem,
    },
    /// Two tiers share a name.
    #[error("tier `{0}` is declared twice")]
    DuplicateTier(String),
    /// A tier's ceiling names a scope that is not declared.
    #[error("the ceiling of tier `{tier}` is inconsistent")]
    Ceiling {
        /// The tier.
        tier: String,
        /// The scope at fault.
        source: CatalogError,
    },
    /// A rate of nothing, or over no time.
    #[error("the rate of tier `{0}` allows no request: both of its numbers are at least 1")]
    ZeroRate(String),
    /// Every key would be born expired.
    #[error("the longest lifetime of tier `{0}` is zero")]
    ZeroLifetime(String),
    /// A higher tier has less than a lower one.
    #[error("tier `{higher}` comes after `{lower}` but lacks {what} of it")]
    Descending {
        /// The lower tier.
        lower: String,
        /// The higher tier.
        higher: String,
        /// What the higher one lacks.
        what: String,
    },
}

#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for Policy {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(serde::Deserialize)]
        #[serde(rename = "Policy", deny_unknown_fields)]
        struct Document {
            issuer: String,
            scopes: Vec<crate::scope::ScopeDeclaration>,
            tiers: Option<Vec<Tier>>,
        }

        let document = Document::deserialize(deserializer)?;
        let tiers = document.tiers.unwrap_or_else(|| Tier::built_in().into());
        ScopeCatalog::new(document.scopes)
            .map_err(PolicyError::from)
            .and_then(|catalog| Self::new(document.issuer, catalog, tiers))
            .map_err(|error| serde::de::Error::custom(WithSource(&error)))
    }
}

/// An error with its cause on the same line, for serde's errors, which have no `source()`.
#[cfg(feature = "serde")]
struct WithSource<'e>(&'e dyn core::error::Error);

#[cfg(feature = "serde")]
impl core::fmt::Display for WithSource<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}
