//! The record of a tenant.

use alloc::{string::String, vec::Vec};

use super::{DecodeError, Seal, Suspension, TenantId};
use crate::{
    text::{Reader, Writer},
    time::Timestamp,
};

/// Leads the bytes of a tenant record.
const MAGIC: &[u8; 4] = b"KWT\x01";

/// A tenant, as a store keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantRecord {
    pub(crate) id: TenantId,
    pub(crate) tier: String,
    pub(crate) suspension: Option<Suspension>,
    pub(crate) created_at: Timestamp,
    pub(crate) version: u64,
    seal: Sealed,
}

impl TenantRecord {
    pub(crate) fn new(id: TenantId, tier: String, created_at: Timestamp) -> Self {
        Self { id, tier, suspension: None, created_at, version: 1, seal: Sealed(Seal::NONE) }
    }

    /// The id.
    pub fn id(&self) -> &TenantId {
        &self.id
    }

    /// The name of the tier.
    pub fn tier(&self) -> &str {
        &self.tier
    }

    /// The operator's ban, whether or not it still holds.
    pub fn suspension(&self) -> Option<&Suspension> {
        self.suspension.as_ref()
    }

    /// When the tenant was created.
    pub fn created_at(&self) -> Timestamp {
        self.created_at
    }

    /// The number of this version: 1 at first, and one more with each change.
    pub fn version(&self) -> u64 {
        self.version
    }

    pub(crate) fn seal(&self) -> Seal {
        self.seal.0
    }

    pub(crate) fn set_seal(&mut self, seal: Seal) {
        self.seal.0 = seal;
    }

    /// All that the seal covers: everything but the seal.
    pub(crate) fn sealed_bytes(&self) -> Vec<u8> {
        let mut writer = Writer::for_record();
        self.write(&mut writer);
        writer.into_bytes()
    }

    /// The record as bytes, for a store to keep.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::for_record();
        self.write(&mut writer);
        self.seal.0.write(&mut writer);
        writer.into_bytes()
    }

    /// The record that [`encode`](Self::encode) wrote.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if the bytes are anything else. That they are unchanged is checked later, by
    /// their seal.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        Self::read(bytes).ok_or(DecodeError::new("tenant"))
    }

    fn write(&self, writer: &mut Writer) {
        writer.raw(MAGIC);
        writer.str(self.id.as_str());
        writer.str(&self.tier);
        writer.option(self.suspension.as_ref(), |writer, suspension| {
            suspension.write(writer);
        });
        writer.time(self.created_at);
        writer.u64(self.version);
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        if reader.raw()? != MAGIC {
            return None;
        }
        let record = Self {
            id: reader.str()?.try_into().ok()?,
            tier: reader.string()?,
            suspension: reader.option(Suspension::read)?,
            created_at: reader.time()?,
            version: reader.u64()?,
            seal: Sealed(Seal::read(&mut reader)?),
        };
        reader.end()?;
        Some(record)
    }
}

/// A seal that stays out of the derived `Debug`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Sealed(pub(super) Seal);

impl core::fmt::Debug for Sealed {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "slot {}", self.0.slot)
    }
}
