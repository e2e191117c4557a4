//! Opening a PostgreSQL store, and what it does when the server is in trouble.

#![cfg(feature = "postgres")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that goes wrong stops")]

#[path = "support/postgres.rs"]
mod server;

use keyway::{
    authority::NewKey,
    keyring::Keyring,
    pepper::Pepper,
    policy::Policy,
    scope::{ScopeCatalog, ScopeDeclaration},
    store::{PostgresStore, postgres::PostgresError},
    tier::Tier,
};
use server::{Server, fresh_schema, shared};

fn keyring(store: PostgresStore) -> Keyring {
    let catalog = ScopeCatalog::new([ScopeDeclaration::new("reporting", "Read reports")]).unwrap();
    let policy = Policy::new("mm", catalog, Tier::built_in()).unwrap();
    Keyring::builder(policy, Pepper::from_bytes(&[7; 32]).unwrap())
        .environment("live")
        .store(store)
        .build()
        .unwrap()
}

async fn open(server: &Server) -> PostgresStore {
    PostgresStore::builder().schema(fresh_schema()).connect(&server.url()).await.unwrap()
}

#[tokio::test]
async fn the_whole_life_of_a_key() {
    let Some(server) = shared() else { return };
    let keyring = keyring(open(server).await);
    let (acme, first) = keyring.create_tenant("acme", "advanced").await.unwrap();
    let issued = acme.issue(NewKey::named("second").scopes(["reporting"])).await.unwrap();
    let token = issued.token.reveal();
    let caller = keyring.verify(&*token).await.unwrap();
    caller.require(&keyring.requirement(["reporting"]).unwrap()).unwrap();
    acme.disable(issued.key.id()).await.unwrap();
    keyring.verify(&*token).await.unwrap_err();
    acme.delete(first.key.id()).await.unwrap();
    assert_eq!(keyring.flush_uses().await.unwrap(), 1);
    let keys = acme.search("SEC").await.unwrap();
    assert_eq!(keys.len(), 1);
    assert!(keys.first().unwrap().last_used().is_some());
    keyring.delete_tenant(acme.id()).await.unwrap();
    assert!(acme.search("").await.unwrap().is_empty());
}
