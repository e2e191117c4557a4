//! The keys that reports are signed with.

use alloc::{boxed::Box, collections::BTreeMap, string::String, sync::Arc, vec::Vec};
use core::{error::Error, fmt};
use std::sync::{PoisonError, RwLock};

use base64ct::{Base64, Encoding};
use p256::ecdsa::{Signature, VerifyingKey, signature::Verifier};
use serde::Deserialize;

use crate::http::Fields;

const IDENTIFIER: &str = "github-public-key-identifier";
const SIGNATURE: &str = "github-public-key-signature";

/// The longest signature: a DER sequence of two integers of 33 bytes at most.
const MAX_SIGNATURE_LEN: usize = 72;

/// The public keys that reports are signed with. The host fetches the list and replaces it as it changes;
/// clones share it.
///
/// Only keys that the list calls current are accepted. GitHub keeps those that it signed with before in the
/// list, and nothing genuine is signed with them any more. A key that GitHub takes into use is unknown here
/// until the list is replaced, and reports are refused until then.
#[derive(Clone)]
pub struct SigningKeys(Arc<RwLock<Keys>>);

type Keys = BTreeMap<String, VerifyingKey>;

impl SigningKeys {
    /// The current keys of a list as GitHub gives it: `{"public_keys": [{"key_identifier", "key",
    /// "is_current"}]}`, with keys in PEM.
    ///
    /// # Errors
    ///
    /// [`SigningKeysError`] says what is wrong with the list.
    pub fn from_json(list: impl AsRef<[u8]>) -> Result<Self, SigningKeysError> {
        Ok(Self(Arc::new(RwLock::new(read(list.as_ref())?))))
    }

    /// Puts the current keys of another list in the place of those that are here, for all clones.
    ///
    /// # Errors
    ///
    /// As [`from_json`](Self::from_json). The keys then stay as they are.
    pub fn replace(&self, list: impl AsRef<[u8]>) -> Result<(), SigningKeysError> {
        let keys = read(list.as_ref())?;
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = keys;
        Ok(())
    }

    /// Whether the one signature in `fields` is over `body`, by the key that they name.
    pub(super) fn signed(&self, fields: &(impl Fields + ?Sized), body: &[u8]) -> bool {
        let key = || self.find(core::str::from_utf8(one(fields, IDENTIFIER)?).ok()?);
        let signature = || decode(one(fields, SIGNATURE)?);
        key().zip(signature()).is_some_and(|(key, signature)| key.verify(body, &signature).is_ok())
    }

    fn find(&self, identifier: &str) -> Option<VerifyingKey> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(identifier).copied()
    }
}

impl fmt::Debug for SigningKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys = self.0.read().unwrap_or_else(PoisonError::into_inner);
        f.debug_tuple("SigningKeys").field(&keys.keys()).finish()
    }
}

/// The value of a field that is there once.
fn one<'f>(fields: &'f (impl Fields + ?Sized), name: &str) -> Option<&'f [u8]> {
    let mut values = fields.values(name);
    values.next().filter(|_| values.next().is_none())
}

fn decode(text: &[u8]) -> Option<Signature> {
    let mut der = [0; MAX_SIGNATURE_LEN];
    Signature::from_der(Base64::decode(text, &mut der).ok()?).ok()
}

#[derive(Deserialize)]
struct List {
    public_keys: Vec<Listed>,
}

#[derive(Deserialize)]
struct Listed {
    key_identifier: String,
    key: String,
    is_current: bool,
}

fn read(list: &[u8]) -> Result<Keys, SigningKeysError> {
    let list: List =
        serde_json::from_slice(list).map_err(|error| SigningKeysError::List(error.into()))?;
    let mut keys = Keys::new();
    for Listed { key_identifier, key, is_current } in list.public_keys {
        if !is_current {
            continue;
        }
        let Ok(key) = key.parse() else {
            return Err(SigningKeysError::Key(key_identifier));
        };
        if keys.insert(key_identifier.clone(), key).is_some() {
            return Err(SigningKeysError::Repeated(key_identifier));
        }
    }
    if keys.is_empty() { Err(SigningKeysError::NoneCurrent) } else { Ok(keys) }
}

/// A list of keys cannot be taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SigningKeysError {
    /// It is not of the format of GitHub's list.
    #[error("the list of signing keys cannot be read")]
    List(#[source] Box<dyn Error + Send + Sync>),
    /// A current key is not one of the curve P-256 in PEM.
    #[error("the signing key `{}` is not a P-256 key in PEM", .0.escape_debug())]
    Key(String),
    /// Two current keys have the same identifier.
    #[error("the signing key `{}` is listed twice", .0.escape_debug())]
    Repeated(String),
    /// No key is current, so every report would be refused.
    #[error("no signing key in the list is current")]
    NoneCurrent,
}
