//! The child that a verified caller has presented.

use alloc::string::{String, ToString};
use core::fmt;
#[cfg(feature = "http")]
use core::time::Duration;

#[cfg(feature = "http")]
use super::Place;
use super::{Audience, Caveats};
use crate::{record::PublicKey, time::Timestamp, token::ChildId};

/// The child that a caller has presented in place of its key.
#[derive(Clone, PartialEq, Eq)]
pub struct Child {
    id: ChildId,
    caveats: Caveats,
    /// The public key by which the child is proven.
    signer: PublicKey,
}

impl Child {
    pub(crate) fn new(id: ChildId, caveats: Caveats, signer: PublicKey) -> Self {
        Self { id, caveats, signer }
    }

    /// Returns the id by which audit events name the child. It follows from the text of the child, and is not secret.
    pub fn id(&self) -> ChildId {
        self.id
    }

    /// Returns the end that the child says. Its parent may end earlier.
    pub fn expires_at(&self) -> Timestamp {
        self.caveats.expires_at
    }

    /// Returns the names of its audience, such as `route:GET /events`. There are none if it is not limited to an audience.
    pub fn audience(&self) -> impl ExactSizeIterator<Item = String> {
        self.names().iter().map(ToString::to_string)
    }

    /// Returns the nonce.
    pub fn nonce(&self) -> Option<&[u8]> {
        self.caveats.nonce.as_deref()
    }

    pub(crate) fn names(&self) -> &[Audience] {
        self.caveats.audience.as_deref().unwrap_or_default()
    }

    /// Returns whether the child may call this operation.
    pub(crate) fn permits_operation(&self, operation: &str) -> bool {
        let mut operations = self.names().iter().filter_map(|name| match name {
            Audience::Operation(name) => Some(&**name),
            Audience::Host(_) | Audience::Route(_) => None,
        });
        match operations.next() {
            None => true,
            Some(first) => first == operation || operations.any(|other| other == operation),
        }
    }

    /// Returns whether the child is a ticket for `place` at the time `now`: it is for the route there and for nothing else, and
    /// ends within a minute.
    #[cfg(feature = "http")]
    pub(crate) fn is_ticket_for(&self, place: &Place, now: Timestamp) -> bool {
        const LONGEST: Duration = Duration::from_secs(60);
        let ends_soon = now.checked_add(LONGEST).is_some_and(|latest| self.expires_at() <= latest);
        ends_soon && place.is_only_route_of(self.names())
    }

    pub(crate) fn caveats(&self) -> &Caveats {
        &self.caveats
    }

    pub(crate) fn signer(&self) -> &PublicKey {
        &self.signer
    }
}

impl fmt::Debug for Child {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Child")
            .field("id", &self.id)
            .field("expires_at", &self.expires_at())
            .finish_non_exhaustive()
    }
}
