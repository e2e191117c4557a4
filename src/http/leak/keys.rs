//! The public keys that verify the signatures of reports.

use alloc::{collections::BTreeMap, string::String, sync::Arc, vec::Vec};
use core::fmt;
use std::sync::{PoisonError, RwLock};

use base64ct::{Base64, Encoding};
use p256::ecdsa::{Signature, VerifyingKey, signature::Verifier};
use serde::Deserialize;

use crate::{config::ConfigError, http::Headers};

const IDENTIFIER: &str = "github-public-key-identifier";
const SIGNATURE: &str = "github-public-key-signature";

/// The longest signature in bytes: a DER sequence of two integers of at most 33 bytes.
const MAX_SIGNATURE_LEN: usize = 72;

/// The public keys that verify the signatures of reports. The application fetches the list and replaces it
/// when it changes. Clones share the list.
///
/// Only keys that the list marks as current are accepted. GitHub leaves former keys in the list, but signs no
/// more reports with them. A key that GitHub starts to use is unknown until the list is replaced, and reports
/// signed with it are refused until then.
#[derive(Clone)]
pub struct SigningKeys(Arc<RwLock<Keys>>);

type Keys = BTreeMap<String, VerifyingKey>;

impl SigningKeys {
    /// Reads the current keys of a list in GitHub's format: `{"public_keys": [{"key_identifier", "key",
    /// "is_current"}]}`, with keys in PEM.
    ///
    /// # Errors
    ///
    /// Returns [`ConfigError`] if the list is not valid.
    pub fn from_json(list: impl AsRef<[u8]>) -> Result<Self, ConfigError> {
        Ok(Self(Arc::new(RwLock::new(read(list.as_ref())?))))
    }

    /// Replaces the keys by the current keys of another list, in all clones.
    ///
    /// # Errors
    ///
    /// The same as those of [`from_json`](Self::from_json). The keys then stay unchanged.
    pub fn replace(&self, list: impl AsRef<[u8]>) -> Result<(), ConfigError> {
        let keys = read(list.as_ref())?;
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = keys;
        Ok(())
    }

    /// Returns whether `headers` has exactly one signature, and it covers `body` with the key that they name.
    pub(super) fn signed(&self, headers: &(impl Headers + ?Sized), body: &[u8]) -> bool {
        let key = || self.find(core::str::from_utf8(one(headers, IDENTIFIER)?).ok()?);
        let signature = || decode(one(headers, SIGNATURE)?);
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

/// Returns the value of a header that occurs exactly once.
fn one<'f>(headers: &'f (impl Headers + ?Sized), name: &str) -> Option<&'f [u8]> {
    let mut values = headers.values(name);
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

fn read(list: &[u8]) -> Result<Keys, ConfigError> {
    let list: List = serde_json::from_slice(list)
        .map_err(|error| ConfigError::unreadable("the list of signing keys", &error))?;
    let mut keys = Keys::new();
    for Listed { key_identifier, key, is_current } in list.public_keys {
        if !is_current {
            continue;
        }
        let Ok(key) = key.parse() else {
            return Err(ConfigError::SigningKey(key_identifier));
        };
        if keys.insert(key_identifier.clone(), key).is_some() {
            return Err(ConfigError::DuplicateSigningKey(key_identifier));
        }
    }
    if keys.is_empty() { Err(ConfigError::NoSigningKey) } else { Ok(keys) }
}
