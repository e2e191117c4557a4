//! Taking over a key that another system issued.

use alloc::{string::String, vec::Vec};

use super::{Authority, ChangeError, NewKey, Secret};
use crate::{
    import::{
        ForeignDigest, ForeignFormat, ForeignFormatError, ForeignHash, ForeignIdentity,
        PublicPartError,
    },
    record::{InvalidField, KeyRecord, TenantRecord},
    text,
    time::Timestamp,
    token::{Claim, Rejection},
};

/// A key that is to be taken over from another system: what that kept of its token, and what the
/// key is to be here.
///
/// It is new here in all but its token: its time of creation is that of the import, and from then
/// its lifetime counts. Keep what else the other system knew of it in its labels.
///
/// ```
/// use keyway::{
///     authority::{ImportedKey, NewKey},
///     import::{ForeignDigest, ForeignFormat, ForeignHash},
/// };
///
/// let format = ForeignFormat::whole_token(ForeignHash::Sha256);
/// let digest = ForeignDigest::from_bytes(&[0x5a; 32])?;
/// let request = NewKey::named("ERP nightly sync").scopes(["reporting"]);
/// let imported = ImportedKey::new(&format, digest, request)?.hint("…c4d5")?;
/// # _ = imported;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "a request does nothing until a key is imported from it"]
pub struct ImportedKey {
    pub(super) identity: ForeignIdentity,
    pub(super) hint: String,
    pub(crate) request: NewKey,
}

impl ImportedKey {
    /// The longest [`hint`](Self::hint), in characters.
    pub const MAX_HINT_LEN: usize = 64;

    /// The key with the digest `digest` of a token of `format`, which has no public part but its
    /// prefix.
    ///
    /// # Errors
    ///
    /// [`ImportError::Hash`] if the digest is of another hash than the format's, and
    /// [`ImportError::Public`] if the format has a public part.
    pub fn new(
        format: &ForeignFormat,
        digest: ForeignDigest,
        request: NewKey,
    ) -> Result<Self, ImportError> {
        Self::of(format, None, digest, request)
    }

    /// The key with the digest `digest` of the secret part of a token of `format`, whose text
    /// between the format's prefix and the separator before the secret is `public`: the short token
    /// of a `prefixed-api-key`.
    ///
    /// # Errors
    ///
    /// [`ImportError::Hash`] if the digest is of another hash than the format's, and
    /// [`ImportError::Public`] if the public part does not fit it.
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
        Ok(Self { hint: format.hint(&identity), identity, request })
    }

    /// What the key is recognized by in lists, if the other system kept something of that kind,
    /// such as the last four characters. Without it, it is what is public of the token, and `…`.
    ///
    /// Everybody who sees the key sees it, so it must not help to guess the token.
    ///
    /// # Errors
    ///
    /// [`InvalidField`] unless it is 1 to 64 characters on one line.
    pub fn hint(mut self, hint: impl Into<String>) -> Result<Self, InvalidField> {
        let hint = hint.into();
        text::check_filled(&hint, Self::MAX_HINT_LEN)
            .map_err(|problem| InvalidField::new("the hint of the key", problem))?;
        self.hint = hint;
        Ok(self)
    }
}

impl Authority {
    /// Accepts imported tokens of `format` too; see [`import`](crate::import). The formats are
    /// tried in the order in which they were added.
    ///
    /// # Errors
    ///
    /// [`ForeignFormatError::OwnPrefix`] if all of them would begin like keyway's own tokens.
    pub fn accept_imported(mut self, format: ForeignFormat) -> Result<Self, ForeignFormatError> {
        self.accepted.accept(format, &self.format)?;
        Ok(self)
    }

    /// The keys that `presented` may be the token of: the one that it was minted for, or those that
    /// it would have been imported as. In the order in which to look for them; the first that
    /// [`decide`](crate::decision::decide) takes for proven is the one.
    ///
    /// Without imported keys, [`check`](Self::check) says the same and allocates nothing.
    ///
    /// # Errors
    ///
    /// As [`check`](Self::check), if no foreign format fits either.
    pub fn claims(&self, presented: &[u8]) -> Result<Vec<Claim>, Rejection> {
        match self.check(presented) {
            Ok(claim) => Ok([claim].into()),
            Err(rejection) => {
                let claims = self.foreign_claims(presented, rejection);
                if claims.is_empty() { Err(rejection) } else { Ok(claims) }
            }
        }
    }

    /// The keys that `presented`, which is not keyway's own for the reason `rejection`, would have
    /// been imported as.
    pub(crate) fn foreign_claims(&self, presented: &[u8], rejection: Rejection) -> Vec<Claim> {
        match rejection {
            Rejection::Malformed => self.accepted.claims(presented, &self.format),
            _ => Vec::new(),
        }
    }

    /// The key of `tenant` that accepts a token of another system, marked as
    /// [imported](KeyRecord::imported). Whether the tenant may hold another key is for the store to
    /// say, which alone can count, and so is whether the key was imported before: it then has the
    /// same id.
    ///
    /// # Errors
    ///
    /// [`ChangeError`] names what of the request cannot be granted, with [`ChangeError::Import`] if
    /// no [accepted](Self::accept_imported) format makes such tokens.
    pub fn import(
        &self,
        tenant: &TenantRecord,
        imported: ImportedKey,
        now: Timestamp,
    ) -> Result<KeyRecord, ChangeError> {
        let ImportedKey { identity, hint, request } = imported;
        let granted = self.check_request(tenant, &request, now)?;
        self.accepted.format_of(&identity).ok_or(ImportError::NotAccepted(identity.hash()))?;
        if self.accepted.is_token(&hint, &identity) {
            return Err(ImportError::HintIsToken.into());
        }
        let claim = self.accepted.of(&identity).next().ok_or(crate::token::MintError::NoPepper)?;
        let secret = Secret { id: claim.id(), digest: claim.digest(), hint, imported: true };
        Ok(self.new_key(tenant, request, granted, secret, now))
    }

    /// The keys that `imported` is kept as if it was imported under an older pepper.
    #[cfg(feature = "std")]
    pub(crate) fn older(&self, imported: &ImportedKey) -> Vec<Claim> {
        self.accepted.of(&imported.identity).skip(1).collect()
    }

    /// Whether `text` holds more of a foreign token than its public half, going by a fixed prefix.
    #[cfg(feature = "std")]
    pub(crate) fn is_evidently_foreign(&self, text: &str) -> bool {
        self.accepted.is_evident_in(text.as_bytes())
    }
}

/// A key cannot be taken over as asked. Nothing was changed, and no message holds any part of a
/// digest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// The digest has the length of another hash.
    #[error("the digest is of {given}, and the format digests with {expected}")]
    Hash {
        /// The format's hash.
        expected: ForeignHash,
        /// The hash whose digests are that long.
        given: ForeignHash,
    },
    /// What is public of the token does not fit.
    #[error(transparent)]
    Public(#[from] PublicPartError),
    /// The key could never be verified.
    #[error("no foreign format that is accepted here makes such tokens with {0}")]
    NotAccepted(ForeignHash),
    /// The hint gives the token away.
    #[error("the hint is the token itself")]
    HintIsToken,
}
