//! Children of a key: which secret proves a child, and what the child may do.

use alloc::sync::Arc;
use core::time::Duration;

use super::{Proof, ResolvedKey};
use crate::{
    children::{Caveats, Child},
    grant::{Grant, Limits},
    policy::Policy,
    record::{KeyRecord, OlderSecret, PublicKey},
    time::Timestamp,
    token::Rejection,
};

/// The public keys of a key's secrets, the present one first. A secret without one has no children.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct ChildKeys([Option<PublicKey>; 1 + OlderSecret::MAX]);

impl ChildKeys {
    /// Returns the public keys of `key`, or `None` if it may not have children.
    pub(super) fn of(key: &KeyRecord) -> Option<Self> {
        let mut keys = [key.child_key, None, None];
        for (place, older) in keys.iter_mut().skip(1).zip(&key.older) {
            *place = older.child_key;
        }
        (key.children && keys.iter().any(Option::is_some)).then_some(Self(keys))
    }
}

/// The child that a resolved key is, and the key that it was derived from.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Origin {
    child: Child,
    parent: Arc<ResolvedKey>,
}

impl ResolvedKey {
    /// Returns the child that this is, or `None` if it is a key.
    #[inline]
    pub(crate) fn child(&self) -> Option<&Child> {
        self.rare.as_ref()?.child.as_ref().map(|origin| &origin.child)
    }

    /// Returns the key that this child was derived from, or `None` if it is a key.
    pub(crate) fn parent(&self) -> Option<&Arc<Self>> {
        self.rare.as_ref()?.child.as_ref().map(|origin| &origin.parent)
    }

    /// Returns whether both are copies of one read of the store. Then they are equal.
    ///
    /// INVARIANT: each read allocates new parts, and a key is changed by nothing but another read.
    #[inline]
    pub(crate) fn is_same_read(&self, other: &Self) -> bool {
        let rare = match (&self.rare, &other.rare) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (one, other) => one.is_none() && other.is_none(),
        };
        rare && Arc::ptr_eq(&self.text, &other.text)
    }

    /// Returns the public keys that may prove a child of this key. There are none if it may not have children.
    pub(crate) fn child_keys(&self) -> impl Iterator<Item = &PublicKey> {
        self.rare.iter().flat_map(|rare| &rare.child_keys).flat_map(|keys| &keys.0).flatten()
    }

    /// Returns what a child proves whose signature was made with the private key of `signer`.
    #[inline]
    pub(crate) fn prove_child(
        &self,
        signer: &PublicKey,
        now: Timestamp,
    ) -> Result<Proof, Rejection> {
        let rare = self.rare.as_ref().ok_or(Rejection::WrongSecret)?;
        let keys = rare.child_keys.as_ref().ok_or(Rejection::WrongSecret)?;
        let place = keys.0.iter().position(|key| key.as_ref() == Some(signer));
        let place = place.ok_or(Rejection::WrongSecret)?;
        let older = place.checked_sub(1).map(|older| rare.older.get(older));
        match older {
            None => Ok(rare.proof_of(0, now)),
            Some(Some(older)) if older.is_accepted(now) => Ok(rare.proof_of(place, now)),
            Some(_) => Err(Rejection::WrongSecret),
        }
    }

    /// Returns what a child of this key may do, and when: what the key may, narrowed by the caveats of the child. Returns
    /// `None` if the key may not have children.
    ///
    /// INVARIANT: it depends on nothing but the key and the child. So whatever ends or narrows the key does the same to a
    /// child that is derived again, and a result that is kept holds as long as the key is the same.
    pub(crate) fn narrowed(
        &self,
        child: Child,
        policy: &Policy,
        longest: Duration,
    ) -> Option<Self> {
        let mut rare = self.rare.as_deref().filter(|rare| rare.child_keys.is_some())?.clone();
        let caveats = child.caveats();
        let catalog = policy.catalog();
        let scopes = match &caveats.scopes {
            Some(names) => catalog.set_of_known(names).0,
            None => catalog.all(),
        };
        let grant = self.grant().meet(&Grant::limited(scopes, caveats.limits()));
        let begin = begin(caveats, longest);
        rare.is_ordinary = false;
        rare.not_before = Some(rare.not_before.map_or(begin, |own| own.max(begin)));
        rare.granted = rare.granted.map(|granted| granted.meet(scopes));
        rare.limits = Some(grant.limits().clone()).filter(|limits| *limits != Limits::NONE);
        if rare.unknown_resource.is_none() {
            let unknown = caveats.unknown_resource(catalog.resource_kinds());
            rare.unknown_resource = unknown.map(Into::into);
        }
        let expires_at = self.expires_at.min(caveats.expires_at.as_millis());
        // A copy, since a thread overwrites its own copy of the key only while nobody else holds it.
        rare.child = Some(Origin { child, parent: Arc::new(self.clone()) });
        Some(Self {
            scopes: grant.scopes(),
            expires_at,
            rare: Some(Arc::new(rare)),
            ..Self::clone(self)
        })
    }
}

/// Returns the time from which a child with these caveats is valid at the earliest: its end must be near enough.
fn begin(caveats: &Caveats, longest: Duration) -> Timestamp {
    let begin = caveats.expires_at.saturating_sub(longest);
    caveats.not_before.map_or(begin, |not_before| not_before.max(begin))
}
