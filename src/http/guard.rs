//! What protects a route, in any framework.

use alloc::{boxed::Box, string::String, sync::Arc};
use core::{fmt, pin::Pin};

use super::{
    Access, Answer, Fields,
    answer::{Refusals, rate_fields},
    credential::{self, CredentialError, Presented, Source},
    observe::{Entered, Observation, RequestSpan},
};
use crate::{
    authorization::is_token_character,
    decision::Principal,
    keyring::Keyring,
    rate::RateStatus,
    scope::{CatalogError, Requirement, ScopeCatalog},
    verifier::{Freshness, Verifier, VerifyError},
};

/// Admits requests by their API key. Cheap to clone.
///
/// One that was just made admits every active key:
///
/// ```
/// # use keyway::{keyring::Keyring, pepper::Pepper, policy::Policy, store::MemoryStore};
/// use keyway::http::Guard;
///
/// # pollster::block_on(async {
/// # let policy: Policy = serde_json::from_str(r#"{
/// #     "issuer": "mm",
/// #     "scopes": [{ "name": "reporting", "description": "Read reports" }]
/// # }"#)?;
/// # let keyring = Keyring::builder(policy, Pepper::from_bytes(&[7; 32])?)
/// #     .environment("live")
/// #     .store(MemoryStore::new())
/// #     .build()?;
/// let guard = Guard::new(&keyring).key_field("x-api-key")?.require(["reporting"])?;
///
/// let request = [("accept", &b"*/*"[..])];
/// let answer = guard.admit(&request[..]).await.unwrap_err();
/// assert_eq!(answer.status(), 401);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
///
/// Guards may stand behind each other, such as one for a group of routes and one with more scopes for one
/// of them: the second asks for its scopes the caller whom the first has admitted, if both are of the same
/// keyring. A request with another key for the second is refused, and none is counted twice.
///
/// It implements `tower::Layer` and actix-web's `Transform`, so that the same value is the middleware of
/// either. A layer that sees preflight requests of browsers (`OPTIONS` without a credential) refuses
/// them: put what answers them, such as `tower_http::cors`, around it.
#[derive(Clone)]
pub struct Guard(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    verifier: Verifier,
    requirement: Requirement,
    is_optional: bool,
    freshness: Freshness,
    keeps_credential: bool,
    key_field: Option<Box<str>>,
    refusals: Refusals,
}

impl Inner {
    fn require(&mut self, requirement: Requirement) {
        self.requirement = requirement;
        self.is_optional = false;
    }
}

impl Guard {
    /// A guard that admits every active key. Its realm is the issuer of the policy.
    pub fn new(verifier: impl AsRef<Verifier>) -> Self {
        let verifier = verifier.as_ref().clone();
        Self(Arc::new(Inner {
            requirement: verifier.policy().catalog().require_none(),
            is_optional: false,
            freshness: Freshness::Cached,
            keeps_credential: false,
            key_field: None,
            refusals: Refusals::new(verifier.policy().issuer()),
            verifier,
        }))
    }

    /// This guard for callers that hold every one of `scopes`, and no longer for
    /// [anybody else](Self::optional).
    ///
    /// # Errors
    ///
    /// [`CatalogError`] names a scope that is not declared, or says that there is none.
    pub fn require<S: AsRef<str>>(
        &self,
        scopes: impl IntoIterator<Item = S>,
    ) -> Result<Self, CatalogError> {
        let requirement = self.catalog().require_all(scopes)?;
        Ok(self.with(|inner| inner.require(requirement)))
    }

    /// This guard for callers that hold any one of `scopes`, and no longer for
    /// [anybody else](Self::optional).
    ///
    /// # Errors
    ///
    /// As [`require`](Self::require).
    pub fn require_any<S: AsRef<str>>(
        &self,
        scopes: impl IntoIterator<Item = S>,
    ) -> Result<Self, CatalogError> {
        let requirement = self.catalog().require_any(scopes)?;
        Ok(self.with(|inner| inner.require(requirement)))
    }

    /// This guard, admitting requests without a credential too. Who presents one must present a valid
    /// one, with the scopes that were required before this.
    #[must_use]
    pub fn optional(&self) -> Self {
        self.with(|inner| inner.is_optional = true)
    }

    /// This guard with data that is at most as old as `freshness` says. If there is another guard before
    /// it, this is for that one: the credential is gone behind it, and so this one refuses.
    #[must_use]
    pub fn freshness(&self, freshness: Freshness) -> Self {
        self.with(|inner| inner.freshness = freshness)
    }

    /// This guard, leaving the credential in the request. Otherwise no handler, log or upstream behind
    /// the guard sees it.
    #[must_use]
    pub fn keep_credential(&self) -> Self {
        self.with(|inner| inner.keeps_credential = true)
    }

    /// This guard, also taking the key from a field of its own, such as `x-api-key`. A request with a key
    /// in both is refused.
    ///
    /// Shared caches know that the answer to a request with `Authorization` is not for everybody (RFC
    /// 9111, section 3.5). They know nothing of other fields: send `Cache-Control: private` with what is
    /// answered.
    ///
    /// # Errors
    ///
    /// [`GuardError::KeyField`] unless it can be the name of a field for keys.
    pub fn key_field(&self, name: &str) -> Result<Self, GuardError> {
        let lower = name.to_ascii_lowercase();
        let is_taken =
            matches!(&*lower, "authorization" | "proxy-authorization" | "cookie" | "host");
        if name.is_empty() || name.len() > 64 || !name.bytes().all(is_token_character) || is_taken {
            return Err(GuardError::KeyField(name.into()));
        }
        Ok(self.with(|inner| inner.key_field = Some(lower.into())))
    }

    /// This guard with another realm in its challenges (RFC 9110, section 11.5).
    ///
    /// # Errors
    ///
    /// [`GuardError::Realm`] unless it is 1 to 128 visible ASCII characters and spaces.
    pub fn realm(&self, realm: &str) -> Result<Self, GuardError> {
        let is_printable = |byte: u8| (b' '..=b'~').contains(&byte);
        if realm.is_empty() || realm.len() > 128 || !realm.bytes().all(is_printable) {
            return Err(GuardError::Realm(realm.into()));
        }
        Ok(self.with(|inner| inner.refusals = Refusals::new(realm)))
    }

    /// Admits a request with these header fields, or gives the answer to refuse it with.
    ///
    /// # Errors
    ///
    /// The [`Answer`].
    pub async fn admit(&self, fields: &(impl Fields + ?Sized)) -> Result<Admission, Answer> {
        match self.begin(fields, || None) {
            Progress::Done(result) => result,
            Progress::Wait(rest) => rest.await,
        }
    }

    /// The header field that an adapter has to remove from an admitted request, before anything else
    /// sees it.
    pub fn field_to_remove(&self, admission: &Admission) -> Option<&str> {
        match admission.source? {
            _ if self.0.keeps_credential => None,
            Source::Authorization => Some(credential::AUTHORIZATION),
            Source::KeyField => self.0.key_field.as_deref(),
        }
    }

    /// Admits or refuses at once if that can be said without waiting.
    ///
    /// `known` is whom a guard before this one has admitted. It has taken the credential away, unless it
    /// keeps it.
    #[inline]
    pub(super) fn begin(
        &self,
        fields: &(impl Fields + ?Sized),
        known: impl FnOnce() -> Option<Principal>,
    ) -> Progress {
        let mut observation = Observation::begin();
        let inner = &*self.0;
        let known = known().filter(|caller| self.is_known(caller));
        let presented = match self.credential(fields) {
            Ok(Some(presented)) => presented,
            Ok(None) => {
                return Progress::Done(match known {
                    // What may be out of date does not count.
                    Some(caller) if inner.freshness == Freshness::Cached => {
                        self.settle_known(caller, observation)
                    }
                    None if inner.is_optional => {
                        observation.anonymous();
                        Ok(Admission::default())
                    }
                    _ => self.settle(Err(VerifyError::Missing), None, None, observation),
                });
            }
            Err(error) => {
                observation.refused(&error.into(), None);
                return Progress::Done(Err(inner.refusals.unreadable(error)));
            }
        };
        let source = Some(presented.source);
        let shared = inner.verifier.shared();
        match shared.verify_at_once(presented.token, inner.freshness) {
            Ok(verified) => {
                Progress::Done(self.settle(verified, known.as_ref(), source, observation))
            }
            Err(unfinished) => {
                observation.claims(unfinished.claimed());
                let guard = self.clone();
                Progress::Wait(Box::pin(async move {
                    let Inner { verifier, freshness, .. } = &*guard.0;
                    let verified = verifier.shared().finish(unfinished, *freshness).await;
                    guard.settle(verified, known.as_ref(), source, observation)
                }))
            }
        }
    }

    /// Whether a guard of the same verifier has admitted this caller. Somebody else's word does not count.
    fn is_known(&self, caller: &Principal) -> bool {
        caller.is_admitted_by(self.0.verifier.shared().cache.number())
    }

    /// Asks for the scopes alone: the request has been counted, and its span is there.
    fn settle_known(
        &self,
        caller: Principal,
        observation: Observation,
    ) -> Result<Admission, Answer> {
        match caller.require(&self.0.requirement) {
            Ok(()) => Ok(Admission { principal: Some(caller), ..Admission::default() }),
            Err(missing) => {
                let error = missing.into();
                observation.refused(&error, Some(&caller));
                Err(self.0.refusals.refused(&error, &self.0.requirement))
            }
        }
    }

    #[inline]
    fn settle(
        &self,
        verified: Result<Principal, VerifyError>,
        known: Option<&Principal>,
        source: Option<Source>,
        observation: Observation,
    ) -> Result<Admission, Answer> {
        // Two keys in fields of two guards: what one may do is not for the other to use.
        if let (Ok(caller), Some(known)) = (&verified, known)
            && caller.key_id() != known.key_id()
        {
            let error = CredentialError::Several;
            observation.refused(&error.into(), None);
            return Err(self.0.refusals.unreadable(error));
        }
        match self.decide(verified, known.is_some()) {
            Ok((principal, rate)) => {
                let span = observation.admitted(&principal);
                let principal = principal.admitted_by(self.0.verifier.shared().cache.number());
                Ok(Admission { principal: Some(principal), source, rate, span })
            }
            Err(Refusal { error, caller, rate }) => {
                observation.refused(&error, caller.as_ref());
                let answer = self.0.refusals.refused(&error, &self.0.requirement);
                let fields = rate.as_deref().map(rate_fields).into_iter().flatten();
                Err(fields.fold(answer, |answer, (name, value)| answer.with(name, value)))
            }
        }
    }

    /// Scopes before the rate, so that what is refused for its scopes is not counted; and no request is
    /// counted twice.
    #[inline]
    fn decide(
        &self,
        verified: Result<Principal, VerifyError>,
        is_counted: bool,
    ) -> Result<(Principal, Option<Box<RateStatus>>), Refusal> {
        let refuse = |error| Refusal { error, caller: None, rate: None };
        let caller = verified.map_err(refuse)?;
        if let Err(missing) = caller.require(&self.0.requirement) {
            return Err(Refusal { caller: Some(caller), ..refuse(missing.into()) });
        }
        let rate = if is_counted { None } else { self.0.verifier.rate(&caller) };
        // In a box, so that the many requests without a rate do not carry its size about.
        let rate = rate.map(Box::new);
        if let Some(retry_after) = rate.as_ref().and_then(|rate| rate.retry_after()) {
            let error = VerifyError::Limited { retry_after };
            return Err(Refusal { error, caller: Some(caller), rate });
        }
        Ok((caller, rate))
    }

    /// The credential of a request with these header fields.
    pub(super) fn credential<'f>(
        &self,
        fields: &'f (impl Fields + ?Sized),
    ) -> Result<Option<Presented<'f>>, CredentialError> {
        let token_len = self.0.verifier.format().token_len();
        credential::find(fields, self.0.key_field.as_deref(), token_len)
    }

    /// What answers those who are refused.
    pub(super) fn refusals(&self) -> &Refusals {
        &self.0.refusals
    }

    /// This guard for a route that asks for `access`, unless that is none of its business.
    pub(super) fn for_access(&self, access: Access) -> Option<Self> {
        match access {
            Access::Public | Access::Elsewhere(_) => None,
            Access::Optional => {
                let requirement = self.catalog().require_none();
                Some(self.with(|inner| inner.require(requirement)).optional())
            }
            Access::Required(requirement) => Some(self.with(|inner| inner.require(requirement))),
        }
    }

    #[cfg(feature = "openapi")]
    pub(super) fn key_field_name(&self) -> Option<&str> {
        self.0.key_field.as_deref()
    }

    pub(super) fn catalog(&self) -> &ScopeCatalog {
        self.0.verifier.policy().catalog()
    }

    fn with(&self, change: impl FnOnce(&mut Inner)) -> Self {
        let mut inner = Inner::clone(&self.0);
        change(&mut inner);
        Self(Arc::new(inner))
    }
}

/// Why a request does not go on, and of whom it is, if that was verified.
struct Refusal {
    error: VerifyError,
    caller: Option<Principal>,
    rate: Option<Box<RateStatus>>,
}

/// An outcome, or the rest of the way to it.
pub(super) enum Progress {
    Done(Result<Admission, Answer>),
    Wait(Rest),
}

pub(super) type Rest = Pin<Box<dyn Future<Output = Result<Admission, Answer>> + Send>>;

/// A request that may go on.
#[derive(Clone, Debug, Default)]
pub struct Admission {
    principal: Option<Principal>,
    source: Option<Source>,
    rate: Option<Box<RateStatus>>,
    span: RequestSpan,
}

impl Admission {
    /// The caller. There is none only where a guard is [optional](Guard::optional) and nothing was
    /// presented.
    pub fn principal(&self) -> Option<&Principal> {
        self.principal.as_ref()
    }

    /// The caller, for a handler to keep. From then on there is none here.
    pub fn take_principal(&mut self) -> Option<Principal> {
        self.principal.take()
    }

    /// Until what this gives is dropped, the handler's work is inside the span of the request.
    #[inline]
    #[allow(dead_code, reason = "who brings a handler of their own enters no span")]
    pub(super) fn enter_span(&self) -> Entered<'_> {
        self.span.enter()
    }

    /// The fields to add to the handler's answer: what the key has left of its rate, if it has one.
    pub fn fields(&self) -> impl Iterator<Item = (&'static str, String)> + use<> {
        self.rate.as_deref().map(rate_fields).into_iter().flatten()
    }
}

impl Keyring {
    /// The guard that admits callers which hold every one of `scopes`: one line of middleware. Resolve
    /// it once, when the service starts.
    ///
    /// # Errors
    ///
    /// [`CatalogError`] names a scope that is not declared, or says that there is none.
    pub fn require<S: AsRef<str>>(
        &self,
        scopes: impl IntoIterator<Item = S>,
    ) -> Result<Guard, CatalogError> {
        Guard::new(self).require(scopes)
    }
}

impl From<&Keyring> for Guard {
    fn from(keyring: &Keyring) -> Self {
        Self::new(keyring)
    }
}

impl From<&Verifier> for Guard {
    fn from(verifier: &Verifier) -> Self {
        Self::new(verifier)
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard")
            .field("requirement", &self.0.requirement)
            .field("is_optional", &self.0.is_optional)
            .finish_non_exhaustive()
    }
}

/// A guard cannot be set up this way.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GuardError {
    /// No key can come in a field of this name.
    #[error("`{}` cannot be the name of a field for API keys", .0.escape_debug())]
    KeyField(String),
    /// This cannot be a realm.
    #[error("a realm is 1 to 128 visible ASCII characters and spaces, not `{}`", .0.escape_debug())]
    Realm(String),
}
