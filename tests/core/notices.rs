//! Notices: each is claimed by one node, and is due again until it is confirmed.

use std::{thread, time::Duration};

use crate::support::{DAY, HOUR, World, block_on, overheard::RevealKnown as _, tenant_id};
use keyway::{
    GracePeriod, KeyEdit, KeyId, KeyRecord, Keyring, NewKey, TenantKeys,
    keyring::{Due, Notice},
    record::{NoticeKind, Suspension},
};

const WEEK: Due = Due::ExpiringWithin(Duration::from_secs(7 * 86_400));
const MONTH_UNUSED: Due = Due::UnusedFor(Duration::from_secs(30 * 86_400));

/// Claims all notices that are due.
fn claim(keyring: &Keyring, due: Due) -> Vec<Notice> {
    let (mut notices, mut after) = (Vec::new(), None);
    loop {
        let page = block_on(keyring.claim_notices(due, after.as_ref())).unwrap();
        assert_eq!(page.broken, []);
        notices.extend(page.items);
        match page.next {
            Some(next) => after = Some(next),
            None => return notices,
        }
    }
}

fn names(notices: &[Notice]) -> Vec<&str> {
    notices.iter().map(|notice| notice.key.name()).collect()
}

fn confirm(keyring: &Keyring, notices: &[Notice]) {
    for notice in notices {
        block_on(keyring.confirm_notice(notice)).unwrap();
    }
}

/// Returns a tenant without keys.
fn tenant(world: &World, id: &str) -> TenantKeys {
    block_on(world.keyring.create_empty_tenant(id, "advanced")).unwrap()
}

/// Issues a key that expires after `days`.
fn issue(keys: &TenantKeys, name: &str, days: u32) -> KeyRecord {
    block_on(keys.issue(NewKey::named(name).expires_in(DAY * days))).unwrap().key
}

fn edit(keys: &TenantKeys, id: KeyId, edit: KeyEdit) {
    let version = block_on(keys.find(id)).unwrap().version();
    block_on(keys.edit(id, version, edit)).unwrap();
}

#[test]
fn key_that_ends_soon_is_due_once() {
    let world = World::new();
    let keys = tenant(&world, "acme");
    let soon = issue(&keys, "soon", 6);
    issue(&keys, "later", 8);
    drop(block_on(keys.issue(NewKey::named("endless"))).unwrap());

    let notices = claim(&world.keyring, WEEK);
    assert_eq!(names(&notices), ["soon"]);
    assert_eq!(notices[0].kind, NoticeKind::Expiring);
    assert_eq!(Some(notices[0].about), soon.expires_at());
    assert_eq!(notices[0].tenant.id(), keys.id());
    confirm(&world.keyring, &notices);
    for _ in 0..3 {
        assert!(claim(&world.keyring, WEEK).is_empty());
        world.clock.advance(HOUR);
    }
    // Another key is due later, and the first one stays done.
    world.clock.advance(DAY);
    assert_eq!(names(&claim(&world.keyring, WEEK)), ["later"]);
    assert!(claim(&world.keyring, WEEK).is_empty());
}

#[test]
fn notice_is_due_again_until_it_is_confirmed() {
    let world = World::new();
    let keys = tenant(&world, "acme");
    issue(&keys, "soon", 6);
    let node = world.another_node();
    let lost = claim(&world.keyring, WEEK);
    assert_eq!(lost.len(), 1);
    world.clock.advance(Keyring::NOTICE_LEASE - Duration::from_millis(1));
    assert!(claim(&node.keyring, WEEK).is_empty());
    world.clock.advance(Duration::from_millis(1));
    let again = claim(&node.keyring, WEEK);
    assert_eq!(again.len(), 1);
    // The first node was slow, and not dead. Both confirmations are the same.
    confirm(&world.keyring, &lost);
    confirm(&node.keyring, &again);
    world.clock.advance(DAY);
    assert!(claim(&world.keyring, WEEK).is_empty());
}

#[test]
fn new_end_is_another_notice() {
    let world = World::new();
    let keys = tenant(&world, "acme");
    let issued = issue(&keys, "soon", 6);
    confirm(&world.keyring, &claim(&world.keyring, WEEK));
    // A change of anything else is none, and keeps the mark.
    let id = issued.id();
    edit(&keys, id, KeyEdit::new().name("renamed"));
    let version = block_on(keys.find(id)).unwrap().version();
    drop(block_on(keys.rotate(id, version, GracePeriod::For(HOUR))).unwrap());
    assert!(claim(&world.keyring, WEEK).is_empty());
    let later = world.now().checked_add(DAY * 5).unwrap();
    edit(&keys, id, KeyEdit::new().expires_at(later));
    let notices = claim(&world.keyring, WEEK);
    assert_eq!((names(&notices), notices[0].about), (vec!["renamed"], later));
}

#[test]
fn late_confirmation_leaves_the_notice_of_a_new_end() {
    let world = World::new();
    let keys = tenant(&world, "acme");
    let issued = issue(&keys, "soon", 6);
    let first = claim(&world.keyring, WEEK);
    let later = world.now().checked_add(DAY * 5).unwrap();
    edit(&keys, issued.id(), KeyEdit::new().expires_at(later));
    let second = claim(&world.keyring, WEEK);
    assert_eq!(second[0].about, later);
    // The first notice was about an end that the key no longer has.
    confirm(&world.keyring, &first);
    assert!(claim(&world.keyring, WEEK).is_empty());
    confirm(&world.keyring, &second);
    world.clock.advance(HOUR);
    assert!(claim(&world.keyring, WEEK).is_empty());
}

#[test]
fn change_between_claim_and_confirmation_loses_neither() {
    let world = World::new();
    let keys = tenant(&world, "acme");
    let issued = issue(&keys, "soon", 6);
    let notices = claim(&world.keyring, WEEK);
    edit(&keys, issued.id(), KeyEdit::new().name("renamed"));
    confirm(&world.keyring, &notices);
    assert_eq!(block_on(keys.find(issued.id())).unwrap().name(), "renamed");
    world.clock.advance(HOUR);
    assert!(claim(&world.keyring, WEEK).is_empty());
}

#[test]
fn unused_key_is_due_after_each_last_use() {
    let world = World::new();
    let keys = tenant(&world, "acme");
    let issued = block_on(keys.issue(NewKey::named("idle"))).unwrap();
    let token = issued.token.reveal_known().to_string();
    world.clock.advance(DAY * 29);
    assert!(claim(&world.keyring, MONTH_UNUSED).is_empty());
    world.clock.advance(DAY * 2);
    let notices = claim(&world.keyring, MONTH_UNUSED);
    assert_eq!(notices[0].kind, NoticeKind::Unused);
    assert_eq!(notices[0].about, issued.key.created_at());
    confirm(&world.keyring, &notices);
    world.clock.advance(DAY * 60);
    assert!(claim(&world.keyring, MONTH_UNUSED).is_empty());

    block_on(world.keyring.verify(&token)).unwrap();
    block_on(world.keyring.flush_uses()).unwrap();
    world.clock.advance(DAY * 29);
    assert!(claim(&world.keyring, MONTH_UNUSED).is_empty());
    world.clock.advance(DAY * 2);
    assert_eq!(names(&claim(&world.keyring, MONTH_UNUSED)), ["idle"]);
}

#[test]
fn both_kinds_of_notice_have_their_own_mark() {
    let world = World::new();
    let keys = tenant(&world, "acme");
    issue(&keys, "idle and ending", 36);
    world.clock.advance(DAY * 31);
    for due in [WEEK, MONTH_UNUSED] {
        let notices = claim(&world.keyring, due);
        assert_eq!(names(&notices), ["idle and ending"]);
        confirm(&world.keyring, &notices);
    }
    for due in [WEEK, MONTH_UNUSED] {
        assert!(claim(&world.keyring, due).is_empty());
    }
}

#[test]
fn key_that_cannot_be_used_is_not_due() {
    let reason = || Suspension::permanent("unpaid").unwrap();
    let changes: [(&str, fn(&TenantKeys, KeyId)); 2] = [
        ("disabled", |keys, id| drop(block_on(keys.disable(id)).unwrap())),
        ("deleted", |keys, id| block_on(keys.delete(id)).unwrap()),
    ];
    for (name, change) in changes {
        let world = World::new();
        let keys = tenant(&world, "acme");
        change(&keys, issue(&keys, name, 6).id());
        // The control.
        issue(&keys, "active", 6);
        assert_eq!(names(&claim(&world.keyring, WEEK)), ["active"]);
    }
    let world = World::new();
    issue(&tenant(&world, "acme"), "of acme", 6);
    issue(&tenant(&world, "globex"), "of globex", 6);
    block_on(world.keyring.suspend_tenant(&tenant_id("acme"), reason())).unwrap();
    assert_eq!(names(&claim(&world.keyring, WEEK)), ["of globex"]);
}

#[test]
fn late_job_tells_of_keys_that_have_just_ended() {
    let world = World::new();
    let keys = tenant(&world, "acme");
    issue(&keys, "first", 1);
    issue(&keys, "second", 4);
    world.clock.advance(DAY * 9);
    // The first one has ended eight days ago.
    let notices = claim(&world.keyring, WEEK);
    assert_eq!(names(&notices), ["second"]);
    assert!(notices[0].about < world.now());
}

#[test]
fn confirmation_of_a_deleted_key_succeeds() {
    let world = World::new();
    let keys = tenant(&world, "acme");
    issue(&keys, "soon", 6);
    issue(&keys, "soon too", 6);
    let notices = claim(&world.keyring, WEEK);
    block_on(keys.delete(notices[0].key.id())).unwrap();
    block_on(world.keyring.delete_tenant(keys.id())).unwrap();
    confirm(&world.keyring, &notices);
}

#[test]
fn nodes_at_the_same_time_share_the_notices() {
    const NODES: usize = 4;
    const TENANTS: usize = 60;
    let world = World::new();
    for number in 0..TENANTS {
        issue(&tenant(&world, &format!("t{number}")), "soon", 6);
    }
    let nodes: Vec<World> = (0..NODES).map(|_| world.another_node()).collect();
    let claimed: Vec<Vec<Notice>> = thread::scope(|scope| {
        let nodes = nodes.iter().map(|node| scope.spawn(|| claim(&node.keyring, WEEK)));
        let nodes: Vec<_> = nodes.collect();
        nodes.into_iter().map(|node| node.join().unwrap()).collect()
    });
    let mut tenants: Vec<String> =
        claimed.iter().flatten().map(|notice| notice.tenant.id().to_string()).collect();
    assert_eq!(tenants.len(), TENANTS);
    tenants.sort();
    tenants.dedup();
    assert_eq!(tenants.len(), TENANTS);
}
