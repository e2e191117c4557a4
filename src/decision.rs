//! The decision whether a checked token is proven, and whether its key is active.

mod principal;
mod resolved;
mod stamp;
mod state;

use alloc::sync::Arc;
use core::net::IpAddr;

#[cfg(feature = "std")]
pub(crate) use self::resolved::KeyText;
#[cfg(feature = "children")]
pub(crate) use self::resolved::Proof;
#[cfg(feature = "rate-limit")]
pub(crate) use self::resolved::TenantRates;
#[cfg(feature = "std")]
pub(crate) use self::stamp::Stamp;
pub use self::{principal::Principal, resolved::ResolvedKey, state::KeyState};
#[cfg(feature = "children")]
use crate::children::Child;
use crate::{
    grant::OutsideGrant,
    time::Timestamp,
    token::{CheckedToken, Rejection},
};

/// Decides whether `checked` makes a principal of `key` at `now`, for a client whose address is not known.
///
/// The secret is compared first, in constant time. So the result reveals nothing about the key to a caller
/// that does not hold it. Then the state of the key is checked, and its limits to networks.
///
/// # Errors
///
/// [`Denial`] says why there is no principal. A key that is limited to networks is denied. See [`decide_from`].
#[inline]
pub fn decide(
    checked: &CheckedToken,
    key: &Arc<ResolvedKey>,
    now: Timestamp,
) -> Result<Principal, Denial> {
    decide_from(checked, key, now, || None)
}

/// Decides like [`decide`], for a client with the address that `address` returns. It is asked for only if the key is
/// limited to networks.
///
/// # Errors
///
/// [`Denial`] says why there is no principal.
#[inline]
pub fn decide_from(
    checked: &CheckedToken,
    key: &Arc<ResolvedKey>,
    now: Timestamp,
    address: impl FnOnce() -> Option<IpAddr>,
) -> Result<Principal, Denial> {
    let proof = key.prove(checked, now).map_err(Denial::Rejected)?;
    match key.state(now) {
        KeyState::Active => {
            key.check_limits(address).map_err(Denial::Outside)?;
            Ok(Principal::new(Arc::clone(key), proof))
        }
        state => Err(Denial::Inactive(state)),
    }
}

/// Decides about a child whose signature is proven, which was derived from its parent by [`ResolvedKey::narrowed`]. Returns
/// what it proves.
///
/// # Errors
///
/// [`Denial`] says why it is refused.
#[cfg(feature = "children")]
#[inline]
pub(crate) fn decide_child(
    child: &ResolvedKey,
    now: Timestamp,
    address: impl FnOnce() -> Option<IpAddr>,
) -> Result<Proof, Denial> {
    let signer = child.child().map(Child::signer).ok_or(Denial::Rejected(Rejection::Unknown))?;
    let proof = child.prove_child(signer, now).map_err(Denial::Rejected)?;
    match child.state(now) {
        KeyState::Active => {
            child.check_limits(address).map_err(Denial::Outside)?;
            Ok(proof)
        }
        state => Err(Denial::Inactive(state)),
    }
}

/// The reason why a checked token does not make a principal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denial {
    /// The secret is not proven. The reason is for the log.
    #[error("the token is not valid")]
    Rejected(#[source] Rejection),
    /// The secret is proven, and the key cannot be used at this time.
    #[error("the key is not active: {0}")]
    Inactive(KeyState),
    /// The secret is proven, and the key may not be used from the network of the client, or is limited to resources of a
    /// kind that is not declared.
    #[error(transparent)]
    Outside(OutsideGrant),
}
