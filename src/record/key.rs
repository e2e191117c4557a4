//! The record of a key.

use alloc::{string::String, vec::Vec};

use super::{Labels, NoticeMarks, Owner, RecordError, Seal, Suspension, TenantId, tenant::Sealed};
use crate::{
    codec::{Reader, Writer},
    grant::{Networks, Resources, StoredLimits},
    scope::Scope,
    text,
    tier::Terms,
    time::Timestamp,
    token::{Digest, KeyId},
};

/// The first bytes of an encoded key record.
const MAGIC: &[u8; 4] = b"KWK\x01";

/// A key as it is stored: everything except the secret.
#[derive(Clone, Debug)]
pub struct KeyRecord {
    pub(crate) id: KeyId,
    pub(crate) tenant: TenantId,
    pub(crate) name: String,
    pub(crate) digest: Digest,
    /// The newest is first. At most [`OlderSecret::MAX`].
    pub(crate) older: Vec<OlderSecret>,
    /// Sorted by name.
    pub(crate) scopes: Vec<Scope>,
    pub(crate) limits: StoredLimits,
    pub(crate) labels: Labels,
    pub(crate) enabled: bool,
    pub(crate) suspension: Option<Suspension>,
    pub(crate) not_before: Option<Timestamp>,
    pub(crate) expires_at: Option<Timestamp>,
    pub(crate) created_at: Timestamp,
    pub(crate) created_by: String,
    pub(crate) owner: Option<Owner>,
    pub(crate) attributes: Labels,
    pub(crate) rotated_at: Option<Timestamp>,
    pub(crate) lifetime_from: Timestamp,
    pub(crate) version: u64,
    /// The number of changes that are audit events, without the responses to leaks. Marks of notices and new seals raise the
    /// version and are no events.
    pub(crate) changes: u64,
    /// The number of responses to leaks that changed the key. There may be more reports, since each is an event.
    pub(crate) leaks: u64,
    pub(crate) masked: String,
    pub(crate) imported: bool,
    /// Whether the tenant lets the holder derive children.
    pub(crate) children: bool,
    /// The public key that belongs to the present secret, if there is one.
    pub(crate) child_key: Option<PublicKey>,
    /// The notices that were sent.
    pub(crate) notices: NoticeMarks,
    last_used: Option<Timestamp>,
    seal: Sealed,
}

/// The public key with which the signatures of the children of one secret are checked. Only the token can make them.
pub(crate) type PublicKey = [u8; 32];

/// Whether the holder of a key may derive children from it.
#[cfg(feature = "children")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
pub enum ChildSwitch {
    /// It may not.
    Off,
    /// It may, once the key has been rotated: its present secret has no public key. It was imported, or made before the
    /// policy allowed children.
    AfterRotation,
    /// It may.
    On,
}

/// A secret from before a rotation that is still accepted.
///
/// INVARIANT: the rotation that replaces a secret sets its deadline, and no later rotation changes it.
/// Otherwise repeated rotations would keep an old secret alive without limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OlderSecret {
    pub(crate) digest: Digest,
    /// The time at which the secret ends at the latest.
    pub(crate) until: Timestamp,
    /// Whether the first use of a newer secret ends it earlier.
    pub(crate) until_first_use: bool,
    /// The public key that belongs to the secret, if there is one.
    pub(crate) child_key: Option<PublicKey>,
}

impl OlderSecret {
    /// Maximum number of older secrets of a key.
    pub(crate) const MAX: usize = 2;

    /// Returns whether the secret is accepted at `now`.
    pub(crate) fn is_accepted(&self, now: Timestamp) -> bool {
        now < self.until
    }
}

impl KeyRecord {
    /// Maximum length of a name, in characters.
    pub const MAX_NAME_LEN: usize = 100;

    /// Creates the record of an enabled key that has no name and no scopes yet, and no seal.
    pub(crate) fn new(id: KeyId, tenant: TenantId, digest: Digest, created_at: Timestamp) -> Self {
        Self {
            id,
            tenant,
            name: String::new(),
            digest,
            older: Vec::new(),
            scopes: Vec::new(),
            limits: StoredLimits::default(),
            labels: Labels::NONE,
            enabled: true,
            suspension: None,
            not_before: None,
            expires_at: None,
            created_at,
            created_by: String::new(),
            owner: None,
            attributes: Labels::NONE,
            rotated_at: None,
            lifetime_from: created_at,
            version: 1,
            changes: 0,
            leaks: 0,
            masked: String::new(),
            imported: false,
            children: false,
            child_key: None,
            notices: NoticeMarks::default(),
            last_used: None,
            seal: Sealed(Seal::NONE),
        }
    }

    /// Returns the id, which is public.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// Returns the tenant that holds the key.
    pub fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    /// Returns the name that the tenant gave the key.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the names of the granted scopes, sorted. These are the maximal scopes, and names that the
    /// catalog no longer declares, which grant nothing.
    pub fn scopes(&self) -> &[Scope] {
        &self.scopes
    }

    /// Returns the kinds of resources that the key may touch, sorted by name, and the resources of each. It may touch
    /// no resource of the other kinds. Kinds that the catalog no longer declares are included.
    pub fn resources(&self) -> impl ExactSizeIterator<Item = (&str, &Resources)> {
        self.limits.resources.iter().map(|(kind, resources)| (&**kind, resources))
    }

    /// Returns the networks from which the key may be used.
    pub fn networks(&self) -> &Networks {
        &self.limits.networks
    }

    /// Returns the tenant's notes.
    pub fn labels(&self) -> &Labels {
        &self.labels
    }

    /// Returns whether the tenant has enabled the key.
    pub fn enabled(&self) -> bool {
        self.enabled
    }

    /// Returns the operator's suspension, even if it has ended.
    pub fn suspension(&self) -> Option<&Suspension> {
        self.suspension.as_ref()
    }

    /// Returns the time from which the key is valid. `None` means from its creation.
    pub fn not_before(&self) -> Option<Timestamp> {
        self.not_before
    }

    /// Returns the time from which the key is no longer valid. Its tier may end it earlier. See
    /// [`effective_expiry`](Self::effective_expiry).
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.expires_at
    }

    /// Returns the time at which the key was issued.
    pub fn created_at(&self) -> Timestamp {
        self.created_at
    }

    /// Returns the actor that issued the key, in the application's own words. It may be empty.
    pub fn created_by(&self) -> &str {
        &self.created_by
    }

    /// Returns the person or team inside the tenant that the key belongs to, if it was issued for one.
    pub fn owner(&self) -> Option<&Owner> {
        self.owner.as_ref()
    }

    /// Returns the application's own text on the key. See [`NewKey::attributes`](crate::NewKey::attributes).
    pub fn attributes(&self) -> &Labels {
        &self.attributes
    }

    /// Returns the time of the last rotation.
    pub fn rotated_at(&self) -> Option<Timestamp> {
        self.rotated_at
    }

    /// Returns the time from which the [longest lifetime](Terms::max_lifetime) counts. This is the
    /// creation, or the last rotation before an edit that moved the expiry later.
    pub fn lifetime_from(&self) -> Timestamp {
        self.lifetime_from
    }

    /// Returns the time from which the key is no longer valid while `terms` hold for its tenant. This is the
    /// earlier of [`expires_at`](Self::expires_at) and the end of the longest lifetime, counted from
    /// [`lifetime_from`](Self::lifetime_from). `None` if neither ends the key.
    pub fn effective_expiry(&self, terms: &Terms) -> Option<Timestamp> {
        // A lifetime that ends after `Timestamp::MAX` is no limit.
        let limit =
            terms.max_lifetime.and_then(|lifetime| self.lifetime_from.checked_add(lifetime));
        match (self.expires_at, limit) {
            (Some(end), Some(limit)) => Some(end.min(limit)),
            (end, limit) => end.or(limit),
        }
    }

    /// Returns the time from which the key counts as unused: its last use or rotation, or its creation.
    pub(crate) fn idle_since(&self) -> Timestamp {
        let used = self.last_used.unwrap_or(self.created_at);
        self.rotated_at.map_or(used, |rotated| rotated.max(used))
    }

    /// Returns the time from which the application may [disable](https://docs.rs/keyway/latest/keyway/struct.Keyring.html#method.disable_idle)
    /// the key, since it was not used for the [time that `terms` allow](Terms::max_idle). `None` if they allow any time.
    pub fn idle_until(&self, terms: &Terms) -> Option<Timestamp> {
        terms.max_idle.and_then(|time| self.idle_since().checked_add(time))
    }

    /// Returns the effective expiry. If the policy no longer has the tenant's tier, only the stored expiry
    /// is known.
    pub(crate) fn effective_expiry_on(&self, terms: Option<&Terms>) -> Option<Timestamp> {
        terms.map_or(self.expires_at, |terms| self.effective_expiry(terms))
    }

    /// Returns the latest time at which a secret from before the last rotation is accepted, if there is one.
    /// Up to two older secrets are accepted at once. Each may end earlier than this.
    pub fn grace_until(&self) -> Option<Timestamp> {
        self.older.iter().map(|older| older.until).max()
    }

    /// Returns the version of the record. It starts at 1 and increases by 1 with each change. Marks of notices and new seals
    /// are changes as well.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Returns whether the present secret was made by another system and imported by its digest. The next
    /// rotation ends that.
    pub fn imported(&self) -> bool {
        self.imported
    }

    /// Returns whether the holder may derive children from the key.
    #[cfg(feature = "children")]
    pub fn children(&self) -> ChildSwitch {
        match (self.children, &self.child_key) {
            (false, _) => ChildSwitch::Off,
            (true, None) => ChildSwitch::AfterRotation,
            (true, Some(_)) => ChildSwitch::On,
        }
    }

    /// Returns the masked token, such as `mm_live_7Kf3…r8Mu`. It is sufficient to recognize the token and
    /// useless for anything else. For an imported key it contains what is known of the token.
    pub fn masked(&self) -> &str {
        &self.masked
    }

    /// Returns the time of the last use, to the minute. It may lag by the interval between two flushes.
    pub fn last_used(&self) -> Option<Timestamp> {
        self.last_used
    }

    /// Returns the record with this last use, which a store keeps in a separate column.
    #[must_use]
    pub fn with_last_used(mut self, last_used: Option<Timestamp>) -> Self {
        self.last_used = last_used;
        self
    }

    /// Returns whether `checked` has the present secret, or an older one that is accepted at `now`.
    pub(crate) fn holds(&self, checked: &crate::token::CheckedToken, now: Timestamp) -> bool {
        let digest = checked.digest();
        // All digests are compared, so the time does not show which one matches.
        self.older.iter().fold(self.digest.same(digest), |held, older| {
            held | (older.digest.same(digest) & older.is_accepted(now))
        })
    }

    /// Ends the secrets whose grace period ends with the use that `checked` proves. These are secrets that
    /// are older than the one in `checked`. Returns whether there were any.
    pub(crate) fn end_grace_period(&mut self, checked: &crate::token::CheckedToken) -> bool {
        let digest = checked.digest();
        let used = if self.digest.same(digest) {
            0
        } else if let Some(at) = self.older.iter().position(|older| older.digest.same(digest)) {
            at.saturating_add(1)
        } else {
            return false;
        };
        let before = self.older.len();
        let mut index = 0_usize;
        self.older.retain(|older| {
            let is_older = index >= used;
            index = index.saturating_add(1);
            !(is_older && older.until_first_use)
        });
        self.older.len() < before
    }

    pub(crate) fn seal(&self) -> Seal {
        self.seal.0
    }

    pub(crate) fn set_seal(&mut self, seal: Seal) {
        self.seal.0 = seal;
    }

    /// Returns the bytes that the seal covers: everything except the seal and the last use.
    pub(crate) fn sealed_bytes(&self) -> Vec<u8> {
        let mut writer = Writer::for_record();
        self.write(&mut writer);
        writer.into_bytes()
    }

    /// Encodes the record, for a store to keep. The last use is not included.
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
        Self::read(bytes).ok_or(RecordError::UnreadableKey(None))
    }

    fn write(&self, writer: &mut Writer) {
        writer.raw(MAGIC);
        writer.raw(self.id.as_bytes());
        writer.str(self.tenant.as_str());
        writer.str(&self.name);
        writer.raw(&self.digest.to_bytes());
        writer.len(self.older.len());
        for older in &self.older {
            writer.raw(&older.digest.to_bytes());
            writer.time(older.until);
            writer.bool(older.until_first_use);
            writer.option(older.child_key.as_ref(), |writer, key| writer.raw(key));
        }
        writer.len(self.scopes.len());
        for scope in &self.scopes {
            writer.str(scope.as_str());
        }
        self.limits.write(writer);
        self.labels.write(writer);
        writer.bool(self.enabled);
        writer.option(self.suspension.as_ref(), |writer, suspension| {
            suspension.write(writer);
        });
        writer.option(self.not_before, Writer::time);
        writer.option(self.expires_at, Writer::time);
        writer.time(self.created_at);
        writer.str(&self.created_by);
        writer.option(self.owner.as_ref(), |writer, owner| writer.str(owner.as_str()));
        self.attributes.write(writer);
        writer.option(self.rotated_at, Writer::time);
        writer.time(self.lifetime_from);
        writer.u64(self.version);
        writer.u64(self.changes);
        writer.u64(self.leaks);
        writer.str(&self.masked);
        writer.bool(self.imported);
        writer.bool(self.children);
        writer.option(self.child_key.as_ref(), |writer, key| writer.raw(key));
        self.notices.write(writer);
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        if reader.raw()? != MAGIC {
            return None;
        }
        let record = Self {
            id: KeyId::from_bytes(*reader.raw()?)?,
            tenant: TenantId::stored(reader.str()?).ok()?,
            name: reader
                .string()
                .filter(|name| text::check_stored_filled(name, Self::MAX_NAME_LEN).is_ok())?,
            digest: Digest::from_bytes(reader.raw()?),
            older: reader
                .list(|reader| {
                    Some(OlderSecret {
                        digest: Digest::from_bytes(reader.raw()?),
                        until: reader.time()?,
                        until_first_use: reader.bool()?,
                        child_key: reader.option(|reader| reader.raw().copied())?,
                    })
                })
                .filter(|older| older.len() <= OlderSecret::MAX)?,
            scopes: reader.list(|reader| reader.str()?.try_into().ok())?,
            limits: StoredLimits::read(&mut reader)?,
            labels: Labels::read(&mut reader)?,
            enabled: reader.bool()?,
            suspension: reader.option(Suspension::read)?,
            not_before: reader.option(Reader::time)?,
            expires_at: reader.option(Reader::time)?,
            created_at: reader.time()?,
            created_by: reader.string()?,
            owner: reader.option(|reader| Owner::stored(reader.str()?).ok())?,
            attributes: Labels::read(&mut reader)?,
            rotated_at: reader.option(Reader::time)?,
            lifetime_from: reader.time()?,
            version: reader.u64()?,
            changes: reader.u64()?,
            leaks: reader.u64()?,
            masked: reader.string()?,
            imported: reader.bool()?,
            children: reader.bool()?,
            child_key: reader.option(|reader| reader.raw().copied())?,
            notices: NoticeMarks::read(&mut reader)?,
            last_used: None,
            seal: Sealed(Seal::read(&mut reader)?),
        };
        reader.end()?;
        Some(record)
    }

    /// Checks the name of a key.
    pub(crate) fn check_name(name: &str) -> Result<(), super::InvalidField> {
        text::check_filled(name, Self::MAX_NAME_LEN)
            .map_err(|problem| super::InvalidField::new(super::Field::KeyName, problem))
    }
}

/// Compares all fields, including the last use and the seal. A store returns a record equal to the stored
/// one.
impl PartialEq for KeyRecord {
    fn eq(&self, other: &Self) -> bool {
        self.last_used == other.last_used && self.encode() == other.encode()
    }
}

impl Eq for KeyRecord {}

/// Serializes the public description of the key, without digest, seal, and the attributes, which are the application's.
#[cfg(all(feature = "serde", feature = "std"))]
impl serde::Serialize for KeyRecord {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use alloc::collections::BTreeMap;

        use serde::ser::SerializeStruct;

        let fields = 19 + usize::from(cfg!(feature = "children"));
        let mut key = serializer.serialize_struct("Key", fields)?;
        key.serialize_field("id", &self.id)?;
        key.serialize_field("tenant", &self.tenant)?;
        key.serialize_field("name", &self.name)?;
        key.serialize_field("masked", &self.masked)?;
        key.serialize_field("imported", &self.imported)?;
        key.serialize_field("scopes", &self.scopes)?;
        key.serialize_field("resources", &self.resources().collect::<BTreeMap<_, _>>())?;
        key.serialize_field("networks", &self.limits.networks)?;
        key.serialize_field("labels", &self.labels)?;
        key.serialize_field("enabled", &self.enabled)?;
        key.serialize_field("suspension", &self.suspension)?;
        key.serialize_field("not_before", &self.not_before)?;
        key.serialize_field("expires_at", &self.expires_at)?;
        key.serialize_field("created_at", &self.created_at)?;
        key.serialize_field("created_by", &self.created_by)?;
        key.serialize_field("owner", &self.owner)?;
        key.serialize_field("rotated_at", &self.rotated_at)?;
        key.serialize_field("last_used", &self.last_used)?;
        key.serialize_field("version", &self.version)?;
        #[cfg(feature = "children")]
        key.serialize_field("children", &self.children())?;
        key.end()
    }
}
