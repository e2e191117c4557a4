//! Reads: which events they return, and in which order.

use alloc::vec::Vec;

use super::{Stage, all, event, key, limit, numbers, second};
use crate::{
    event::Event,
    store::{EventStore, conformance::expect::same},
};

/// The newest events come first. A page continues before a given number. Delivered events are read like others.
pub(super) async fn the_newest_events_come_first<S: EventStore>(store: &S) {
    let stage = Stage::new(store);
    stage.add_to("acme", 0..9).await;
    stage.add_to("other", 0..2).await;
    for delivered in [0, 4] {
        if delivered > 0 {
            while let Some(claim) = stage.claim(second(0), all()).await {
                stage.settle(&claim, delivered, second(1_000)).await;
            }
        }
        let cases: [(Option<u64>, usize, &[u64]); 6] = [
            (None, 3, &[9, 8, 7]),
            (Some(7), 3, &[6, 5, 4]),
            (Some(2), 3, &[1]),
            (Some(1), 3, &[]),
            (Some(0), 3, &[]),
            (Some(u64::MAX), 20, &[9, 8, 7, 6, 5, 4, 3, 2, 1]),
        ];
        for (before, most, expected) in cases {
            let page = stage.read(Some("acme"), None, before, limit(most)).await;
            let what = alloc::format!("{most} events before {before:?}");
            same(what, &numbers(&page), &expected.to_vec());
        }
        same("nobody's events", &stage.read(Some("nobody"), None, None, all()).await, &Vec::new());
    }
}

/// With a key, only its events are returned, and only those of the tenant that is asked for.
pub(super) async fn events_of_a_key_are_those_of_its_tenant<S: EventStore>(store: &S) {
    let stage = Stage::new(store);
    let with = |tenant, number, key| Event { key, ..event(Some(tenant), number) };
    let of_key = |number: u64| (!number.is_multiple_of(3)).then(|| key(number % 3));
    stage.add(&(0..12).map(|n| with("acme", n, of_key(n))).collect::<Vec<_>>()).await;
    stage.add(&(0..3).map(|n| with("other", n, Some(key(1)))).collect::<Vec<_>>()).await;
    let cases: [(u64, Option<u64>, usize, &[u64]); 4] = [
        (1, None, 20, &[11, 8, 5, 2]),
        (1, Some(8), 20, &[5, 2]),
        (2, None, 2, &[12, 9]),
        (7, None, 20, &[]),
    ];
    for (number, before, most, expected) in cases {
        let page = stage.read(Some("acme"), Some(key(number)), before, limit(most)).await;
        let what = alloc::format!("{most} events of key {number} before {before:?}");
        same(what, &numbers(&page), &expected.to_vec());
    }
}
