//! The ends of grace periods that are under way.

use std::{
    collections::HashSet,
    sync::{Mutex, MutexGuard, PoisonError},
};

use foldhash::fast::RandomState;

use crate::{token::KeyId, verifier::OnDrop};

/// The keys whose older secrets are being ended. One caller at a time ends those of a key, however long the
/// store takes, and the others do not wait.
#[derive(Default)]
pub(super) struct EndingKeys(Mutex<HashSet<KeyId, RandomState>>);

impl EndingKeys {
    pub(super) fn contains(&self, id: KeyId) -> bool {
        self.lock().contains(&id)
    }

    /// Adds the key `id` until the result is dropped. Returns `None` if another caller has added it.
    pub(super) fn claim(&self, id: KeyId) -> Option<impl Drop + '_> {
        self.lock().insert(id).then(|| {
            OnDrop(move || {
                self.lock().remove(&id);
            })
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<KeyId, RandomState>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_caller_at_a_time_ends_the_previous_secret() {
        let keys = EndingKeys::default();
        let id = |text: &str| text.parse().unwrap();
        for _ in 0..2 {
            let claim = keys.claim(id("AAAAAAAAAAAAAAAA"));
            assert!(claim.is_some() && keys.contains(id("AAAAAAAAAAAAAAAA")));
            assert!(keys.claim(id("AAAAAAAAAAAAAAAA")).is_none());
            assert!(keys.claim(id("AAAAAAAAAAAAAAAB")).is_some());
            drop(claim);
            assert!(!keys.contains(id("AAAAAAAAAAAAAAAA")));
        }
    }
}
