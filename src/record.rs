//! What a store keeps: one record per tenant and one per key.
//!
//! Only keyway makes and changes records; everybody may read them. A store keeps a record whole, as
//! its [`encode`](KeyRecord::encode)d bytes, and beside it whatever columns its queries need.

mod key;
mod labels;
mod tenant;

use alloc::{boxed::Box, string::String};
use core::{fmt, str::FromStr};

pub(crate) use self::key::{Draft, Previous};
pub use self::{key::KeyRecord, labels::Labels, tenant::TenantRecord};
pub use crate::text::TextProblem;
use crate::{
    text::{self, Reader, Writer},
    time::Timestamp,
    token::KeyId,
};

/// The id of a tenant, as the host gives it: a customer number, a slug, a UUID.
///
/// 1 to 128 bytes of text without control characters. It is compared byte for byte: case, white
/// space and Unicode form matter.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TenantId(Box<str>);

impl TenantId {
    /// The longest id, in bytes.
    pub const MAX_LEN: usize = 128;

    /// The id.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id that a record has, which was checked when that was made.
    #[cfg(feature = "console")]
    pub(crate) fn of_record(id: &str) -> Self {
        Self(id.into())
    }
}

impl TryFrom<&str> for TenantId {
    type Error = InvalidField;

    fn try_from(id: &str) -> Result<Self, Self::Error> {
        let problem = |problem| InvalidField::new("the id of the tenant", problem);
        text::check_filled(id, Self::MAX_LEN).map_err(problem)?;
        if id.len() > Self::MAX_LEN {
            let (len, max) = (id.len(), Self::MAX_LEN);
            return Err(problem(TextProblem::TooLarge { len, max }));
        }
        Ok(Self(id.into()))
    }
}

impl FromStr for TenantId {
    type Err = InvalidField;

    fn from_str(id: &str) -> Result<Self, Self::Err> {
        id.try_into()
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for TenantId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// An operator's ban on a key or a tenant, which the tenant cannot lift.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(all(feature = "serde", feature = "std"), derive(serde::Serialize))]
pub struct Suspension {
    until: Option<Timestamp>,
    reason: String,
}

impl Suspension {
    /// The longest reason, in characters.
    pub const MAX_REASON_LEN: usize = 500;

    /// A suspension for good, with a reason that the tenant may read.
    ///
    /// # Errors
    ///
    /// [`InvalidField`] unless the reason is one line of 1 to 500 characters.
    pub fn for_good(reason: impl Into<String>) -> Result<Self, InvalidField> {
        Self::new(None, reason.into())
    }

    /// A suspension that ends by itself at `end`.
    ///
    /// # Errors
    ///
    /// [`InvalidField`] unless the reason is one line of 1 to 500 characters.
    pub fn until(end: Timestamp, reason: impl Into<String>) -> Result<Self, InvalidField> {
        Self::new(Some(end), reason.into())
    }

    fn new(until: Option<Timestamp>, reason: String) -> Result<Self, InvalidField> {
        text::check_filled(&reason, Self::MAX_REASON_LEN)
            .map_err(|problem| InvalidField::new("the reason of the suspension", problem))?;
        Ok(Self { until, reason })
    }

    /// When it ends by itself; never, if `None`.
    pub fn end(&self) -> Option<Timestamp> {
        self.until
    }

    /// Why.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// Whether it holds at `now`.
    pub fn holds(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|end| now < end)
    }

    fn write(&self, writer: &mut Writer) {
        writer.option(self.until, Writer::time);
        writer.str(&self.reason);
    }

    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        Self::new(reader.option(Reader::time)?, reader.string()?).ok()
    }
}

/// The proof that a record was written with the host's pepper, made by [`seal`](crate::seal).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seal {
    /// The slot of the pepper.
    pub(crate) slot: u8,
    pub(crate) mac: [u8; 32],
}

impl Seal {
    /// What a record carries until it is sealed. No pepper makes it.
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

/// A text that somebody entered cannot be kept. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} {problem}")]
pub struct InvalidField {
    field: &'static str,
    problem: TextProblem,
}

impl InvalidField {
    pub(crate) fn new(field: &'static str, problem: TextProblem) -> Self {
        Self { field, problem }
    }

    /// Which text it is, as a sentence calls it.
    #[cfg(feature = "console")]
    pub(crate) fn field(&self) -> &'static str {
        self.field
    }

    /// What is wrong.
    pub fn problem(&self) -> TextProblem {
        self.problem
    }
}

/// The bytes are not those of a record, or what a store keeps beside them contradicts them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeError {
    what: &'static str,
    key: Option<KeyId>,
}

impl DecodeError {
    pub(crate) fn new(what: &'static str) -> Self {
        Self { what, key: None }
    }

    /// The row that is at fault, by the id that it stands under.
    #[cfg(any(feature = "sqlite", feature = "postgres"))]
    pub(crate) fn of_key(self, id: Option<KeyId>) -> Self {
        Self { key: id, ..self }
    }

    /// The key whose row is at fault, if a store could tell. Its tenant can delete it.
    pub fn key(&self) -> Option<KeyId> {
        self.key
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the bytes are not a {} record of a version that is known here", self.what)?;
        self.key.map_or(Ok(()), |key| write!(f, " (key {key})"))
    }
}

impl core::error::Error for DecodeError {}
