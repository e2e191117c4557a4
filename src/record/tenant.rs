//! The record of a tenant.

use alloc::{string::String, vec::Vec};

use super::{Owner, RecordError, Seal, Suspension, TenantId};
use crate::{
    codec::{Reader, Writer},
    tier::Exceptions,
    time::Timestamp,
};

/// The first bytes of an encoded tenant record.
const MAGIC: &[u8; 4] = b"KWT\x01";

/// A tenant as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantRecord {
    pub(crate) id: TenantId,
    pub(crate) tier: String,
    pub(crate) exceptions: Exceptions,
    pub(crate) suspension: Option<Suspension>,
    /// Sorted. At most [`MAX_DISABLED_OWNERS`](Self::MAX_DISABLED_OWNERS).
    pub(crate) disabled_owners: Vec<Owner>,
    pub(crate) created_at: Timestamp,
    pub(crate) version: u64,
    seal: Sealed,
}

impl TenantRecord {
    /// Maximum number of owners that are disabled at the same time.
    pub const MAX_DISABLED_OWNERS: usize = 1_000;

    pub(crate) fn new(id: TenantId, tier: String, created_at: Timestamp) -> Self {
        Self {
            id,
            tier,
            exceptions: Exceptions::default(),
            suspension: None,
            disabled_owners: Vec::new(),
            created_at,
            version: 1,
            seal: Sealed(Seal::NONE),
        }
    }

    /// Returns the id.
    pub fn id(&self) -> &TenantId {
        &self.id
    }

    /// Returns the name of the tier.
    pub fn tier(&self) -> &str {
        &self.tier
    }

    /// Returns the limits that replace those of the tier. [`Policy::terms`](crate::Policy::terms) applies them.
    pub fn exceptions(&self) -> &Exceptions {
        &self.exceptions
    }

    /// Returns the owners whose keys cannot be used, sorted. See
    /// `TenantKeys::disable_owner`.
    pub fn disabled_owners(&self) -> &[Owner] {
        &self.disabled_owners
    }

    /// Returns whether the keys of `owner` cannot be used.
    pub(crate) fn is_disabled(&self, owner: Option<&Owner>) -> bool {
        owner.is_some_and(|owner| self.disabled_owners.binary_search(owner).is_ok())
    }

    /// Returns the operator's suspension, even if it has ended.
    pub fn suspension(&self) -> Option<&Suspension> {
        self.suspension.as_ref()
    }

    /// Returns the time at which the tenant was created.
    pub fn created_at(&self) -> Timestamp {
        self.created_at
    }

    /// Returns the version of the record. It starts at 1 and increases by 1 with each change.
    pub fn version(&self) -> u64 {
        self.version
    }

    pub(crate) fn seal(&self) -> Seal {
        self.seal.0
    }

    pub(crate) fn set_seal(&mut self, seal: Seal) {
        self.seal.0 = seal;
    }

    /// Returns the bytes that the seal covers: everything except the seal.
    pub(crate) fn sealed_bytes(&self) -> Vec<u8> {
        let mut writer = Writer::for_record();
        self.write(&mut writer);
        writer.into_bytes()
    }

    /// Encodes the record, for a store to keep.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::for_record();
        self.write(&mut writer);
        self.seal.0.write(&mut writer);
        writer.into_bytes()
    }

    /// Decodes a record that [`encode`](Self::encode) wrote.
    ///
    /// # Errors
    ///
    /// [`RecordError`] if the bytes have another format. The seal is not checked here.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        Self::read(bytes).ok_or(RecordError::UnreadableTenant)
    }

    fn write(&self, writer: &mut Writer) {
        writer.raw(MAGIC);
        writer.str(self.id.as_str());
        writer.str(&self.tier);
        self.exceptions.write(writer);
        writer.option(self.suspension.as_ref(), |writer, suspension| {
            suspension.write(writer);
        });
        writer.len(self.disabled_owners.len());
        for owner in &self.disabled_owners {
            writer.str(owner.as_str());
        }
        writer.time(self.created_at);
        writer.u64(self.version);
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        if reader.raw()? != MAGIC {
            return None;
        }
        let record = Self {
            id: TenantId::stored(reader.str()?).ok()?,
            tier: reader.string()?,
            exceptions: Exceptions::read(&mut reader)?,
            suspension: reader.option(Suspension::read)?,
            disabled_owners: reader
                .list(|reader| Owner::stored(reader.str()?).ok())
                // Owners must be in the order in which they are written, so that a record has only one encoding.
                .filter(|owners| owners.is_sorted_by(|left, right| left < right))
                .filter(|owners| owners.len() <= Self::MAX_DISABLED_OWNERS)?,
            created_at: reader.time()?,
            version: reader.u64()?,
            seal: Sealed(Seal::read(&mut reader)?),
        };
        reader.end()?;
        Some(record)
    }
}

/// A seal whose `Debug` output shows only the slot.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Sealed(pub(super) Seal);

impl core::fmt::Debug for Sealed {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "slot {}", self.0.slot)
    }
}
