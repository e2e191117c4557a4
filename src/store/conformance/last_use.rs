//! Last use: `record_uses` records when keys were last used. An earlier time changes nothing, and neither
//! does the use of a key that does not exist.

use alloc::{format, vec::Vec};

use futures_util::future::{join, join_all};

use super::{
    expect::{done, made},
    issuer::at,
    stage::Stage,
};
use crate::{
    store::{KeyStore, KeyUse},
    time::Timestamp,
    token::KeyId,
};

/// The last use is the latest recorded one. An earlier or equal time changes nothing.
pub(super) async fn the_last_use_is_the_latest<S: KeyStore>(store: &S) {
    let (stage, tenant, key) = Stage::with_key(store, "n").await;
    stage.expect_key("before its first use", &key, &tenant).await;
    for (used, last) in [(50, 50), (40, 50), (50, 50), (60, 60), (-1, 60), (61, 61), (60, 61)] {
        stage.note_use(key.id, at(used)).await;
        let key = key.clone().with_last_used(Some(at(last)));
        stage.expect_key(&format!("after a use at {:?}", at(used)), &key, &tenant).await;
    }
}

/// The earliest and the latest time that exist can be recorded as uses.
pub(super) async fn uses_reach_both_ends_of_time<S: KeyStore>(store: &S) {
    let (stage, tenant, key) = Stage::with_key(store, "n").await;
    let [minus_one, zero] = [-1, 0].map(Timestamp::saturating_from_millis);
    let mut latest = Timestamp::MIN;
    for used in [Timestamp::MIN, minus_one, Timestamp::MIN, zero, at(0), Timestamp::MAX, at(0)] {
        stage.note_use(key.id, used).await;
        latest = latest.max(used);
        let key = key.clone().with_last_used(Some(latest));
        stage.expect_key(&format!("after a use at {used:?}"), &key, &tenant).await;
    }
}

/// A stored last use that is later than the latest possible time is replaced by the next recorded use. Any
/// other stored use is kept as usual.
pub(super) async fn a_use_of_the_future_is_replaced<S: KeyStore>(store: &S) {
    let (stage, tenant, key) = Stage::with_key(store, "n").await;
    // The recorded time, the latest possible time, and the time that is stored afterwards.
    let uses = [
        (900, 950, 900),
        (100, 900, 900),
        (100, 899, 100),
        (90, 899, 100),
        (90, 100, 100),
        (90, 99, 90),
        (95, 99, 95),
    ];
    for (used, latest, stored) in uses {
        let noted = store.record_uses(&[KeyUse { id: key.id, at: at(used) }], at(latest)).await;
        let what = format!("noting a use at {used} where {latest} is the latest possible");
        done(&what, noted);
        let key = key.clone().with_last_used(Some(at(stored)));
        stage.expect_key(&what, &key, &tenant).await;
    }
}

/// Uses of keys that do not exist, or no longer exist, change nothing. Other uses in the same batch are
/// recorded.
pub(super) async fn uses_of_unknown_keys_change_nothing<S: KeyStore>(store: &S) {
    let (stage, tenant, key) = Stage::with_key(store, "n").await;
    let gone = stage.add_key(&tenant, "gone").await;
    stage.delete_key(&gone).await;
    let ids = [gone.id, unknown(1), key.id, unknown(2)];
    stage.note_uses(&ids.map(|id| KeyUse { id, at: at(5) })).await;
    let key = key.with_last_used(Some(at(5)));
    stage.expect_key("after a batch with unknown keys", &key, &tenant).await;
    for id in [gone.id, unknown(1), unknown(2)] {
        stage.expect_no_key("after its use was noted", &tenant.id, id).await;
    }
    stage.expect_count("after a batch with unknown keys", &tenant.id, 1).await;
}

/// A batch of more than a thousand uses is recorded completely. If it holds several uses of one key, in any
/// order, the latest is recorded.
pub(super) async fn a_large_batch_is_noted_whole<S: KeyStore>(store: &S) {
    let (stage, tenant) = Stage::with_tenant(store).await;
    let keys = stage.add_keys(&tenant, 21).await;
    let mut uses: Vec<KeyUse> = (0..600).map(|n| KeyUse { id: unknown(n), at: at(1) }).collect();
    for (number, key) in (0_i64..).zip(&keys) {
        // The uses of one key are in ascending order, in descending order, or with the latest in the middle.
        let shift: i64 = number % 3 * 10;
        uses.extend((0..30).map(|n| KeyUse { id: key.id, at: at(number + (n + shift) % 30) }));
    }
    uses.extend(keys.iter().rev().map(|key| KeyUse { id: key.id, at: at(-1) }));
    for when in ["after a large batch", "after the same batch in reverse"] {
        stage.note_uses(&uses).await;
        for (number, key) in (0_i64..).zip(&keys) {
            let key = key.clone().with_last_used(Some(at(number + 29)));
            stage.expect_key(when, &key, &tenant).await;
        }
        uses.reverse();
    }
}

/// An empty batch succeeds and changes nothing.
pub(super) async fn an_empty_batch_is_done<S: KeyStore>(store: &S) {
    let stage = Stage::new(store);
    stage.note_uses(&[]).await;
    let tenant = stage.add_tenant("acme").await;
    let key = stage.add_key(&tenant, "n").await;
    stage.note_uses(&[]).await;
    stage.expect_key("after an empty batch", &key, &tenant).await;
}

/// One batch may hold uses of keys of many tenants.
pub(super) async fn a_batch_spans_tenants<S: KeyStore>(store: &S) {
    let stage = Stage::new(store);
    let mut held = Vec::new();
    for number in 0..8 {
        let tenant = stage.add_tenant(&format!("t{number}")).await;
        let key = stage.add_key(&tenant, "n").await;
        held.push((tenant, key));
    }
    let every_second = (0_i64..).zip(&held).step_by(2);
    let uses = every_second.map(|(number, (_, key))| KeyUse { id: key.id, at: at(number) });
    stage.note_uses(&uses.collect::<Vec<_>>()).await;
    for (number, (tenant, key)) in (0_i64..).zip(held) {
        let key = key.with_last_used((number % 2 == 0).then(|| at(number)));
        stage.expect_key("after a batch of several tenants", &key, &tenant).await;
    }
}

/// A use is not a change: it keeps the version, and an update that was prepared before it does not conflict.
pub(super) async fn a_use_is_no_new_version<S: KeyStore>(store: &S) {
    let (stage, tenant, key) = Stage::with_key(store, "n").await;
    let next = stage.issuer.renamed(&key, &tenant, "m");
    stage.note_use(key.id, at(5)).await;
    let used = key.clone().with_last_used(Some(at(5)));
    stage.expect_key("after a use", &used, &tenant).await;
    let updated = store.update_key(next.clone(), key.version, &[]).await;
    done("an update that was prepared before a use", updated);
    stage.expect_key("after it", &next.with_last_used(Some(at(5))), &tenant).await;
}

/// Concurrent uses and updates leave the latest use and the updated key.
pub(super) async fn concurrent_uses_leave_the_latest<S: KeyStore>(store: &S) {
    let (stage, tenant, mut key) = Stage::with_key(store, "n").await;
    for round in 1..5 {
        let times = [3, 9, 1, 7, 5, 8, 2].map(|millis| at(round * 10 + millis));
        let batches = times.map(|at| [KeyUse { id: key.id, at }]);
        let uses = join_all(batches.iter().map(|uses| store.record_uses(uses, Timestamp::MAX)));
        let next = stage.issuer.renamed(&key, &tenant, format!("round {round}"));
        let (noted, updated) = join(uses, store.update_key(next.clone(), key.version, &[])).await;
        for noted in noted {
            done("noting a use beside others", noted);
        }
        done("an update beside uses", updated);
        key = next.with_last_used(Some(at(round * 10 + 9)));
        stage.expect_key("after uses at the same time", &key, &tenant).await;
    }
}

/// Returns an id that belongs to no key.
fn unknown(number: u16) -> KeyId {
    made(format!("Aunknown0000{number:04}").parse())
}
