//! The record of a key.

use alloc::{string::String, vec::Vec};

use super::{DecodeError, Labels, Seal, Suspension, TenantId, tenant::Sealed};
use crate::{
    scope::Scope,
    text::{self, Reader, Writer},
    time::Timestamp,
    token::{Digest, KeyId},
};

/// Leads the bytes of a key record.
const MAGIC: &[u8; 4] = b"KWK\x01";

/// A key, as a store keeps it: everything but the secret.
#[derive(Clone, Debug)]
pub struct KeyRecord {
    pub(crate) id: KeyId,
    pub(crate) tenant: TenantId,
    pub(crate) name: String,
    pub(crate) digest: Digest,
    pub(crate) previous: Option<Previous>,
    /// Sorted.
    pub(crate) scopes: Vec<Scope>,
    pub(crate) labels: Labels,
    pub(crate) enabled: bool,
    pub(crate) suspension: Option<Suspension>,
    pub(crate) not_before: Option<Timestamp>,
    pub(crate) expires_at: Option<Timestamp>,
    pub(crate) created_at: Timestamp,
    pub(crate) created_by: String,
    pub(crate) rotated_at: Option<Timestamp>,
    pub(crate) version: u64,
    pub(crate) hint: String,
    pub(crate) imported: bool,
    last_used: Option<Timestamp>,
    seal: Sealed,
}

/// The secret before the last rotation, which is still accepted for a while.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Previous {
    pub(crate) digest: Digest,
    /// When it ends at the latest.
    pub(crate) until: Timestamp,
    /// It ends before that, with the first use of its successor.
    pub(crate) until_first_use: bool,
}

/// What the core gives a new key.
pub(crate) struct Draft {
    pub(crate) id: KeyId,
    pub(crate) tenant: TenantId,
    pub(crate) digest: Digest,
    pub(crate) imported: bool,
    pub(crate) hint: String,
    pub(crate) name: String,
    pub(crate) scopes: Vec<Scope>,
    pub(crate) labels: Labels,
    pub(crate) not_before: Option<Timestamp>,
    pub(crate) expires_at: Option<Timestamp>,
    pub(crate) created_at: Timestamp,
    pub(crate) created_by: String,
}

impl KeyRecord {
    /// The longest name, in characters.
    pub const MAX_NAME_LEN: usize = 100;

    pub(crate) fn new(draft: Draft) -> Self {
        Self {
            id: draft.id,
            tenant: draft.tenant,
            name: draft.name,
            digest: draft.digest,
            previous: None,
            scopes: draft.scopes,
            labels: draft.labels,
            enabled: true,
            suspension: None,
            not_before: draft.not_before,
            expires_at: draft.expires_at,
            created_at: draft.created_at,
            created_by: draft.created_by,
            rotated_at: None,
            version: 1,
            hint: draft.hint,
            imported: draft.imported,
            last_used: None,
            seal: Sealed(Seal::NONE),
        }
    }

    /// The id, which is public.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// The tenant that holds the key.
    pub fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    /// The name that the tenant gave it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The names of the scopes that it was granted, sorted: the maximal ones, and names that the
    /// catalogue no longer has, which grant nothing.
    pub fn scopes(&self) -> &[Scope] {
        &self.scopes
    }

    /// The tenant's notes.
    pub fn labels(&self) -> &Labels {
        &self.labels
    }

    /// Whether the tenant has it switched on.
    pub fn enabled(&self) -> bool {
        self.enabled
    }

    /// The operator's ban, whether or not it still holds.
    pub fn suspension(&self) -> Option<&Suspension> {
        self.suspension.as_ref()
    }

    /// The key is not valid before this time.
    pub fn not_before(&self) -> Option<Timestamp> {
        self.not_before
    }

    /// The key is not valid from this time on.
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.expires_at
    }

    /// When it was issued.
    pub fn created_at(&self) -> Timestamp {
        self.created_at
    }

    /// Who issued it, in the host's words; may be empty.
    pub fn created_by(&self) -> &str {
        &self.created_by
    }

    /// When its secret was last changed.
    pub fn rotated_at(&self) -> Option<Timestamp> {
        self.rotated_at
    }

    /// The latest time at which the secret before the last rotation is still accepted, if it is.
    pub fn overlap_until(&self) -> Option<Timestamp> {
        self.previous.map(|previous| previous.until)
    }

    /// The number of this version: 1 at first, and one more with each change.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Whether its present secret was made by another system, and taken over by its digest. The next
    /// rotation ends that.
    pub fn imported(&self) -> bool {
        self.imported
    }

    /// The masked token, such as `mm_live_7Kf3…r8Mu`: enough to recognize it, useless for anything
    /// else. Of an imported key, what is known of its token.
    pub fn hint(&self) -> &str {
        &self.hint
    }

    /// When it was last used, to the minute. It may lag by the time between two flushes.
    pub fn last_used(&self) -> Option<Timestamp> {
        self.last_used
    }

    /// The record with this last use, which a store keeps beside it.
    #[must_use]
    pub fn with_last_used(mut self, last_used: Option<Timestamp>) -> Self {
        self.last_used = last_used;
        self
    }

    /// Whether `claim` is of its secret, or of the one before it as long as that is accepted.
    #[cfg(feature = "std")]
    pub(crate) fn holds(&self, claim: &crate::token::Claim, now: Timestamp) -> bool {
        let previous = self
            .previous
            .is_some_and(|previous| previous.digest.same(claim.digest()) && now < previous.until);
        self.digest.same(claim.digest()) || previous
    }

    /// Ends the secret before the last rotation, if it was to end with the use that `claim` proves.
    #[cfg(feature = "std")]
    pub(crate) fn end_overlap(&mut self, claim: &crate::token::Claim) -> bool {
        let ends = self.previous.is_some_and(|previous| previous.until_first_use)
            && self.digest.same(claim.digest());
        if ends {
            self.previous = None;
        }
        ends
    }

    pub(crate) fn seal(&self) -> Seal {
        self.seal.0
    }

    pub(crate) fn set_seal(&mut self, seal: Seal) {
        self.seal.0 = seal;
    }

    /// All that the seal covers: everything but the seal and the last use.
    pub(crate) fn sealed_bytes(&self) -> Vec<u8> {
        let mut writer = Writer::for_record();
        self.write(&mut writer);
        writer.into_bytes()
    }

    /// The record as bytes, for a store to keep. The last use is not among them.
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
        Self::read(bytes).ok_or(DecodeError::new("key"))
    }

    fn write(&self, writer: &mut Writer) {
        writer.raw(MAGIC);
        writer.raw(self.id.as_bytes());
        writer.str(self.tenant.as_str());
        writer.str(&self.name);
        writer.raw(&self.digest.to_bytes());
        writer.option(self.previous, |writer, previous| {
            writer.raw(&previous.digest.to_bytes());
            writer.time(previous.until);
            writer.bool(previous.until_first_use);
        });
        writer.len(self.scopes.len());
        for scope in &self.scopes {
            writer.str(scope.as_str());
        }
        writer.len(self.labels.iter().len());
        for (name, value) in self.labels.iter() {
            writer.str(name);
            writer.str(value);
        }
        writer.bool(self.enabled);
        writer.option(self.suspension.as_ref(), |writer, suspension| {
            suspension.write(writer);
        });
        writer.option(self.not_before, Writer::time);
        writer.option(self.expires_at, Writer::time);
        writer.time(self.created_at);
        writer.str(&self.created_by);
        writer.option(self.rotated_at, Writer::time);
        writer.u64(self.version);
        writer.str(&self.hint);
        writer.bool(self.imported);
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        if reader.raw()? != MAGIC {
            return None;
        }
        let record = Self {
            id: KeyId::from_bytes(*reader.raw()?)?,
            tenant: reader.str()?.try_into().ok()?,
            name: reader.string().filter(|name| Self::check_name(name).is_ok())?,
            digest: Digest::from_bytes(reader.raw()?),
            previous: reader.option(|reader| {
                Some(Previous {
                    digest: Digest::from_bytes(reader.raw()?),
                    until: reader.time()?,
                    until_first_use: reader.bool()?,
                })
            })?,
            scopes: reader.list(|reader| reader.str()?.try_into().ok())?,
            labels: reader
                .list(|reader| Some((reader.string()?, reader.string()?)))
                // In the order in which they are written, so that no other bytes are this record's.
                .filter(|labels| labels.is_sorted_by(|(left, _), (right, _)| left < right))
                .and_then(|labels| Labels::new(labels).ok())?,
            enabled: reader.bool()?,
            suspension: reader.option(Suspension::read)?,
            not_before: reader.option(Reader::time)?,
            expires_at: reader.option(Reader::time)?,
            created_at: reader.time()?,
            created_by: reader.string()?,
            rotated_at: reader.option(Reader::time)?,
            version: reader.u64()?,
            hint: reader.string()?,
            imported: reader.bool()?,
            last_used: None,
            seal: Sealed(Seal::read(&mut reader)?),
        };
        reader.end()?;
        Some(record)
    }

    /// Succeeds for a name that a key may have.
    pub(crate) fn check_name(name: &str) -> Result<(), super::InvalidField> {
        text::check_filled(name, Self::MAX_NAME_LEN)
            .map_err(|problem| super::InvalidField::new("the name of the key", problem))
    }
}

/// Two records are equal if they and their last use are: what a store gives back is what it was given.
impl PartialEq for KeyRecord {
    fn eq(&self, other: &Self) -> bool {
        self.last_used == other.last_used && self.encode() == other.encode()
    }
}

impl Eq for KeyRecord {}

/// The public description of the key: no digest and no seal.
#[cfg(all(feature = "serde", feature = "std"))]
impl serde::Serialize for KeyRecord {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;

        let mut key = serializer.serialize_struct("Key", 16)?;
        key.serialize_field("id", &self.id)?;
        key.serialize_field("tenant", &self.tenant)?;
        key.serialize_field("name", &self.name)?;
        key.serialize_field("hint", &self.hint)?;
        key.serialize_field("imported", &self.imported)?;
        key.serialize_field("scopes", &self.scopes)?;
        key.serialize_field("labels", &self.labels)?;
        key.serialize_field("enabled", &self.enabled)?;
        key.serialize_field("suspension", &self.suspension)?;
        key.serialize_field("not_before", &self.not_before)?;
        key.serialize_field("expires_at", &self.expires_at)?;
        key.serialize_field("created_at", &self.created_at)?;
        key.serialize_field("created_by", &self.created_by)?;
        key.serialize_field("rotated_at", &self.rotated_at)?;
        key.serialize_field("last_used", &self.last_used)?;
        key.serialize_field("version", &self.version)?;
        key.end()
    }
}
