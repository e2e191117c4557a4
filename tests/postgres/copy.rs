//! Copying one store into another.

use std::num::NonZeroUsize;

use crate::support::{
    block_on,
    moves::{moves_limits, moves_usage},
    overheard::RevealKnown as _,
    pepper, policy, server, tenant_id,
};
use keyway::{
    KeyRecord, Keyring, MemoryStore, NewKey, Pepper, Peppers, SqliteStore, Timestamp,
    store::{AnyStore, CopyError, KeyStore, KeyUse, copy},
};

fn keyring(store: AnyStore) -> Keyring {
    Keyring::builder(policy(), pepper()).environment("live").store(store).build().unwrap()
}

/// Fills a store with three tenants and 1,005 keys. Returns a token of one key that was used.
async fn filled(store: &AnyStore) -> String {
    let keyring = keyring(store.clone());
    let _ = keyring.create_tenant("empty", "lite").await.unwrap();
    let (acme, issued) = keyring.create_tenant("acme", "advanced").await.unwrap();
    let token = issued.token.reveal_known();
    keyring.verify(&*token).await.unwrap();
    keyring.flush_uses().await.unwrap();
    let first = acme.issue(NewKey::named("disabled")).await.unwrap();
    acme.disable(first.key.id()).await.unwrap();
    // The tenant gets more keys than fit on one page and than its quota allows.
    let _ = keyring.create_tenant("many", "advanced").await.unwrap();
    let tenant = store.tenant(&tenant_id("many")).await.unwrap().unwrap();
    let many = MemoryStore::new();
    let other = self::keyring(AnyStore::new(many.clone()));
    let _ = other.create_empty_tenant("many", "advanced").await.unwrap();
    for number in 0..1_001 {
        let handle = other.tenant(tenant_id("many"));
        let issued = handle.issue(NewKey::named(format!("key {number}"))).await.unwrap();
        let id = issued.key.id();
        let key = many.key(&tenant_id("many"), id).await.unwrap().unwrap();
        store.insert_key(key, tenant.version(), None, &[]).await.unwrap();
        handle.delete(id).await.unwrap();
    }
    token.to_string()
}

async fn moves_everything(from: AnyStore, to: AnyStore) {
    let token = filled(&from).await;
    for _ in 0..2 {
        let copied = copy(&from, &to).await.unwrap();
        assert_eq!((copied.tenants, copied.keys, copied.broken.len()), (3, 1_005, 0));
    }
    for tenant in ["empty", "acme", "many"] {
        let id = tenant_id(tenant);
        assert_eq!(from.tenant(&id).await.unwrap(), to.tenant(&id).await.unwrap());
        let query = keyway::store::KeyQuery::all().limit(1_000);
        assert_eq!(from.keys(&id, &query).await.unwrap(), to.keys(&id, &query).await.unwrap());
        let count = from.count_keys(&id, u32::MAX).await.unwrap();
        assert_eq!(count, to.count_keys(&id, u32::MAX).await.unwrap());
    }
    let moved = keyring(to.clone());
    let caller = moved.verify(token.as_bytes()).await.unwrap();
    let key = to.key(&tenant_id("acme"), caller.key_id()).await.unwrap().unwrap();
    assert!(key.last_used().is_some());

    // The control: a record that differs is not treated as equal.
    moved.tenant(tenant_id("acme")).disable(caller.key_id()).await.unwrap();
    assert!(
        matches!(copy(&from, &to).await, Err(CopyError::KeyDiffers(id)) if id == caller.key_id())
    );
    moved.set_tier(&tenant_id("acme"), "lite").await.unwrap();
    let refused = copy(&from, &to).await;
    assert!(matches!(refused, Err(CopyError::TenantDiffers(id)) if id == tenant_id("acme")));
}

/// Creates two stores, of which the second is a copy of the first, and a key of `acme`.
async fn copied() -> (AnyStore, AnyStore, KeyRecord) {
    let (from, to) = (AnyStore::new(MemoryStore::new()), AnyStore::new(MemoryStore::new()));
    let keyring = keyring(from.clone());
    let (_, issued) = keyring.create_tenant("acme", "advanced").await.unwrap();
    let _ = keyring.create_tenant("beta", "advanced").await.unwrap();
    let copied = copy(&from, &to).await.unwrap();
    assert_eq!((copied.keys, copied.only_there), (2, vec![]));
    (from, to, issued.key)
}

#[test]
fn copy_again_keeps_a_later_use() {
    block_on(async {
        let (from, to, key) = copied().await;
        let at = |millis| Timestamp::saturating_from_millis(millis);
        let used = |store: AnyStore, millis| {
            let id = key.id();
            async move {
                let uses = [KeyUse { id, at: at(millis) }];
                store.record_uses(&uses, Timestamp::MAX).await.unwrap();
            }
        };
        let last_used = async |store: &AnyStore| {
            store.key(&tenant_id("acme"), key.id()).await.unwrap().unwrap().last_used()
        };
        used(from.clone(), 60_000).await;
        used(to.clone(), 120_000).await;
        copy(&from, &to).await.unwrap();
        assert_eq!(last_used(&to).await, Some(at(120_000)));
        // The control: a later use in the source store is copied.
        used(from.clone(), 180_000).await;
        copy(&from, &to).await.unwrap();
        assert_eq!(last_used(&to).await, Some(at(180_000)));
    });
}

#[test]
fn copy_again_reports_records_deleted_meanwhile() {
    block_on(async {
        let (from, to, key) = copied().await;
        let old = keyring(from.clone());
        old.delete_tenant(&tenant_id("beta")).await.unwrap();
        assert_eq!(copy(&from, &to).await.unwrap().only_there, [tenant_id("beta")]);
        old.tenant(tenant_id("acme")).delete(key.id()).await.unwrap();
        let refused = copy(&from, &to).await;
        assert!(matches!(refused, Err(CopyError::MoreKeys(id)) if id == tenant_id("acme")));
    });
}

#[test]
fn copy_into_the_store_of_another_owner_is_refused() {
    block_on(async {
        let open = async |environment: &str, peppers: Peppers| {
            let store = AnyStore::new(MemoryStore::new());
            let keyring = Keyring::builder(policy(), peppers).environment(environment);
            keyring.store(store.clone()).open().await.unwrap();
            store
        };
        let other = || Pepper::from_bytes(&[9; 32]).unwrap().in_slot(1).unwrap();
        let from = open("live", pepper().into()).await;
        let same_slot = Pepper::from_bytes(&[9; 32]).unwrap();
        for (environment, peppers) in
            [("test", pepper().into()), ("live", same_slot.into()), ("live", other().into())]
        {
            let to = open(environment, peppers).await;
            assert!(matches!(copy(&from, &to).await, Err(CopyError::OtherOwner)), "{environment}");
            assert!(to.tenants(None, NonZeroUsize::MIN).await.unwrap().is_empty());
        }
        // The control: after a rotation of peppers both owners still share one.
        let rotated = Peppers::new(other()).retiring(pepper()).unwrap();
        copy(&from, &open("live", rotated).await).await.unwrap();
    });
}

#[test]
fn copy_from_sqlite_to_memory_moves_everything() {
    block_on(async {
        let from = AnyStore::new(SqliteStore::in_memory().await.unwrap());
        moves_everything(from, AnyStore::new(MemoryStore::new())).await;
    });
}

#[test]
#[ignore = "needs PostgreSQL"]
fn copy_from_sqlite_to_postgres_moves_everything() {
    use keyway::PostgresStore;
    let server = server::shared();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.unwrap().block_on(async {
        let from = AnyStore::new(SqliteStore::in_memory().await.unwrap());
        let builder = PostgresStore::builder().schema(server::fresh_schema()).max_connections(4);
        let to = builder.connect(&server.url()).await.unwrap();
        moves_everything(from, AnyStore::new(to)).await;
    });
}

#[test]
#[ignore = "needs PostgreSQL"]
fn copy_between_sqlite_and_postgres_moves_usage_and_units() {
    use keyway::PostgresStore;
    let server = server::shared();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.unwrap().block_on(async {
        let sqlite = || async { SqliteStore::in_memory().await.unwrap() };
        let postgres = || async {
            let builder = PostgresStore::builder().schema(server::fresh_schema());
            builder.max_connections(4).connect(&server.url()).await.unwrap()
        };
        moves_usage(sqlite().await, postgres().await).await;
        moves_usage(postgres().await, sqlite().await).await;
        moves_limits(sqlite().await, postgres().await).await;
        moves_limits(postgres().await, sqlite().await).await;
    });
}
