//! Events that wait to be written.

use alloc::{boxed::Box, collections::VecDeque, format, string::String, sync::Arc, vec::Vec};
use core::hash::{BuildHasher as _, Hasher as _};
use std::{
    collections::HashMap,
    hash::RandomState,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::{
    audit::{AuditEvent, AuditKind},
    token::KeyId,
};

/// The most events that wait.
const CAPACITY: usize = 10_000;

/// The most events in one transaction.
const BATCH: usize = 500;

/// How many refused requests of one key are events of their own in a minute.
const REFUSALS_PER_MINUTE: u32 = 10;

/// How many keys are counted at once.
const MAX_COUNTED_KEYS: usize = 10_000;

/// One row of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::store) struct AuditRow {
    /// The place in the order of events; see [`first_number`].
    pub(in crate::store) number: i64,
    /// The process that wrote it. With the number it is the primary key, so that a row whose first write had no
    /// response can be sent again.
    pub(in crate::store) node: i64,
    /// In milliseconds.
    pub(in crate::store) at: i64,
    /// Text is kept as bytes, as in the other tables: no encoding of a database can refuse it.
    pub(in crate::store) tenant: Option<Box<[u8]>>,
    pub(in crate::store) key: Option<[u8; 16]>,
    pub(in crate::store) actor: Box<[u8]>,
    pub(in crate::store) kind: &'static str,
    pub(in crate::store) detail: Box<[u8]>,
}

/// The smallest number of an event at a time in milliseconds. The numbers of one process ascend even while its
/// clock is set back, and 32,768 of them fit into a millisecond.
pub(super) fn first_number(at: i64) -> i64 {
    at.saturating_mul(1 << 15)
}

/// Events that wait to be written, in their order.
pub(in crate::store) struct Queue(Mutex<State>);

struct State {
    node: i64,
    /// The number of the last event.
    last: i64,
    waiting: VecDeque<AuditRow>,
    /// Taken out to be written. They stay here until they are, whatever becomes of the writer.
    in_flight: Option<Arc<[AuditRow]>>,
    /// Whether a writer is about to come.
    is_awaited: bool,
    lost: u64,
    /// How many of them no event has reported yet, and when the last of them was.
    unreported: (u64, i64),
    refused: HashMap<KeyId, Refused>,
}

/// The refused requests of a key in one minute.
struct Refused {
    minute: i64,
    told: u32,
    /// How many were no event of their own, and when the last of them was.
    suppressed: (u64, i64),
    tenant: Option<Box<[u8]>>,
}

impl Default for Queue {
    fn default() -> Self {
        // The randomness of the operating system, without a way to fail.
        let node = RandomState::new().build_hasher().finish().cast_signed();
        Self(Mutex::new(State {
            node,
            last: i64::MIN,
            waiting: VecDeque::new(),
            in_flight: None,
            is_awaited: false,
            lost: 0,
            unreported: (0, 0),
            refused: HashMap::new(),
        }))
    }
}

/// The outcome of adding an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::store) struct Pushed {
    /// Whether a writer has to be called.
    pub(in crate::store) calls_writer: bool,
    /// Whether it is the first event that was lost since a report of lost ones.
    #[cfg_attr(not(feature = "tracing"), allow(dead_code, reason = "an event of `tracing`"))]
    pub(in crate::store) begins_to_lose: bool,
}

impl Queue {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(in crate::store) fn push(&self, event: &AuditEvent<'_>) -> Pushed {
        self.state().push(event)
    }

    /// Adds the numbers of the refused requests that were not events of their own.
    pub(super) fn report_suppressed(&self) {
        self.state().report_suppressed();
    }

    pub(super) fn lost(&self) -> u64 {
        self.state().lost
    }

    /// The rows to write next. Call [`written`](Self::written) once they are, or [`failed`](Self::failed).
    pub(in crate::store) fn batch(&self) -> Option<Arc<[AuditRow]>> {
        self.state().batch()
    }

    pub(in crate::store) fn written(&self) {
        self.state().in_flight = None;
    }

    /// The batch could not be written. The next event calls another writer.
    pub(in crate::store) fn failed(&self) {
        self.state().is_awaited = false;
    }
}

impl State {
    fn push(&mut self, event: &AuditEvent<'_>) -> Pushed {
        if is_noise(event) {
            return Pushed::default();
        }
        let tenant: Option<Box<[u8]>> = event.tenant.map(|tenant| tenant.as_bytes().into());
        if let Some(key) = event.key
            && is_refused_request(&event.kind)
            && !self.is_told(key, event.at.as_millis(), tenant.as_deref())
        {
            return Pushed::default();
        }
        let had_lost = self.unreported.0 > 0;
        self.add(AuditRow {
            number: 0,
            node: self.node,
            at: event.at.as_millis(),
            tenant,
            key: event.key.map(|key| *key.as_bytes()),
            actor: event.actor.as_bytes().into(),
            kind: event.kind.as_str(),
            detail: event.detail().into_bytes().into(),
        });
        Pushed {
            calls_writer: !core::mem::replace(&mut self.is_awaited, true),
            begins_to_lose: !had_lost && self.unreported.0 > 0,
        }
    }

    /// Puts `row` at the end, with the next number, or counts it as lost.
    fn add(&mut self, mut row: AuditRow) {
        let in_flight = self.in_flight.as_ref().map_or(0, |rows| rows.len());
        if self.waiting.len() + in_flight >= CAPACITY {
            self.lost += 1;
            self.unreported = (self.unreported.0 + 1, row.at);
            return;
        }
        row.number = self.next_number(row.at);
        self.waiting.push_back(row);
    }

    fn next_number(&mut self, at: i64) -> i64 {
        self.last = self.last.saturating_add(1).max(first_number(at));
        self.last
    }

    fn batch(&mut self) -> Option<Arc<[AuditRow]>> {
        if let Some(rows) = &self.in_flight {
            return Some(Arc::clone(rows));
        }
        let mut rows: Vec<_> = self.waiting.drain(..self.waiting.len().min(BATCH)).collect();
        let (unreported, at) = core::mem::take(&mut self.unreported);
        if unreported > 0 {
            let mut row = self.row_of_count(None, None, at, "events_lost", format!("{unreported}"));
            row.number = self.next_number(at);
            rows.push(row);
        }
        if rows.is_empty() {
            self.is_awaited = false;
            return None;
        }
        let rows: Arc<[_]> = rows.into();
        self.in_flight = Some(Arc::clone(&rows));
        Some(rows)
    }

    /// Counts a refused request of `key`, and returns whether it is an event of its own.
    fn is_told(&mut self, key: KeyId, at: i64, tenant: Option<&[u8]>) -> bool {
        if self.refused.len() >= MAX_COUNTED_KEYS && !self.refused.contains_key(&key) {
            self.report_suppressed();
        }
        let minute = at.div_euclid(60_000);
        let ended = self.refused.get(&key).is_some_and(|refused| refused.minute != minute);
        if ended && let Some(refused) = self.refused.remove(&key) {
            self.report(key, refused);
        }
        let refused = self.refused.entry(key).or_insert_with(|| Refused {
            minute,
            told: 0,
            suppressed: (0, 0),
            tenant: None,
        });
        if refused.told < REFUSALS_PER_MINUTE {
            refused.told += 1;
            return true;
        }
        refused.suppressed = (refused.suppressed.0 + 1, at);
        refused.tenant = tenant.map(Into::into).or(refused.tenant.take());
        false
    }

    fn report_suppressed(&mut self) {
        for (key, refused) in core::mem::take(&mut self.refused) {
            self.report(key, refused);
        }
    }

    fn report(&mut self, key: KeyId, refused: Refused) {
        let (number, at) = refused.suppressed;
        if number > 0 {
            let detail = format!("{number} refused requests");
            let row = self.row_of_count(refused.tenant, Some(key), at, "suppressed", detail);
            self.add(row);
        }
    }

    fn row_of_count(
        &self,
        tenant: Option<Box<[u8]>>,
        key: Option<KeyId>,
        at: i64,
        kind: &'static str,
        detail: String,
    ) -> AuditRow {
        AuditRow {
            number: 0,
            node: self.node,
            at,
            tenant,
            key: key.map(|key| *key.as_bytes()),
            actor: Box::default(),
            kind,
            detail: detail.into_bytes().into(),
        }
    }
}

/// Whether `event` is one of those that anyone can cause at any rate.
fn is_noise(event: &AuditEvent<'_>) -> bool {
    match event.kind {
        AuditKind::Missing | AuditKind::BadRequest | AuditKind::Suppressed { .. } => true,
        AuditKind::Rejected(_) | AuditKind::Unavailable => event.key.is_none(),
        _ => false,
    }
}

/// Whether each request with a key can be one of these.
fn is_refused_request(kind: &AuditKind<'_>) -> bool {
    matches!(
        kind,
        AuditKind::Rejected(_)
            | AuditKind::Inactive(_)
            | AuditKind::Forbidden { .. }
            | AuditKind::OtherResource { .. }
            | AuditKind::OtherNetwork
            | AuditKind::OtherAudience
            | AuditKind::Limited { .. }
            | AuditKind::Unavailable
            | AuditKind::Tampered
            | AuditKind::UnknownScopes(_)
            | AuditKind::UnknownTier(_)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        audit::{Noise, Refusal},
        time::Timestamp,
        token::Rejection,
    };

    const MINUTE: i64 = 60_000;

    fn key(number: usize) -> KeyId {
        format!("A{number:015}").parse().unwrap()
    }

    fn push(queue: &Queue, at: i64, key: Option<KeyId>, kind: AuditKind<'_>) -> bool {
        let at = Timestamp::from_millis(at).unwrap();
        let event = AuditEvent { at, actor: "anna", tenant: Some("acme"), key, child: None, kind };
        queue.push(&event).calls_writer
    }

    /// Writes everything, and returns it.
    fn drain(queue: &Queue) -> Vec<AuditRow> {
        let mut all = Vec::new();
        while let Some(rows) = queue.batch() {
            assert!(rows.len() <= BATCH + 1);
            all.extend_from_slice(&rows);
            queue.written();
        }
        all
    }

    fn kinds(rows: &[AuditRow]) -> Vec<&str> {
        rows.iter().map(|row| row.kind).collect()
    }

    #[cfg(feature = "children")]
    #[test]
    fn child_is_kept_in_the_detail() {
        let queue = Queue::default();
        let id = crate::token::ChildId::of(&[7; 32]);
        let at = Timestamp::from_millis(0).unwrap();
        let (kinds, tenant) =
            ([AuditKind::OtherAudience, AuditKind::OtherResource { kind: "m" }], None);
        for kind in kinds {
            for child in [Some(id), None] {
                queue.push(&AuditEvent { at, actor: "", tenant, key: Some(key(1)), child, kind });
            }
        }
        let rows = drain(&queue);
        let details: Vec<_> = rows.iter().map(|row| str::from_utf8(&row.detail).unwrap()).collect();
        assert_eq!(details, [&*format!("child {id}"), "", &*format!("m, child {id}"), "m"]);
    }

    #[test]
    fn batch_stays_until_it_is_written() {
        let queue = Queue::default();
        assert!(push(&queue, 5, None, AuditKind::TenantResumed), "calls a writer");
        assert!(!push(&queue, 5, None, AuditKind::TenantResumed), "has called one");
        let first = queue.batch().unwrap();
        // The writer is dropped or fails: another one gets the same rows, and then the next ones.
        queue.failed();
        assert!(push(&queue, 5, None, AuditKind::TenantDeleted), "calls another writer");
        assert_eq!(queue.batch().unwrap(), first);
        queue.written();
        assert_eq!(kinds(&drain(&queue)), ["tenant_deleted"]);
        assert!(queue.batch().is_none());
        assert!(push(&queue, 5, None, AuditKind::TenantResumed));
    }

    #[test]
    fn numbers_ascend_while_the_clock_is_set_back() {
        let queue = Queue::default();
        let times =
            [Timestamp::MIN.as_millis(), 1_000, 1_000, 0, 2_000, Timestamp::MAX.as_millis()];
        for at in times {
            push(&queue, at, None, AuditKind::TenantResumed);
        }
        let rows = drain(&queue);
        assert!(rows.is_sorted_by(|one, next| one.number < next.number), "{rows:?}");
        assert_eq!(rows[1].number, first_number(1_000));
        assert_eq!(rows[4].number, first_number(2_000));
        assert!(rows[5].number < i64::MAX - 1_000_000);
    }

    #[test]
    fn full_queue_counts_and_reports_what_it_loses() {
        let queue = Queue::default();
        for _ in 0..CAPACITY + 7 {
            push(&queue, 0, None, AuditKind::TenantResumed);
        }
        assert_eq!(queue.lost(), 7);
        // Those in flight take room, too.
        assert!(queue.batch().is_some());
        push(&queue, 0, None, AuditKind::TenantResumed);
        assert_eq!(queue.lost(), 8);
        let rows = drain(&queue);
        assert_eq!(rows.len(), CAPACITY + 2);
        let lost = rows.iter().filter(|row| row.kind == "events_lost");
        assert_eq!(lost.map(|row| &*row.detail).collect::<Vec<_>>(), [b"7", b"1"]);
        assert!(
            rows.is_sorted_by(|one, next| one.number < next.number || one.kind == "events_lost")
        );
        push(&queue, 0, None, AuditKind::TenantResumed);
        assert_eq!((drain(&queue).len(), queue.lost()), (1, 8));
    }

    #[test]
    fn refused_requests_of_a_key_are_sampled_and_counted() {
        let queue = Queue::default();
        let forbidden = AuditKind::Forbidden { scopes: &[] };
        for at in 0..1_000 {
            push(&queue, at, Some(key(1)), forbidden);
        }
        // Neither another key nor a change is affected.
        push(&queue, 1_000, Some(key(2)), forbidden);
        push(&queue, 1_000, Some(key(1)), AuditKind::KeyRotated);
        let rows = drain(&queue);
        assert_eq!(rows.len(), 12);
        assert_eq!(kinds(&rows[9..]), ["forbidden", "forbidden", "key_rotated"]);
        push(&queue, MINUTE, Some(key(1)), forbidden);
        let rows = drain(&queue);
        assert_eq!(kinds(&rows), ["suppressed", "forbidden"]);
        assert_eq!((&*rows[0].detail, rows[0].at), (&b"990 refused requests"[..], 999));
        assert_eq!(rows[0].tenant.as_deref(), Some(&b"acme"[..]));
        assert_eq!(rows[0].key, Some(*key(1).as_bytes()));
        for _ in 0..11 {
            push(&queue, MINUTE, Some(key(1)), forbidden);
        }
        drain(&queue);
        queue.report_suppressed();
        let rows = drain(&queue);
        assert_eq!(
            (kinds(&rows), &*rows[0].detail),
            (alloc::vec!["suppressed"], &b"2 refused requests"[..])
        );
        queue.report_suppressed();
        assert!(queue.batch().is_none());
    }

    #[test]
    fn counts_of_keys_take_bounded_room() {
        let queue = Queue::default();
        for number in 0..MAX_COUNTED_KEYS + 5 {
            push(&queue, 0, Some(key(number)), AuditKind::Unavailable);
            assert!(queue.state().refused.len() <= MAX_COUNTED_KEYS);
        }
    }

    #[test]
    fn requests_that_prove_nothing_are_left_out() {
        let queue = Queue::default();
        let suppressed = AuditKind::Suppressed { noise: Noise::Forged, count: 1 };
        let noise = [
            AuditKind::Missing,
            AuditKind::BadRequest,
            AuditKind::Rejected(Rejection::Forged),
            AuditKind::Unavailable,
            suppressed,
        ];
        for kind in noise {
            assert!(!push(&queue, 0, None, kind));
        }
        assert!(queue.batch().is_none());
        let refused = AuditKind::ChangeRefused {
            change: crate::audit::ChangeKind::IssueKey,
            refusal: Refusal::NotFound,
            detail: "no",
        };
        for kind in [refused, AuditKind::FeedGap, AuditKind::UsesLost(1), AuditKind::Tampered] {
            push(&queue, 0, None, kind);
        }
        assert_eq!(drain(&queue).len(), 4);
    }
}
