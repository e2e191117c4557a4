//! The limits of a key besides its scopes, in events.

use core::fmt;

use crate::{
    grant::{Networks, Resources},
    record::{KeyRecord, Owner},
};

/// Maximum number of ids of one kind in the text of an event. A key may have 100, and an event is one line.
const SHOWN: usize = 3;

/// The limits of a key besides its scopes: its resources, its networks, its owner, and whether it may have children.
///
/// `Display` writes them on one line, such as `machine: press-1 press-2; from 192.0.2.0/24; of ann; children allowed`.
/// Of each kind it writes at most 3 ids. The text is empty for a key that may touch no resource, may be used from any
/// network, has no owner and may have no children.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct KeyLimits<'e>(Option<&'e KeyRecord>);

impl<'e> KeyLimits<'e> {
    #[cfg(feature = "std")]
    pub(crate) fn of(key: &'e KeyRecord) -> Self {
        Self(Some(key))
    }

    /// Returns the kinds of resources that the key may touch, and the resources of each.
    pub fn resources(self) -> impl Iterator<Item = (&'e str, &'e Resources)> {
        self.0.into_iter().flat_map(KeyRecord::resources)
    }

    /// Returns the networks from which the key may be used.
    pub fn networks(self) -> &'e Networks {
        self.0.map_or(&Networks::Any, KeyRecord::networks)
    }

    /// Returns the owner of the key.
    pub fn owner(self) -> Option<&'e Owner> {
        self.0?.owner()
    }

    /// Returns whether the tenant lets the holder derive children from the key.
    fn may_have_children(self) -> bool {
        self.0.is_some_and(|key| key.children)
    }

    /// Returns whether the text is empty.
    pub(super) fn is_empty(self) -> bool {
        self.resources().next().is_none()
            && *self.networks() == Networks::Any
            && self.owner().is_none()
            && !self.may_have_children()
    }
}

impl fmt::Display for KeyLimits<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut is_first = true;
        let mut part = |f: &mut fmt::Formatter<'_>| {
            let separator = if core::mem::take(&mut is_first) { "" } else { "; " };
            f.write_str(separator)
        };
        for (kind, resources) in self.resources() {
            part(f)?;
            write!(f, "{kind}:")?;
            match resources {
                Resources::All => f.write_str(" all")?,
                Resources::Nothing => f.write_str(" none")?,
                Resources::Only(ids) => {
                    ids.iter().take(SHOWN).try_for_each(|id| write!(f, " {id}"))?;
                    match ids.iter().len().saturating_sub(SHOWN) {
                        0 => {}
                        more => write!(f, " and {more} more")?,
                    }
                }
            }
        }
        if let Networks::Only(networks) = self.networks() {
            part(f)?;
            f.write_str("from")?;
            networks.iter().try_for_each(|network| write!(f, " {network}"))?;
        }
        if let Some(owner) = self.owner() {
            part(f)?;
            write!(f, "of {owner}")?;
        }
        if self.may_have_children() {
            part(f)?;
            f.write_str("children allowed")?;
        }
        Ok(())
    }
}

/// Shows the text, and not the whole record.
impl fmt::Debug for KeyLimits<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}
