//! Announcements of changes that only nodes with the same pepper can create or read.
//!
//! Anyone with access to a database may listen to its channels and send to them. A notice is therefore
//! encrypted and authenticated. Its first 16 bytes are a MAC of the plaintext, which includes a salt. The
//! rest is encrypted under another key, with the MAC as the nonce (the construction of RFC 5297, with
//! HMAC-SHA256). All notices have the same length. A replayed notice names the same record as before, and
//! costs one load of that record.

use alloc::{string::String, sync::Arc, vec::Vec};
use core::fmt;

use base64ct::{Base64UrlUnpadded, Encoding};

use super::Change;
use crate::{
    mac::{self, Sha256},
    pepper::Peppers,
    record::TenantId,
    token::KeyId,
};

/// Creates and reads announcements of changes, under the peppers of one issuer and environment.
///
/// A `Keyring` passes its notices to its store ([`KeyStore::announce_with`]). It also reads the texts that a
/// [feed](super::ChangeFeed) delivers as [`Change::Notice`]. Clones share the keys.
///
/// ```
/// use keyway::{Pepper, store::{Change, Notices}};
///
/// let peppers = Pepper::from_bytes(&[7; 32])?.into();
/// let notices = Notices::new("mm", "live", &peppers);
/// let notice = notices.of_tenant(&"acme".parse()?, [1; 8]);
/// assert!(!notice.contains("acme"));
/// assert_eq!(notices.read(&notice), Some(Change::Tenant("acme".parse()?)));
/// assert_eq!(notices.read("made up"), None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// [`KeyStore::announce_with`]: super::KeyStore::announce_with
#[derive(Clone)]
pub struct Notices(Arc<[Keys]>);

/// The keys derived from one pepper. `Notices` lists those of the current pepper first.
struct Keys {
    mac: mac::Key,
    cipher: mac::Key,
}

const MAC_LEN: usize = 16;
/// The salt, the kind, the length of the id, and the id padded with zeros.
const PLAIN_LEN: usize = 8 + 1 + 1 + TenantId::MAX_LEN;
const LEN: usize = MAC_LEN + PLAIN_LEN;

impl Notices {
    /// Creates the notices of `peppers`. They are made under the current pepper. A notice that was made under
    /// a [retired](Peppers::retired) pepper is not read.
    pub fn new(issuer: &str, environment: &str, peppers: &Peppers) -> Self {
        let keys = peppers.for_seals().map(|pepper| Keys {
            mac: pepper.derive(b"keyway/v1/notice\0", issuer, environment),
            cipher: pepper.derive(b"keyway/v1/notice cipher\0", issuer, environment),
        });
        Self(keys.collect())
    }

    /// Returns the notice that the key `id` was changed: 206 letters, digits, `-` and `_`.
    ///
    /// `salt` is random, so that two notices of one key look unrelated. A repeated salt reveals only that two
    /// notices are equal.
    pub fn of_key(&self, id: KeyId, salt: [u8; 8]) -> String {
        self.make(b'k', id.as_bytes(), salt)
    }

    /// Returns the notice that the tenant `id` was changed; see [`of_key`](Self::of_key).
    pub fn of_tenant(&self, id: &TenantId, salt: [u8; 8]) -> String {
        self.make(b't', id.as_str().as_bytes(), salt)
    }

    /// Returns the change that `notice` announces, or `None` if it was not made under one of these peppers.
    pub fn read(&self, notice: &str) -> Option<Change> {
        let mut bytes = [0; LEN];
        let decoded = Base64UrlUnpadded::decode(notice, &mut bytes).ok()?;
        if decoded.len() != LEN {
            return None;
        }
        let (mac, encrypted) = bytes.split_first_chunk()?;
        let plain = self.0.iter().find_map(|keys| {
            let mut plain: [u8; PLAIN_LEN] = encrypted.try_into().ok()?;
            keys.apply_cipher(mac, &mut plain);
            mac::same(words(&keys.mac(&plain)), words(mac)).then_some(plain)
        })?;
        // The notice is authentic, so a record has changed even if this release cannot read its name.
        Some(parse(&plain).unwrap_or(Change::Gap))
    }

    fn make(&self, kind: u8, id: &[u8], salt: [u8; 8]) -> String {
        let mut plain = Vec::with_capacity(PLAIN_LEN);
        plain.extend_from_slice(&salt);
        plain.push(kind);
        plain.push(u8::try_from(id.len()).unwrap_or(u8::MAX));
        plain.extend_from_slice(id);
        plain.resize(PLAIN_LEN, 0);
        let mut notice = Vec::with_capacity(LEN);
        if let Some(keys) = self.0.first() {
            let mac = keys.mac(&plain);
            keys.apply_cipher(&mac, &mut plain);
            notice.extend_from_slice(&mac);
            notice.extend_from_slice(&plain);
        }
        Base64UrlUnpadded::encode_string(&notice)
    }
}

impl Keys {
    fn mac(&self, plain: &[u8]) -> [u8; MAC_LEN] {
        let mut mac = [0; 32];
        Sha256::hmac(&self.mac, &[plain], &mut mac);
        let mut short = [0; MAC_LEN];
        short.copy_from_slice(mac.split_at(MAC_LEN).0);
        short
    }

    /// Encrypts plaintext, and decrypts ciphertext.
    fn apply_cipher(&self, mac: &[u8; MAC_LEN], bytes: &mut [u8]) {
        for (number, block) in (0_u32..).zip(bytes.chunks_mut(32)) {
            let mut stream = [0; 32];
            Sha256::hmac(&self.cipher, &[mac, &number.to_be_bytes()], &mut stream);
            for (byte, key) in block.iter_mut().zip(stream) {
                *byte ^= key;
            }
        }
    }
}

impl fmt::Debug for Notices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notices").finish_non_exhaustive()
    }
}

fn parse(plain: &[u8; PLAIN_LEN]) -> Option<Change> {
    let [_, _, _, _, _, _, _, _, kind, len, id @ ..] = plain;
    let id = id.get(..usize::from(*len))?;
    match kind {
        b'k' => Some(Change::Key(KeyId::from_bytes(id.try_into().ok()?)?)),
        b't' => Some(Change::Tenant(TenantId::try_from(core::str::from_utf8(id).ok()?).ok()?)),
        _ => None,
    }
}

fn words(bytes: &[u8; MAC_LEN]) -> [u64; 2] {
    let mut words = [0; 2];
    for (word, bytes) in words.iter_mut().zip(bytes.as_chunks().0) {
        *word = u64::from_be_bytes(*bytes);
    }
    words
}

#[cfg(test)]
mod tests {
    use alloc::{format, string::ToString};

    use super::*;
    use crate::pepper::Pepper;

    fn pepper(byte: u8, slot: u8) -> Pepper {
        Pepper::from_bytes(&[byte; 32]).unwrap().in_slot(slot).unwrap()
    }

    fn notices() -> Notices {
        Notices::new("mm", "live", &pepper(7, 0).into())
    }

    fn tenant() -> TenantId {
        "acme".parse().unwrap()
    }

    #[test]
    fn notice_is_read_by_nodes_with_the_pepper() {
        let id = KeyId::from_bytes(*b"0123456789abcdef").unwrap();
        assert_eq!(notices().read(&notices().of_key(id, [3; 8])), Some(Change::Key(id)));
        let longest: TenantId = "x".repeat(TenantId::MAX_LEN).parse().unwrap();
        for id in [tenant(), longest] {
            let notice = notices().of_tenant(&id, [3; 8]);
            assert_eq!(notices().read(&notice), Some(Change::Tenant(id)));
        }
    }

    #[test]
    fn notice_of_another_pepper_or_domain_is_ignored() {
        for (issuer, environment, byte) in [("mn", "live", 7), ("mm", "test", 7), ("mm", "live", 8)]
        {
            let other = Notices::new(issuer, environment, &pepper(byte, 0).into());
            assert_eq!(notices().read(&other.of_tenant(&tenant(), [3; 8])), None);
        }
    }

    #[test]
    fn notice_with_any_changed_character_is_ignored() {
        let notice = notices().of_tenant(&tenant(), [3; 8]);
        assert_eq!(notice.len(), 206);
        for place in 0..notice.len() {
            let mut changed = notice.clone().into_bytes();
            changed[place] = if changed[place] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert_eq!(notices().read(&changed), None, "{place}");
        }
        for other in
            ["", "k", "\u{e4}", notice.get(1..).unwrap(), &format!("{notice}A"), &notice.repeat(40)]
        {
            assert_eq!(notices().read(other), None);
        }
    }

    #[test]
    fn notices_with_two_salts_share_nothing() {
        let texts = [[3; 8], [4; 8]].map(|salt| notices().of_tenant(&tenant(), salt));
        let same = texts[0].bytes().zip(texts[1].bytes()).filter(|(one, other)| one == other);
        // Two unrelated texts share one character in 64 on average. They share a third with a probability of
        // 10^-40.
        assert!(same.count() < 206 / 3, "{texts:?}");
    }

    #[test]
    fn notice_length_does_not_depend_on_the_record() {
        let id = KeyId::from_bytes(*b"0123456789abcdef").unwrap();
        let longest: TenantId = "x".repeat(TenantId::MAX_LEN).parse().unwrap();
        for notice in [notices().of_key(id, [0; 8]), notices().of_tenant(&longest, [0; 8])] {
            assert_eq!(notice.len(), notices().of_tenant(&tenant(), [0; 8]).len());
        }
    }

    #[test]
    fn notice_of_a_retiring_pepper_is_read_and_of_a_retired_one_not() {
        let old = Notices::new("mm", "live", &pepper(1, 0).into()).of_tenant(&tenant(), [0; 8]);
        let ring = || Peppers::new(pepper(2, 1));
        let retiring = ring().retiring(pepper(1, 0)).unwrap();
        let retired = ring().retired(pepper(1, 0)).unwrap();
        assert!(Notices::new("mm", "live", &retiring).read(&old).is_some());
        assert!(Notices::new("mm", "live", &retired).read(&old).is_none());
    }

    #[test]
    fn notice_of_an_unreadable_name_is_a_gap() {
        let unreadable = notices().make(b't', b"\xff", [0; 8]);
        assert_eq!(notices().read(&unreadable), Some(Change::Gap));
        let unknown = notices().make(b'?', tenant().to_string().as_bytes(), [0; 8]);
        assert_eq!(notices().read(&unknown), Some(Change::Gap));
    }
}
