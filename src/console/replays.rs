//! What this process remembers of rotations, so that a retry learns that it was done.

use alloc::{collections::VecDeque, string::String};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::{authority::Overlap, record::TenantId, time::Timestamp, token::KeyId};

/// The last rotations that had an idempotency key, noted before they are tried: whoever asked may be gone
/// when they are done.
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
    /// When the key got its secret before this one. While that is so, this is not done.
    pub(super) rotated_before: Option<Timestamp>,
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

    /// `rotation` names when the key got its secret by now.
    pub(super) fn seen(&self, rotation: &Rotation) -> Seen {
        let all = self.lock();
        let same = all.iter().rev().find(|other| {
            other.key == rotation.key
                && other.tenant == rotation.tenant
                && other.idempotency_key == rotation.idempotency_key
        });
        match same {
            Some(same) if same.rotated_before != rotation.rotated_before => {
                if same.overlap == rotation.overlap { Seen::Done } else { Seen::Otherwise }
            }
            _ => Seen::No,
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
            rotated_before: None,
        };
        let done = |rotation: &Rotation| Rotation {
            rotated_before: Some(Timestamp::MAX),
            ..rotation.clone()
        };
        let (key, other) = ("A000000000000000", "A000000000000001");
        let first = rotation("acme", key, "a", Overlap::None);
        let replays = Replays::default();
        assert_eq!(replays.seen(&done(&first)), Seen::No);
        replays.note(first.clone());
        // It was tried and is not done, so it may be tried again.
        assert_eq!(replays.seen(&first), Seen::No);
        assert_eq!(replays.seen(&done(&first)), Seen::Done);
        let otherwise = rotation("acme", key, "a", Overlap::UntilFirstUse);
        assert_eq!(replays.seen(&done(&otherwise)), Seen::Otherwise);
        for another in [
            rotation("globex", key, "a", Overlap::None),
            rotation("acme", other, "a", Overlap::None),
            rotation("acme", key, "b", Overlap::None),
        ] {
            assert_eq!(replays.seen(&done(&another)), Seen::No);
        }
        for number in 0..Replays::CAPACITY {
            replays.note(rotation("acme", other, &format!("{number}"), Overlap::None));
        }
        assert_eq!(replays.seen(&done(&first)), Seen::No);
    }
}
