//! The decision: whether a claimed key is proven, valid and allowed.
//!
//! These are functions over values, without I/O, for hosts that keep their own store and for tests.
//! [`Verifier`](crate::verifier::Verifier) is the same with a store and a cache around it.
//!
//! ```text
//! TokenFormat::check ─→ Claim ─┐
//! KeyRecord, TenantRecord ─→ ResolvedKey ─┴─→ decide ─→ Principal ─→ require
//! ```

mod principal;
mod resolved;
mod state;

use alloc::sync::Arc;

#[cfg(feature = "std")]
pub(crate) use self::resolved::Stamp;
pub use self::{
    principal::Principal,
    resolved::{ResolveError, ResolvedKey},
    state::KeyState,
};
use crate::{
    time::Timestamp,
    token::{Claim, Rejection},
};

/// Decides whether `claim` makes a principal of `key` at `now`.
///
/// The secret is compared first, in constant time, so nothing about the key is answered to somebody
/// who does not hold it. Then its state is looked at.
///
/// # Errors
///
/// [`Denial`] says why not.
#[inline]
pub fn decide(claim: &Claim, key: &Arc<ResolvedKey>, now: Timestamp) -> Result<Principal, Denial> {
    let proof = key.prove(claim, now).map_err(Denial::Rejected)?;
    match key.state(now) {
        KeyState::Active => Ok(Principal::new(Arc::clone(key), proof)),
        state => Err(Denial::Inactive(state)),
    }
}

/// Why a claim does not make a principal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denial {
    /// The secret is not proven. The reason is for the log.
    #[error("the token is not valid")]
    Rejected(#[source] Rejection),
    /// The secret is proven, and the key cannot be used at this time.
    #[error("the key is not active: {0}")]
    Inactive(KeyState),
}
