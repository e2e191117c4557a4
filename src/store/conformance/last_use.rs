//! Last use: `record_uses` notes when keys were last used. An earlier time changes nothing, and
//! neither does a key that does not exist.

use alloc::{format, vec::Vec};

use super::{
    expect::{done, made, same},
    issuer::at,
    schedule::{all, both},
    stage::Stage,
};
use crate::{
    store::{KeyStore, KeyUse},
    time::Timestamp,
    token::KeyId,
};

/// The last use is the latest that was noted: an earlier or equal one changes nothing.
pub async fn the_last_use_is_the_latest<S: KeyStore>(store: &S) {
    let stage = Stage::new(store);
    let tenant = stage.add_tenant("acme").await;
    let key = stage.add_key(&tenant, "n").await;
    stage.expect_key("before its first use", &key, &tenant).await;
    for (used, last) in [(50, 50), (40, 50), (50, 50), (60, 60), (-1, 60), (61, 61), (60, 61)] {
        stage.note_use(key.id, at(used)).await;
        let key = key.clone().with_last_used(Some(at(last)));
        stage.expect_key(&format!("after a use at {:?}", at(used)), &key, &tenant).await;
    }
}

/// Uses at both ends of time are uses like any other.
pub async fn uses_reach_both_ends_of_time<S: KeyStore>(store: &S) {
    let stage = Stage::new(store);
    let tenant = stage.add_tenant("acme").await;
    let key = stage.add_key(&tenant, "n").await;
    let minus_one = Timestamp::saturating_from_millis(-1);
    let zero = Timestamp::saturating_from_millis(0);
    let mut latest = Timestamp::MIN;
    for used in [Timestamp::MIN, minus_one, Timestamp::MIN, zero, at(0), Timestamp::MAX, at(0)] {
        stage.note_use(key.id, used).await;
        latest = latest.max(used);
        let key = key.clone().with_last_used(Some(latest));
        stage.expect_key(&format!("after a use at {used:?}"), &key, &tenant).await;
    }
}

/// Uses of keys that do not exist, or no longer do, change nothing, and those beside them are noted.
pub async fn uses_of_unknown_keys_change_nothing<S: KeyStore>(store: &S) {
    let stage = Stage::new(store);
    let tenant = stage.add_tenant("acme").await;
    let key = stage.add_key(&tenant, "n").await;
    let gone = stage.add_key(&tenant, "gone").await;
    stage.delete_key(&gone).await;
    let ids = [gone.id, unknown(1), key.id, unknown(2)];
    stage.note_uses(&ids.map(|id| KeyUse { id, at: at(5) })).await;
    let key = key.with_last_used(Some(at(5)));
    stage.expect_key("after a batch with unknown keys", &key, &tenant).await;
    for id in [gone.id, unknown(1), unknown(2)] {
        stage.expect_no_key("after its use was noted", &tenant.id, id).await;
    }
    same("the number of keys", &stage.count(&tenant.id).await, &1);
}

/// A batch of more than a thousand uses is noted whole, with the latest of those of one key, in
/// whatever order they stand.
pub async fn a_large_batch_is_noted_whole<S: KeyStore>(store: &S) {
    let stage = Stage::new(store);
    let tenant = stage.add_tenant("acme").await;
    let mut keys = Vec::new();
    for number in 0..21 {
        keys.push(stage.add_key(&tenant, &format!("key {number}")).await);
    }
    let mut uses: Vec<KeyUse> = (0..600).map(|n| KeyUse { id: unknown(n), at: at(1) }).collect();
    for (number, key) in (0_i64..).zip(&keys) {
        // Upward, downward, and with the latest in the middle.
        let shift: i64 = number % 3 * 10;
        uses.extend((0..30).map(|n| KeyUse { id: key.id, at: at(number + (n + shift) % 30) }));
    }
    uses.extend(keys.iter().rev().map(|key| KeyUse { id: key.id, at: at(-1) }));
    stage.note_uses(&uses).await;
    for (number, key) in (0_i64..).zip(&keys) {
        let key = key.clone().with_last_used(Some(at(number + 29)));
        stage.expect_key("after a large batch", &key, &tenant).await;
    }
    uses.reverse();
    stage.note_uses(&uses).await;
    for (number, key) in (0_i64..).zip(&keys) {
        let key = key.clone().with_last_used(Some(at(number + 29)));
        stage.expect_key("after the same batch in reverse", &key, &tenant).await;
    }
}

/// An empty batch is done, and changes nothing.
pub async fn an_empty_batch_is_done<S: KeyStore>(store: &S) {
    let stage = Stage::new(store);
    stage.note_uses(&[]).await;
    let tenant = stage.add_tenant("acme").await;
    let key = stage.add_key(&tenant, "n").await;
    stage.note_uses(&[]).await;
    stage.expect_key("after an empty batch", &key, &tenant).await;
}

/// One batch may hold the uses of many tenants' keys.
pub async fn a_batch_spans_tenants<S: KeyStore>(store: &S) {
    let stage = Stage::new(store);
    let mut held = Vec::new();
    for number in 0..8 {
        let tenant = stage.add_tenant(&format!("t{number}")).await;
        let key = stage.add_key(&tenant, "n").await;
        held.push((tenant, key));
    }
    let uses: Vec<_> = (0_i64..)
        .zip(&held)
        .filter(|(number, _)| number % 2 == 0)
        .map(|(number, (_, key))| KeyUse { id: key.id, at: at(number) })
        .collect();
    stage.note_uses(&uses).await;
    for (number, (tenant, key)) in (0_i64..).zip(held) {
        let last_used = (number % 2 == 0).then(|| at(number));
        let key = key.with_last_used(last_used);
        stage.expect_key("after a batch of several tenants", &key, &tenant).await;
    }
}

/// A use is no change: it leaves the version, and an update that was prepared before it is no
/// conflict.
pub async fn a_use_is_no_new_version<S: KeyStore>(store: &S) {
    let stage = Stage::new(store);
    let tenant = stage.add_tenant("acme").await;
    let key = stage.add_key(&tenant, "n").await;
    let next = stage.issuer.renamed(&key, &tenant, "m");
    stage.note_use(key.id, at(5)).await;
    let used = key.clone().with_last_used(Some(at(5)));
    stage.expect_key("after a use", &used, &tenant).await;
    let updated = store.update_key(next.clone(), key.version).await;
    done("an update that was prepared before a use", updated);
    stage.expect_key("after it", &next.with_last_used(Some(at(5))), &tenant).await;
}

/// Uses, and updates beside them, that come at the same time leave the latest use and the updated
/// key.
pub async fn concurrent_uses_leave_the_latest<S: KeyStore>(store: &S) {
    let stage = Stage::new(store);
    let tenant = stage.add_tenant("acme").await;
    let mut key = stage.add_key(&tenant, "n").await;
    for round in 1..5 {
        let times = [3, 9, 1, 7, 5, 8, 2].map(|millis| [at(round * 10 + millis)]);
        let batches = times.map(|times| times.map(|at| KeyUse { id: key.id, at }));
        let uses = all(batches.iter().map(|uses| store.record_uses(uses)));
        let next = stage.issuer.renamed(&key, &tenant, format!("round {round}"));
        let (noted, updated) = both(uses, store.update_key(next.clone(), key.version)).await;
        for noted in noted {
            done("noting a use beside others", noted);
        }
        done("an update beside uses", updated);
        key = next.with_last_used(Some(at(round * 10 + 9)));
        stage.expect_key("after uses at the same time", &key, &tenant).await;
    }
}

/// The id of no key.
fn unknown(number: u16) -> KeyId {
    made(format!("Aunknown0000{number:04}").parse())
}
