//! The end of a stream: when the key of its caller stops being valid.

use alloc::{
    boxed::Box,
    collections::BTreeMap,
    sync::{Arc, Weak},
    vec::Vec,
};
use core::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};
use std::{
    io,
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::{
    Engine, VerifyError,
    load::{LoadError, Loaded},
    report::Claim,
    streams::{Found, Place},
};
use crate::{
    cache::{Standing, TICK},
    decision::{KeyState, Principal, ResolvedKey},
    grant::{Limits, OutsideGrant, ResourceKind},
    operations::{OperationError, OperationTable, Rule},
    scope::Requirement,
    time::Timestamp,
    token::CheckedToken,
};

/// All verifiers of the process, by number. A caller has no room for a reference to its verifier: counting references to it
/// would cost each request a wait for the other processors.
static VERIFIERS: Mutex<BTreeMap<u64, Weak<Engine>>> = Mutex::new(BTreeMap::new());

fn verifiers() -> MutexGuard<'static, BTreeMap<u64, Weak<Engine>>> {
    VERIFIERS.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Engine {
    pub(super) fn register(self: &Arc<Self>) {
        verifiers().insert(self.number(), Arc::downgrade(self));
    }

    pub(super) fn unregister(&self) {
        verifiers().remove(&self.number());
    }
}

impl Principal {
    /// Returns a future that resolves when the caller's key is no longer valid for what the caller was admitted for. Use it
    /// to end what outlasts a request: server-sent events, web sockets, streams of gRPC, subscriptions.
    ///
    /// The future resolves to the error that a new request with the key would get:
    ///
    /// | cause | error |
    /// |---|---|
    /// | the key is deleted, or rotated and the grace period of its old secret is over | [`Rejected`](VerifyError::Rejected) |
    /// | key, owner or tenant is disabled, suspended or expired | [`Inactive`](VerifyError::Inactive) |
    /// | it lacks a scope that the [guard](https://docs.rs/keyway/latest/keyway/http/struct.Guard.html) required, by an edit or by another tier | [`Forbidden`](VerifyError::Forbidden) |
    /// | its resources or networks were narrowed | [`Forbidden`](VerifyError::Forbidden) |
    /// | the store was not reached for the staleness bound | [`Unavailable`](VerifyError::Unavailable) |
    ///
    /// The bound is that of requests. A change on this node ends the stream within milliseconds. So does a change that a
    /// [feed](crate::verifier::Verifier::follow) reports. Without a feed it ends within the staleness bound, for which the
    /// key is read again in time: a quarter of the bound before its end, and at most half a minute. A bound below a
    /// second counts as one second here. If the store stays away, the stream ends at the bound, or half a bound after a
    /// change that this node has heard of. A stream whose task did not look in time gets a quarter of the bound for its
    /// read.
    ///
    /// A caller that no guard has admitted has no required scopes; name them by [`Ended::requiring`]. Resources and
    /// networks count as narrowed if the key may no longer touch or be used from all that it could when the caller was
    /// verified. [`Ended::touching`] makes this exact for the resources of one kind. A stream that ended for something it
    /// did not need may begin again, since its next request is admitted.
    ///
    /// # Cost
    ///
    /// The first call starts a thread for the verifier, which looks at all streams ten times a second. A stream has no timer
    /// and takes less than 200 bytes. Streams of a key that nothing proves unchanged read it together, somewhat more
    /// than once per staleness bound.
    ///
    /// ```
    /// # use keyway::{Keyring, MemoryStore, Pepper, Policy, VerifyError};
    /// # pollster::block_on(async {
    /// # let policy: Policy = serde_json::from_str(r#"{
    /// #     "issuer": "mm",
    /// #     "scopes": [{ "name": "reporting", "description": "Read reports" }]
    /// # }"#)?;
    /// # let keyring = Keyring::builder(policy, Pepper::from_bytes(&[7; 32])?)
    /// #     .environment("live")
    /// #     .store(MemoryStore::new())
    /// #     .build()?;
    /// # let (tenant, issued) = keyring.create_tenant("acme", "lite").await?;
    /// let caller = keyring.verify(&*issued.token.reveal()).await?;
    /// let ended = caller.ended();
    ///
    /// tenant.delete(caller.key_id()).await?;
    /// assert!(matches!(ended.await, VerifyError::Rejected));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    pub fn ended(&self) -> Ended {
        let engine = verifiers().get(&self.verifier()).cloned().unwrap_or_default();
        Ended {
            caller: self.clone(),
            engine,
            place: None,
            needs: None,
            read: None,
            failure: None,
            outcome: None,
        }
    }
}

impl OperationTable {
    /// Checks a call as [`check`](Self::check) does, and returns the end of the stream that the operation opens: when the
    /// caller may no longer call it on these resources. See [`Principal::ended`].
    ///
    /// # Errors
    ///
    /// As [`check`](Self::check), and [`OperationError::Missing`] for an operation that needs no key if there is no caller,
    /// since nothing ends it.
    pub fn ended(
        &self,
        name: &str,
        caller: Option<&Principal>,
        ids: &[(&str, &str)],
    ) -> Result<Ended, OperationError> {
        self.check(name, caller, ids)?;
        let mut ended = caller.ok_or(OperationError::Missing)?.ended();
        let row = self.row(name).ok_or(OperationError::Unknown)?;
        if let Some(requirement) = row.requirement {
            ended = ended.requiring(requirement);
        }
        let needs = ended.needs.get_or_insert_default();
        needs.touched.extend(ids.iter().map(|(kind, id)| ((*kind).into(), (*id).into())));
        let untouched = row.rules.iter().filter(|(_, rule)| *rule == Rule::Untouched);
        needs.untouched.extend(untouched.map(|(kind, _)| kind.name().into()));
        Ok(ended)
    }
}

/// A future that resolves when the key of a caller is no longer valid, to the error that a request would get. See
/// [`Principal::ended`].
///
/// It resolves again to the same error if it is polled again.
#[must_use = "futures do nothing unless polled"]
pub struct Ended {
    caller: Principal,
    engine: Weak<Engine>,
    place: Option<Place>,
    needs: Option<Box<Needs>>,
    /// The read of the key, while it is under way.
    read: Option<Pin<Box<dyn Future<Output = Loaded> + Send>>>,
    /// The error of the last read.
    failure: Option<Box<LoadError>>,
    outcome: Option<Box<VerifyError>>,
}

/// The needs of a stream besides those of the guard.
#[derive(Default)]
struct Needs {
    requirements: Vec<Requirement>,
    /// The kinds and ids of the resources that it touches.
    touched: Vec<(Box<str>, Box<str>)>,
    /// The kinds of which it touches none.
    untouched: Vec<Box<str>>,
    /// Whether the stream stays open when the child of the caller has ended.
    #[cfg(feature = "children")]
    outlives_child: bool,
}

/// The reason why it is not known whether a key is still valid.
#[derive(Debug, thiserror::Error)]
enum Unwatched {
    #[error("the verifier of this caller was dropped, or there is none")]
    NoVerifier,
    #[error("the system gives no thread to watch streams")]
    NoThread(#[source] io::Error),
    #[error("the key could not be read again within the staleness bound")]
    Overdue(#[source] Option<Box<LoadError>>),
}

impl Ended {
    /// Ends the stream also when the key no longer meets `requirement`.
    pub fn requiring(mut self, requirement: &Requirement) -> Self {
        self.needs.get_or_insert_default().requirements.push(requirement.clone());
        self
    }

    /// Says that the stream is on the resource `id` of the kind `kind`. It ends when the key may no longer touch this
    /// resource, and stays open if the key loses others of the kind.
    pub fn touching(mut self, kind: &ResourceKind, id: &str) -> Self {
        let touched = (kind.name().into(), id.into());
        self.needs.get_or_insert_default().touched.push(touched);
        self
    }

    /// Keeps the stream open after the end of the [child](crate::children) that the caller has presented, until the parent
    /// ends or is narrowed below what the stream needs. This is for a ticket, which only opens a stream. It has no effect
    /// for a caller without a child.
    #[cfg(feature = "children")]
    pub fn until_parent_ends(mut self) -> Self {
        self.needs.get_or_insert_default().outlives_child = true;
        self
    }

    fn advance(&mut self, context: &mut Context<'_>) -> Poll<VerifyError> {
        #[cfg(feature = "testing")]
        if self.caller.verifier() == Principal::BY_A_TEST {
            return Poll::Pending;
        }
        let Some(engine) = self.engine.upgrade() else {
            return Poll::Ready(unavailable(Unwatched::NoVerifier));
        };
        let checked = self.caller.checked();
        let place = if let Some(place) = self.place {
            place
        } else {
            let key = self.parent();
            let ends_at = self.ends_at(key, &checked);
            let opened = engine.streams.open(&engine, Arc::clone(key), ends_at, context.waker());
            match opened {
                Ok(place) => *self.place.insert(place),
                Err(error) => return Poll::Ready(unavailable(Unwatched::NoThread(error))),
            }
        };
        let Some(found) = engine.streams.look(place, context.waker()) else {
            return Poll::Ready(unavailable(Unwatched::NoVerifier));
        };
        let Found { mut key, mut next_read, mut is_overdue, is_superseded } = found;
        if is_superseded && self.read.take().is_some() {
            next_read = 0;
        }
        loop {
            if self.read.is_some() {
                match self.poll_read(&engine, place, context) {
                    Poll::Ready(Ok(Some(newer))) => key = newer,
                    Poll::Ready(Ok(None)) => {}
                    Poll::Ready(Err(error)) => return Poll::Ready(error),
                    Poll::Pending if is_overdue => return Poll::Ready(self.overdue()),
                    Poll::Pending => return Poll::Pending,
                }
                // Unless the read has helped, the next one waits a moment.
                next_read = engine.clock.moment().uptime.saturating_add(TICK);
                engine.streams.set_next_read(place, next_read);
            }
            let moment = engine.clock.moment();
            if let Err(error) = self.check(&engine, &checked, &key, moment.now) {
                return Poll::Ready(error);
            }
            if engine.standing(&key, moment) == Standing::Good {
                self.failure = None;
                engine.streams.set_next_read(place, 0);
                return Poll::Pending;
            }
            // A request may have read the key in the meantime.
            let cached = engine.cache.newest(key.id());
            if let Some(cached) =
                cached.filter(|key| engine.standing(key, moment) == Standing::Good)
            {
                let ends_at = self.ends_at(&cached, &checked);
                engine.streams.renew(place, Arc::clone(&cached), ends_at);
                (key, self.failure) = (cached, None);
                continue;
            }
            if is_overdue && self.failure.is_some() {
                return Poll::Ready(self.overdue());
            }
            if moment.uptime < next_read {
                return Poll::Pending;
            }
            let generation = engine.cache.generation(key.id(), &key.stamp);
            let is_first = self.failure.is_none();
            engine.streams.begin_read(place, generation, moment.uptime, is_first);
            is_overdue &= !is_first;
            let reader = Arc::clone(&engine);
            self.read = Some(Box::pin(reader.load_for_stream(checked.clone(), moment)));
        }
    }

    /// Polls the read of the key. Returns the key if it was read, and `None` if the store did not give it.
    fn poll_read(
        &mut self,
        engine: &Arc<Engine>,
        place: Place,
        context: &mut Context<'_>,
    ) -> Poll<Result<Option<Arc<ResolvedKey>>, VerifyError>> {
        let Some(read) = &mut self.read else { return Poll::Ready(Ok(None)) };
        let loaded = ready!(read.as_mut().poll(context));
        self.read = None;
        let checked = self.caller.checked();
        Poll::Ready(match loaded {
            Ok(Some(key)) => {
                self.failure = None;
                let ends_at = self.ends_at(&key, &checked);
                engine.streams.renew(place, Arc::clone(&key), ends_at);
                Ok(Some(key))
            }
            Ok(None) => Err(VerifyError::Rejected),
            Err(error @ LoadError::Tampered(_)) => {
                let claim = Claim { checked: &checked, child: self.caller.key().child_id() };
                Err(engine.fail(&error, claim, engine.clock.moment().now))
            }
            Err(error) => {
                self.failure = Some(Box::new(error));
                Ok(None)
            }
        })
    }

    /// Checks that `key` is still valid at `now` for what the caller was admitted for.
    fn check(
        &self,
        engine: &Engine,
        checked: &CheckedToken,
        key: &Arc<ResolvedKey>,
        now: Timestamp,
    ) -> Result<(), VerifyError> {
        key.prove(checked, now).map_err(|_| VerifyError::Rejected)?;
        let own = self.derive_again(engine, key).ok_or(VerifyError::Rejected)?;
        let state = if self.outlives_child() { key.state(now) } else { own.state(now) };
        match state {
            KeyState::Active => {}
            state => return Err(VerifyError::Inactive(state)),
        }
        let key = &*own;
        let number = self.caller.required();
        let admitted = engine.requirements.get(number);
        // It is not known what was required.
        if admitted.is_none() && number != 0 && !key.scopes().covers(self.caller.scopes()) {
            return Err(VerifyError::Rejected);
        }
        let own = self.needs.iter().flat_map(|needs| &needs.requirements);
        for requirement in admitted.iter().flat_map(|list| list.iter()).chain(own) {
            let missing = requirement.check(key.scopes());
            missing.map_err(|missing| requirement.with_withheld(missing, key.granted()))?;
        }
        let kinds = engine.authority.policy().catalog().resource_kinds();
        self.check_limits(key, kinds.names()).map_err(VerifyError::Forbidden)
    }

    /// Returns the key of the caller's child, or that of the caller.
    fn parent(&self) -> &Arc<ResolvedKey> {
        let key = self.caller.key();
        #[cfg(feature = "children")]
        let key = key.parent().unwrap_or(key);
        key
    }

    /// Returns what the caller may do with `key` as it is now: that key, or the same child of it. Returns `None` if the key may
    /// have no such child any more.
    #[cfg_attr(
        not(feature = "children"),
        allow(
            clippy::unused_self,
            clippy::unnecessary_wraps,
            reason = "without the feature there are none"
        )
    )]
    fn derive_again(&self, engine: &Engine, key: &Arc<ResolvedKey>) -> Option<Arc<ResolvedKey>> {
        #[cfg(feature = "children")]
        if let Some(child) = self.caller.child() {
            return engine.derive_child(child, key);
        }
        #[cfg(not(feature = "children"))]
        let _ = engine;
        Some(Arc::clone(key))
    }

    #[cfg(feature = "children")]
    fn outlives_child(&self) -> bool {
        self.needs.as_ref().is_some_and(|needs| needs.outlives_child)
    }

    #[cfg(not(feature = "children"))]
    #[allow(clippy::unused_self, reason = "its twin reads a field")]
    fn outlives_child(&self) -> bool {
        false
    }

    /// Returns the time at which the stream ends if nothing changes.
    #[cfg_attr(
        not(feature = "children"),
        allow(
            clippy::unused_self,
            clippy::unnecessary_wraps,
            reason = "without the feature there are none"
        )
    )]
    fn ends_at(&self, key: &ResolvedKey, checked: &CheckedToken) -> Timestamp {
        let end = key.ends_at(checked);
        #[cfg(feature = "children")]
        let end = match self.caller.child() {
            Some(child) if !self.outlives_child() => end.min(child.expires_at()),
            _ => end,
        };
        end
    }

    fn check_limits<'k>(
        &self,
        key: &ResolvedKey,
        kinds: impl Iterator<Item = &'k str>,
    ) -> Result<(), OutsideGrant> {
        static NONE: Limits = Limits::NONE;
        let (new, old) = (key.limits().unwrap_or(&NONE), self.caller.key().limits());
        let old = old.unwrap_or(&NONE);
        if !new.networks.covers(&old.networks) {
            return Err(OutsideGrant::Network);
        }
        if let Some(kind) = key.unknown_resource() {
            return Err(OutsideGrant::Resource(kind.into()));
        }
        for kind in kinds {
            let (resources, earlier) = (new.resources.of_kind(kind), old.resources.of_kind(kind));
            let mut untouched = self.needs.iter().flat_map(|needs| &needs.untouched);
            if untouched.any(|other| **other == *kind) {
                continue;
            }
            let touched = self.needs.iter().flat_map(|needs| &needs.touched);
            let mut touched = touched.filter(|(other, _)| **other == *kind).peekable();
            let is_permitted = match touched.peek() {
                None => resources.covers(earlier),
                Some(_) => touched.all(|(_, id)| resources.contains(id)),
            };
            if !is_permitted {
                return Err(OutsideGrant::Resource(kind.into()));
            }
        }
        Ok(())
    }

    fn overdue(&mut self) -> VerifyError {
        unavailable(Unwatched::Overdue(self.failure.take()))
    }

    fn close(&mut self) {
        self.read = None;
        if let (Some(place), Some(engine)) = (self.place.take(), self.engine.upgrade()) {
            engine.streams.close(place);
        }
    }
}

fn unavailable(cause: Unwatched) -> VerifyError {
    VerifyError::unavailable(Arc::new(cause))
}

impl Future for Ended {
    type Output = VerifyError;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<VerifyError> {
        let this = self.get_mut();
        if let Some(outcome) = &this.outcome {
            return Poll::Ready(VerifyError::clone(outcome));
        }
        let error = ready!(this.advance(context));
        this.close();
        this.outcome = Some(Box::new(error.clone()));
        Poll::Ready(error)
    }
}

impl Drop for Ended {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ended").field("caller", &self.caller).finish_non_exhaustive()
    }
}
