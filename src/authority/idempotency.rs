//! Key ids derived from idempotency keys. A store accepts only one key for all repetitions of a request.

use alloc::{boxed::Box, vec::Vec};
use core::fmt;

use super::request::IdempotencyKey;
use super::{Authority, NewKey};
use crate::{
    mac::{self, Sha256},
    pepper::Peppers,
    record::TenantId,
    token::KeyId,
};

/// Derives ids from idempotency keys, under each pepper.
pub(super) struct IdempotentIds {
    /// One derivation key for each pepper slot, the current one first.
    keys: Box<[(u8, mac::Key)]>,
}

impl IdempotentIds {
    pub(super) fn new(issuer: &str, environment: &str, peppers: &Peppers) -> Self {
        let keys = peppers.for_tokens().map(|pepper| {
            (pepper.slot(), pepper.derive(b"keyway/v1/idempotency\0", issuer, environment))
        });
        Self { keys: keys.collect() }
    }

    fn of(&self, tenant: &TenantId, idempotency_key: &[u8]) -> impl Iterator<Item = KeyId> {
        self.keys.iter().map(move |(slot, key)| {
            let tenant = tenant.as_str().as_bytes();
            // The length prefix keeps the tenant and the idempotency key apart.
            let len = (tenant.len() as u64).to_be_bytes();
            let mut mac = [0; 32];
            Sha256::hmac(key, &[&len, tenant, idempotency_key], &mut mac);
            let [random @ .., _, _] = &mac;
            KeyId::derived(*slot, random)
        })
    }
}

impl Authority {
    /// Returns the ids that the key of `request` has under each pepper, the current one first. Empty without
    /// an idempotency key.
    pub(crate) fn idempotent_ids(&self, tenant: &TenantId, request: &NewKey) -> Vec<KeyId> {
        let text = request.idempotency_key.as_ref();
        text.map_or_else(Vec::new, |text| self.idempotent.of(tenant, text.as_bytes()).collect())
    }
}

impl NewKey {
    /// Returns this request as the request for a tenant's first key. A later request with the same
    /// idempotency key then issues a separate key.
    pub(crate) fn for_first_key(mut self) -> Self {
        self.idempotency_key = self.idempotency_key.map(IdempotencyKey::of_first_key);
        self
    }
}

impl fmt::Debug for IdempotentIds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdempotentIds").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pepper::Pepper;

    fn first(issuer: &str, environment: &str, tenant: &str, text: &str) -> KeyId {
        let peppers = Pepper::from_bytes(&[7; 32]).unwrap().into();
        let ids = IdempotentIds::new(issuer, environment, &peppers);
        ids.of(&tenant.parse().unwrap(), text.as_bytes()).next().unwrap()
    }

    #[test]
    fn id_depends_on_every_part_and_parts_do_not_run_together() {
        let id = first("mm", "live", "acme", "a1");
        assert_eq!(id, first("mm", "live", "acme", "a1"));
        assert_eq!(id.slot(), 0);
        for other in [
            first("mn", "live", "acme", "a1"),
            first("mm", "test", "acme", "a1"),
            first("mm", "live", "acmf", "a1"),
            first("mm", "live", "acme", "a2"),
            first("mm", "live", "acm", "ea1"),
            first("mm", "live", "acmea", "1"),
        ] {
            assert_ne!(id, other);
        }
    }

    #[test]
    fn one_id_for_each_pepper_with_the_current_one_first() {
        let pepper = |byte, slot| Pepper::from_bytes(&[byte; 32]).unwrap().in_slot(slot).unwrap();
        let peppers = Peppers::new(pepper(2, 5)).retired(pepper(1, 0)).unwrap();
        let ids = IdempotentIds::new("mm", "live", &peppers);
        let slots: Vec<u8> = ids.of(&"acme".parse().unwrap(), b"a").map(KeyId::slot).collect();
        assert_eq!(slots, [5, 0]);
    }
}
