//! The resources that a route touches.

use alloc::{boxed::Box, collections::BTreeMap, string::String, sync::Arc, vec::Vec};

use crate::{
    grant::{OutsideGrant, ResourceLimits, Resources},
    resource::{ResourceKind, ResourceKinds},
};

/// Returns the value of a parameter of the path.
pub(super) type Parameter<'r> = dyn Fn(&str) -> Option<String> + 'r;

/// The statement of a route on the resources of one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum ResourceRule {
    /// Nothing. The route may touch any resource.
    #[default]
    Unstated,
    /// These parameters of the path are ids of resources.
    Parameters(Vec<Box<str>>),
    /// The handler checks the resources that it touches.
    Handler,
    /// It touches none.
    Untouched,
}

/// The rules for each kind of resource, in the order of the catalog. Kinds that are missing are unstated.
#[derive(Clone, Debug, Default)]
pub(super) struct ResourceRules(Arc<Vec<ResourceRule>>);

impl ResourceRules {
    /// Sets the rule for a kind. Parameters are added to earlier ones.
    pub(super) fn add(&mut self, kind: &ResourceKind, rule: ResourceRule) {
        let rules = Arc::make_mut(&mut self.0);
        if rules.len() <= kind.index() {
            rules.resize(kind.index() + 1, ResourceRule::Unstated);
        }
        let Some(place) = rules.get_mut(kind.index()) else { return };
        match (place, rule) {
            (ResourceRule::Parameters(names), ResourceRule::Parameters(more)) => names.extend(more),
            (place, rule) => *place = rule,
        }
    }

    pub(super) fn get(&self, index: usize) -> &ResourceRule {
        self.0.get(index).unwrap_or(&ResourceRule::Unstated)
    }

    /// Returns the values of all parameters that are ids, for a decision that waits for the store.
    pub(super) fn read(
        &self,
        parameter: impl Fn(&str) -> Option<String>,
    ) -> BTreeMap<Box<str>, String> {
        let names = self.0.iter().flat_map(|rule| match rule {
            ResourceRule::Parameters(names) => &**names,
            _ => &[],
        });
        names.filter_map(|name| Some((name.clone(), parameter(name)?))).collect()
    }

    /// Checks that a caller with these limits may touch the resources of the request.
    #[cold]
    pub(super) fn check(
        &self,
        limits: &ResourceLimits,
        kinds: &ResourceKinds,
        parameter: &Parameter<'_>,
    ) -> Result<(), OutsideGrant> {
        for (index, kind) in kinds.names().enumerate() {
            let resources = limits.of_kind(kind);
            let is_permitted = *resources == Resources::All
                || match self.get(index) {
                    // Nobody knows which resources the route touches, so it may be any of them.
                    ResourceRule::Unstated => false,
                    ResourceRule::Handler | ResourceRule::Untouched => true,
                    ResourceRule::Parameters(names) => names
                        .iter()
                        .all(|name| parameter(name).is_some_and(|id| resources.contains(&id))),
                };
            if !is_permitted {
                return Err(OutsideGrant::Resource(kind.into()));
            }
        }
        Ok(())
    }
}
