//! Reading a key from the store into the cache.

use alloc::{string::String, sync::Arc};
use core::hash::{Hash, Hasher};

use super::{Freshness, OnDrop, Shared};
use crate::{
    audit::AuditKind,
    cache::Ticket,
    decision::{Principal, ResolveError, ResolvedKey},
    record::KeyRecord,
    store::{AnyLookup, KeyLookup, KeyStore, StoreError},
    time::Moment,
    token::{Claim, Digest, KeyId},
};

/// What a load gives, to everybody who waits for it.
pub(super) type Loaded = Result<Option<Arc<ResolvedKey>>, LoadError>;

#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum LoadError {
    #[error(transparent)]
    Store(Arc<StoreError>),
    #[error("the policy has no tier `{tier}`, on which tenant `{}` is", record.tenant())]
    UnknownTier { record: Arc<KeyRecord>, tier: String },
    #[error("the seal of the record is broken")]
    Tampered(Arc<KeyRecord>),
}

/// A key, and a secret of it that is not the cached one.
///
/// It is found by the id, which is public: the secrets are compared in constant time, as any.
#[derive(Clone, Copy)]
pub(super) struct Dispute {
    id: KeyId,
    digest: Digest,
}

impl Hash for Dispute {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id.hash(state);
    }
}

impl PartialEq for Dispute {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id && self.digest.same(other.digest)
    }
}

impl Eq for Dispute {}

impl Shared {
    /// The key `id`, read after this call began, or by a load under way that nothing has fenced
    /// off.
    pub(super) async fn load(
        self: &Arc<Self>,
        id: KeyId,
        freshness: Freshness,
        moment: Moment,
    ) -> Loaded {
        self.load_noting(id, freshness, moment, true).await
    }

    /// As [`load`](Self::load). That the key does not exist is noted in the cache only if it
    /// `may_be_cached`: everybody can make up a foreign token, and each note costs some other
    /// cached key its place.
    pub(super) async fn load_noting(
        self: &Arc<Self>,
        id: KeyId,
        freshness: Freshness,
        moment: Moment,
        may_be_cached: bool,
    ) -> Loaded {
        let ticket = self.cache.ticket(id, moment);
        let shared = Arc::clone(self);
        let lookup = self.sources.lookup(id, moment, freshness == Freshness::Now);
        let begin = move || async move { shared.read(&lookup, id, ticket, may_be_cached).await };
        match freshness {
            Freshness::Now => begin().await,
            Freshness::Cached => {
                let is_current = |ticket| self.cache.is_current(id, ticket, moment);
                self.flights.join(id, ticket, is_current, begin).await
            }
        }
    }

    /// The key of `claim`, whose secret is not the cached one. Who presents the same secret meanwhile
    /// waits for the same read; who presents another one does not, since it may be newer than that.
    pub(super) async fn load_disputed(self: &Arc<Self>, claim: &Claim, moment: Moment) -> Loaded {
        let id = claim.id();
        let ticket = self.cache.ticket(id, moment);
        let shared = Arc::clone(self);
        let lookup = self.sources.lookup(id, moment, true);
        let begin = move || async move { shared.read(&lookup, id, ticket, true).await };
        let is_current = |ticket| self.cache.is_current(id, ticket, moment);
        let dispute = Dispute { id, digest: claim.digest() };
        self.disputes.join(dispute, ticket, is_current, begin).await
    }

    async fn read(
        &self,
        lookup: &AnyLookup,
        id: KeyId,
        ticket: Ticket,
        may_be_cached: bool,
    ) -> Loaded {
        let stored = match lookup.lookup(id).await {
            Ok(Some(stored)) if stored.key.id() == id => stored,
            Ok(_) => {
                // Whatever was loaded of it before is out of date.
                if may_be_cached {
                    self.cache.invalidate_key(id);
                }
                return Ok(None);
            }
            Err(error) => return Err(LoadError::Store(Arc::new(error))),
        };
        let resolved = self.authority.resolve(&stored.key, &stored.tenant);
        let record = || Arc::new(stored.key.clone());
        let key = resolved.map_err(|error| match error {
            ResolveError::UnknownTier(tier) => LoadError::UnknownTier { record: record(), tier },
            ResolveError::Tampered(_) | ResolveError::OtherTenant => LoadError::Tampered(record()),
        })?;
        let unknown = ResolvedKey::unknown_scopes(&stored.key, self.authority.policy());
        if !unknown.is_empty() {
            let tenant = Some(stored.tenant.id().as_str());
            let now = self.clock.moment().now;
            self.record(now, "", tenant, Some(id), AuditKind::UnknownScopes(&unknown));
        }
        Ok(Some(self.cache.insert(key, ticket)))
    }

    /// Ends the secret before the last rotation, since its successor has been used. What fails here
    /// is tried again at the next use, and the deadline holds in any case. One caller at a time
    /// waits for it, however long the store takes.
    pub(super) async fn end_overlap(&self, principal: &Principal, claim: &Claim) {
        let _release = OnDrop(|| principal.release_overlap());
        let Some(store) = self.sources.store() else { return };
        let Ok(Some(mut stored)) = store.lookup(claim.id()).await else {
            return;
        };
        let seals = self.authority.seals();
        if seals.check_key(&stored.key).is_err() || !stored.key.end_overlap(claim) {
            return;
        }
        let replaces = seals.next_key(&mut stored.key);
        let _invalidate = self.invalidate_key_on_drop(claim.id());
        if store.update_key(stored.key, replaces).await.is_ok() {
            let now = self.clock.moment().now;
            let tenant = Some(stored.tenant.id().as_str());
            self.record(now, "", tenant, Some(claim.id()), AuditKind::OverlapEnded);
        }
    }
}
