//! Keys that are not used: a notice comes first, then the key is disabled.

use std::time::Duration;

use crate::support::{
    DAY, HOUR, Held, World, block_on, catalog, overheard, overheard::RevealKnown as _,
};
use keyway::{
    ConfigError, GracePeriod, KeyEdit, KeyRecord, Keyring, NewKey, Policy, Tier,
    keyring::{Due, Notice},
    record::NoticeKind,
    store::{KeyFilter, KeyQuery},
};

const LIMIT: Duration = Duration::from_secs(90 * 86_400);
const WARNING: Duration = Duration::from_secs(14 * 86_400);
const DUE: Due = Due::IdleWithin(WARNING);

fn policy() -> Policy {
    overheard::listen();
    let tiers = [Tier::new("lite", 1).max_idle(LIMIT), Tier::new("advanced", 5)];
    Policy::new("mm", catalog(), tiers).unwrap()
}

/// Creates a service and a tenant whose tier has a limit, with one key.
fn world() -> (World, Held) {
    let world = World::with(policy(), |builder| builder);
    let keys = block_on(world.keyring.create_empty_tenant("acme", "lite")).unwrap();
    let issued = block_on(keys.issue(NewKey::named("sync"))).unwrap();
    let token = issued.token.reveal_known().to_string();
    (world, Held { keys, key: issued.key, token })
}

fn claim(keyring: &Keyring) -> Vec<Notice> {
    block_on(keyring.claim_notices(DUE, None)).unwrap().items
}

fn notify(keyring: &Keyring) -> usize {
    let notices = claim(keyring);
    for notice in &notices {
        assert_eq!(notice.kind, NoticeKind::Idle);
        block_on(keyring.confirm_notice(notice)).unwrap();
    }
    notices.len()
}

fn disable(keyring: &Keyring) -> usize {
    block_on(keyring.disable_idle(WARNING, None)).unwrap().items.len()
}

fn read(held: &Held) -> KeyRecord {
    block_on(held.keys.find(held.key.id())).unwrap()
}

#[test]
fn idle_key_is_disabled_after_its_notice() {
    let (world, held) = world();
    world.clock.advance(LIMIT - WARNING);
    assert_eq!(notify(&world.keyring), 0);
    world.clock.advance(HOUR);
    assert_eq!(notify(&world.keyring), 1);
    assert_eq!(notify(&world.keyring), 0);
    world.clock.advance(WARNING - HOUR);
    assert_eq!(disable(&world.keyring), 0);
    assert!(block_on(world.keyring.verify(&held.token)).is_ok());
}

#[test]
fn idle_key_is_disabled_once_and_by_the_actor() {
    let (world, held) = world();
    world.clock.advance(LIMIT - WARNING + HOUR);
    notify(&world.keyring);
    world.clock.advance(WARNING);
    let disabled = block_on(world.keyring.acting_as("idle keys").disable_idle(WARNING, None));
    let disabled = disabled.unwrap().items;
    assert_eq!(disabled.len(), 1);
    assert!(!disabled[0].enabled());
    assert!(block_on(world.keyring.verify(&held.token)).is_err());
    assert_eq!(disable(&world.keyring), 0);
    assert_eq!(notify(&world.keyring), 0);
    let events = world.audit.events();
    let edited = events.iter().find(|event| event.kind.starts_with("KeyEdited")).unwrap();
    assert_eq!(edited.actor, "idle keys");
    assert!(edited.kind.ends_with("enabled: false }"), "{}", edited.kind);
}

#[test]
fn idle_key_without_a_confirmed_notice_stays() {
    let (world, held) = world();
    world.clock.advance(LIMIT * 3);
    assert_eq!(disable(&world.keyring), 0);
    // Claimed, and never confirmed.
    assert_eq!(claim(&world.keyring).len(), 1);
    world.clock.advance(LIMIT);
    assert_eq!(disable(&world.keyring), 0);
    assert!(read(&held).enabled());
}

#[test]
fn late_notice_moves_the_end_of_an_idle_key() {
    let (world, _held) = world();
    world.clock.advance(LIMIT * 2);
    assert_eq!(notify(&world.keyring), 1);
    assert_eq!(disable(&world.keyring), 0);
    world.clock.advance(WARNING - Duration::from_millis(1));
    assert_eq!(disable(&world.keyring), 0);
    world.clock.advance(Duration::from_millis(1));
    assert_eq!(disable(&world.keyring), 1);
}

#[test]
fn use_or_rotation_after_the_notice_keeps_an_idle_key() {
    let (world, held) = world();
    world.clock.advance(LIMIT - WARNING + HOUR);
    notify(&world.keyring);
    // This node has seen the use and not written it yet.
    block_on(world.keyring.verify(&held.token)).unwrap();
    world.clock.advance(WARNING);
    assert_eq!(disable(&world.keyring), 0);
    world.clock.advance(LIMIT - WARNING);
    assert_eq!(notify(&world.keyring), 1);
    let version = read(&held).version();
    let rotated = held.keys.rotate(held.key.id(), version, GracePeriod::None);
    drop(block_on(rotated).unwrap());
    world.clock.advance(WARNING);
    assert_eq!(disable(&world.keyring), 0);
    assert!(read(&held).enabled());
}

#[test]
fn idle_key_that_is_enabled_again_gets_another_notice() {
    let (world, held) = world();
    world.clock.advance(LIMIT);
    notify(&world.keyring);
    world.clock.advance(WARNING);
    assert_eq!(disable(&world.keyring), 1);
    let version = read(&held).version();
    let enabled = held.keys.edit(held.key.id(), version, KeyEdit::new().enabled(true));
    block_on(enabled).unwrap();
    assert_eq!(disable(&world.keyring), 0);
    assert_eq!(notify(&world.keyring), 1);
    assert_eq!(disable(&world.keyring), 0);
    world.clock.advance(WARNING);
    assert_eq!(disable(&world.keyring), 1);
}

#[test]
fn filter_selects_keys_that_are_due_before_a_time() {
    let (world, held) = world();
    let due = |days: u32| {
        let filter = KeyFilter::all().due_before(world.after(DAY * days));
        let all = block_on(world.keyring.all_keys(&filter, None)).unwrap().items;
        let query = KeyQuery::all().matching(filter);
        let own = block_on(held.keys.list(&query)).unwrap().items;
        assert_eq!(all, own);
        all.len()
    };
    assert_eq!((due(90), due(91)), (0, 1));
    world.clock.advance(DAY * 80);
    assert_eq!((due(10), due(11)), (0, 1));
    // Its end is earlier than the time without a use.
    let version = read(&held).version();
    let ends = KeyEdit::new().expires_at(world.after(DAY * 5));
    block_on(held.keys.edit(held.key.id(), version, ends)).unwrap();
    assert_eq!((due(5), due(6)), (0, 1));
    // A key that is not active is not due any more.
    world.clock.advance(DAY * 6);
    assert_eq!(due(100), 0);
    let tenant = block_on(world.keyring.find_tenant(held.keys.id())).unwrap();
    let terms = world.keyring.policy().terms(&tenant).unwrap();
    let key = read(&held);
    assert_eq!(key.idle_until(&terms), key.created_at().checked_add(LIMIT));
}

#[test]
fn tier_without_a_limit_disables_no_idle_key() {
    let (world, held) = world();
    block_on(world.keyring.set_tier(held.keys.id(), "advanced")).unwrap();
    world.clock.advance(LIMIT * 4);
    assert_eq!(notify(&world.keyring), 0);
    assert_eq!(disable(&world.keyring), 0);
    assert!(read(&held).enabled());
}

#[test]
fn two_nodes_disable_an_idle_key_once() {
    let (world, _held) = world();
    let node = world.another_node_with(policy(), |builder| builder);
    world.clock.advance(LIMIT);
    assert_eq!(notify(&world.keyring) + notify(&node.keyring), 1);
    world.clock.advance(WARNING + DAY);
    assert_eq!(disable(&world.keyring) + disable(&node.keyring), 1);
}

#[test]
fn idle_limit_of_a_policy_is_checked() {
    let tiers = |lite: Option<u64>, advanced: Option<u64>| {
        let tier = |name, keys, days: Option<u64>| {
            let mut tier = Tier::new(name, keys);
            tier.max_idle = days.map(|days| Duration::from_secs(days * 86_400));
            tier
        };
        let tiers = [tier("lite", 1, lite), tier("advanced", 5, advanced)];
        Policy::new("mm", catalog(), tiers).map(drop)
    };
    assert_eq!(tiers(Some(0), None), Err(ConfigError::ZeroIdle("lite".into())));
    assert!(matches!(tiers(None, Some(90)), Err(ConfigError::Descending { .. })));
    assert!(matches!(tiers(Some(90), Some(30)), Err(ConfigError::Descending { .. })));
    assert_eq!(tiers(Some(30), Some(90)), Ok(()));

    let text = r#"{ "issuer": "mm", "scopes": [],
        "tiers": [{ "name": "lite", "keys": 1, "max_idle_days": 90 }] }"#;
    let policy: Policy = serde_json::from_str(text).unwrap();
    assert_eq!(policy.tiers()[0].max_idle, Some(LIMIT));
}
