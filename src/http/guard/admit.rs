//! The verdict of a guard on one request.

use alloc::{boxed::Box, string::String, sync::Arc, vec::Vec};
use core::{net::IpAddr, pin::Pin};

use super::{
    super::{
        Admission, Headers, Reason, Response,
        credential::{self, Presented, Source},
        incoming::{Incoming, Parts},
        observe::Observation,
        problem::Problem,
        resource_rules::Parameter,
        response::{rate_headers, used_up_headers},
    },
    Entrance, Guard,
};
#[cfg(feature = "children")]
use crate::http::ticket;
use crate::{
    bearer::CredentialError,
    decision::Principal,
    grant::OutsideGrant,
    rate::RateStatus,
    usage::Outcome,
    verifier::{Freshness, NotCounted, Progress, VerifyError},
};

impl Guard {
    /// Admits a request with these headers, or returns the response that refuses it. The address of the client and the
    /// parameters of the path are not known. See [`admit_request`](Self::admit_request).
    ///
    /// # Errors
    ///
    /// Returns the [`Response`] for a request that is not admitted.
    pub async fn admit(&self, headers: &(impl Headers + ?Sized)) -> Result<Admission, Response> {
        self.admit_request(headers, None, &[]).await
    }

    /// Admits a request with these headers, or returns the response that refuses it. `peer` is the address of the other
    /// end of the connection. `parameters` are the names and values of the path's parameters, as the handler gets them. The
    /// query is not known, so no ticket is found.
    ///
    /// # Errors
    ///
    /// Returns the [`Response`] for a request that is not admitted.
    pub async fn admit_request(
        &self,
        headers: &(impl Headers + ?Sized),
        peer: Option<IpAddr>,
        parameters: &[(&str, &str)],
    ) -> Result<Admission, Response> {
        self.admit_parts(&Parts {
            headers,
            peer,
            parameters,
            #[cfg(feature = "children")]
            query: b"",
        })
        .await
    }

    /// Admits a request that no framework has made.
    pub(in super::super) async fn admit_parts(
        &self,
        request: &Parts<'_, impl Headers + ?Sized>,
    ) -> Result<Admission, Response> {
        match self.begin(request) {
            Progress::Done(result) => result,
            Progress::Pending(rest) => rest.await,
        }
    }

    /// Returns the response for a caller that the handler refuses, with the same status, headers and body as a refusal of the
    /// guard itself. Use it after [`Principal::permit`], which only the handler can call. The refusal is reported to the
    /// audit sink.
    ///
    /// ```
    /// # #[cfg(feature = "axum")] {
    /// use keyway::{Guard, Principal, grant::ResourceKind, http::Response, scope::Requirement};
    ///
    /// fn start(
    ///     guard: &Guard,
    ///     caller: &Principal,
    ///     (jobs, machine): (&Requirement, &ResourceKind),
    ///     id: &str,
    /// ) -> Result<String, Response> {
    ///     caller.permit(jobs, machine, id).map_err(|outside| guard.refuse(caller, outside))?;
    ///     Ok(format!("{id} starts"))
    /// }
    /// # }
    /// ```
    #[must_use]
    pub fn refuse(&self, caller: &Principal, outside: OutsideGrant) -> Response {
        let error = VerifyError::Forbidden(outside);
        self.record_refused(&error, Some(caller), Observation::begin());
        self.0.errors.refused(&error, &self.0.requirement)
    }

    /// Returns the refusal of a request that a gateway asks about, before any key is read. It is reported as a request
    /// that cannot be read.
    pub(in super::super) fn refuse_unread(&self, problem: &Problem, reason: Reason) -> Response {
        self.record_refused(&VerifyError::BadRequest, None, Observation::begin());
        self.0.errors.unread(problem, reason)
    }

    /// Returns the header that an adapter must remove from an admitted request before any other code sees it.
    pub fn header_to_remove(&self, admission: &Admission) -> Option<&str> {
        match admission.source? {
            _ if self.0.keeps_credential => None,
            Source::Authorization => Some(credential::AUTHORIZATION),
            Source::KeyHeader => self.0.key_headers.own(),
            // It is in no header.
            #[cfg(feature = "children")]
            Source::Ticket => None,
        }
    }

    /// Returns the address of the client, if it is known. `peer` is the other end of the connection.
    pub(in super::super) fn client(
        &self,
        peer: Option<IpAddr>,
        headers: &(impl Headers + ?Sized),
    ) -> Option<IpAddr> {
        self.0.address.as_ref()?.find(peer, headers)
    }

    /// Returns the refusal of a request without a credential.
    #[cfg(any(feature = "axum", feature = "actix"))]
    pub(in super::super) fn missing(&self) -> Response {
        self.0.errors.refused(&VerifyError::Missing, &self.0.requirement)
    }

    /// Admits or refuses the request at once if that is possible without waiting.
    #[inline]
    pub(in super::super) fn begin(
        &self,
        request: &impl Incoming,
    ) -> Progress<Result<Admission, Response>, PendingAdmission> {
        let mut observation = Observation::begin();
        let inner = &*self.0;
        let headers = request.headers();
        let known = request.known().filter(|caller| self.is_known(caller));
        let alternative = inner.alternative.as_ref();
        let is_double = |has_key: bool| {
            has_key && alternative.is_some_and(|alternative| alternative.is_presented(headers))
        };
        let presented = match self.presented(request) {
            Ok(presented) if is_double(presented.is_some() || known.is_some()) => {
                return Progress::Done(Err(self.unreadable(CredentialError::Several, observation)));
            }
            Ok(Some(presented)) => presented,
            Ok(None) if alternative.is_some() && known.is_none() => {
                return self.begin_alternative(headers, observation);
            }
            Ok(None) => {
                return Progress::Done(match known {
                    // A caller that an outer guard admitted may be out of date, so it does not count with
                    // `Freshness::Now`.
                    Some(caller) if inner.freshness == Freshness::Cached => {
                        self.respond_to_known(caller, request, observation)
                    }
                    None => self.without_credential(observation),
                    Some(_) => Err(self.refused(VerifyError::Missing, observation)),
                });
            }
            Err(error) => return Progress::Done(Err(self.unreadable(error, observation))),
        };
        let Presented { token, source } = presented;
        let engine = inner.entrance_for(token).verifier.engine();
        let address = || inner.address.as_ref()?.find(request.peer(), headers);
        let (freshness, accepts) = (inner.freshness, inner.children.accepts(source));
        #[cfg(feature = "children")]
        let progress = if source == Source::Ticket {
            let unescaped = ticket::unescaped(token);
            let child = unescaped.as_ref().map_or(token, |child| child);
            engine.verify_ticket_at_once(child, freshness, address, accepts)
        } else {
            engine.verify_at_once(token, freshness, address, accepts)
        };
        #[cfg(not(feature = "children"))]
        let progress = engine.verify_at_once(token, freshness, address, accepts);
        match progress {
            Progress::Done(verified) => {
                let parameter = |name: &str| request.parameter(name);
                self.respond(verified, known.as_ref(), Some(source), &parameter, observation)
            }
            Progress::Pending(unfinished) => {
                observation.claims(unfinished.key_id());
                let (guard, engine) = (self.clone(), Arc::clone(engine));
                let parameters = inner.resources.read(|name| request.parameter(name));
                Progress::Pending(Box::pin(async move {
                    let mut observation = observation;
                    let mut inactive = None;
                    let accepts = guard.0.children.accepts(source);
                    let finished = engine.finish(unfinished, freshness, accepts, &mut inactive);
                    let verified = finished.await;
                    observation.is_of(inactive);
                    let parameter = |name: &str| parameters.get(name).cloned();
                    let known = known.as_ref();
                    match guard.respond(verified, known, Some(source), &parameter, observation) {
                        Progress::Done(result) => result,
                        Progress::Pending(rest) => rest.await,
                    }
                }))
            }
        }
    }

    /// Begins a request without a key, of a guard that accepts another credential.
    #[cold]
    fn begin_alternative(
        &self,
        headers: &(impl Headers + ?Sized),
        observation: Observation,
    ) -> Progress<Result<Admission, Response>, PendingAdmission> {
        let checked = self.0.alternative.as_ref().map(|alternative| alternative.check(headers));
        let checking = match checked {
            Some(Ok(Some(checking))) => checking,
            Some(Err(error)) => {
                return Progress::Done(Err(self.unreadable(error, observation)));
            }
            Some(Ok(None)) | None => {
                return Progress::Done(self.without_credential(observation));
            }
        };
        let guard = self.clone();
        Progress::Pending(Box::pin(async move {
            match checking.await {
                Ok(true) => {
                    observation.alternative();
                    Ok(Admission { vary: guard.0.vary.clone(), ..Admission::default() })
                }
                Ok(false) => guard.without_credential(observation),
                Err(error) => Err(guard.refused(VerifyError::Unavailable(error), observation)),
            }
        }))
    }

    /// Returns the outcome of a request without any credential.
    fn without_credential(&self, observation: Observation) -> Result<Admission, Response> {
        if self.0.is_optional {
            observation.anonymous();
            return Ok(Admission { vary: self.0.vary.clone(), ..Admission::default() });
        }
        Err(self.refused(VerifyError::Missing, observation))
    }

    /// Refuses a request whose credential cannot be read.
    #[cold]
    fn unreadable(&self, error: CredentialError, observation: Observation) -> Response {
        self.record_refused(&error.into(), None, observation);
        self.0.errors.unreadable(error)
    }

    /// Returns whether a guard of the same verifier admitted this caller. Callers from other sources do not
    /// count.
    fn is_known(&self, caller: &Principal) -> bool {
        self.0.entrance_of(caller).verifier.has_admitted(caller)
    }

    /// Checks only the scopes and resources. The outer guard has checked the network, counted the request and created its
    /// span.
    fn respond_to_known(
        &self,
        caller: Principal,
        request: &impl Incoming,
        observation: Observation,
    ) -> Result<Admission, Response> {
        let checked = self
            .0
            .children
            .check(&caller)
            .and_then(|()| self.check_grant(&caller, &|name| request.parameter(name)));
        match checked {
            Ok(()) => {
                let vary = self.0.vary.clone();
                let Entrance { verifier, required } = self.0.entrance_of(&caller);
                let requirements = &verifier.engine().requirements;
                let required = requirements.both(caller.required(), *required);
                let principal = Some(caller.admitted(required));
                Ok(Admission { principal, vary, ..Admission::default() })
            }
            Err(outside) => {
                let error = VerifyError::Forbidden(outside);
                self.record_refused(&error, Some(&caller), observation);
                Err(self.0.errors.refused(&error, &self.0.requirement))
            }
        }
    }

    /// Checks that the caller has the scopes of the route, and may touch its resources.
    #[inline]
    fn check_grant(
        &self,
        caller: &Principal,
        parameter: &Parameter<'_>,
    ) -> Result<(), OutsideGrant> {
        caller.require(&self.0.requirement)?;
        match caller.limits() {
            None => Ok(()),
            Some(limits) => {
                let kinds = self.catalog().resource_kinds();
                self.0.resources.check(&limits.resources, kinds, parameter)
            }
        }
    }

    #[inline]
    fn respond(
        &self,
        verified: Result<Principal, VerifyError>,
        known: Option<&Principal>,
        source: Option<Source>,
        parameter: &Parameter<'_>,
        observation: Observation,
    ) -> Progress<Result<Admission, Response>, PendingAdmission> {
        // Two guards found two different keys in two headers. Neither may use the permissions of the other.
        if let (Ok(caller), Some(known)) = (&verified, known)
            && (caller.key_id() != known.key_id() || caller.child_id() != known.child_id())
        {
            return Progress::Done(Err(self.unreadable(CredentialError::Several, observation)));
        }
        let is_counted = known.is_some();
        let (caller, rate) = match self.authorize(verified, is_counted, parameter) {
            Ok(authorized) => authorized,
            Err(refused) => {
                return Progress::Done(Err(self.refuse_as(refused, is_counted, observation)));
            }
        };
        if !is_counted {
            let engine = self.0.entrance_of(&caller).verifier.engine();
            match engine.count_units(&caller, self.0.weight.get().into()) {
                Progress::Done(Ok(())) => {}
                Progress::Done(Err(error)) => {
                    let refused = Refused::not_counted(error, caller);
                    return Progress::Done(Err(self.refuse_as(refused, false, observation)));
                }
                Progress::Pending(units) => {
                    let guard = self.clone();
                    return Progress::Pending(Box::pin(async move {
                        match units.count().await {
                            Ok(()) => Ok(guard.admitted(caller, rate, None, source, observation)),
                            Err(error) => {
                                let refused = Refused::not_counted(error, caller);
                                Err(guard.refuse_as(refused, false, observation))
                            }
                        }
                    }));
                }
            }
        }
        Progress::Done(Ok(self.admitted(caller, rate, known, source, observation)))
    }

    #[inline]
    fn admitted(
        &self,
        principal: Principal,
        rate: Option<Box<RateStatus>>,
        known: Option<&Principal>,
        source: Option<Source>,
        observation: Observation,
    ) -> Admission {
        let span = observation.admitted(&principal);
        let Entrance { verifier, required } = self.0.entrance_of(&principal);
        if known.is_none() {
            verifier.engine().count(principal.key(), Outcome::Admitted);
        }
        // An outer guard has left the credential in the request, and required something as well.
        let requirements = &verifier.engine().requirements;
        let outer = known.map(Principal::required);
        let required = outer.map_or(*required, |outer| requirements.both(outer, *required));
        let principal = verifier.mark_admitted(principal, required);
        let vary = self.0.vary.clone();
        Admission { principal: Some(principal), source, rate, vary, span }
    }

    /// Returns the refusal of a request without a verified caller.
    fn refused(&self, error: VerifyError, observation: Observation) -> Response {
        self.refuse_as(Refused::of(error), false, observation)
    }

    /// Returns the refusal of a request. `is_counted` says whether an outer guard has counted it.
    fn refuse_as(&self, refused: Refused, is_counted: bool, observation: Observation) -> Response {
        let Refused { error, caller, fields } = refused;
        if let (Some(caller), false) = (&caller, is_counted) {
            let outcome = match error {
                VerifyError::Limited { .. } | VerifyError::UsedUp { .. } => Some(Outcome::Limited),
                // It says nothing about the caller.
                VerifyError::Unavailable(_) => None,
                _ => Some(Outcome::Forbidden),
            };
            if let Some(outcome) = outcome {
                self.0.entrance_of(caller).verifier.engine().count(caller.key(), outcome);
            }
        }
        self.record_refused(&error, caller.as_ref(), observation);
        let answer = self.0.errors.refused(&error, &self.0.requirement);
        fields.into_iter().fold(answer, |answer, (name, value)| answer.with(name, value))
    }

    /// Reports a refusal to the audit and to observability.
    #[cold]
    fn record_refused(
        &self,
        error: &VerifyError,
        caller: Option<&Principal>,
        observation: Observation,
    ) {
        let entrance = caller.map_or(&self.0.entrance, |caller| self.0.entrance_of(caller));
        entrance.verifier.engine().record_refused(error, caller);
        observation.refused(error, caller);
    }

    /// Checks the scopes and resources, then the rate.
    ///
    /// A request that is refused for its scopes or resources takes nothing from the rate, and no request is counted twice.
    #[inline]
    fn authorize(
        &self,
        verified: Result<Principal, VerifyError>,
        is_counted: bool,
        parameter: &Parameter<'_>,
    ) -> Result<(Principal, Option<Box<RateStatus>>), Refused> {
        let caller = verified.map_err(Refused::of)?;
        if let Err(outside) = self.check_grant(&caller, parameter) {
            let error = VerifyError::Forbidden(outside);
            return Err(Refused { caller: Some(caller), ..Refused::of(error) });
        }
        let rate = || self.0.entrance_of(&caller).verifier.rate(&caller, self.0.weight);
        let rate = if is_counted { None } else { rate() };
        // Boxed, so that the many requests without a rate do not carry its size.
        let rate = rate.map(Box::new);
        if let Some(retry_after) = rate.as_ref().and_then(|rate| rate.retry_after()) {
            let error = VerifyError::Limited { retry_after };
            let fields = rate.as_deref().map_or_else(Vec::new, |rate| rate_headers(rate).into());
            return Err(Refused { error, caller: Some(caller), fields });
        }
        Ok((caller, rate))
    }
}

/// A refusal: its error and, if the caller was verified, the caller and the headers of the limit.
struct Refused {
    error: VerifyError,
    caller: Option<Principal>,
    fields: Vec<(&'static str, String)>,
}

impl Refused {
    fn of(error: VerifyError) -> Self {
        Self { error, caller: None, fields: Vec::new() }
    }

    /// Creates the refusal of a caller whose request an allowance does not admit.
    #[cold]
    fn not_counted(error: NotCounted, caller: Principal) -> Self {
        let fields = match &error {
            NotCounted::UsedUp(used_up) => used_up_headers(used_up).into(),
            NotCounted::Away(_) => Vec::new(),
        };
        Self { error: error.into(), caller: Some(caller), fields }
    }
}

/// An admission that waits for the store.
pub(in super::super) type PendingAdmission =
    Pin<Box<dyn Future<Output = Result<Admission, Response>> + Send>>;
