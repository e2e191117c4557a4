//! The clauses of events, on a store in memory: without faults, and with each fault that a clause names.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroUsize,
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use keyway::{
    KeyId, KeyRecord, MemoryStore, TenantId, Timestamp,
    event::{Event, EventClaim, StoredEvent},
    record::TenantRecord,
    store::{
        EventStore, KeyLookup, KeyQuery, KeyStore, KeyUse, Lookups, Notices, Rows, StoreError,
        StoredKey,
        conformance::{Clause, event_clauses},
    },
};

use super::{controls::panics, planted::Answer};
use crate::support::pause;

/// Generates the faults, and the list of those with the clauses that are there for them.
macro_rules! faults {
    ($($fault:ident => $($clause:ident),+;)*) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        enum Fault {
            $($fault),*
        }
        use Fault::*;

        const FAULTS: &[(Fault, &[&str])] = &[$(($fault, &[$(stringify!($clause)),+])),*];
    };
}

faults! {
    ForgetsEventsOfNewTenants => a_change_stores_its_events;
    ForgetsEventsOfTenants => a_change_stores_its_events;
    ForgetsEventsOfDeletedTenants =>
        a_change_stores_its_events,
        a_tenant_created_again_continues_its_sequence;
    ForgetsEventsOfNewKeys => a_change_stores_its_events;
    ForgetsEventsOfKeys => a_change_stores_its_events;
    ForgetsEventsOfDeletedKeys => a_change_stores_its_events;
    StoresOneEvent => a_change_stores_its_events;
    StoresEventsFirst => a_refused_change_stores_no_event;
    CountsRefusedEvents => a_refused_change_stores_no_event;
    TrimsTexts => events_are_read_as_they_were_written;
    DropsNegativeTimes => events_are_read_as_they_were_written;
    InventsKeys => events_are_read_as_they_were_written;
    SharesNumbers => each_tenant_has_its_own_sequence;
    FoldsTenants => each_tenant_has_its_own_sequence;
    LosesEventsWithoutATenant =>
        each_tenant_has_its_own_sequence,
        events_without_a_tenant_are_claimed;
    DeletesEventsWithTheirTenant => a_tenant_created_again_continues_its_sequence;
    NumbersFromAnOldRead => concurrent_events_have_numbers_of_their_own;
    AddsEventByEvent => concurrent_events_have_numbers_of_their_own;
    AddsEventsLater => a_dropped_change_is_stored_with_its_events_or_not;
    AddsEventsBefore => a_dropped_change_is_stored_with_its_events_or_not;
    ClaimsTheNewest => events_are_claimed_in_order;
    IgnoresTheLimit => events_are_claimed_in_order;
    RepeatsClaimNumbers =>
        events_are_claimed_in_order,
        a_claim_is_in_force_until_its_lease_ends,
        an_older_claim_changes_nothing;
    ClaimsDeliveredSequences => events_are_claimed_in_order;
    ClaimsNothing => an_empty_store_has_nothing_to_claim;
    SettlesAnyClaim => an_empty_store_has_nothing_to_claim, an_older_claim_changes_nothing;
    SettlesWhatWasNeverClaimed => an_empty_store_has_nothing_to_claim;
    IgnoresLeases => a_claim_is_in_force_until_its_lease_ends;
    NeverEndsLeases => a_claim_is_in_force_until_its_lease_ends;
    NewEventsEndClaims => a_claim_is_in_force_until_its_lease_ends;
    DeliversWithTheClaim =>
        a_claim_is_in_force_until_its_lease_ends,
        a_dropped_claim_loses_no_event;
    BlocksOtherTenants =>
        a_claim_is_in_force_until_its_lease_ends,
        events_that_are_given_back_wait;
    ChecksBeforeItClaims => concurrent_claims_share_no_event;
    IgnoresTheRetryTime => events_that_are_given_back_wait;
    NewEventsEndPauses => events_that_are_given_back_wait;
    DeliversWhatIsGivenBack => events_that_are_given_back_wait;
    MovesDeliveredBack => delivered_events_stay_delivered;
    DeliversTheFuture => delivered_events_stay_delivered;
    PrefersTheFirstTenant => tenants_take_turns;
    MarksBeforeItReads => a_dropped_claim_loses_no_event;
    KnowsWhatIsClaimable => undelivered_events_are_known;
    KnowsEventsOfTenantsOnly => undelivered_events_are_known;
    KnowsDeliveredEvents => undelivered_events_are_known;
    ReadsTheOldest => the_newest_events_come_first;
    IncludesTheBound => the_newest_events_come_first;
    HidesDeliveredEvents => the_newest_events_come_first;
    ReadsAllTenants => the_newest_events_come_first;
    IgnoresTheKey => events_of_a_key_are_those_of_its_tenant;
    LimitsBeforeTheKey => events_of_a_key_are_those_of_its_tenant;
    ReadsTheKeyOfAllTenants => events_of_a_key_are_those_of_its_tenant;
    PurgesUndelivered => a_purge_deletes_old_delivered_events;
    PurgesTheBound => a_purge_deletes_old_delivered_events;
    RestartsPurgedSequences => a_purge_deletes_old_delivered_events;
    PurgesByTimeAlone => a_purge_leaves_no_gap;
    KeepsUndelivered => purged_events_are_not_claimed;
    ClaimsWhatWasPurged => purged_events_are_not_claimed;
    PurgesOnePortion => a_large_purge_is_whole;
    PurgesOneTenant => a_large_purge_is_whole;
}

type Id = Option<String>;

#[derive(Clone)]
struct Sequence {
    events: Vec<StoredEvent>,
    last: u64,
    delivered: u64,
    claim: u64,
    claimable: Timestamp,
}

impl Sequence {
    fn new() -> Self {
        Self { events: Vec::new(), last: 0, delivered: 0, claim: 0, claimable: Timestamp::MIN }
    }
}

/// A store of events with at most one fault. Its keys are in a store without faults.
struct Planted {
    fault: Option<Fault>,
    keys: MemoryStore,
    sequences: Mutex<BTreeMap<Id, Sequence>>,
}

/// As many events as a faulty store deletes at once.
const PORTION: usize = 500;

impl Planted {
    fn with(fault: Option<Fault>) -> Self {
        Self { fault, keys: MemoryStore::new(), sequences: Mutex::default() }
    }

    fn has(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    fn sequences(&self) -> MutexGuard<'_, BTreeMap<Id, Sequence>> {
        self.sequences.lock().unwrap()
    }

    fn id(&self, tenant: Option<&TenantId>) -> Id {
        let id = tenant.map(|tenant| tenant.as_str().to_owned());
        match self.fault {
            Some(SharesNumbers) => Some("all".into()),
            Some(FoldsTenants) => id.map(|id| id.to_lowercase()),
            _ => id,
        }
    }

    /// Returns the event as it is kept.
    fn as_kept(&self, event: &Event) -> Event {
        let mut event = event.clone();
        match self.fault {
            Some(TrimsTexts) => event.actor = event.actor.trim().into(),
            Some(DropsNegativeTimes) => {
                event.at = event.at.max(Timestamp::from_millis(0).unwrap());
            }
            Some(InventsKeys) if event.key.is_none() => {
                event.key = "Ainvented0000000".parse().ok();
            }
            _ => {}
        }
        event
    }

    fn add(&self, events: &[Event]) {
        let mut sequences = self.sequences();
        for event in events.iter().take(if self.has(StoresOneEvent) { 1 } else { usize::MAX }) {
            if event.tenant.is_none() && self.has(LosesEventsWithoutATenant) {
                continue;
            }
            let id = self.id(event.tenant.as_ref());
            let sequence = sequences.entry(id).or_insert_with(Sequence::new);
            if self.has(RestartsPurgedSequences) && sequence.events.is_empty() {
                (sequence.last, sequence.delivered) = (0, 0);
            }
            sequence.last += 1;
            let event = StoredEvent { number: sequence.last, event: self.as_kept(event) };
            sequence.events.push(event);
            if self.has(NewEventsEndClaims) || self.has(NewEventsEndPauses) {
                sequence.claimable = Timestamp::MIN;
            }
        }
    }

    /// Makes a change with its events.
    async fn change(
        &self,
        forgets: Fault,
        events: &[Event],
        change: impl Future<Output = Answer<()>>,
    ) -> Answer<()> {
        let events = if self.has(forgets) { &[] } else { events };
        if self.has(StoresEventsFirst) || self.has(AddsEventsBefore) {
            self.add(events);
            pause().await;
            let done = change.await;
            if done.is_err() && self.has(AddsEventsBefore) {
                for event in events {
                    let mut sequences = self.sequences();
                    let sequence = sequences.get_mut(&self.id(event.tenant.as_ref())).unwrap();
                    sequence.events.retain(|stored| stored.event.id != event.id);
                    sequence.last = sequence.events.len() as u64;
                }
            }
            return done;
        }
        let done = change.await;
        if self.has(AddsEventsLater) {
            pause().await;
        }
        match &done {
            Ok(()) => self.add(events),
            Err(_) if self.has(CountsRefusedEvents) => {
                for event in events {
                    let id = self.id(event.tenant.as_ref());
                    self.sequences().entry(id).or_insert_with(Sequence::new).last += 1;
                }
            }
            Err(_) => {}
        }
        done
    }

    /// Returns whether a sequence may be claimed.
    fn is_claimable(&self, sequence: &Sequence, now: Timestamp) -> bool {
        let is_due = sequence.claimable <= now
            || self.has(IgnoresLeases)
            || self.has(NeverEndsLeases) && sequence.claim == 0;
        let is_stuck = self.has(NeverEndsLeases) && sequence.claim > 0;
        let has_events = sequence.delivered < sequence.last
            || self.has(ClaimsDeliveredSequences) && sequence.claim > 0;
        is_due && has_events && !is_stuck
    }

    fn claim(&self, id: &Id, now: Timestamp, lease: Duration, limit: NonZeroUsize) -> EventClaim {
        let mut sequences = self.sequences();
        let sequence = sequences.get_mut(id).unwrap();
        sequence.claim = if self.has(RepeatsClaimNumbers) { 1 } else { sequence.claim + 1 };
        sequence.claimable = now.checked_add(lease).unwrap();
        let delivered = sequence.delivered;
        let mut events: Vec<_> =
            sequence.events.iter().filter(|event| event.number > delivered).cloned().collect();
        let most = if self.has(IgnoresTheLimit) { usize::MAX } else { limit.get() };
        if self.has(ClaimsTheNewest) {
            events.drain(..events.len().saturating_sub(most));
        }
        events.truncate(most);
        if self.has(DeliversWithTheClaim) {
            sequence.delivered = events.last().map_or(delivered, |event| event.number);
        }
        let tenant = match (self.fault, events.first()) {
            // The name that such a store has kept is not the tenant's own.
            (Some(SharesNumbers | FoldsTenants), Some(first)) => first.event.tenant.clone(),
            _ => id.as_ref().map(|id| id.parse().unwrap()),
        };
        EventClaim { tenant, number: sequence.claim, events }
    }
}

impl KeyLookup for Planted {
    async fn lookup(&self, id: KeyId) -> Answer<Option<StoredKey>> {
        self.keys.lookup(id).await
    }

    async fn lookup_many(&self, ids: &[KeyId]) -> Answer<Lookups> {
        self.keys.lookup_many(ids).await
    }

    fn max_lag(&self) -> Duration {
        Duration::ZERO
    }

    async fn marker(&self) -> Answer<Option<Vec<u8>>> {
        self.keys.marker().await
    }
}

impl KeyStore for Planted {
    fn announce_with(&self, _: &Notices) {}

    async fn insert_tenant(
        &self,
        tenant: TenantRecord,
        first_key: Option<KeyRecord>,
        events: &[Event],
    ) -> Answer<()> {
        let insert = self.keys.insert_tenant(tenant, first_key, &[]);
        self.change(ForgetsEventsOfNewTenants, events, insert).await
    }

    async fn tenant(&self, id: &TenantId) -> Answer<Option<TenantRecord>> {
        self.keys.tenant(id).await
    }

    async fn tenants(
        &self,
        after: Option<&TenantId>,
        limit: NonZeroUsize,
    ) -> Answer<Rows<TenantRecord>> {
        self.keys.tenants(after, limit).await
    }

    async fn update_tenant(
        &self,
        tenant: TenantRecord,
        replaces: u64,
        events: &[Event],
    ) -> Answer<()> {
        let update = self.keys.update_tenant(tenant, replaces, &[]);
        self.change(ForgetsEventsOfTenants, events, update).await
    }

    async fn delete_tenant(&self, id: &TenantId, events: &[Event]) -> Answer<()> {
        if self.has(DeletesEventsWithTheirTenant) {
            self.sequences().remove(&self.id(Some(id)));
        }
        let delete = self.keys.delete_tenant(id, &[]);
        self.change(ForgetsEventsOfDeletedTenants, events, delete).await
    }

    async fn insert_key(
        &self,
        key: KeyRecord,
        tenant_version: u64,
        max_keys: Option<u32>,
        events: &[Event],
    ) -> Answer<()> {
        let insert = self.keys.insert_key(key, tenant_version, max_keys, &[]);
        self.change(ForgetsEventsOfNewKeys, events, insert).await
    }

    async fn key(&self, tenant: &TenantId, id: KeyId) -> Answer<Option<KeyRecord>> {
        self.keys.key(tenant, id).await
    }

    async fn keys(&self, tenant: &TenantId, query: &KeyQuery) -> Answer<Rows<KeyRecord>> {
        self.keys.keys(tenant, query).await
    }

    async fn count_keys(&self, tenant: &TenantId, up_to: u32) -> Answer<u32> {
        self.keys.count_keys(tenant, up_to).await
    }

    async fn update_key(&self, key: KeyRecord, replaces: u64, events: &[Event]) -> Answer<()> {
        let update = self.keys.update_key(key, replaces, &[]);
        self.change(ForgetsEventsOfKeys, events, update).await
    }

    async fn delete_key(
        &self,
        tenant: &TenantId,
        id: KeyId,
        replaces: Option<u64>,
        events: &[Event],
    ) -> Answer<()> {
        let delete = self.keys.delete_key(tenant, id, replaces, &[]);
        self.change(ForgetsEventsOfDeletedKeys, events, delete).await
    }

    async fn record_uses(&self, uses: &[KeyUse], latest: Timestamp) -> Answer<()> {
        self.keys.record_uses(uses, latest).await
    }

    async fn set_marker(&self, marker: &[u8], replaces: Option<&[u8]>) -> Answer<()> {
        self.keys.set_marker(marker, replaces).await
    }
}

impl EventStore for Planted {
    async fn add_events(&self, events: &[Event]) -> Answer<()> {
        pause().await;
        if self.has(NumbersFromAnOldRead) {
            let old = self.sequences().clone();
            pause().await;
            for event in events {
                let id = self.id(event.tenant.as_ref());
                let last = old.get(&id).map_or(0, |sequence| sequence.last);
                self.sequences().entry(id).or_insert_with(Sequence::new).last = last;
                self.add(core::slice::from_ref(event));
            }
        } else if self.has(AddsEventByEvent) {
            for event in events {
                self.add(core::slice::from_ref(event));
                pause().await;
            }
        } else {
            self.add(events);
        }
        Ok(())
    }

    async fn claim_events(
        &self,
        now: Timestamp,
        lease: Duration,
        limit: NonZeroUsize,
    ) -> Answer<Option<EventClaim>> {
        pause().await;
        let id = {
            let sequences = self.sequences();
            let is_blocked = self.has(BlocksOtherTenants)
                && sequences.values().any(|sequence| sequence.claimable > now);
            let claimable =
                sequences.iter().filter(|(_, sequence)| self.is_claimable(sequence, now));
            let first = claimable.min_by_key(|(id, sequence)| match self.fault {
                Some(PrefersTheFirstTenant) => (Timestamp::MIN, (*id).clone()),
                _ => (sequence.claimable, None),
            });
            first.filter(|_| !is_blocked).map(|(id, _)| id.clone())
        };
        let Some(id) = id else {
            let nothing = EventClaim { tenant: None, number: 1, events: Vec::new() };
            return Ok(self.has(ClaimsNothing).then_some(nothing));
        };
        if self.has(ChecksBeforeItClaims) {
            pause().await;
        }
        let claim = self.claim(&id, now, lease, limit);
        if self.has(MarksBeforeItReads) {
            // A claim that ends here has delivered its events.
            let delivered = claim.events.last().map_or(0, |event| event.number);
            self.sequences().get_mut(&id).unwrap().delivered = delivered;
            pause().await;
            self.sequences().get_mut(&id).unwrap().delivered = 0;
        }
        Ok(Some(claim))
    }

    async fn settle_events(
        &self,
        tenant: Option<&TenantId>,
        claim: u64,
        delivered: u64,
        claimable: Timestamp,
    ) -> Answer<()> {
        pause().await;
        let mut sequences = self.sequences();
        let sequence = sequences.get_mut(&self.id(tenant)).ok_or(StoreError::Conflict)?;
        let is_claim = match self.fault {
            Some(SettlesAnyClaim) => true,
            Some(SettlesWhatWasNeverClaimed) => sequence.claim == claim,
            _ => claim > 0 && sequence.claim == claim,
        };
        if !is_claim {
            return Err(StoreError::Conflict);
        }
        sequence.delivered = match self.fault {
            Some(MovesDeliveredBack) => delivered.min(sequence.last),
            Some(DeliversTheFuture) => sequence.delivered.max(delivered),
            Some(DeliversWhatIsGivenBack) => sequence.last,
            _ => sequence.delivered.max(delivered.min(sequence.last)),
        };
        sequence.claimable = if self.has(IgnoresTheRetryTime) { Timestamp::MIN } else { claimable };
        Ok(())
    }

    async fn events_of(
        &self,
        tenant: Option<&TenantId>,
        key: Option<KeyId>,
        before: Option<u64>,
        limit: NonZeroUsize,
    ) -> Answer<Vec<StoredEvent>> {
        let sequences = self.sequences();
        let own = self.id(tenant);
        let reads_all =
            self.has(ReadsAllTenants) || self.has(ReadsTheKeyOfAllTenants) && key.is_some();
        let mut events = Vec::new();
        for (id, sequence) in &*sequences {
            if *id == own || reads_all {
                let is_hidden = |event: &&StoredEvent| {
                    self.has(HidesDeliveredEvents) && event.number <= sequence.delivered
                };
                events.extend(sequence.events.iter().filter(|event| !is_hidden(event)).cloned());
            }
        }
        events.retain(|event| {
            before.is_none_or(|before| {
                event.number < before || event.number == before && self.has(IncludesTheBound)
            })
        });
        if !self.has(ReadsTheOldest) {
            events.reverse();
        }
        if self.has(LimitsBeforeTheKey) {
            events.truncate(limit.get());
        }
        if let Some(key) = key
            && !self.has(IgnoresTheKey)
        {
            events.retain(|event| event.event.key == Some(key));
        }
        events.truncate(limit.get());
        Ok(events)
    }

    async fn has_undelivered_events(&self) -> Answer<bool> {
        let sequences = self.sequences();
        let mut sequences = sequences.iter();
        Ok(sequences.any(|(id, sequence)| match self.fault {
            Some(KnowsWhatIsClaimable) => self.is_claimable(sequence, Timestamp::MIN),
            Some(KnowsEventsOfTenantsOnly) => id.is_some() && sequence.delivered < sequence.last,
            Some(KnowsDeliveredEvents) => !sequence.events.is_empty(),
            _ => sequence.delivered < sequence.last,
        }))
    }

    async fn purge_events(&self, before: Timestamp, undelivered: bool) -> Answer<u64> {
        let mut deleted = 0;
        let undelivered = match self.fault {
            Some(PurgesUndelivered) => true,
            Some(KeepsUndelivered) => false,
            _ => undelivered,
        };
        for sequence in self.sequences().values_mut() {
            let is_old = |event: &StoredEvent, delivered: u64| {
                (event.event.at < before || event.event.at == before && self.has(PurgesTheBound))
                    && (undelivered || event.number <= delivered)
            };
            let delivered = sequence.delivered;
            let mut prefix =
                sequence.events.iter().take_while(|event| is_old(event, delivered)).count();
            if self.has(PurgesOnePortion) {
                prefix = prefix.min(PORTION);
            }
            let purged: Vec<_> = if self.has(PurgesByTimeAlone) {
                let (old, kept) =
                    sequence.events.drain(..).partition(|event| is_old(event, delivered));
                sequence.events = kept;
                old
            } else {
                sequence.events.drain(..prefix).collect()
            };
            deleted += purged.len() as u64;
            if let Some(last) = purged.last()
                && !self.has(ClaimsWhatWasPurged)
            {
                sequence.delivered = sequence.delivered.max(last.number);
            }
            if self.has(PurgesOneTenant) && deleted > 0 {
                break;
            }
        }
        Ok(deleted)
    }
}

fn fails(clause: &Clause<Planted>, fault: Option<Fault>) -> bool {
    panics(|| pollster::block_on(clause.run(&Planted::with(fault))))
}

#[test]
fn event_store_without_a_fault_keeps_every_clause() {
    for clause in event_clauses() {
        assert!(!fails(&clause, None), "{clause:?}");
    }
}

#[test]
fn each_fault_of_an_event_store_is_caught_by_its_clauses() {
    let clauses = event_clauses();
    let mut missed = Vec::new();
    for (fault, named) in FAULTS {
        for name in *named {
            let clause = clauses.iter().find(|clause| clause.name() == *name).unwrap();
            if !fails(clause, Some(*fault)) {
                missed.push((fault, name));
            }
        }
    }
    assert!(missed.is_empty(), "these clauses pass on a store with the fault: {missed:#?}");
}

#[test]
fn every_clause_of_events_catches_a_fault() {
    let caught: BTreeSet<_> = FAULTS.iter().flat_map(|(_, named)| *named).copied().collect();
    assert_eq!(caught, event_clauses::<Planted>().iter().map(Clause::name).collect());
}
