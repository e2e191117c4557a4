//! Limits of a key on resources and networks, in requests and in the session.

use alloc::{
    string::{String, ToString as _},
    vec::Vec,
};

use serde::{Deserialize, Deserializer, Serialize, de::Error as _};

use super::problem::invalid_field;
pub(super) use crate::http::json_request::{ByKind, resources};
use crate::{
    grant::{Networks, Resources},
    http::problem::Problem,
    record::{InvalidField, KeyRecord},
    scope::ScopeCatalog,
};

/// Deserializes networks, which may be left out. `null` is any network. An empty list is refused.
pub(super) fn networks<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Networks>, D::Error> {
    let list = Option::<Vec<String>>::deserialize(deserializer)?;
    listed(list.as_deref()).map(Some).map_err(D::Error::custom)
}

/// Returns the networks with these texts, or any network without a list. An empty list is refused.
pub(super) fn networks_of(list: Option<&[String]>) -> Result<Networks, Problem> {
    listed(list).map_err(|invalid| invalid_field("networks", invalid.to_string()))
}

fn listed(list: Option<&[String]>) -> Result<Networks, InvalidField> {
    list.map_or(Ok(Networks::Any), Networks::only)
}

/// Returns whether `key` has exactly these limits.
pub(super) fn are_those_of(
    key: &KeyRecord,
    resources: Option<&ByKind>,
    networks: &Networks,
) -> bool {
    let wanted = resources.into_iter().flatten();
    let wanted = wanted.filter(|(_, resources)| **resources != Resources::Nothing);
    wanted.map(|(kind, resources)| (&**kind, resources)).eq(key.resources())
        && networks == key.networks()
}

/// A kind of resource that the catalog declares.
#[derive(Serialize)]
pub(super) struct KindView<'c> {
    name: &'c str,
    description: &'c str,
}

/// Returns the kinds of resources that keys can be limited to.
pub(super) fn kinds(catalog: &ScopeCatalog) -> Vec<KindView<'_>> {
    catalog.resources().map(|(name, description)| KindView { name, description }).collect()
}
