//! The decision whether a checked token is proven, and whether its key is active.

mod principal;
mod resolved;
mod stamp;
mod state;

use alloc::sync::Arc;

#[cfg(feature = "std")]
pub(crate) use self::stamp::Stamp;
pub use self::{principal::Principal, resolved::ResolvedKey, state::KeyState};
use crate::{
    time::Timestamp,
    token::{CheckedToken, Rejection},
};

/// Decides whether `checked` makes a principal of `key` at `now`.
///
/// The secret is compared first, in constant time. So the result reveals nothing about the key to a caller
/// that does not hold it. Then the state of the key is checked.
///
/// # Errors
///
/// [`Denial`] says why there is no principal.
#[inline]
pub fn decide(
    checked: &CheckedToken,
    key: &Arc<ResolvedKey>,
    now: Timestamp,
) -> Result<Principal, Denial> {
    let proof = key.prove(checked, now).map_err(Denial::Rejected)?;
    match key.state(now) {
        KeyState::Active => Ok(Principal::new(Arc::clone(key), proof)),
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
}
