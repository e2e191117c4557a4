//! What a keyring promises that has the store behind its cache: a change is seen at once by the node
//! that made it, and by every other one within its staleness bound.
//!
//! These hold for every store that keeps the contract. A store that fails one of them and none of the
//! others has found a clause that is missing there.

use alloc::{
    format,
    string::{String, ToString},
};
use core::{fmt::Debug, time::Duration};

use super::{
    expect::{made, same},
    issuer::{at, pepper, policy},
    schedule::all,
};
use crate::{
    authority::{KeyEdit, NewKey, Overlap},
    decision::KeyState,
    keyring::{IssuedKey, Keyring, KeyringError, TenantKeys},
    record::{KeyRecord, Suspension},
    store::AnyStore,
    time::ManualClock,
    verifier::{Freshness, VerifyError},
};

/// The staleness bound of every node.
const MAX_STALENESS: Duration = Duration::from_secs(5);

/// A key that is switched off is refused from then on, and accepted once it is switched on.
pub async fn a_switch_is_seen_at_once(store: &AnyStore) {
    let node = Node::new(store);
    let held = node.tenant_with_key("acme").await;
    node.expect_verified("before", &held).await;
    granted("disable", held.keys.disable(held.key.id).await);
    node.expect_state("after `disable`", &held, KeyState::Disabled).await;
    granted("enable", held.keys.enable(held.key.id).await);
    node.expect_verified("after `enable`", &held).await;
}

/// A key that is deleted is refused from then on.
pub async fn a_deletion_is_seen_at_once(store: &AnyStore) {
    let node = Node::new(store);
    let held = node.tenant_with_key("acme").await;
    node.expect_verified("before", &held).await;
    granted("delete", held.keys.delete(held.key.id).await);
    node.expect_rejected("after `delete`", &held.token).await;
}

/// A key that is suspended is refused from then on, and accepted once it is resumed.
pub async fn a_suspension_is_seen_at_once(store: &AnyStore) {
    let node = Node::new(store);
    let held = node.tenant_with_key("acme").await;
    node.expect_verified("before", &held).await;
    granted("suspend_key", node.keyring.suspend_key(held.key.id, spam()).await);
    let suspended = KeyState::KeySuspended { until: None };
    node.expect_state("after `suspend_key`", &held, suspended).await;
    granted("resume_key", node.keyring.resume_key(held.key.id).await);
    node.expect_verified("after `resume_key`", &held).await;
}

/// A scope that is taken from a key is gone from then on.
pub async fn narrower_scopes_are_seen_at_once(store: &AnyStore) {
    let node = Node::new(store);
    let held = node.tenant_with_key("acme").await;
    same("the scopes before", &node.scopes(&held).await, &"operator reporting".into());
    let edit = KeyEdit::new().scopes(["reporting"]);
    granted("edit", held.keys.edit(held.key.id, held.key.version, edit).await);
    same("the scopes after `edit`", &node.scopes(&held).await, &"reporting".into());
}

/// A secret that is replaced without an overlap is refused from then on, and the new one accepted.
pub async fn a_rotation_is_seen_at_once(store: &AnyStore) {
    let node = Node::new(store);
    let held = node.tenant_with_key("acme").await;
    node.expect_verified("before", &held).await;
    let rotated =
        granted("rotate", held.keys.rotate(held.key.id, held.key.version, Overlap::None).await);
    node.expect_rejected("after `rotate`", &held.token).await;
    let held = Held::new(held.keys, rotated);
    node.expect_verified("after `rotate`, with the new secret", &held).await;
}

/// The first use of a new secret ends the overlap with the old one, in the store too.
pub async fn a_first_use_ends_the_overlap(store: &AnyStore) {
    let node = Node::new(store);
    let held = node.tenant_with_key("acme").await;
    let (id, version) = (held.key.id, held.key.version);
    let rotated = granted("rotate", held.keys.rotate(id, version, Overlap::UntilFirstUse).await);
    node.expect_verified("before the first use of the new secret", &held).await;
    let new = Held::new(held.keys.clone(), rotated);
    node.expect_verified("at the first use of the new secret", &new).await;
    node.expect_rejected("after the first use of the new secret", &held.token).await;
    let key = granted("find", held.keys.find(id).await);
    same("the overlap in the store", &key.overlap_until(), &None);
}

/// A tenant that is suspended has no key that is accepted from then on, and all of them once it is
/// resumed.
pub async fn a_tenants_suspension_is_seen_at_once(store: &AnyStore) {
    let node = Node::new(store);
    let held = node.tenant_with_key("acme").await;
    node.expect_verified("before", &held).await;
    granted("suspend_tenant", node.keyring.suspend_tenant(held.keys.id(), spam()).await);
    let suspended = KeyState::TenantSuspended { until: None };
    node.expect_state("after `suspend_tenant`", &held, suspended).await;
    granted("resume_tenant", node.keyring.resume_tenant(held.keys.id()).await);
    node.expect_verified("after `resume_tenant`", &held).await;
}

/// A lower tier narrows what the tenant's keys may do from then on, and counts the keys it holds.
pub async fn a_lower_tier_is_seen_at_once(store: &AnyStore) {
    let node = Node::new(store);
    let held = node.tenant_with_key("acme").await;
    let more = granted("issue", held.keys.issue(NewKey::named("more")).await);
    same("the scopes before", &node.scopes(&held).await, &"operator reporting".into());
    let change = granted("set_tier", node.keyring.set_tier(held.keys.id(), "lite").await);
    same("the keys that the tenant is over its quota", &change.over(), &1);
    same("the scopes after `set_tier`", &node.scopes(&held).await, &"reporting".into());
    expect_full("issuing above the lower tier", held.keys.issue(NewKey::named("n")).await, 2);
    granted("delete", held.keys.delete(more.key.id).await);
    expect_full("issuing at the lower tier", held.keys.issue(NewKey::named("n")).await, 1);
}

/// A tenant that is deleted has no key that is accepted from then on; one that is made anew under its
/// id has none of the old keys, and new ones are accepted.
pub async fn a_tenant_made_anew_inherits_nothing(store: &AnyStore) {
    let node = Node::new(store);
    let old = node.tenant_with_key("acme").await;
    node.expect_verified("before", &old).await;
    granted("suspend_tenant", node.keyring.suspend_tenant(old.keys.id(), spam()).await);
    granted("delete_tenant", node.keyring.delete_tenant(old.keys.id()).await);
    node.expect_rejected("after `delete_tenant`", &old.token).await;
    let new = node.tenant_with_key("acme").await;
    node.expect_rejected("after the tenant was made anew", &old.token).await;
    node.expect_verified("with a key of the new tenant", &new).await;
}

/// Another node sees every change within its staleness bound.
pub async fn other_nodes_follow_within_their_bound(store: &AnyStore) {
    let (node, other) = Node::two(store);
    for change in CHANGES {
        let held = node.tenant_with_key(&format!("{change:?}")).await;
        other.expect_verified("on another node before a change", &held).await;
        change.apply(&node, &held).await;
        other.clock.advance(MAX_STALENESS);
        let when = format!("on another node {MAX_STALENESS:?} after {change:?}");
        other.expect_refused(&when, Freshness::Cached, &held).await;
    }
}

/// Another node that asks for fresh data sees every change at once.
pub async fn other_nodes_that_ask_see_it_at_once(store: &AnyStore) {
    let (node, other) = Node::two(store);
    for change in CHANGES {
        let held = node.tenant_with_key(&format!("{change:?}")).await;
        other.expect_verified("on another node before a change", &held).await;
        change.apply(&node, &held).await;
        let when = format!("on another node that asks anew after {change:?}");
        other.expect_refused(&when, Freshness::Now, &held).await;
    }
}

/// The uses of keys arrive in the store with a flush, to the minute.
pub async fn uses_arrive_with_a_flush(store: &AnyStore) {
    let node = Node::new(store);
    let held = node.tenant_with_key("acme").await;
    let unused = node.tenant_with_key("unused").await;
    node.clock.advance(Duration::from_secs(90));
    node.expect_verified("before a flush", &held).await;
    let last_used = granted("find", held.keys.find(held.key.id).await).last_used();
    same("the last use before a flush", &last_used, &None);
    same("how many uses were flushed", &granted("flush_uses", node.keyring.flush_uses().await), &1);
    let last_used = granted("find", held.keys.find(held.key.id).await).last_used();
    same("the last use after a flush", &last_used, &Some(at(60_000)));
    let last_used = granted("find", unused.keys.find(unused.key.id).await).last_used();
    same("the last use of another key", &last_used, &None);
}

/// Of many requests for a key at the same time, on several nodes, as many are granted as the tier
/// allows.
pub async fn issuing_at_once_stays_within_the_quota(store: &AnyStore) {
    let (node, other) = Node::two(store);
    let tenant =
        granted("create_empty_tenant", node.keyring.create_empty_tenant("acme", "advanced").await);
    let same_tenant = other.keyring.tenant(tenant.id().clone());
    let requests = (0..16).map(|number| {
        let keys = if number % 2 == 0 { &tenant } else { &same_tenant };
        keys.issue(NewKey::named(format!("key {number}")))
    });
    let answers = all(requests).await;
    let issued = answers.iter().filter(|answer| answer.is_ok()).count();
    same("how many of 16 requests were granted", &issued, &5);
    for answer in answers.into_iter().filter(Result::is_err) {
        expect_full("issuing a key at the same time as others", answer, 5);
    }
    let page = granted("list", tenant.list(&crate::store::KeyQuery::all()).await);
    same("how many keys are listed", &page.items.len(), &5);
}

/// One process of a service.
struct Node {
    keyring: Keyring,
    clock: ManualClock,
}

/// A tenant, its key and the key's token.
struct Held {
    keys: TenantKeys,
    key: KeyRecord,
    token: String,
}

impl Held {
    fn new(keys: TenantKeys, issued: IssuedKey) -> Self {
        let token = issued.token.reveal().to_string();
        Self { keys, key: issued.key, token }
    }
}

impl Node {
    fn new(store: &AnyStore) -> Self {
        let clock = ManualClock::at(at(0));
        let keyring = Keyring::builder(policy(), pepper())
            .environment("test")
            .store(store.clone())
            .clock(clock.clone())
            .max_staleness(MAX_STALENESS)
            .build();
        Self { keyring: made(keyring), clock }
    }

    /// Two nodes of one service, each with a cache and a clock of its own.
    fn two(store: &AnyStore) -> (Self, Self) {
        (Self::new(store), Self::new(store))
    }

    async fn tenant_with_key(&self, id: &str) -> Held {
        let request = NewKey::named("first").scopes(["operator", "reporting"]);
        let created = self.keyring.create_tenant_with(id, "advanced", request).await;
        let (keys, issued) = granted("create_tenant_with", created);
        Held::new(keys, issued)
    }

    /// The maximal scopes of the key, as the node sees them.
    async fn scopes(&self, held: &Held) -> String {
        let caller = granted("verify", self.keyring.verify(&held.token).await);
        self.keyring.policy().catalog().text(caller.scopes())
    }

    async fn expect_verified(&self, when: &str, held: &Held) {
        // Twice, so that the second answer is the cache's.
        for _ in 0..2 {
            match self.keyring.verify(&held.token).await {
                Ok(caller) => same(when, &caller.key_id(), &held.key.id),
                Err(error) => panic!("{when}: expected the key to be accepted, but {error:?}"),
            }
        }
    }

    async fn expect_rejected(&self, when: &str, token: &str) {
        match self.keyring.verify(token).await {
            Err(VerifyError::Rejected) => {}
            other => panic!("{when}: expected the token to be rejected, but {other:?}"),
        }
    }

    async fn expect_state(&self, when: &str, held: &Held, expected: KeyState) {
        match self.keyring.verify(&held.token).await {
            Err(VerifyError::Inactive(state)) if state == expected => {}
            other => panic!("{when}: expected that {expected}, but {other:?}"),
        }
    }

    async fn expect_refused(&self, when: &str, freshness: Freshness, held: &Held) {
        match self.keyring.verify_as_of(&held.token, freshness).await {
            Err(VerifyError::Rejected | VerifyError::Inactive(_)) => {}
            other => panic!("{when}: expected the key to be refused, but {other:?}"),
        }
    }
}

/// A change that ends the use of a key.
#[derive(Clone, Copy, Debug)]
enum Change {
    Disable,
    Delete,
    Rotate,
    SuspendKey,
    SuspendTenant,
    DeleteTenant,
}

const CHANGES: [Change; 6] = [
    Change::Disable,
    Change::Delete,
    Change::Rotate,
    Change::SuspendKey,
    Change::SuspendTenant,
    Change::DeleteTenant,
];

impl Change {
    async fn apply(self, node: &Node, held: &Held) {
        let (keys, id, keyring) = (&held.keys, held.key.id, &node.keyring);
        let answer = match self {
            Self::Disable => keys.disable(id).await.map(drop),
            Self::Delete => keys.delete(id).await,
            Self::Rotate => keys.rotate(id, held.key.version, Overlap::None).await.map(drop),
            Self::SuspendKey => keyring.suspend_key(id, spam()).await.map(drop),
            Self::SuspendTenant => keyring.suspend_tenant(keys.id(), spam()).await.map(drop),
            Self::DeleteTenant => keyring.delete_tenant(keys.id()).await,
        };
        granted(&format!("{self:?}"), answer);
    }
}

fn spam() -> Suspension {
    made(Suspension::for_good("spam"))
}

/// What the keyring was asked for, as it was done.
#[track_caller]
fn granted<T, E: Debug>(call: &str, answer: Result<T, E>) -> T {
    match answer {
        Ok(answer) => answer,
        Err(error) => panic!("`{call}` of a keyring: expected it to be done, but {error:?}"),
    }
}

/// There was no room beside `expected` keys.
fn expect_full(call: &str, answer: Result<IssuedKey, KeyringError>, expected: u32) {
    match answer {
        Err(KeyringError::QuotaExceeded { held, .. }) if held == expected => {}
        other => panic!("{call}: expected the quota to be full with {expected}, but {other:?}"),
    }
}
