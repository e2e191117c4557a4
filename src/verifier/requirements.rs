//! The requirements of guards, by number.
//!
//! A caller carries the number of what its guard required, so that a stream ends when the key no longer meets it. A number
//! costs nothing per request. A requirement of its own would cost a reference count that all processors share.

#[cfg(feature = "http")]
use alloc::collections::BTreeMap;
use alloc::{sync::Arc, vec::Vec};
use std::sync::{PoisonError, RwLock};

use crate::scope::Requirement;

/// All requirements of the guards of one verifier, each once. Their number grows with the routes of the service, not with
/// its requests.
#[derive(Default)]
pub(crate) struct Requirements(RwLock<Known>);

#[derive(Default)]
struct Known {
    /// The requirements of one guard, or of guards inside each other, for each number. The first number is 1.
    lists: Vec<Arc<[Requirement]>>,
    /// The number of an outer and an inner guard together.
    #[cfg(feature = "http")]
    pairs: BTreeMap<(u32, u32), u32>,
}

impl Requirements {
    /// The number for everything that found no room. Nobody knows what it stands for.
    #[cfg(feature = "http")]
    const UNKNOWN: u32 = (1 << 24) - 1;

    /// Returns the number of the requirement of one guard. It has at most 24 bits and is not 0.
    #[cfg(feature = "http")]
    pub(crate) fn number(&self, requirement: &Requirement) -> u32 {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        known.number(core::slice::from_ref(requirement))
    }

    /// Returns the number of what an `outer` guard and a guard inside it require together.
    #[cfg(feature = "http")]
    pub(crate) fn both(&self, outer: u32, inner: u32) -> u32 {
        if outer == inner {
            return inner;
        }
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(both) = known.pairs.get(&(outer, inner)) {
            return *both;
        }
        drop(known);
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let (Some(above), Some(below)) = (known.get(outer), known.get(inner)) else {
            return Self::UNKNOWN;
        };
        let mut all: Vec<_> = above.iter().cloned().collect();
        for requirement in &*below {
            if !all.iter().any(|other| other.is_same(requirement)) {
                all.push(requirement.clone());
            }
        }
        let both = known.number(&all);
        known.pairs.insert((outer, inner), both);
        both
    }

    /// Returns the requirements with this number, or `None` if they are not known.
    pub(super) fn get(&self, number: u32) -> Option<Arc<[Requirement]>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(number)
    }
}

impl Known {
    fn get(&self, number: u32) -> Option<Arc<[Requirement]>> {
        let place = usize::try_from(number.checked_sub(1)?).ok()?;
        self.lists.get(place).cloned()
    }

    #[cfg(feature = "http")]
    fn number(&mut self, all: &[Requirement]) -> u32 {
        let is_same = |list: &Arc<[Requirement]>| {
            list.len() == all.len() && list.iter().zip(all).all(|(one, other)| one.is_same(other))
        };
        let place = self.lists.iter().position(is_same).unwrap_or_else(|| {
            self.lists.push(all.into());
            self.lists.len() - 1
        });
        match u32::try_from(place + 1) {
            Ok(number) if number < Requirements::UNKNOWN => number,
            _ => Requirements::UNKNOWN,
        }
    }
}

#[cfg(all(test, feature = "http"))]
mod tests {
    use super::*;
    use crate::scope::{ScopeCatalog, ScopeDeclaration};

    #[test]
    fn each_requirement_has_one_number() {
        let catalog = ["a", "b"].map(|name| ScopeDeclaration::new(name, "for tests"));
        let catalog = ScopeCatalog::new(catalog).unwrap();
        let (a, b) = (catalog.require_all(["a"]).unwrap(), catalog.require_all(["b"]).unwrap());
        let any = catalog.require_any(["a"]).unwrap();
        let requirements = Requirements::default();
        let numbers = [&a, &b, &any].map(|requirement| requirements.number(requirement));
        assert_eq!(numbers, [1, 2, 3]);
        assert_eq!(requirements.number(&a), 1);
        assert_eq!(requirements.both(1, 1), 1);
        let both = requirements.both(1, 2);
        assert_eq!((both, requirements.both(1, 2)), (4, 4));
        assert_eq!(requirements.get(both).unwrap().len(), 2);
        // A guard inside both adds nothing that is required already.
        assert_eq!(requirements.both(both, 2), both);
        assert!(requirements.get(0).is_none() && requirements.get(9).is_none());
        assert_eq!(requirements.both(9, 1), Requirements::UNKNOWN);
    }
}
