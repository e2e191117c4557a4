//! Exceptions of a tenant from its tier, and their effect on its keys.

use alloc::{string::String, vec::Vec};
use core::time::Duration;

use serde::{Deserialize, Deserializer, de::Error as _};

use super::{
    super::{
        auth::Operator,
        body::{Json, MAX_NUMBER},
        extract::{IfMatch, Path},
        problem::{ApiResult, invalid_field},
    },
    find_version,
    tiers::effect_response,
};
use crate::{
    audit::ChangeKind,
    http::problem::Problem,
    record::{Exceptions, TenantId},
    tier::{Allowance, Rate},
};

/// The exceptions of a tenant. A limit that is left out, or `null`, is the tier's.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(in super::super) struct ExceptionsBody {
    keys: Option<u32>,
    #[serde(deserialize_with = "limit")]
    rate: Option<Option<Rate>>,
    #[serde(deserialize_with = "limit")]
    tenant_rate: Option<Option<Rate>>,
    #[serde(deserialize_with = "allowances")]
    allowances: Option<Option<Vec<Allowance>>>,
    #[serde(deserialize_with = "limit")]
    max_lifetime_seconds: Option<Option<u64>>,
    #[serde(deserialize_with = "scopes")]
    scopes: Option<Option<Vec<String>>>,
}

/// Deserializes a limit, or `"unlimited"`, which is the inner `None`.
fn limit<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    #[derive(Deserialize)]
    enum Word {
        #[serde(rename = "unlimited")]
        Unlimited,
    }

    #[derive(Deserialize)]
    #[serde(untagged, expecting = "write a limit of at least 1, or `unlimited`")]
    enum Limit<T> {
        Word(Word),
        Value(T),
    }

    Ok(Option::<Limit<T>>::deserialize(deserializer)?.map(|limit| match limit {
        Limit::Word(Word::Unlimited) => None,
        Limit::Value(value) => Some(value),
    }))
}

/// Deserializes a list of allowances, or `"unlimited"`, which is the inner `None`.
fn allowances<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<Vec<Allowance>>>, D::Error> {
    let detail = "write a list of allowances, each with `units` and either `per`: `month` or `per_seconds`, or write `unlimited`";
    limit(deserializer).map_err(|_| D::Error::custom(detail))
}

/// Deserializes a list of scopes, or `"all"`, which is the inner `None`.
fn scopes<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<Vec<String>>>, D::Error> {
    #[derive(Deserialize)]
    enum Word {
        #[serde(rename = "all")]
        All,
    }

    #[derive(Deserialize)]
    #[serde(untagged, expecting = "write a list of scopes, or `all`")]
    enum Scopes {
        Word(Word),
        Only(Vec<String>),
    }

    Ok(Option::<Scopes>::deserialize(deserializer)?.map(|scopes| match scopes {
        Scopes::Word(Word::All) => None,
        Scopes::Only(names) => Some(names),
    }))
}

impl ExceptionsBody {
    fn check(self) -> Result<Exceptions, Problem> {
        let positive = |field: &'static str, rate: Option<Option<Rate>>| match rate.flatten() {
            Some(rate) if rate.is_zero() => {
                Err(invalid_field(field, "a rate is at least 1 request in at least 1 second"))
            }
            _ => Ok(()),
        };
        positive("rate", self.rate)?;
        positive("tenant_rate", self.tenant_rate)?;
        let lifetime = self.max_lifetime_seconds.flatten();
        if lifetime.is_some_and(|seconds| !(1..=MAX_NUMBER).contains(&seconds)) {
            let detail = "a key lives for a second at least, and not for more than 2^53 - 1";
            return Err(invalid_field("max_lifetime_seconds", detail));
        }
        let mut exceptions = Exceptions::new();
        if let Some(keys) = self.keys {
            exceptions = exceptions.keys(keys);
        }
        if let Some(rate) = self.rate {
            exceptions = exceptions.rate(rate);
        }
        if let Some(rate) = self.tenant_rate {
            exceptions = exceptions.tenant_rate(rate);
        }
        if let Some(allowances) = self.allowances {
            let units = |allowance: &Allowance| allowance.units;
            if allowances.iter().flatten().map(units).any(|units| units > MAX_NUMBER) {
                let detail = "an allowance has 2^53 - 1 units at most";
                return Err(invalid_field("allowances", detail));
            }
            exceptions = exceptions.allowances(allowances.unwrap_or_default());
        }
        if let Some(seconds) = self.max_lifetime_seconds {
            exceptions = exceptions.max_lifetime(seconds.map(Duration::from_secs));
        }
        Ok(match self.scopes {
            None => exceptions,
            Some(None) => exceptions.all_scopes(),
            Some(Some(names)) => exceptions.scopes(names),
        })
    }
}

/// Returns the effect that these exceptions would have.
pub(in super::super) async fn preview_exceptions(
    Operator { keyring, .. }: Operator,
    Path(tenant): Path<TenantId>,
    Json(body): Json<ExceptionsBody>,
) -> ApiResult {
    let preview = keyring.preview_exceptions(&tenant, body.check()?).await?;
    Ok(effect_response(&preview, preview.tenant.version()))
}

/// Replaces the exceptions of a tenant, and returns the effect.
pub(in super::super) async fn set_exceptions(
    Operator { keyring, .. }: Operator,
    Path(tenant): Path<TenantId>,
    if_match: IfMatch,
    Json(body): Json<ExceptionsBody>,
) -> ApiResult {
    let exceptions = body.check()?;
    let change = ChangeKind::SetExceptions;
    let tenant = find_version(&keyring, change, &tenant, &if_match).await?;
    let preview = keyring.preview_exceptions(tenant.id(), exceptions.clone()).await;
    let preview = match preview {
        Ok(preview) => preview,
        Err(error) => return Err(keyring.refused(change, tenant.id(), None, error).await.into()),
    };
    // The write compares the version, also if the preview has read a later one.
    let set = keyring.except(&tenant, exceptions).await?;
    Ok(effect_response(&preview, set.tenant.version()))
}
