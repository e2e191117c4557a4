//! The seal of a record: proof that keyway wrote it.
//!
//! Whoever can write to the database but does not have the pepper cannot raise a scope, move a key to
//! another tenant, extend an expiry, enable or invent a key: a record whose seal does not match is
//! refused. Replaying an older record of the same key and deleting records are out of its reach.

use alloc::vec::Vec;
use core::fmt;

use crate::{
    mac::{self, Sha256},
    pepper::Peppers,
    record::{KeyRecord, Seal, TenantRecord},
};

/// Makes and checks seals, for one issuer and environment.
pub struct Seals {
    current_slot: u8,
    /// By slot. The current one is first.
    keys: Vec<(u8, mac::Key)>,
}

impl Seals {
    /// The seals of `peppers`. Rows that a [retired](Peppers::retired) pepper sealed do not pass.
    pub fn new(issuer: &str, environment: &str, peppers: &Peppers) -> Self {
        let keys = peppers
            .for_seals()
            .map(|pepper| (pepper.slot(), pepper.derive(b"keyway/v1/seal\0", issuer, environment)))
            .collect();
        Self { current_slot: peppers.current().slot(), keys }
    }

    /// Seals a new key, or one as it is.
    pub(crate) fn seal_key(&self, record: &mut KeyRecord) {
        let seal = self.make(b"key\0", &record.sealed_bytes());
        record.set_seal(seal);
    }

    /// Seals a new tenant, or one as it is.
    pub(crate) fn seal_tenant(&self, record: &mut TenantRecord) {
        let seal = self.make(b"tenant\0", &record.sealed_bytes());
        record.set_seal(seal);
    }

    /// Makes a changed key its next version, and gives the number of the one that it replaces.
    pub(crate) fn next_key(&self, record: &mut KeyRecord) -> u64 {
        let replaces = record.version;
        record.version = replaces.saturating_add(1);
        self.seal_key(record);
        replaces
    }

    /// Makes a changed tenant its next version, and gives the number of the one that it replaces.
    pub(crate) fn next_tenant(&self, record: &mut TenantRecord) -> u64 {
        let replaces = record.version;
        record.version = replaces.saturating_add(1);
        self.seal_tenant(record);
        replaces
    }

    /// Succeeds if `record` is as keyway wrote it.
    ///
    /// # Errors
    ///
    /// [`Tampered`].
    pub fn check_key(&self, record: &KeyRecord) -> Result<(), Tampered> {
        self.check(b"key\0", &record.sealed_bytes(), record.seal())
    }

    /// Succeeds if `record` is as keyway wrote it.
    ///
    /// # Errors
    ///
    /// [`Tampered`].
    pub fn check_tenant(&self, record: &TenantRecord) -> Result<(), Tampered> {
        self.check(b"tenant\0", &record.sealed_bytes(), record.seal())
    }

    /// Whether `seal` is of the current pepper.
    #[cfg(feature = "std")]
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

    fn check(&self, kind: &[u8], bytes: &[u8], seal: Seal) -> Result<(), Tampered> {
        let (_, key) = self.keys.iter().find(|(slot, _)| *slot == seal.slot).ok_or(Tampered(()))?;
        let mut mac = [0; 32];
        Sha256::hmac(key, &[kind, bytes], &mut mac);
        if mac::same(words(&mac), words(&seal.mac)) { Ok(()) } else { Err(Tampered(())) }
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

/// A record was changed by somebody without the host's pepper, or sealed with one that the host no
/// longer accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the seal of the record is broken")]
pub struct Tampered(());
