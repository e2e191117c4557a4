//! What this process remembers of rotations, so that a retry learns that it was done.

use alloc::{collections::VecDeque, string::String};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::{authority::Overlap, record::TenantId, token::KeyId};

/// The last rotations that had an idempotency key.
///
/// Nothing is lost without it: the version that a rotation names makes a second one impossible. A retry that
/// is not remembered, after a restart or at another node, learns that the key has changed.
#[derive(Default)]
pub(super) struct Replays(Mutex<VecDeque<Rotation>>);

/// A rotation that was asked for.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Rotation {
    pub(super) tenant: TenantId,
    pub(super) key: KeyId,
    pub(super) idempotency_key: String,
    pub(super) overlap: Overlap,
}

/// Whether a rotation was asked for before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    No,
    /// And done.
    Done,
    /// With another overlap.
    Otherwise,
}

impl Replays {
    const CAPACITY: usize = 1_024;

    pub(super) fn note(&self, rotation: Rotation) {
        let mut all = self.lock();
        if all.len() >= Self::CAPACITY {
            all.pop_front();
        }
        all.push_back(rotation);
    }

    pub(super) fn seen(&self, rotation: &Rotation) -> Seen {
        let all = self.lock();
        let same = all.iter().rev().find(|other| {
            other.key == rotation.key
                && other.tenant == rotation.tenant
                && other.idempotency_key == rotation.idempotency_key
        });
        match same {
            None => Seen::No,
            Some(same) if same == rotation => Seen::Done,
            Some(_) => Seen::Otherwise,
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Rotation>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;

    #[test]
    fn a_rotation_is_remembered_for_a_while_and_for_its_key_alone() {
        let rotation = |tenant: &str, key: &str, text: &str, overlap| Rotation {
            tenant: tenant.parse().unwrap(),
            key: key.parse().unwrap(),
            idempotency_key: text.into(),
            overlap,
        };
        let (key, other) = ("A000000000000000", "A000000000000001");
        let first = rotation("acme", key, "a", Overlap::None);
        let replays = Replays::default();
        assert_eq!(replays.seen(&first), Seen::No);
        replays.note(first.clone());
        assert_eq!(replays.seen(&first), Seen::Done);
        let otherwise = rotation("acme", key, "a", Overlap::UntilFirstUse);
        assert_eq!(replays.seen(&otherwise), Seen::Otherwise);
        for another in [
            rotation("globex", key, "a", Overlap::None),
            rotation("acme", other, "a", Overlap::None),
            rotation("acme", key, "b", Overlap::None),
        ] {
            assert_eq!(replays.seen(&another), Seen::No);
        }
        for number in 0..Replays::CAPACITY {
            replays.note(rotation("acme", other, &format!("{number}"), Overlap::None));
        }
        assert_eq!(replays.seen(&first), Seen::No);
    }
}
