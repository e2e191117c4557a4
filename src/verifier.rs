//! Verification of tokens: from the bytes that a caller presents to a [`Principal`].

mod batches;
mod breaker;
mod builder;
mod check;
#[cfg(feature = "children")]
mod children;
mod ended;
mod engine;
pub(crate) mod error;
mod events;
mod follow;
mod grace;
mod imported;
mod leases;
mod limits;
mod load;
mod report;
mod requirements;
mod sources;
mod streams;
mod usage;

use alloc::{boxed::Box, sync::Arc};
#[cfg(any(feature = "rate-limit", feature = "http"))]
use core::num::NonZeroU32;
use core::{fmt, net::IpAddr};

#[cfg(feature = "http")]
pub(crate) use self::leases::NotCounted;
use self::usage::UsageCounter;
pub use self::{builder::VerifierBuilder, check::OpenError, ended::Ended, limits::Reservation};
pub(crate) use self::{
    engine::{Accepts, Engine},
    error::VerifyError,
};
#[cfg(any(feature = "http", feature = "rate-limit"))]
use crate::rate::RateStatus;
use crate::{
    audit::Noise,
    bearer::{CredentialError, bearer_token},
    config::ConfigError,
    decision::Principal,
    pepper::Peppers,
    policy::Policy,
    scope::Requirement,
    store::StoreError,
    token::TokenFormat,
};

/// Verifies tokens. A verifier is cheap to clone, and its clones share one cache.
///
/// A node that only verifies builds one from a [`KeyLookup`](crate::store::KeyLookup). A
/// [`Keyring`](crate::keyring::Keyring) contains one.
///
/// # When the store is away
///
/// Keys in the cache are served up to the staleness bound, whatever the store does. Requests that need the
/// store fail with [`Unavailable`](VerifyError::Unavailable). They do not each wait for the store:
///
/// - After five failures in a row, or one failure that took a second, such requests fail at once for 250 ms.
/// - Then one request tries the store. Each failed try doubles the pause, up to 4 s, with a jitter of a
///   quarter. The first reply from the store ends the pause for all requests. If a try hangs, another one
///   follows after 2 s.
/// - A store that has not replied for a second, while requests wait for it, is treated the same way. So only
///   the requests of that first second wait for the store's own time limit. At most 4,096 of them wait at a
///   time once the store has been silent for half a second.
/// - A replica and the store behind it are judged separately.
///
/// A missing key and a record that cannot be read are replies, not failures. The operations of a
/// [`Keyring`](crate::keyring::Keyring) that manage keys always try the store.
#[derive(Clone)]
pub struct Verifier(Arc<Engine>);

/// The age that the data of a decision may have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Freshness {
    /// Data may be as old as the staleness bound that the verifier was built with.
    #[default]
    Cached,
    /// Data is read from the store after the call began.
    Now,
}

impl Verifier {
    /// Returns a builder of a verifier of the keys that `policy` and `peppers` describe.
    pub fn builder(policy: Policy, peppers: impl Into<Peppers>) -> VerifierBuilder {
        VerifierBuilder::new(policy, peppers.into())
    }

    /// Verifies the token `presented`, given as the bytes that the caller sent. A key that is limited to networks is
    /// refused here, since the address of the client is not known. See [`verify_from`](Self::verify_from).
    ///
    /// # Cost
    ///
    /// A cached key takes two SHA-256 compressions and a lookup, and allocates nothing, however many keys
    /// take turns. A thread allocates some 10 kB for itself with its first verifications. It allocates
    /// another 144 bytes if callers still hold its copy of a key that was loaded again.
    ///
    /// Two locks are taken at most. One is the shared lock of one of the 64 parts of the cache. The other is
    /// the lock of one of 64 lists, taken at the first use of a key in a minute. A token that was not minted
    /// here reaches neither the cache nor the store.
    ///
    /// # Errors
    ///
    /// [`VerifyError`] says why the caller was not verified, and distinguishes "denied" from "unavailable".
    pub async fn verify(&self, presented: impl AsRef<[u8]>) -> Result<Principal, VerifyError> {
        self.verify_as_of(presented, Freshness::Cached).await
    }

    /// Verifies the token `presented`, like [`verify`](Self::verify), with data of the given `freshness`.
    ///
    /// # Errors
    ///
    /// As [`verify`](Self::verify).
    pub async fn verify_as_of(
        &self,
        presented: impl AsRef<[u8]>,
        freshness: Freshness,
    ) -> Result<Principal, VerifyError> {
        self.verify_from(presented, freshness, None).await
    }

    /// Verifies the token `presented` of a client with this address, `None` if it is not known, with data of the given
    /// `freshness`.
    ///
    /// # Errors
    ///
    /// As [`verify`](Self::verify).
    pub async fn verify_from(
        &self,
        presented: impl AsRef<[u8]>,
        freshness: Freshness,
        address: Option<IpAddr>,
    ) -> Result<Principal, VerifyError> {
        self.verify_for(presented.as_ref(), freshness, address, Accepts::NO_CHILDREN).await
    }

    /// Verifies the token or the child `presented`, like [`verify_from`](Self::verify_from). Children are accepted if they may
    /// be used at `place`. The other methods accept none, since an audience that nobody checks would be worth nothing.
    ///
    /// # Cost
    ///
    /// The signature of a child takes about 50 microseconds, and is checked once for each state of its parent: 16,384
    /// children are remembered. After that a child costs about twice as much as a key, more with its length, and allocates
    /// nothing.
    ///
    /// Of each parent, at most 20 wrong signatures per second are checked. Beyond them, children that are not remembered
    /// get [`Unavailable`](VerifyError::Unavailable) until the next second.
    ///
    /// # Errors
    ///
    /// As [`verify`](Self::verify), and [`VerifyError::Forbidden`] with
    /// [`OutsideGrant::Audience`](crate::grant::OutsideGrant::Audience) for a child of another place.
    #[cfg(feature = "children")]
    pub async fn verify_at(
        &self,
        presented: impl AsRef<[u8]>,
        freshness: Freshness,
        address: Option<IpAddr>,
        place: &crate::children::Place,
    ) -> Result<Principal, VerifyError> {
        let accepts = Accepts::children_at(Some(place));
        self.verify_for(presented.as_ref(), freshness, address, accepts).await
    }

    pub(crate) async fn verify_for(
        &self,
        presented: &[u8],
        freshness: Freshness,
        address: Option<IpAddr>,
        accepts: Accepts<'_>,
    ) -> Result<Principal, VerifyError> {
        match self.0.verify_at_once(presented, freshness, || address, accepts) {
            // Counted here, since a result that is kept across the branches is copied once more.
            Progress::Done(verified) => {
                self.0.count_admitted(&verified);
                verified
            }
            // Boxed, so that the rare case adds nothing to the size of the common case's future.
            Progress::Pending(unfinished) => {
                let mut inactive = None;
                let finished = self.0.finish(unfinished, freshness, accepts, &mut inactive);
                let verified = Box::pin(finished).await;
                self.0.count_admitted(&verified);
                verified
            }
        }
    }

    /// Writes the [usage](crate::usage) that was counted before the call to its store. Returns the number of rows, each for
    /// one key and day. Call it about every minute, and before the service stops. [`Keyring::flush_uses`] does it as well.
    ///
    /// A concurrent second call waits for the first.
    ///
    /// [`Keyring::flush_uses`]: crate::keyring::Keyring::flush_uses
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`]. The counts are kept for the next call, and none is added twice.
    pub async fn flush_usage(&self) -> Result<usize, StoreError> {
        self.0.flush_usage().await
    }

    /// Verifies the token in the value of an `Authorization` header, if there is one.
    ///
    /// # Errors
    ///
    /// [`VerifyError::Missing`] if there is no bearer token, [`VerifyError::BadRequest`] if the header cannot
    /// be read, and the errors of [`verify`](Self::verify).
    pub async fn verify_authorization(
        &self,
        value: Option<impl AsRef<[u8]>>,
    ) -> Result<Principal, VerifyError> {
        let value = value.as_ref().map_or(&b""[..], AsRef::as_ref);
        match bearer_token(value) {
            Ok(token) => self.verify(token).await,
            Err(error) => {
                self.0.record_noise(match error {
                    CredentialError::Missing => Noise::Missing,
                    _ => Noise::BadRequest,
                });
                Err(error.into())
            }
        }
    }

    /// Returns the requirement that a caller holds every one of `scopes`, for [`Principal::require`].
    ///
    /// # Errors
    ///
    /// [`ConfigError`] names a scope that is not declared, or reports that `scopes` is empty.
    pub fn requirement<S: AsRef<str>>(
        &self,
        scopes: impl IntoIterator<Item = S>,
    ) -> Result<Requirement, ConfigError> {
        self.policy().catalog().require_all(scopes)
    }

    /// Returns the policy.
    pub fn policy(&self) -> &Policy {
        self.0.authority.policy()
    }

    /// Returns the token format.
    pub fn format(&self) -> &TokenFormat {
        self.0.authority.format()
    }

    pub(crate) fn engine(&self) -> &Arc<Engine> {
        &self.0
    }

    /// Marks `caller` as admitted by a guard that required what has the number `required`; see
    /// [`Requirements`](requirements::Requirements).
    #[cfg(feature = "http")]
    #[inline]
    pub(crate) fn mark_admitted(&self, caller: Principal, required: u32) -> Principal {
        caller.verified_by(self.0.number()).admitted(required)
    }

    /// Returns whether a guard of this verifier has admitted `caller`.
    #[cfg(feature = "http")]
    pub(crate) fn has_admitted(&self, caller: &Principal) -> bool {
        self.has_verified(caller) && caller.required() != 0
    }

    /// Returns whether this verifier has verified `caller`. A service with several verifiers, such as one for each
    /// environment, finds out by it whose key a caller has.
    pub fn has_verified(&self, caller: &Principal) -> bool {
        caller.verifier() == self.0.number()
    }

    /// Counts one request of a caller against the rates of its tenant's tier or exceptions, and returns how much is
    /// left. Returns `None` if there is no rate. See [`rate`](crate::rate) for what is counted, and
    /// where.
    ///
    /// This is for applications without HTTP. A guard of `http` counts the requests that it admits. Call this
    /// after the caller's scopes were checked. Reject the request if there is a
    /// [`retry_after`](crate::rate::RateStatus::retry_after):
    ///
    /// ```
    /// # use keyway::{Principal, VerifyError, verifier::Verifier};
    /// async fn admit(verifier: &Verifier, presented: &[u8]) -> Result<Principal, VerifyError> {
    ///     let caller = verifier.verify(presented).await?;
    ///     match verifier.count_request(&caller).and_then(|status| status.retry_after()) {
    ///         Some(retry_after) => Err(VerifyError::Limited { retry_after }),
    ///         None => Ok(caller),
    ///     }
    /// }
    /// ```
    #[cfg(feature = "rate-limit")]
    #[must_use = "a request that is one too many is turned away by nobody else"]
    #[inline]
    pub fn count_request(&self, caller: &Principal) -> Option<RateStatus> {
        self.count_weighted(caller, NonZeroU32::MIN)
    }

    /// Counts a request like [`count_request`](Self::count_request), as `weight` requests. A weight above a rate takes all
    /// of it.
    #[cfg(feature = "rate-limit")]
    #[must_use = "a request that is one too many is turned away by nobody else"]
    #[inline]
    pub fn count_weighted(&self, caller: &Principal, weight: NonZeroU32) -> Option<RateStatus> {
        self.0.rates.count(caller, weight)
    }

    /// Counts a request that a guard admits.
    #[cfg(all(feature = "http", feature = "rate-limit"))]
    #[inline]
    pub(crate) fn rate(&self, caller: &Principal, weight: NonZeroU32) -> Option<RateStatus> {
        self.count_weighted(caller, weight)
    }

    /// Counts nothing, since the feature is off.
    #[cfg(all(feature = "http", not(feature = "rate-limit")))]
    #[inline]
    #[allow(clippy::unused_self, reason = "its twin counts")]
    pub(crate) fn rate(&self, _: &Principal, _: NonZeroU32) -> Option<RateStatus> {
        None
    }
}

impl AsRef<Self> for Verifier {
    fn as_ref(&self) -> &Self {
        self
    }
}

/// The result of work that is either done at once, or has to wait for the store.
pub(crate) enum Progress<T, P> {
    Done(T),
    Pending(P),
}

/// Calls a function at the end of a scope, however the scope ends. A write whose future is dropped may have
/// reached the store.
pub(crate) struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("format", self.format()).finish_non_exhaustive()
    }
}
