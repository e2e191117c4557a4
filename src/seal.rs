//! Seals of records: proof that keyway wrote them.

#[cfg(feature = "std")]
mod marker;

use alloc::vec::Vec;
use core::fmt;

#[cfg(feature = "std")]
pub(crate) use self::marker::{Marker, MarkerProblem, is_same_owner};
use crate::{
    mac::{self, Sha256},
    pepper::Peppers,
    record::{KeyRecord, RecordError, Seal, TenantRecord},
};

/// Creates and checks seals, for one issuer and environment.
pub struct Seals {
    current_slot: u8,
    /// One sealing key for each pepper slot, the current one first.
    keys: Vec<(u8, mac::Key)>,
}

impl Seals {
    /// Creates the seals of `peppers`. Rows that were sealed with a [retired](Peppers::retired) pepper are
    /// rejected.
    pub fn new(issuer: &str, environment: &str, peppers: &Peppers) -> Self {
        let keys = peppers
            .for_seals()
            .map(|pepper| (pepper.slot(), pepper.derive(b"keyway/v1/seal\0", issuer, environment)))
            .collect();
        Self { current_slot: peppers.current().slot(), keys }
    }

    /// Seals a key without changing its version.
    pub(crate) fn seal_key(&self, record: &mut KeyRecord) {
        let seal = self.make(b"key\0", &record.sealed_bytes());
        record.set_seal(seal);
    }

    /// Seals a tenant without changing its version.
    pub(crate) fn seal_tenant(&self, record: &mut TenantRecord) {
        let seal = self.make(b"tenant\0", &record.sealed_bytes());
        record.set_seal(seal);
    }

    /// Seals a changed key as its next version, and counts the change. Returns the number of the version that it replaces.
    pub(crate) fn next_key(&self, record: &mut KeyRecord) -> u64 {
        record.changes = record.changes.saturating_add(1);
        self.next_key_version(record)
    }

    /// Seals a key as its next version. Returns the number of the version that it replaces.
    pub(crate) fn next_key_version(&self, record: &mut KeyRecord) -> u64 {
        let replaces = record.version;
        record.version = replaces.saturating_add(1);
        self.seal_key(record);
        replaces
    }

    /// Seals a changed tenant as its next version. Returns the number of the version that it replaces.
    pub(crate) fn next_tenant(&self, record: &mut TenantRecord) -> u64 {
        let replaces = record.version;
        record.version = replaces.saturating_add(1);
        self.seal_tenant(record);
        replaces
    }

    /// Checks that `record` is as keyway wrote it.
    ///
    /// # Errors
    ///
    /// [`RecordError::Tampered`] if the seal is broken.
    pub fn check_key(&self, record: &KeyRecord) -> Result<(), RecordError> {
        self.check(b"key\0", &record.sealed_bytes(), record.seal())
    }

    /// Checks that `record` is as keyway wrote it.
    ///
    /// # Errors
    ///
    /// [`RecordError::Tampered`] if the seal is broken.
    pub fn check_tenant(&self, record: &TenantRecord) -> Result<(), RecordError> {
        self.check(b"tenant\0", &record.sealed_bytes(), record.seal())
    }

    /// Returns whether `seal` was made with the current pepper.
    pub(crate) fn is_current(&self, seal: Seal) -> bool {
        seal.slot == self.current_slot
    }

    fn make(&self, kind: &[u8], bytes: &[u8]) -> Seal {
        self.keys.first().map_or(Seal::NONE, |(slot, key)| {
            let mut mac = [0; 32];
            Sha256::hmac(key, &[kind, bytes], &mut mac);
            Seal { slot: *slot, mac }
        })
    }

    fn check(&self, kind: &[u8], bytes: &[u8], seal: Seal) -> Result<(), RecordError> {
        let found = self.keys.iter().find(|(slot, _)| *slot == seal.slot);
        let (_, key) = found.ok_or(RecordError::Tampered)?;
        let mut mac = [0; 32];
        Sha256::hmac(key, &[kind, bytes], &mut mac);
        if mac::same(words(&mac), words(&seal.mac)) { Ok(()) } else { Err(RecordError::Tampered) }
    }
}

impl fmt::Debug for Seals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seals").field("current_slot", &self.current_slot).finish_non_exhaustive()
    }
}

fn words(bytes: &[u8; 32]) -> [u64; 4] {
    let mut words = [0; 4];
    for (word, bytes) in words.iter_mut().zip(bytes.as_chunks().0) {
        *word = u64::from_be_bytes(*bytes);
    }
    words
}
