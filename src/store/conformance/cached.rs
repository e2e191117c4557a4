//! The promises of a keyring that has a store behind its cache. A change takes effect at once on the node
//! that made it, and on every other node within its staleness bound.
//!
//! These clauses hold for every store that keeps the contract. If a store fails only clauses of this module,
//! the contract's own clauses have a gap.

use alloc::{
    format,
    string::{String, ToString},
};
use core::{fmt::Debug, time::Duration};

use futures_util::future::join_all;

use super::{
    expect::{made, same},
    issuer::{at, pepper, policy},
};
use crate::{
    authority::{GracePeriod, KeyEdit, NewKey},
    decision::KeyState,
    keyring::{IssuedKey, Keyring, KeyringError, TenantKeys},
    record::{KeyRecord, Suspension},
    store::AnyStore,
    time::ManualClock,
    verifier::{Freshness, VerifyError},
};

/// The staleness bound of every node.
const MAX_STALENESS: Duration = Duration::from_secs(5);

/// A disabled key is rejected from then on, and accepted once it is enabled again.
pub(super) async fn a_switch_is_seen_at_once(store: &AnyStore) {
    let (node, held) = Node::with_key(store).await;
    granted("disable", held.keys.disable(held.key.id).await);
    node.expect_state("after `disable`", &held, KeyState::Disabled).await;
    granted("enable", held.keys.enable(held.key.id).await);
    node.expect_verified("after `enable`", &held).await;
}

/// A deleted key is rejected from then on.
pub(super) async fn a_deletion_is_seen_at_once(store: &AnyStore) {
    let (node, held) = Node::with_key(store).await;
    granted("delete", held.keys.delete(held.key.id).await);
    node.expect_rejected("after `delete`", &held.token).await;
}

/// A suspended key is rejected from then on, and accepted once it is resumed.
pub(super) async fn a_suspension_is_seen_at_once(store: &AnyStore) {
    let (node, held) = Node::with_key(store).await;
    granted("suspend_key", node.keyring.suspend_key(held.key.id, spam()).await);
    let suspended = KeyState::KeySuspended { until: None };
    node.expect_state("after `suspend_key`", &held, suspended).await;
    granted("resume_key", node.keyring.resume_key(held.key.id).await);
    node.expect_verified("after `resume_key`", &held).await;
}

/// A scope that is removed from a key is gone from then on.
pub(super) async fn narrower_scopes_are_seen_at_once(store: &AnyStore) {
    let (node, held) = Node::with_key(store).await;
    same("the scopes before", &node.scopes(&held).await, &"operator reporting".into());
    let edit = KeyEdit::new().scopes(["reporting"]);
    granted("edit", held.keys.edit(held.key.id, held.key.version, edit).await);
    same("the scopes after `edit`", &node.scopes(&held).await, &"reporting".into());
}

/// After a rotation without a grace period the old secret is rejected and the new one accepted.
pub(super) async fn a_rotation_is_seen_at_once(store: &AnyStore) {
    let (node, held) = Node::with_key(store).await;
    let rotated =
        granted("rotate", held.keys.rotate(held.key.id, held.key.version, GracePeriod::None).await);
    node.expect_rejected("after `rotate`", &held.token).await;
    let held = Held::new(held.keys, rotated);
    node.expect_verified("after `rotate`, with the new secret", &held).await;
}

/// The first use of a new secret ends the grace period of the old one, in the store too.
pub(super) async fn a_first_use_ends_the_grace_period(store: &AnyStore) {
    let (node, held) = Node::with_key(store).await;
    let (id, version) = (held.key.id, held.key.version);
    let rotated =
        granted("rotate", held.keys.rotate(id, version, GracePeriod::UntilFirstUse).await);
    node.expect_verified("before the first use of the new secret", &held).await;
    let new = Held::new(held.keys.clone(), rotated);
    node.expect_verified("at the first use of the new secret", &new).await;
    node.expect_rejected("after the first use of the new secret", &held.token).await;
    let key = granted("find", held.keys.find(id).await);
    same("the grace period in the store", &key.grace_until(), &None);
}

/// All keys of a suspended tenant are rejected from then on, and accepted once it is resumed.
pub(super) async fn a_tenants_suspension_is_seen_at_once(store: &AnyStore) {
    let (node, held) = Node::with_key(store).await;
    granted("suspend_tenant", node.keyring.suspend_tenant(held.keys.id(), spam()).await);
    let suspended = KeyState::TenantSuspended { until: None };
    node.expect_state("after `suspend_tenant`", &held, suspended).await;
    granted("resume_tenant", node.keyring.resume_tenant(held.keys.id()).await);
    node.expect_verified("after `resume_tenant`", &held).await;
}

/// A lower tier narrows the scopes of the tenant's keys from then on, and reports how many keys exceed its
/// quota.
pub(super) async fn a_lower_tier_is_seen_at_once(store: &AnyStore) {
    let (node, held) = Node::with_key(store).await;
    let more = granted("issue", held.keys.issue(NewKey::named("more")).await);
    same("the scopes before", &node.scopes(&held).await, &"operator reporting".into());
    let change = granted("set_tier", node.keyring.set_tier(held.keys.id(), "lite").await);
    same("the keys that the tenant is over its quota", &change.over(), &1);
    same("the scopes after `set_tier`", &node.scopes(&held).await, &"reporting".into());
    expect_full("issuing above the lower tier", held.keys.issue(NewKey::named("n")).await, 2);
    granted("delete", held.keys.delete(more.key.id).await);
    expect_full("issuing at the lower tier", held.keys.issue(NewKey::named("n")).await, 1);
}

/// All keys of a deleted tenant are rejected from then on. A tenant that is created again under the same id
/// has none of the old keys, and its new keys are accepted.
pub(super) async fn a_tenant_created_again_inherits_nothing(store: &AnyStore) {
    let (node, old) = Node::with_key(store).await;
    granted("suspend_tenant", node.keyring.suspend_tenant(old.keys.id(), spam()).await);
    granted("delete_tenant", node.keyring.delete_tenant(old.keys.id()).await);
    node.expect_rejected("after `delete_tenant`", &old.token).await;
    let new = node.tenant_with_key("acme").await;
    node.expect_rejected("after the tenant was created again", &old.token).await;
    node.expect_verified("with a key of the new tenant", &new).await;
}

/// Another node sees every change within its staleness bound.
pub(super) async fn other_nodes_follow_within_their_bound(store: &AnyStore) {
    other_nodes_refuse(store, MAX_STALENESS, Freshness::Cached).await;
}

/// Another node that requests fresh data sees every change at once.
pub(super) async fn other_nodes_that_ask_see_it_at_once(store: &AnyStore) {
    other_nodes_refuse(store, Duration::ZERO, Freshness::Now).await;
}

/// Expects that another node refuses a key some time after each change that ends the use of the key.
async fn other_nodes_refuse(store: &AnyStore, later: Duration, freshness: Freshness) {
    let (node, other) = Node::two(store);
    for change in Change::ALL {
        let held = node.tenant_with_key(&format!("{change:?}")).await;
        other.expect_verified("on another node before a change", &held).await;
        change.apply(&node, &held).await;
        other.clock.advance(later);
        match other.keyring.verify_as_of(&held.token, freshness).await {
            Err(VerifyError::Rejected | VerifyError::Inactive(_)) => {}
            other => panic!(
                "with {freshness:?} on another node, {later:?} after {change:?}: \
                 expected the key to be refused, but {other:?}"
            ),
        }
    }
}

/// A flush writes the last uses of keys to the store, rounded down to the minute.
pub(super) async fn uses_arrive_with_a_flush(store: &AnyStore) {
    let (node, held) = Node::with_key(store).await;
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

/// If many keys are requested at the same time on several nodes, as many are issued as the tier allows.
pub(super) async fn issuing_at_once_stays_within_the_quota(store: &AnyStore) {
    let (node, other) = Node::two(store);
    let tenant =
        granted("create_empty_tenant", node.keyring.create_empty_tenant("acme", "advanced").await);
    let same_tenant = other.keyring.tenant(tenant.id().clone());
    let requests = (0..16).map(|number| {
        let keys = if number % 2 == 0 { &tenant } else { &same_tenant };
        keys.issue(NewKey::named(format!("key {number}")))
    });
    let answers = join_all(requests).await;
    let issued = answers.iter().filter(|answer| answer.is_ok()).count();
    same("how many of 16 requests were granted", &issued, &5);
    for answer in answers.into_iter().filter(Result::is_err) {
        expect_full("issuing a key at the same time as others", answer, 5);
    }
    let page = granted("list", tenant.list(&crate::store::KeyQuery::all()).await);
    same("how many keys are listed", &page.items.len(), &5);
}

/// One process of a service.
pub(super) struct Node {
    pub(super) keyring: Keyring,
    clock: ManualClock,
}

/// A tenant, its key and the key's token.
pub(super) struct Held {
    pub(super) keys: TenantKeys,
    pub(super) key: KeyRecord,
    token: String,
}

impl Held {
    fn new(keys: TenantKeys, issued: IssuedKey) -> Self {
        let token = issued.token.reveal().to_string();
        Self { keys, key: issued.key, token }
    }
}

impl Node {
    pub(super) fn new(store: &AnyStore) -> Self {
        let clock = ManualClock::at(at(0));
        let keyring = Keyring::builder(policy(), pepper())
            .environment("test")
            .store(store.clone())
            .clock(clock.clone())
            .max_staleness(MAX_STALENESS)
            .build();
        Self { keyring: made(keyring), clock }
    }

    /// Creates two nodes of one service, each with its own cache and clock.
    fn two(store: &AnyStore) -> (Self, Self) {
        (Self::new(store), Self::new(store))
    }

    /// Creates a node with a tenant and its key, which is in the cache of the node.
    async fn with_key(store: &AnyStore) -> (Self, Held) {
        let node = Self::new(store);
        let held = node.tenant_with_key("acme").await;
        node.expect_verified("before any change", &held).await;
        (node, held)
    }

    pub(super) async fn tenant_with_key(&self, id: &str) -> Held {
        let request = NewKey::named("first").scopes(["operator", "reporting"]);
        let created = self.keyring.create_tenant_with(id, "advanced", request).await;
        let (keys, issued) = granted("create_tenant_with", created);
        Held::new(keys, issued)
    }

    /// Returns the maximal scopes of the key, as the node sees them.
    async fn scopes(&self, held: &Held) -> String {
        let caller = granted("verify", self.keyring.verify(&held.token).await);
        self.keyring.policy().catalog().text(caller.scopes())
    }

    pub(super) async fn expect_verified(&self, when: &str, held: &Held) {
        // The key is verified twice, so that the second result comes from the cache.
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
}

/// A change that ends the use of a key.
#[derive(Clone, Copy, Debug)]
pub(super) enum Change {
    Disable,
    Delete,
    Rotate,
    SuspendKey,
    SuspendTenant,
    DeleteTenant,
}

impl Change {
    pub(super) const ALL: [Self; 6] = [
        Self::Disable,
        Self::Delete,
        Self::Rotate,
        Self::SuspendKey,
        Self::SuspendTenant,
        Self::DeleteTenant,
    ];

    pub(super) async fn apply(self, node: &Node, held: &Held) {
        let (keys, id, keyring) = (&held.keys, held.key.id, &node.keyring);
        let answer = match self {
            Self::Disable => keys.disable(id).await.map(drop),
            Self::Delete => keys.delete(id).await,
            Self::Rotate => keys.rotate(id, held.key.version, GracePeriod::None).await.map(drop),
            Self::SuspendKey => keyring.suspend_key(id, spam()).await.map(drop),
            Self::SuspendTenant => keyring.suspend_tenant(keys.id(), spam()).await.map(drop),
            Self::DeleteTenant => keyring.delete_tenant(keys.id()).await,
        };
        granted(&format!("{self:?}"), answer);
    }
}

fn spam() -> Suspension {
    made(Suspension::permanent("spam"))
}

/// Returns the value of a successful call to the keyring, and panics if it failed.
#[track_caller]
fn granted<T, E: Debug>(call: &str, answer: Result<T, E>) -> T {
    match answer {
        Ok(answer) => answer,
        Err(error) => panic!("`{call}` of a keyring: expected it to be done, but {error:?}"),
    }
}

/// Expects that issuing failed because of the quota, with `expected` keys allowed.
fn expect_full(call: &str, answer: Result<IssuedKey, KeyringError>, expected: u32) {
    match answer {
        Err(KeyringError::QuotaExceeded { held, .. }) if held == expected => {}
        other => panic!("{call}: expected the quota to be full with {expected}, but {other:?}"),
    }
}
