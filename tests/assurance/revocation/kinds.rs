//! Every way to revoke permissions of a key, and how soon other nodes apply it.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use keyway::{GracePeriod, KeyEdit, KeyRecord, Keyring, NewKey, TenantKeys, record::Suspension};
use tokio::time::sleep;

use super::{
    BOUND, GRAIN, LONG, SOON, follower, node, open,
    support::figures::{caught, figure, none, scale},
    support::overheard::RevealKnown as _,
    support::server::{fresh_schema, shared},
};

/// The revocation of a key that has the scope `operator` on the tier `advanced`.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Disabled,
    Expired,
    Narrowed,
    Rotated,
    KeyDeleted,
    KeySuspended,
    TenantSuspended,
    TierLowered,
    TenantDeleted,
}

const KINDS: [(Kind, &str); 9] = [
    (Kind::Disabled, "disabling the key"),
    (Kind::Expired, "ending the key"),
    (Kind::Narrowed, "taking a scope from the key"),
    (Kind::Rotated, "rotating the key without a grace period"),
    (Kind::KeyDeleted, "deleting the key"),
    (Kind::KeySuspended, "suspending the key"),
    (Kind::TenantSuspended, "suspending the tenant"),
    (Kind::TierLowered, "lowering the tier"),
    (Kind::TenantDeleted, "deleting the tenant"),
];

struct Held {
    tenant: TenantKeys,
    key: KeyRecord,
    token: String,
}

impl Held {
    async fn of(a: &Keyring) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let tenant = format!("kind-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let request = NewKey::named("first").scopes(["operator"]);
        let (tenant, issued) = a.create_tenant_with(&tenant, "advanced", request).await.unwrap();
        Self { tenant, token: issued.token.reveal_known().to_string(), key: issued.key }
    }

    async fn revoke(&self, a: &Keyring, kind: Kind) -> Instant {
        let (id, version) = (self.key.id(), self.key.version());
        let reason = || Suspension::permanent("for the test").unwrap();
        match kind {
            Kind::Disabled => drop(self.tenant.disable(id).await.unwrap()),
            Kind::Expired => {
                let edit = KeyEdit::new().expires_in(Duration::from_millis(1));
                drop(self.tenant.edit(id, version, edit).await.unwrap());
            }
            Kind::Narrowed => {
                let edit = KeyEdit::new().scopes(["reporting"]);
                drop(self.tenant.edit(id, version, edit).await.unwrap());
            }
            Kind::Rotated => {
                drop(self.tenant.rotate(id, version, GracePeriod::None).await.unwrap());
            }
            Kind::KeyDeleted => self.tenant.delete(id).await.unwrap(),
            Kind::KeySuspended => drop(a.suspend_key(id, reason()).await.unwrap()),
            Kind::TenantSuspended => {
                drop(a.suspend_tenant(self.tenant.id(), reason()).await.unwrap());
            }
            Kind::TierLowered => drop(a.set_tier(self.tenant.id(), "lite").await.unwrap()),
            Kind::TenantDeleted => a.delete_tenant(self.tenant.id()).await.unwrap(),
        }
        Instant::now()
    }
}

/// Returns whether the node still admits the key with its original permissions.
async fn admits(node: &Keyring, held: &Held) -> bool {
    let requirement = node.requirement(["operator"]).unwrap();
    match node.verify(&held.token).await {
        Ok(caller) => caller.require(&requirement).is_ok(),
        Err(_) => false,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_of_revocation_reaches_every_node() {
    let server = shared();
    let keys = scale(4, 50);
    let schema = fresh_schema();
    let a = node(open(&server.url(), &schema).await, |builder| builder);
    let store = open(&server.url(), &schema).await;
    // These nodes receive a change through the feed or not at all.
    let (one, _) = follower(&store, &store, |builder| builder.max_staleness(LONG)).await;
    let (other, _) = follower(&store, &store, |builder| builder.max_staleness(LONG)).await;
    // `bounded` has only the bound. `neither` has neither the feed nor a short bound.
    let bounded = node(store.clone(), |builder| builder);
    let neither = node(store.clone(), |builder| builder.max_staleness(LONG));
    let mut unheard_by_neither = 0;
    for (kind, name) in KINDS {
        let mut subjects = Vec::new();
        for _ in 0..keys {
            let held = Held::of(&a).await;
            for node in [&one, &other, &bounded, &neither] {
                assert!(admits(node, &held).await, "{kind:?}");
            }
            subjects.push(held);
        }
        let (mut unheard, mut late) = (0, 0);
        for held in &subjects {
            let revoked = held.revoke(&a, kind).await;
            for node in [&one, &other] {
                while admits(node, held).await && revoked.elapsed() < SOON {
                    sleep(Duration::from_millis(1)).await;
                }
                unheard += usize::from(admits(node, held).await);
            }
        }
        sleep(BOUND + GRAIN).await;
        for held in &subjects {
            late += usize::from(admits(&bounded, held).await);
            unheard_by_neither += usize::from(admits(&neither, held).await);
        }
        none(
            unheard,
            &format!("of {keys} revocations by {name} not heard of at 2 nodes by the feed alone"),
        );
        none(
            late,
            &format!(
                "of {keys} revocations by {name} take effect later than the bound without the feed"
            ),
        );
        assert_eq!((unheard, late), (0, 0), "{kind:?}");
    }
    figure(KINDS.len() * keys, ">=", scale(36, 450), "revocations of 9 kinds");
    caught(
        unheard_by_neither,
        &format!("of {} revocations are never noticed at a node without feed and bound", 9 * keys),
    );
    assert!(unheard_by_neither > 0);
}
