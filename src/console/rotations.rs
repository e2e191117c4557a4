//! The last rotations of this process, by which it recognizes a retry of one that it has done.

use alloc::string::String;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::fair::Fair;
use crate::{
    authority::GracePeriod,
    record::{KeyRecord, TenantId},
    token::{Digest, KeyId},
};

/// The last rotations, with their idempotency keys.
///
/// Safety does not depend on it. A rotation names the one version that it replaces, so a retry never rotates
/// a second time. If the rotation is not remembered, after a restart or at another node, the retry gets 412:
/// the key has changed.
///
/// A rotation is noted before it is written, because the handler may be dropped during the write. The note
/// holds the digest of the new secret. The rotation was done if the key has that digest. So neither a refused
/// rotation nor another caller's rotation is mistaken for it.
pub(super) struct Rotations(Mutex<Fair<Noted>>);

/// A requested rotation.
#[derive(Clone)]
pub(super) struct Rotation {
    pub(super) key: KeyId,
    pub(super) idempotency_key: String,
    pub(super) grace_period: GracePeriod,
}

struct Noted {
    rotation: Rotation,
    secret: Digest,
}

/// An earlier rotation with the same idempotency key, which gave the key its present secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Earlier {
    Same,
    OtherGracePeriod,
}

impl Default for Rotations {
    fn default() -> Self {
        Self(Mutex::new(Fair::new(Self::CAPACITY)))
    }
}

impl Rotations {
    const CAPACITY: usize = 1_024;

    fn all(&self) -> MutexGuard<'_, Fair<Noted>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that `rotation` is about to be written, with `rotated` as the new record of the key.
    pub(super) fn note(&self, tenant: &TenantId, rotation: &Rotation, rotated: &KeyRecord) {
        let noted = Noted { rotation: rotation.clone(), secret: rotated.digest };
        self.all().push(tenant, noted);
    }

    /// Returns the rotation that is repeated by `rotation`, given the present record of its key. `None` if it
    /// is not remembered, or was not done.
    pub(super) fn earlier(
        &self,
        tenant: &TenantId,
        rotation: &Rotation,
        key: &KeyRecord,
    ) -> Option<Earlier> {
        let all = self.all();
        let noted = all.of(tenant).rev().find(|noted| {
            noted.rotation.key == rotation.key
                && noted.rotation.idempotency_key == rotation.idempotency_key
                && noted.secret.same(key.digest)
        })?;
        let is_same = noted.rotation.grace_period == rotation.grace_period;
        Some(if is_same { Earlier::Same } else { Earlier::OtherGracePeriod })
    }
}
