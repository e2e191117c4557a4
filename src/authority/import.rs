//! Import of a key that another system issued.

use alloc::{string::String, vec::Vec};

use super::{Authority, ChangeError, NewKey};
use crate::{
    config::ConfigError,
    import::{ForeignDigest, ForeignFormat, ForeignIdentity, ImportError},
    record::{Field, InvalidField, KeyRecord, TenantRecord},
    text,
    time::Timestamp,
    token::{CheckedToken, Rejection},
};

/// A request to import a key from another system: the stored digest of its token, and the properties of the
/// new key.
///
/// Everything about the key is new except its token. Its creation time is the time of the import, and its
/// lifetime counts from then. Without an expiry it gets its tier's longest lifetime, like any new key. The
/// record that the import returns contains the [end](KeyRecord::expires_at). Further data of the other
/// system can be kept in the labels.
///
/// ```
/// use keyway::{ImportedKey, NewKey, import::{ForeignDigest, ForeignFormat, ForeignHash}};
///
/// let format = ForeignFormat::whole_token(ForeignHash::Sha256);
/// let digest = ForeignDigest::from_bytes(&[0x5a; 32])?;
/// let request = NewKey::named("ERP nightly sync").scopes(["reporting"]);
/// let imported = ImportedKey::new(&format, digest, request)?.masked("…c4d5")?;
/// # _ = imported;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "a request does nothing until a key is imported from it"]
pub struct ImportedKey {
    pub(super) identity: ForeignIdentity,
    pub(super) masked: String,
    pub(crate) request: NewKey,
    pub(crate) over_quota: bool,
    pub(super) enabled: bool,
    pub(super) last_used: Option<Timestamp>,
}

impl ImportedKey {
    /// Maximum length of the [`masked`](Self::masked) key, in characters.
    pub const MAX_MASKED_LEN: usize = 64;

    /// Creates a request for the key with this digest of a token of `format`. The format must have no public
    /// part except its prefix.
    ///
    /// # Errors
    ///
    /// [`ImportError::Hash`] if the digest is not of the format's hash. [`ImportError::PublicMissing`] if the
    /// format has a public part.
    pub fn new(
        format: &ForeignFormat,
        digest: ForeignDigest,
        request: NewKey,
    ) -> Result<Self, ImportError> {
        Self::of(format, None, digest, request)
    }

    /// Creates a request for the key with this digest of the secret part of a token of `format`. `public` is
    /// the text between the format's prefix and the separator before the secret, such as the short token of
    /// a `prefixed-api-key`.
    ///
    /// # Errors
    ///
    /// [`ImportError::Hash`] if the digest is not of the format's hash. [`ImportError::PublicMalformed`] or
    /// [`ImportError::PublicNotNeeded`] if `public` does not fit the format.
    pub fn with_public_part(
        format: &ForeignFormat,
        public: &str,
        digest: ForeignDigest,
        request: NewKey,
    ) -> Result<Self, ImportError> {
        Self::of(format, Some(public), digest, request)
    }

    fn of(
        format: &ForeignFormat,
        public: Option<&str>,
        digest: ForeignDigest,
        request: NewKey,
    ) -> Result<Self, ImportError> {
        if digest.hash() != format.hash() {
            return Err(ImportError::Hash { expected: format.hash(), given: digest.hash() });
        }
        let identity = format.identity_of(public, digest)?;
        Ok(Self {
            masked: format.masked(&identity),
            identity,
            request,
            over_quota: false,
            enabled: true,
            last_used: None,
        })
    }

    /// Imports the key even if its tenant then holds more keys than its tier allows. The key counts like any
    /// other: the tenant gets no further key until it is below its quota.
    pub fn over_quota(mut self) -> Self {
        self.over_quota = true;
        self
    }

    /// Imports the key enabled, which is the default, or disabled. Use `false` for a key that the other
    /// system has disabled: its holder cannot use it until the tenant enables it.
    pub fn enabled(mut self, enabled: bool) -> Self {
        self.enabled = enabled;
        self
    }

    /// Sets the time of the last use that the other system recorded. It is stored to the minute.
    pub fn last_used(mut self, at: Timestamp) -> Self {
        self.last_used = Some(at);
        self
    }

    /// Returns the last use to store, truncated to the minute, or `None` if it is after `now`. The first
    /// import and its repetitions store the same value.
    pub(crate) fn last_used_by(&self, now: Timestamp) -> Option<Timestamp> {
        let at = self.last_used.filter(|at| *at <= now)?;
        Some(Timestamp::saturating_from_millis(at.as_millis().div_euclid(60_000) * 60_000))
    }

    /// Sets the text by which the key is recognized in lists, such as the last four characters of the token,
    /// if the other system stored one. The default is the public part of the token, followed by `…`.
    ///
    /// Everyone who can see the key can see this text, so it must not help to guess the token.
    ///
    /// # Errors
    ///
    /// [`InvalidField`] unless the text is 1 to 64 characters on one line.
    pub fn masked(mut self, masked: impl Into<String>) -> Result<Self, InvalidField> {
        let masked = masked.into();
        text::check_filled(&masked, Self::MAX_MASKED_LEN)
            .map_err(|problem| InvalidField::new(Field::Masked, problem))?;
        self.masked = masked;
        Ok(self)
    }
}

impl Authority {
    /// Accepts imported tokens of `format` too. See [`import`](crate::import). The formats are tried in the
    /// order in which they were added.
    ///
    /// # Errors
    ///
    /// [`ConfigError::OwnPrefix`] if every token of the format would begin like keyway's own tokens.
    pub fn accept_imported(mut self, format: ForeignFormat) -> Result<Self, ConfigError> {
        self.accepted.accept(format, &self.format)?;
        Ok(self)
    }

    /// Returns whether tokens of another system are accepted.
    #[cfg(feature = "http")]
    pub(crate) fn accepts_imported(&self) -> bool {
        !self.accepted.is_empty()
    }

    /// Returns the keys that `presented` may be the token of. This is the key that it was minted for, or the
    /// keys that it may have been imported as, in the order in which to look them up. The first one that
    /// [`decide`](crate::decision::decide) accepts as proven is the key.
    ///
    /// Without imported keys, [`check`](Self::check) gives the same result without allocation.
    ///
    /// # Errors
    ///
    /// Like [`check`](Self::check), if no foreign format fits either.
    pub fn claims(&self, presented: &[u8]) -> Result<Vec<CheckedToken>, Rejection> {
        match self.check(presented) {
            Ok(checked) => Ok([checked].into()),
            Err(rejection) => {
                let claims = self.foreign_claims(presented, rejection);
                if claims.is_empty() { Err(rejection) } else { Ok(claims) }
            }
        }
    }

    /// Returns the keys that `presented` may have been imported as. `rejection` is the reason why it is not
    /// one of keyway's own tokens.
    pub(crate) fn foreign_claims(
        &self,
        presented: &[u8],
        rejection: Rejection,
    ) -> Vec<CheckedToken> {
        match rejection {
            Rejection::Malformed => self.accepted.claims(presented, &self.format),
            _ => Vec::new(),
        }
    }

    /// Creates a key of `tenant` that accepts a token of another system. The record is marked as
    /// [imported](KeyRecord::imported).
    ///
    /// The quota is not checked here, because only the store can count keys. The store also detects a key
    /// that was imported before: it has the same key id under the same pepper.
    ///
    /// # Errors
    ///
    /// [`ChangeError`] names the part of the request that cannot be granted. It is [`ChangeError::Import`]
    /// if no [accepted](Self::accept_imported) format has such tokens.
    pub fn import(
        &self,
        tenant: &TenantRecord,
        imported: ImportedKey,
        now: Timestamp,
    ) -> Result<KeyRecord, ChangeError> {
        if let Some(at) = imported.last_used.filter(|at| *at > now) {
            return Err(ImportError::LastUsedInFuture(at).into());
        }
        let last_used = imported.last_used_by(now);
        let ImportedKey { identity, masked, request, enabled, .. } = imported;
        let (scopes, expires_at) = self.check_request(tenant, &request, now)?;
        self.accepted.format_of(&identity).ok_or(ImportError::NotAccepted(identity.hash()))?;
        if self.accepted.gives_away(&masked, &identity) {
            return Err(ImportError::MaskedIsToken.into());
        }
        let checked =
            self.accepted.of(&identity).next().ok_or(crate::token::MintError::NoPepper)?;
        let mut key = KeyRecord::new(checked.id(), tenant.id.clone(), checked.digest(), now);
        (key.scopes, key.expires_at) = (scopes, expires_at);
        (key.masked, key.imported, key.enabled) = (masked, true, enabled);
        request.describe(&mut key);
        self.seals.seal_key(&mut key);
        Ok(key.with_last_used(last_used))
    }

    /// Returns the ids that `imported` has under each pepper, the current one first.
    pub(crate) fn imported_ids(&self, imported: &ImportedKey) -> Vec<crate::token::KeyId> {
        self.accepted.of(&imported.identity).map(|checked| checked.id()).collect()
    }

    /// Returns whether `text` contains more of a foreign token than its public part, judged by a fixed
    /// prefix.
    pub(crate) fn is_evidently_foreign(&self, text: &str) -> bool {
        self.accepted.is_evident_in(text.as_bytes())
    }
}
