//! The marker of a store: a node with another pepper, issuer or environment than the store's does not start.

use crate::support::{FaultyStore, block_on, catalog, overheard::RevealKnown as _};
use futures_util::future::join_all;
use keyway::{
    Keyring, Pepper, Peppers, Policy, Tier,
    keyring::KeyringBuilder,
    store::{AnyStore, KeyLookup, KeyStore},
    verifier::{OpenError, Verifier},
};

fn pepper(byte: u8, slot: u8) -> Pepper {
    Pepper::from_bytes(&[byte; 32]).unwrap().in_slot(slot).unwrap()
}

fn node(
    store: &FaultyStore,
    issuer: &str,
    environment: &str,
    peppers: impl Into<Peppers>,
) -> KeyringBuilder {
    let policy = Policy::new(issuer, catalog(), Tier::built_in()).unwrap();
    Keyring::builder(policy, peppers).environment(environment).store(store.clone())
}

fn verifier(
    store: &FaultyStore,
    issuer: &str,
    environment: &str,
    peppers: impl Into<Peppers>,
) -> Result<Verifier, OpenError> {
    let policy = Policy::new(issuer, catalog(), Tier::built_in()).unwrap();
    let builder = Verifier::builder(policy, peppers).environment(environment).lookup(store.clone());
    block_on(builder.open())
}

/// Returns whether the issuer, the environment and the pepper differ.
fn differences<T: core::fmt::Debug>(result: Result<T, OpenError>) -> (bool, bool, bool) {
    match result.unwrap_err() {
        OpenError::OtherStore(text) => {
            let names = |what| text.contains(what);
            (names("the issuer is"), names("the environment is"), names("the pepper"))
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_node_with_other_settings_does_not_start() {
    let store = FaultyStore::default();
    let first = block_on(node(&store, "mm", "live", pepper(1, 0)).open()).unwrap();
    let (_, issued) = block_on(first.create_tenant("acme", "lite")).unwrap();
    let token = issued.token.reveal_known();
    let marker = block_on(store.marker()).unwrap();

    for (issuer, environment, byte) in
        [("ax", "live", 1), ("mm", "test", 1), ("mm", "live", 2), ("ax", "test", 2)]
    {
        let expected = (issuer != "mm", environment != "live", byte != 1);
        let opened = block_on(node(&store, issuer, environment, pepper(byte, 0)).open());
        assert_eq!(differences(opened), expected);
        assert_eq!(differences(verifier(&store, issuer, environment, pepper(byte, 0))), expected);
        // `build` still works without a check, and `check_store` can follow later.
        let built = node(&store, issuer, environment, pepper(byte, 0)).build().unwrap();
        assert!(block_on(built.check_store()).is_err());
        assert!(block_on(built.verify(&*token)).is_err());
    }
    assert_eq!(block_on(store.marker()).unwrap(), marker, "a refused node changes nothing");
    assert!(block_on(node(&store, "mm", "live", pepper(1, 0)).open()).is_ok());
    assert!(verifier(&store, "mm", "live", pepper(1, 0)).is_ok());
}

#[test]
fn mismatch_error_names_the_differences_and_the_remedy() {
    let store = FaultyStore::default();
    block_on(node(&store, "mm", "live", pepper(1, 3)).open()).unwrap();
    let error = block_on(node(&store, "ax", "test", pepper(1, 4)).open()).unwrap_err();
    let told = error.to_string();
    for part in [
        "the issuer is `ax` here and `mm` in the store",
        "the environment is `test` here and `live` in the store",
        "the peppers here are in slots [4] and those of the store in [3]",
        "one schema or file for each issuer and environment",
    ] {
        assert!(told.contains(part), "{told}");
    }
}

#[test]
fn a_new_pepper_passes_while_one_is_shared() {
    let store = FaultyStore::default();
    let open = |peppers: Peppers| block_on(node(&store, "mm", "live", peppers).open()).map(drop);
    let both = || Peppers::new(pepper(2, 1)).retiring(pepper(1, 0)).unwrap();
    open(pepper(1, 0).into()).unwrap();
    // A pepper that is unknown to the store is refused, and so is one in the wrong slot.
    assert!(open(pepper(2, 1).into()).is_err());
    assert!(open(pepper(1, 5).into()).is_err());
    open(both()).unwrap();
    // A node that does not have the new pepper yet can still start.
    open(pepper(1, 0).into()).unwrap();
    open(both()).unwrap();
    open(Peppers::new(pepper(2, 1)).retired(pepper(1, 0)).unwrap()).unwrap();
    open(pepper(2, 1).into()).unwrap();
    // The old pepper alone is refused from now on.
    assert_eq!(differences(open(pepper(1, 0).into())), (false, false, true));
}

#[test]
fn nodes_starting_at_once_pass_if_their_settings_match() {
    for _ in 0..20 {
        let store = FaultyStore::default();
        store.set_slow(true);
        let nodes = (0..8).map(|_| node(&store, "mm", "live", pepper(1, 0)).open());
        assert!(block_on(join_all(nodes)).iter().all(Result::is_ok));
        let store = FaultyStore::default();
        store.set_slow(true);
        let nodes = (0..8).map(|n| node(&store, "mm", "live", pepper(1 + n % 2, 0)).open());
        let opened: Vec<_> = block_on(join_all(nodes)).iter().map(Result::is_ok).collect();
        assert_eq!(opened.iter().filter(|ok| **ok).count(), 4, "{opened:?}");
        assert!(opened.chunks(2).all(|pair| pair == &opened[..2]), "{opened:?}");
    }
}

#[test]
fn store_with_rows_of_another_owner_is_refused() {
    let store = FaultyStore::default();
    let first = node(&store, "mm", "live", pepper(1, 0)).build().unwrap();
    let (_, issued) = block_on(first.create_tenant("acme", "lite")).unwrap();
    drop(issued);
    let opened = block_on(node(&store, "mm", "live", pepper(2, 0)).open());
    assert!(matches!(opened, Err(OpenError::ForeignStore)), "{opened:?}");
    assert_eq!(block_on(store.marker()).unwrap(), None);
    assert!(block_on(first.check_store()).is_ok());
    assert!(block_on(store.marker()).unwrap().is_some());
}

#[test]
fn a_node_that_only_verifies_writes_nothing() {
    let store = FaultyStore::default();
    assert!(verifier(&store, "mm", "live", pepper(1, 0)).is_ok());
    assert_eq!((store.calls("marker"), store.calls("set_marker")), (1, 0));
    store.fail("marker");
    let opened = verifier(&store, "mm", "live", pepper(1, 0));
    assert!(matches!(opened, Err(OpenError::Unavailable(_))));
}

#[test]
fn a_role_that_may_not_write_passes_where_the_marker_fits() {
    let store = FaultyStore::default();
    store.fail("set_marker");
    let opened = block_on(node(&store, "mm", "live", pepper(1, 0)).open());
    assert!(matches!(opened, Err(OpenError::Unavailable(_))));
    store.heal("set_marker");
    block_on(node(&store, "mm", "live", pepper(1, 0)).open()).unwrap();
    store.fail("set_marker");
    let renewed = Peppers::new(pepper(2, 1)).retiring(pepper(1, 0)).unwrap();
    assert!(block_on(node(&store, "mm", "live", renewed).open()).is_ok());
}

#[test]
fn a_forged_marker_refuses_and_admits_nobody() {
    let store = FaultyStore::default();
    let first = block_on(node(&store, "mm", "live", pepper(1, 0)).open()).unwrap();
    let (_, issued) = block_on(first.create_tenant("acme", "lite")).unwrap();
    let token = issued.token.reveal_known();
    let real = block_on(store.marker()).unwrap().unwrap();
    // This is the marker of another store, copied here by an attacker who can write.
    let other = FaultyStore::default();
    block_on(node(&other, "mm", "live", pepper(2, 0)).open()).unwrap();
    let copied = block_on(other.marker()).unwrap().unwrap();
    let mut changed = real.clone();
    *changed.last_mut().unwrap() ^= 1;
    let mut known = real;
    for forged in [copied.clone(), changed, b"noise".to_vec(), Vec::new()] {
        block_on(store.set_marker(&forged, Some(&known))).unwrap();
        known.clone_from(&forged);
        assert!(block_on(node(&store, "mm", "live", pepper(1, 0)).open()).is_err());
        let opened = block_on(node(&store, "mm", "live", pepper(2, 0)).open());
        assert_eq!(opened.is_ok(), forged == copied);
        if let Ok(stranger) = opened {
            assert!(block_on(stranger.verify(&*token)).is_err());
            let page = block_on(stranger.tenants(None, 9)).unwrap();
            assert_eq!((page.items.len(), page.broken.len()), (0, 1));
        }
    }
}

#[test]
fn the_replica_is_compared_as_well() {
    let (store, other) = (FaultyStore::default(), FaultyStore::default());
    block_on(node(&other, "mm", "test", pepper(1, 0)).open()).unwrap();
    let lag = core::time::Duration::from_secs(2);
    let beside = |replica: &FaultyStore| {
        let builder = node(&store, "mm", "live", pepper(1, 0));
        replica.set_max_lag(lag);
        block_on(builder.replica(AnyStore::new(replica.clone()).to_lookup()).open())
    };
    assert_eq!(differences(beside(&other)), (false, true, false));
    assert!(beside(&FaultyStore::default()).is_ok());
}

#[cfg(feature = "sqlite")]
#[test]
fn a_file_of_another_environment_is_refused() {
    use keyway::SqliteStore;

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.db");
    let open = |environment: &str| {
        let policy = Policy::new("mm", catalog(), Tier::built_in()).unwrap();
        let store = block_on(SqliteStore::open(&path)).unwrap();
        let builder = Keyring::builder(policy, pepper(1, 0)).environment(environment).store(store);
        block_on(builder.open()).map(drop)
    };
    open("live").unwrap();
    assert_eq!(differences(open("test")), (false, true, false));
    open("live").unwrap();
}
