//! Stored records: one per tenant and one per key.
//!
//! Only keyway creates and changes records. Everyone may read them. A store keeps a record as its
//! [`encode`](KeyRecord::encode)d bytes, and in addition the columns that its queries need.

mod error;
mod id;
pub(crate) mod key;
mod labels;
mod notice_mark;
mod owner;
mod tenant;
pub(crate) mod tenant_id;

use alloc::string::String;

#[cfg(feature = "children")]
pub use self::key::ChildSwitch;
pub use self::notice_mark::NoticeKind;
#[cfg(feature = "std")]
pub(crate) use self::notice_mark::{NoticeMark, NoticeState};
pub use self::{error::RecordError, labels::Labels, owner::Owner, tenant::TenantRecord};
pub(crate) use self::{
    key::{KeyRecord, OlderSecret, PublicKey},
    notice_mark::NoticeMarks,
    tenant_id::TenantId,
};
use crate::{
    codec::{Reader, Writer},
    text,
    time::Timestamp,
};
pub use crate::{
    field::{Field, InvalidField},
    text::TextProblem,
    tier::{Exceptions, Terms},
};

/// A suspension of a key or a tenant by an operator. The tenant cannot lift it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(all(feature = "serde", feature = "std"), derive(serde::Serialize))]
pub struct Suspension {
    until: Option<Timestamp>,
    reason: String,
}

impl Suspension {
    /// Maximum length of a reason, in characters.
    pub const MAX_REASON_LEN: usize = 500;

    /// Creates a permanent suspension. The tenant may read the reason.
    ///
    /// # Errors
    ///
    /// [`InvalidField`] unless the reason is one line of 1 to 500 characters.
    pub fn permanent(reason: impl Into<String>) -> Result<Self, InvalidField> {
        Self::new(None, reason.into())
    }

    /// Creates a suspension that ends automatically at `end`. The tenant may read the reason.
    ///
    /// # Errors
    ///
    /// [`InvalidField`] unless the reason is one line of 1 to 500 characters.
    pub fn until(end: Timestamp, reason: impl Into<String>) -> Result<Self, InvalidField> {
        Self::new(Some(end), reason.into())
    }

    fn new(until: Option<Timestamp>, reason: String) -> Result<Self, InvalidField> {
        text::check_filled(&reason, Self::MAX_REASON_LEN)
            .map_err(|problem| InvalidField::new(Field::Reason, problem))?;
        Ok(Self { until, reason })
    }

    /// Returns the time at which the suspension ends automatically. `None` means never.
    pub fn end(&self) -> Option<Timestamp> {
        self.until
    }

    /// Returns the reason.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// Returns whether the suspension is in effect at `now`.
    pub fn holds(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|end| now < end)
    }

    fn write(&self, writer: &mut Writer) {
        writer.option(self.until, Writer::time);
        writer.str(&self.reason);
    }

    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let (until, reason) = (reader.option(Reader::time)?, reader.string()?);
        text::check_stored_filled(&reason, Self::MAX_REASON_LEN).ok()?;
        Some(Self { until, reason })
    }
}

/// The proof that a record was written with the application's pepper. Created by [`Seals`](crate::seal::Seals).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seal {
    /// The slot of the pepper.
    pub(crate) slot: u8,
    pub(crate) mac: [u8; 32],
}

impl Seal {
    /// The seal of a record that has not been sealed yet. No pepper creates this value.
    pub(crate) const NONE: Self = Self { slot: u8::MAX, mac: [0; 32] };

    fn write(self, writer: &mut Writer) {
        writer.raw(&[self.slot]);
        writer.raw(&self.mac);
    }

    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let [slot] = *reader.raw()?;
        let mac = *reader.raw()?;
        Some(Self { slot, mac })
    }
}
