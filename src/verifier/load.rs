//! Loading of a key from the store into the cache.

use alloc::{boxed::Box, string::String, sync::Arc, vec::Vec};
use core::hash::{Hash, Hasher};

use futures_channel::oneshot;

use super::{
    Engine, Freshness,
    batches::Found,
    breaker::{Paused, Waiting},
    sources::Which,
};
use crate::{
    audit::{AuditEvent, AuditKind},
    cache::Ticket,
    decision::ResolvedKey,
    record::{KeyRecord, RecordError},
    store::{KeyLookup, KeyStore, StoreError, StoredKey},
    time::Moment,
    token::{CheckedToken, Digest, KeyId},
};

/// The result of a load, for all callers that wait for it.
pub(super) type Loaded = Result<Option<Arc<ResolvedKey>>, LoadError>;

#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum LoadError {
    #[error(transparent)]
    Store(Arc<StoreError>),
    #[error("the policy has no tier `{tier}`, on which tenant `{}` is", record.tenant())]
    UnknownTier { record: Arc<KeyRecord>, tier: String },
    #[error("the seal of the record is broken")]
    Tampered(Arc<KeyRecord>),
    #[error(transparent)]
    Paused(#[from] Paused),
}

impl LoadError {
    pub(super) fn of(error: StoreError) -> Self {
        Self::Store(Arc::new(error))
    }

    /// Returns the error for a store that returned fewer results than it was asked for.
    pub(super) fn incomplete() -> Self {
        Self::of(StoreError::unavailable("the store left out results of `lookup_many`"))
    }
}

/// The reason for a load. It decides which source is read, and which callers share the read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum LoadCause {
    /// The key is not cached. A replica may be read, and all callers share the read.
    NotCached,
    /// The cached secret differs from the presented one. Callers with the same secret share the read. A
    /// different secret may be newer than the running read.
    OtherSecret,
    /// The caller needs data from after its call, and shares no read.
    Fresh,
    /// The key of an open stream must be read again. The store is read, not a replica, since data from before the stream
    /// began would end it. Only streams share the read. If it is `driven` to its end whatever the stream does, others that
    /// read at the same time share the request.
    Stream { driven: bool },
}

impl LoadCause {
    /// Returns the cause for a key that is cached with another secret, or is not cached.
    pub(super) fn of(is_cached: bool, freshness: Freshness) -> Self {
        match freshness {
            Freshness::Now => Self::Fresh,
            Freshness::Cached if is_cached => Self::OtherSecret,
            Freshness::Cached => Self::NotCached,
        }
    }
}

/// The subject of a load that callers share: a key, and the secret that only some of them present.
///
/// The key's id is public, so it is hashed. The secrets are compared in constant time.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct LoadSubject {
    id: KeyId,
    secret: Option<Digest>,
    /// Whether the callers are streams. A request must not wait for a read that a stream has left.
    is_of_streams: bool,
}

impl Hash for LoadSubject {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id.hash(state);
    }
}

impl Engine {
    /// Loads the key of `checked`. The read begins after this call, or is one under way that no invalidation
    /// has fenced off.
    pub(super) async fn load(
        self: &Arc<Self>,
        checked: &CheckedToken,
        cause: LoadCause,
        moment: Moment,
    ) -> Loaded {
        let id = checked.id();
        let which = self.sources.choose(id, moment, cause != LoadCause::NotCached);
        let waiting = self.enter(which, moment)?;
        let ticket = self.cache.ticket(id, moment, self.sources.lag(which));
        let engine = Arc::clone(self);
        let begin = move |shares| async move { engine.read(which, id, ticket, shares).await };
        let is_of_streams = matches!(cause, LoadCause::Stream { .. });
        let secret = match cause {
            LoadCause::NotCached | LoadCause::Stream { .. } => None,
            LoadCause::OtherSecret => Some(checked.digest()),
            LoadCause::Fresh => return begin(false).await,
        };
        if waiting.is_probe() {
            return begin(false).await;
        }
        let shares = matches!(cause, LoadCause::NotCached | LoadCause::Stream { driven: true });
        let begin = || begin(shares);
        let is_current = |ticket| self.cache.is_current(id, ticket, moment);
        self.loads.join(LoadSubject { id, secret, is_of_streams }, ticket, is_current, begin).await
    }

    /// Reads the key of a stream again, on the runtime of its source if there is one at hand.
    pub(super) async fn load_for_stream(
        self: Arc<Self>,
        checked: CheckedToken,
        moment: Moment,
    ) -> Loaded {
        let (sender, receiver) = oneshot::channel();
        let engine = Arc::clone(&self);
        let own = checked.clone();
        let work = async move {
            let loaded = engine.load(&own, LoadCause::Stream { driven: true }, moment).await;
            // The stream may have ended in the meantime.
            drop(sender.send(loaded));
        };
        let source = self.sources.get(self.sources.for_streams());
        match source.lookup.detach(Box::pin(work)) {
            None => receiver.await.unwrap_or_else(|_| {
                Err(LoadError::of(StoreError::unavailable("the runtime of the store has ended")))
            }),
            Some(work) => {
                drop(work);
                self.load(&checked, LoadCause::Stream { driven: false }, moment).await
            }
        }
    }

    /// Reads the key `id` from the store itself. The result is not cached.
    ///
    /// # Errors
    ///
    /// The errors of [`KeyLookup::lookup`], and [`StoreError::Unavailable`] at once if the store failed a
    /// moment ago.
    pub(crate) async fn lookup_stored(&self, id: KeyId) -> Result<Option<StoredKey>, StoreError> {
        let moment = self.clock.moment();
        let _waiting = self.enter(Which::Store, moment).map_err(StoreError::unavailable)?;
        self.ask(Which::Store, id).await
    }

    /// Lets a request through to a source, unless the source's breaker is open.
    fn enter(&self, which: Which, moment: Moment) -> Result<Waiting<'_>, Paused> {
        self.sources.get(which).breaker.enter(moment.uptime)
    }

    /// Reads from a source, and notes whether it replied.
    async fn ask(&self, which: Which, id: KeyId) -> Result<Option<StoredKey>, StoreError> {
        let source = self.sources.get(which);
        let load = source.breaker.load(&*self.clock);
        let found = source.lookup.lookup(id).await;
        // A record that cannot be read counts as a reply, since other keys may be readable.
        load.end(!matches!(found, Err(StoreError::Unavailable(_))));
        found
    }

    /// Reads a key that is missing, together with others that are missing at the same time.
    async fn ask_with_others(&self, which: Which, id: KeyId) -> Found {
        let source = self.sources.get(which);
        let uptime = move || self.clock.moment().uptime;
        let request = |ids: Vec<KeyId>| async move {
            // The source may have failed while this request waited for another one.
            if let Some(paused) = source.breaker.paused(uptime()) {
                return Err(paused.into());
            }
            if let [id] = *ids {
                return Ok(Vec::from([Ok(self.ask(which, id).await.map_err(LoadError::of)?)]));
            }
            let load = source.breaker.load(&*self.clock);
            let found = source.lookup.lookup_many(&ids).await;
            load.end(!matches!(found, Err(StoreError::Unavailable(_))));
            match found {
                Ok(found) if found.len() == ids.len() => Ok(found),
                Ok(_) => Err(LoadError::incomplete()),
                Err(error) => Err(LoadError::of(error)),
            }
        };
        source.batches.load(id, uptime, request).await
    }

    /// Reads a key. If it `shares`, others that are missing may be read in the same request.
    async fn read(&self, which: Which, id: KeyId, ticket: Ticket, shares: bool) -> Loaded {
        let found = if shares {
            self.ask_with_others(which, id).await
        } else {
            self.ask(which, id).await.map_err(LoadError::of)
        };
        let stored = match found? {
            Some(stored) if stored.key.id() == id => stored,
            _ => {
                self.cache.forget_missing(id);
                return Ok(None);
            }
        };
        let resolved = self.authority.resolve(&stored.key, &stored.tenant);
        let record = || Arc::new(stored.key.clone());
        let key = resolved.map_err(|error| match error {
            RecordError::UnknownTier(tier) => LoadError::UnknownTier { record: record(), tier },
            _ => LoadError::Tampered(record()),
        })?;
        let unknown = ResolvedKey::unknown_scopes(&stored.key, self.authority.policy());
        if !unknown.is_empty() {
            let tenant = Some(stored.tenant.id().as_str());
            let now = self.clock.moment().now;
            self.record(now, "", tenant, Some(id), AuditKind::UnknownScopes(&unknown));
        }
        Ok(Some(self.cache.insert(key, ticket)))
    }

    /// Ends the grace period of the older secret, since its successor has been used. A failure is not
    /// reported: the next use tries again, and the deadline holds in any case. One caller at a time waits for
    /// this, however long the store takes.
    pub(crate) async fn end_grace_period(&self, checked: &CheckedToken) {
        let Some(store) = self.sources.store() else { return };
        let Some(_claim) = self.ending.claim(checked.id()) else { return };
        let Ok(Some(mut stored)) = self.lookup_stored(checked.id()).await else { return };
        let seals = self.authority.seals();
        if seals.check_key(&stored.key).is_err() || !stored.key.end_grace_period(checked) {
            return;
        }
        let replaces = seals.next_key(&mut stored.key);
        let event = AuditEvent {
            at: self.clock.moment().now,
            actor: "",
            tenant: Some(stored.tenant.id().as_str()),
            key: Some(checked.id()),
            child: None,
            kind: AuditKind::GracePeriodEnded,
        };
        let Ok(durable) = self.durable(&event) else { return };
        let _invalidate = self.invalidate_key_on_drop(checked.id());
        if store.update_key(stored.key, replaces, durable.as_slice()).await.is_ok() {
            self.record_event(&event);
        }
    }
}
