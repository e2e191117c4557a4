//! The marker of a store: a sealed row that records the issuer, environment and peppers of the store.
//!
//! A node with other settings would find every token unknown and every seal broken, and customers would
//! notice first. The marker is compared when a node starts, so that the operator notices first.
//!
//! The marker grants nothing: no record is accepted because of a marker. An attacker that can write to the
//! store can only prevent nodes from starting with it.

use alloc::{borrow::ToOwned, boxed::Box, string::String, vec::Vec};
use core::fmt;

use crate::{
    codec::{Reader, Writer},
    mac::{self, Sha256},
    pepper::{Pepper, Peppers},
};

/// The first bytes of a marker.
const MAGIC: &[u8; 4] = b"KWM\x01";

/// Maximum length of an issuer or environment in a marker, in bytes.
const MAX_NAME: usize = 16;

/// Identifies a pepper without revealing anything else about it.
type Fingerprint = [u8; 16];

/// One pepper in a marker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    slot: u8,
    fingerprint: Fingerprint,
}

/// Creates the marker of this node's issuer, environment and peppers, and compares it with a stored one.
pub(crate) struct Marker {
    issuer: String,
    environment: String,
    /// The peppers that seal, sorted by slot, each with its key. One of them is current.
    sealing: Vec<(Entry, mac::Key)>,
    current: u8,
    /// The peppers that only check tokens.
    retired: Vec<Entry>,
}

/// A decoded marker.
struct Stored<'b> {
    issuer: &'b str,
    environment: &'b str,
    current: u8,
    entries: Vec<Entry>,
    /// The bytes that the seals cover.
    body: &'b [u8],
    /// One seal for each entry, so that every node that shares a pepper can check one.
    seals: Vec<&'b [u8; 32]>,
}

impl Marker {
    pub(crate) fn new(issuer: &str, environment: &str, peppers: &Peppers) -> Self {
        let mut sealing: Vec<_> = peppers
            .for_seals()
            .map(|pepper| {
                (entry(pepper), pepper.derive(b"keyway/v1/marker\0", issuer, environment))
            })
            .collect();
        sealing.sort_by_key(|(entry, _)| entry.slot);
        let is_sealing = |slot| sealing.iter().any(|(entry, _)| entry.slot == slot);
        let tokens = peppers.for_tokens().filter(|pepper| !is_sealing(pepper.slot()));
        let retired = tokens.map(entry).collect();
        let current = peppers.current().slot();
        Self {
            issuer: issuer.to_owned(),
            environment: environment.to_owned(),
            sealing,
            current,
            retired,
        }
    }

    /// Encodes the marker, for a store to keep.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.raw(MAGIC);
        writer.str(&self.issuer);
        writer.str(&self.environment);
        writer.raw(&[self.current]);
        writer.len(self.sealing.len());
        for (entry, _) in &self.sealing {
            writer.raw(&[entry.slot]);
            writer.raw(&entry.fingerprint);
        }
        let body = writer.into_bytes();
        let mut marker = body.clone();
        for (_, key) in &self.sealing {
            marker.extend_from_slice(&seal(key, &body));
        }
        marker
    }

    /// Compares this node with a stored marker. Returns the marker to store in its place, if it must be
    /// replaced.
    pub(crate) fn compare(&self, stored: &[u8]) -> Result<Option<Vec<u8>>, MarkerProblem> {
        let stored = Stored::read(stored).ok_or(MarkerProblem::Tampered)?;
        let differs = |here: &str, there: &str| {
            (here != there).then(|| Difference { here: here.to_owned(), store: there.to_owned() })
        };
        let mismatch = StoreMismatch {
            issuer: differs(&self.issuer, stored.issuer),
            environment: differs(&self.environment, stored.environment),
            pepper: self.compare_peppers(&stored),
        };
        if mismatch != StoreMismatch::default() {
            return Err(MarkerProblem::Other(Box::new(mismatch)));
        }
        self.check_seal(&stored)?;
        Ok(self.is_newer(&stored).then(|| self.encode()))
    }

    fn compare_peppers(&self, stored: &Stored<'_>) -> Option<PepperMismatch> {
        let mine = self.sealing.iter().map(|(entry, _)| entry);
        for entry in mine.clone().chain(&self.retired) {
            let same_slot = stored.entries.iter().find(|stored| stored.slot == entry.slot);
            if same_slot.is_some_and(|stored| stored != entry) {
                return Some(PepperMismatch::InSlot(entry.slot));
            }
        }
        let shares = mine.clone().any(|entry| stored.entries.contains(entry));
        (!shares).then(|| PepperMismatch::NoneShared {
            here: mine.map(|entry| entry.slot).collect(),
            store: stored.entries.iter().map(|entry| entry.slot).collect(),
        })
    }

    /// Checks the seals of all peppers that both have.
    fn check_seal(&self, stored: &Stored<'_>) -> Result<(), MarkerProblem> {
        for (entry, found) in stored.entries.iter().zip(&stored.seals) {
            if let Some((_, key)) = self.sealing.iter().find(|(mine, _)| mine == entry) {
                let expected = seal(key, stored.body);
                if !mac::same(super::words(&expected), super::words(found)) {
                    return Err(MarkerProblem::Tampered);
                }
            }
        }
        Ok(())
    }

    /// Returns whether this node's peppers replace the stored ones.
    ///
    /// A node with fewer peppers replaces them only if both have the same current pepper: then an older
    /// pepper has been removed. Otherwise the node has not received the newer pepper yet.
    fn is_newer(&self, stored: &Stored<'_>) -> bool {
        let adds = self.sealing.iter().any(|(entry, _)| !stored.entries.contains(entry));
        let lacks = stored.entries.len() > self.sealing.len();
        let same_current = self.current == stored.current;
        adds || if lacks { same_current } else { !same_current }
    }
}

impl<'b> Stored<'b> {
    fn read(bytes: &'b [u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        if reader.raw()? != MAGIC {
            return None;
        }
        let (issuer, environment) = (name(reader.str()?)?, name(reader.str()?)?);
        let [current] = *reader.raw()?;
        let entries = reader.list(|reader| {
            let [slot] = *reader.raw()?;
            Some(Entry { slot, fingerprint: *reader.raw()? })
        })?;
        let seals: Vec<_> = entries.iter().map(|_| reader.raw()).collect::<Option<_>>()?;
        reader.end()?;
        let body = bytes.get(..bytes.len() - 32 * seals.len())?;
        Some(Self { issuer, environment, current, entries, body, seals })
    }
}

/// Returns whether two stored markers have the same issuer and environment and share a pepper that seals.
/// `true` if one of them cannot be read.
pub(crate) fn is_same_owner(one: &[u8], other: &[u8]) -> bool {
    let (Some(one), Some(other)) = (Stored::read(one), Stored::read(other)) else { return true };
    one.issuer == other.issuer
        && one.environment == other.environment
        && one.entries.iter().any(|entry| other.entries.contains(entry))
}

impl fmt::Debug for Marker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Marker")
            .field("issuer", &self.issuer)
            .field("environment", &self.environment)
            .finish_non_exhaustive()
    }
}

/// Checks the name of an issuer or environment. A valid name is safe to show.
fn name(text: &str) -> Option<&str> {
    let is_name = text.len() <= MAX_NAME
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    is_name.then_some(text)
}

fn entry(pepper: &Pepper) -> Entry {
    // Derived from the pepper alone, without issuer and environment. Otherwise a node with the right pepper
    // and the wrong issuer would report a wrong pepper as well.
    let key = pepper.derive(b"keyway/v1/fingerprint\0", "", "");
    let mut mac = [0; 32];
    Sha256::hmac(&key, &[b"fingerprint"], &mut mac);
    let mut fingerprint = Fingerprint::default();
    fingerprint.iter_mut().zip(mac).for_each(|(byte, mac)| *byte = mac);
    Entry { slot: pepper.slot(), fingerprint }
}

fn seal(key: &mac::Key, body: &[u8]) -> [u8; 32] {
    let mut mac = [0; 32];
    Sha256::hmac(key, &[body], &mut mac);
    mac
}

/// The reason why a stored marker does not fit this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum MarkerProblem {
    Other(Box<StoreMismatch>),
    /// The marker cannot be read, or its seal is broken.
    Tampered,
}

/// The store belongs to another issuer, environment or pepper. Every difference is named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct StoreMismatch {
    /// The issuers, if they differ.
    pub(super) issuer: Option<Difference>,
    /// The environments, if they differ.
    pub(super) environment: Option<Difference>,
    /// The difference between the peppers, if there is one.
    pub(super) pepper: Option<PepperMismatch>,
}

/// Two names that should be equal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Difference {
    /// The name in this node's settings.
    pub(super) here: String,
    /// The name in the store.
    pub(super) store: String,
}

/// The difference between the peppers of a node and those of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PepperMismatch {
    /// The pepper in this slot is a different one.
    InSlot(u8),
    /// No pepper of this node seals records of the store.
    NoneShared {
        /// The slots of this node's peppers that seal.
        here: Vec<u8>,
        /// The slots of the store's peppers.
        store: Vec<u8>,
    },
}

impl fmt::Display for StoreMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (what, names) in [("issuer", &self.issuer), ("environment", &self.environment)] {
            if let Some(Difference { here, store }) = names {
                write!(f, "{separator}the {what} is `{here}` here and `{store}` in the store")?;
                separator = ", and ";
            }
        }
        match &self.pepper {
            Some(PepperMismatch::InSlot(slot)) => {
                write!(f, "{separator}the pepper in slot {slot} is not the one of the store")
            }
            Some(PepperMismatch::NoneShared { here, store }) => write!(
                f,
                "{separator}the peppers here are in slots {here:?} and those of the store in {store:?}"
            ),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pepper(byte: u8, slot: u8) -> Pepper {
        Pepper::from_bytes(&[byte; 32]).unwrap().in_slot(slot).unwrap()
    }

    fn marker(peppers: impl Into<Peppers>) -> Marker {
        Marker::new("mm", "live", &peppers.into())
    }

    #[test]
    fn every_changed_byte_of_a_marker_is_refused() {
        let mine = marker(Peppers::new(pepper(1, 0)).retiring(pepper(2, 1)).unwrap());
        let stored = mine.encode();
        assert_eq!(mine.compare(&stored), Ok(None));
        for place in 0..stored.len() {
            let mut changed = stored.clone();
            changed[place] ^= 1;
            assert!(mine.compare(&changed).is_err(), "byte {place}");
            assert!(mine.compare(&stored[..place]).is_err(), "the first {place} bytes");
        }
        assert!(mine.compare(&[&stored[..], &[0]].concat()).is_err());
    }

    #[test]
    fn each_difference_is_named_separately() {
        let stored = marker(pepper(1, 0)).encode();
        let compare = |issuer, environment, peppers: Peppers| match Marker::new(
            issuer,
            environment,
            &peppers,
        )
        .compare(&stored)
        {
            Err(MarkerProblem::Other(mismatch)) => mismatch,
            other => panic!("{other:?}"),
        };
        let mismatch = compare("ax", "live", pepper(1, 0).into());
        assert_eq!((mismatch.environment, mismatch.pepper), (None, None));
        assert_eq!(mismatch.issuer.unwrap().store, "mm");
        let mismatch = compare("mm", "test", pepper(1, 0).into());
        assert_eq!((mismatch.issuer, mismatch.pepper), (None, None));
        let mismatch = compare("mm", "live", pepper(9, 0).into());
        assert_eq!((mismatch.issuer, mismatch.environment), (None, None));
        assert_eq!(mismatch.pepper, Some(PepperMismatch::InSlot(0)));
        // A retired pepper seals nothing, so a node that shares only a retired pepper finds every row
        // broken.
        let late = Peppers::new(pepper(2, 1)).retired(pepper(1, 0)).unwrap();
        let none = PepperMismatch::NoneShared { here: [1].into(), store: [0].into() };
        assert_eq!(compare("mm", "live", late).pepper, Some(none));
        let wrong = Peppers::new(pepper(2, 1)).retired(pepper(9, 0)).unwrap();
        assert_eq!(compare("mm", "live", wrong).pepper, Some(PepperMismatch::InSlot(0)));
    }

    /// Returns the stored marker after nodes with these peppers have started, one after the other.
    fn after(nodes: impl IntoIterator<Item = Peppers>) -> Vec<u8> {
        let mut stored: Option<Vec<u8>> = None;
        for node in nodes.into_iter().map(marker) {
            stored = match stored {
                None => Some(node.encode()),
                Some(old) => Some(node.compare(&old).unwrap().unwrap_or(old)),
            };
        }
        stored.unwrap()
    }

    #[test]
    fn a_rotation_of_peppers_passes_and_ends_the_old_one() {
        let old = || Peppers::new(pepper(1, 0));
        let known = || old().retiring(pepper(2, 1)).unwrap();
        let current = || Peppers::new(pepper(2, 1)).retiring(pepper(1, 0)).unwrap();
        let retired = || Peppers::new(pepper(2, 1)).retired(pepper(1, 0)).unwrap();
        let new = || Peppers::new(pepper(2, 1));
        // Nodes with the old settings may restart at any time and still start.
        for nodes in [
            [old(), known(), old(), current(), known(), current(), retired(), new()],
            [old(), current(), old(), current(), old(), new(), retired(), new()],
        ] {
            let stored = after(nodes);
            assert_eq!(stored, marker(new()).encode());
            assert!(marker(old()).compare(&stored).is_err());
        }
    }
}
