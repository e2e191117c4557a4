//! A key never exceeds its granter in scopes, resources and networks, on any path; and what it was granted holds
//! at each verification.

use std::{net::IpAddr, sync::Arc, time::Duration};

use crate::support::{
    block_on,
    overheard::RevealKnown as _,
    pure::{at, pepper, present, tenant},
    random::Seeded,
};
use keyway::{
    ChangeError, GracePeriod, ImportedKey, KeyEdit, KeyRecord, Keyring, MemoryStore, NewKey,
    Policy, Principal, ScopeCatalog, Tier, VerifyError,
    grant::{Grant, Networks, OutsideGrant, ResourceDeclaration, ResourceKind, Resources},
    import::{ForeignDigest, ForeignFormat, ForeignHash},
    lowlevel::{Authority, Denial, decide_from},
    record::TenantRecord,
    scope::ScopeDeclaration,
    verifier::{Freshness, Verifier},
};
use proptest::prelude::*;
use sha2::{Digest, Sha256};

fn policy_of(kinds: &[&str]) -> Policy {
    let scopes = ["operator", "reporting"].map(|name| ScopeDeclaration::new(name, ""));
    let kinds = kinds.iter().map(|name| ResourceDeclaration::new(*name, ""));
    let catalog = ScopeCatalog::new(scopes).unwrap().with_resources(kinds).unwrap();
    Policy::new("mm", catalog, [Tier::new("lite", 1), Tier::new("advanced", 50)]).unwrap()
}

fn authority_of(kinds: &[&str]) -> Authority {
    let authority = Authority::new(policy_of(kinds), "live", &pepper(7).into()).unwrap();
    authority.accept_imported(foreign()).unwrap()
}

fn foreign() -> ForeignFormat {
    ForeignFormat::whole_token(ForeignHash::Sha256).lengths(43..=43).unwrap()
}

const KINDS: [&str; 2] = ["machine", "site"];

fn only(ids: &[&str]) -> Resources {
    Resources::only(ids).unwrap()
}

fn networks(networks: &[&str]) -> Networks {
    Networks::only(networks).unwrap()
}

fn kind(authority: &Authority, name: &str) -> ResourceKind {
    authority.policy().catalog().resource(name).unwrap()
}

fn acme(authority: &Authority) -> TenantRecord {
    tenant(authority, "acme", "advanced")
}

fn new_key() -> NewKey {
    NewKey::named("k").scopes(["reporting"])
}

fn issue(authority: &Authority, request: NewKey) -> Result<(KeyRecord, String), ChangeError> {
    let issued = authority.issue(&acme(authority), request, at(0), &mut Seeded::new(1));
    issued.map(|(key, token)| (key, token.reveal_known().to_string()))
}

fn caller(authority: &Authority, key: &KeyRecord, token: &str) -> Principal {
    present(authority, &acme(authority), key, token, at(1)).unwrap()
}

#[test]
fn key_has_no_resources_unless_it_is_granted_some() {
    let authority = authority_of(&KINDS);
    let (machine, site) = (kind(&authority, "machine"), kind(&authority, "site"));
    let (key, token) = issue(&authority, new_key()).unwrap();
    assert_eq!(key.resources().len(), 0);
    assert_eq!(caller(&authority, &key, &token).resources(&machine), &Resources::Nothing);

    let request = new_key().resources("machine", only(&["2", "1", "2"]));
    let (key, token) = issue(&authority, request.resources("site", Resources::All)).unwrap();
    let caller = caller(&authority, &key, &token);
    assert_eq!(caller.resources(&machine), &only(&["1", "2"]));
    assert_eq!(caller.resources(&site), &Resources::All);
    // A kind of another catalog may have the same name.
    let other = authority_of(&["site", "machine"]);
    assert_eq!(caller.resources(&kind(&other, "site")), &Resources::Nothing);
}

#[test]
fn permit_checks_scopes_and_the_resource() {
    let authority = authority_of(&KINDS);
    let machine = kind(&authority, "machine");
    let (key, token) = issue(&authority, new_key().resources("machine", only(&["1"]))).unwrap();
    let caller = caller(&authority, &key, &token);
    let catalog = authority.policy().catalog();
    let (own, other) =
        (catalog.require_all(["reporting"]).unwrap(), catalog.require_all(["operator"]).unwrap());
    assert_eq!(caller.permit(&own, &machine, "1"), Ok(()));
    for id in ["2", "", "1 ", "1/", "１"] {
        let refused = caller.permit(&own, &machine, id).unwrap_err();
        assert_eq!(refused, OutsideGrant::Resource("machine".into()), "{id}");
    }
    assert!(matches!(caller.permit(&other, &machine, "1"), Err(OutsideGrant::Scope(_))));
}

#[test]
fn undeclared_kinds_cannot_be_granted() {
    let authority = authority_of(&["machine"]);
    let refused = issue(&authority, new_key().resources("machin", Resources::All)).unwrap_err();
    assert_eq!(refused.to_string(), "the kind of resource `machin` is not declared");
    let (key, _) = issue(&authority, new_key()).unwrap();
    let edit = KeyEdit::new().resources("site", only(&["1"]));
    let refused = authority.edit(&key, &acme(&authority), edit, at(1)).unwrap_err();
    assert!(matches!(refused, ChangeError::UnknownResource(kind) if kind == "site"));
    // Nothing is what every key has of it anyway.
    assert!(issue(&authority, new_key().resources("site", Resources::Nothing)).is_ok());
}

/// A key, the limits that its granter has, and whether the granter may pass it on.
type Case = (&'static str, NewKey, bool);

fn cases() -> Vec<Case> {
    let of = |resources| new_key().resources("machine", resources);
    let from = |list: &[&str]| of(only(&["1"])).networks(networks(list));
    vec![
        ("its own", from(&["10.0.0.0/8"]), true),
        ("less", from(&["10.1.0.0/16", "10.2.3.4"]), true),
        ("nothing of a kind", new_key().networks(networks(&["10.0.0.1"])), true),
        ("another resource", of(only(&["1", "3"])).networks(networks(&["10.0.0.1"])), false),
        ("all resources", of(Resources::All).networks(networks(&["10.0.0.1"])), false),
        ("another kind", from(&["10.0.0.1"]).resources("site", only(&["1"])), false),
        ("any network", of(only(&["1"])), false),
        ("a wider network", from(&["10.0.0.0/7"]), false),
        ("another network", from(&["10.0.0.0/8", "192.0.2.1"]), false),
    ]
}

/// A granter for the machines 1 and 2, in one network.
fn granter(authority: &Authority) -> Grant {
    Grant::unlimited(authority.policy().catalog().all())
        .resources(&kind(authority, "machine"), only(&["1", "2"]))
        .networks(networks(&["10.0.0.0/8"]))
}

#[test]
fn granter_passes_on_at_most_its_grant_on_every_path() {
    let authority = authority_of(&KINDS);
    let (acme, granter) = (acme(&authority), granter(&authority));
    for (number, (name, request, is_granted)) in (0..).zip(cases()) {
        let issued = issue(&authority, request.clone().granted_by(&granter));
        assert_eq!(issued.is_ok(), is_granted, "issue {name}");

        let digest = ForeignDigest::from_bytes(&Sha256::digest([number])).unwrap();
        let import = |request| ImportedKey::new(&foreign(), digest.clone(), request).unwrap();
        let bounded = import(request.clone().granted_by(&granter));
        assert_eq!(authority.import(&acme, bounded, at(0)).is_ok(), is_granted, "import {name}");

        // A key that someone else has granted. The granter can neither edit nor rotate it if it exceeds
        // the granter.
        let (key, _) = issue(&authority, request).unwrap();
        let rename = KeyEdit::new().name("n").granted_by(&granter);
        assert_eq!(authority.edit(&key, &acme, rename, at(1)).is_ok(), is_granted, "edit {name}");
        let rotated = authority.rotate(
            &key,
            &acme,
            GracePeriod::None,
            Some(&granter),
            at(1),
            &mut Seeded::new(2),
        );
        assert_eq!(rotated.is_ok(), is_granted, "rotate {name}");
        // To disable is always allowed, and so is to narrow to what the granter has.
        let disable = KeyEdit::new().enabled(false).granted_by(&granter);
        assert!(authority.edit(&key, &acme, disable, at(1)).is_ok(), "disable {name}");
        let narrow = KeyEdit::new()
            .resources("machine", only(&["2"]))
            .resources("site", Resources::Nothing)
            .networks(networks(&["10.9.0.0/16"]))
            .granted_by(&granter);
        assert!(authority.edit(&key, &acme, narrow, at(1)).is_ok(), "narrow {name}");
    }
}

#[test]
fn limited_caller_is_a_granter_with_its_own_limits() {
    let authority = authority_of(&KINDS);
    let request = new_key().resources("machine", only(&["1"])).networks(networks(&["10.0.0.1"]));
    let (key, token) = issue(&authority, request.clone()).unwrap();
    let claim = authority.check(token.as_bytes()).unwrap();
    let resolved = Arc::new(authority.resolve(&key, &acme(&authority)).unwrap());
    let address = || Some("10.0.0.1".parse().unwrap());
    let grant = decide_from(&claim, &resolved, at(1), address).unwrap().grant();
    assert!(issue(&authority, request.granted_by(&grant)).is_ok());
    for above in [
        new_key().resources("machine", only(&["2"])).networks(networks(&["10.0.0.1"])),
        new_key().resources("machine", only(&["1"])),
        new_key().scopes(["operator"]).networks(networks(&["10.0.0.1"])),
    ] {
        assert!(issue(&authority, above.granted_by(&grant)).is_err());
    }
}

#[test]
fn edit_of_one_kind_keeps_the_others() {
    let authority = authority_of(&KINDS);
    let acme = acme(&authority);
    let request = new_key().resources("machine", only(&["1"])).resources("site", only(&["9"]));
    let (key, _) = issue(&authority, request.networks(networks(&["10.0.0.0/8"]))).unwrap();
    let edit = KeyEdit::new().resources("machine", only(&["2"])).resources("machine", only(&["3"]));
    let edited = authority.edit(&key, &acme, edit, at(1)).unwrap();
    let expected = [("machine", &only(&["3"])), ("site", &only(&["9"]))];
    assert_eq!(edited.resources().collect::<Vec<_>>(), expected);
    assert_eq!(edited.networks(), &networks(&["10.0.0.0/8"]));
    // A new secret keeps everything.
    let (rotated, _) = authority
        .rotate(&edited, &acme, GracePeriod::None, None, at(2), &mut Seeded::new(3))
        .unwrap();
    assert_eq!(rotated.resources().collect::<Vec<_>>(), expected);
    assert_eq!(rotated.networks(), edited.networks());
    let everywhere = KeyEdit::new().networks(Networks::Any);
    let edited = authority.edit(&rotated, &acme, everywhere, at(3)).unwrap();
    assert_eq!(edited.networks(), &Networks::Any);
}

#[test]
fn key_limited_in_an_undeclared_kind_is_refused() {
    let (new, old) = (authority_of(&KINDS), authority_of(&["machine"]));
    let all = new_key().resources("machine", Resources::All);
    let (key, token) = issue(&new, all.clone().resources("site", only(&["1"]))).unwrap();
    assert!(present(&new, &acme(&new), &key, &token, at(1)).is_ok());
    // The other node would not know which routes touch a site.
    let denied = present(&old, &acme(&old), &key, &token, at(1)).unwrap_err();
    assert_eq!(denied, Denial::Outside(OutsideGrant::Resource("site".into())));
    // All sites are no limit.
    let (wide, token) = issue(&new, all.resources("site", Resources::All)).unwrap();
    assert!(present(&old, &acme(&old), &wide, &token, at(1)).is_ok());

    // Such a key can be renamed by the tenant, and keeps the limit. No granter is above it.
    let tenant = acme(&old);
    let renamed = old.edit(&key, &tenant, KeyEdit::new().name("n"), at(1)).unwrap();
    assert_eq!(renamed.resources().last(), Some(("site", &only(&["1"]))));
    let all = Grant::unlimited(old.policy().catalog().all());
    let edit = KeyEdit::new().name("n").granted_by(&all);
    let refused = old.edit(&key, &tenant, edit, at(1)).unwrap_err();
    assert!(matches!(refused, ChangeError::ResourcesAboveGranter(kind) if kind == "site"));
    // It cannot be changed there, only dropped.
    let edit = KeyEdit::new().resources("site", only(&["1", "2"]));
    assert!(old.edit(&key, &tenant, edit, at(1)).is_err());
    let edit = KeyEdit::new().resources("site", Resources::Nothing).granted_by(&all);
    let narrowed = old.edit(&key, &tenant, edit, at(1)).unwrap();
    assert_eq!(narrowed.resources().len(), 1);
}

#[test]
fn new_kind_of_a_policy_starts_with_nothing() {
    let (before, after) = (authority_of(&[]), authority_of(&["machine"]));
    let (key, token) = issue(&before, new_key()).unwrap();
    let caller = caller(&after, &key, &token);
    assert_eq!(caller.resources(&kind(&after, "machine")), &Resources::Nothing);
}

#[test]
fn networks_hold_for_each_address_and_its_absence() {
    let authority = authority_of(&[]);
    let request = new_key().networks(networks(&["10.0.0.0/8", "2001:db8::/32"]));
    let (key, token) = issue(&authority, request).unwrap();
    let resolved = Arc::new(authority.resolve(&key, &acme(&authority)).unwrap());
    let claim = authority.check(token.as_bytes()).unwrap();
    let decide = |address: Option<&str>| {
        let address: Option<IpAddr> = address.map(|address| address.parse().unwrap());
        decide_from(&claim, &resolved, at(1), || address).map(drop)
    };
    for inside in ["10.0.0.0", "10.255.255.255", "::ffff:10.1.2.3", "2001:db8::1"] {
        assert_eq!(decide(Some(inside)), Ok(()), "{inside}");
    }
    let outside = ["9.255.255.255", "11.0.0.0", "::ffff:11.0.0.0", "::10.0.0.1", "2001:db9::"];
    for address in outside.map(Some).into_iter().chain([None]) {
        assert_eq!(decide(address), Err(Denial::Outside(OutsideGrant::Network)), "{address:?}");
    }
    // A caller without the present secret learns nothing of the limit.
    let rng = &mut Seeded::new(2);
    let rotated = authority.rotate(&key, &acme(&authority), GracePeriod::None, None, at(1), rng);
    let resolved = Arc::new(authority.resolve(&rotated.unwrap().0, &acme(&authority)).unwrap());
    let denied = decide_from(&claim, &resolved, at(1), || panic!("asked")).unwrap_err();
    assert!(matches!(denied, Denial::Rejected(_)));
}

#[test]
fn address_is_asked_for_only_if_networks_are_limited() {
    let authority = authority_of(&["machine"]);
    let (key, token) = issue(&authority, new_key().resources("machine", only(&["1"]))).unwrap();
    let resolved = Arc::new(authority.resolve(&key, &acme(&authority)).unwrap());
    let claim = authority.check(token.as_bytes()).unwrap();
    assert!(decide_from(&claim, &resolved, at(1), || panic!("asked")).is_ok());
}

#[test]
fn limits_hold_for_cached_loaded_and_replica_keys() {
    block_on(limits_hold_everywhere());
}

async fn limits_hold_everywhere() {
    let store = MemoryStore::new();
    let ring = |store: &MemoryStore| {
        let builder = Keyring::builder(policy_of(&KINDS), pepper(7)).environment("live");
        builder.store(store.clone()).build().unwrap()
    };
    let (keyring, other) = (ring(&store), ring(&store));
    let verifier = Verifier::builder(policy_of(&KINDS), pepper(7))
        .environment("live")
        .lookup(store.clone())
        .max_staleness(Duration::from_secs(60))
        .build()
        .unwrap();
    let keys = keyring.create_empty_tenant("acme", "advanced").await.unwrap();
    let request = new_key().networks(networks(&["10.0.0.1"]));
    let issued = keys.issue(request).await.unwrap();
    let token = issued.token.reveal_known();
    let (inside, outside) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
    let nodes: [&Verifier; 3] = [keyring.as_ref(), other.as_ref(), &verifier];
    for node in nodes {
        for freshness in [Freshness::Cached, Freshness::Cached, Freshness::Now] {
            let verify = |address| node.verify_from(token.as_bytes(), freshness, address);
            for address in [Some(outside), None] {
                let refused = verify(address).await.unwrap_err();
                assert!(
                    matches!(refused, VerifyError::Forbidden(OutsideGrant::Network)),
                    "{refused:?}"
                );
            }
            assert!(verify(Some(inside)).await.is_ok());
        }
        assert!(node.verify(&*token).await.is_err());
    }
    // An edit takes effect at once on its own node.
    let edit = KeyEdit::new().networks(networks(&["10.0.0.2"]));
    keys.edit(issued.key.id(), issued.key.version(), edit).await.unwrap();
    let node: &Verifier = keyring.as_ref();
    assert!(node.verify_from(&*token, Freshness::Cached, Some(inside)).await.is_err());
    assert!(node.verify_from(&*token, Freshness::Cached, Some(outside)).await.is_ok());
}

#[test]
fn changed_bytes_of_a_record_widen_nothing() {
    let authority = authority_of(&KINDS);
    let acme = acme(&authority);
    let request = new_key().resources("machine", only(&["1"])).networks(networks(&["10.0.0.1"]));
    let (key, _) = issue(&authority, request).unwrap();
    let bytes = key.encode();
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << bit;
            let resolved = KeyRecord::decode(&changed)
                .map_err(drop)
                .and_then(|key| authority.resolve(&key, &acme).map_err(drop));
            assert!(resolved.is_err(), "byte {at}");
        }
    }
}

fn some_grant(authority: &Authority) -> impl Strategy<Value = (NewKey, Grant)> + use<> {
    let catalog = authority.policy().catalog().clone();
    let (machine, site) = (kind(authority, "machine"), kind(authority, "site"));
    let ids = || {
        prop_oneof![
            Just(Resources::All),
            prop::collection::btree_set("[a-d]", 0..4)
                .prop_map(|ids| Resources::only(ids).unwrap()),
        ]
    };
    let nets = prop_oneof![
        Just(Networks::Any),
        prop::collection::vec((0..4_u8, 0..3_u8), 1..4).prop_map(|nets| {
            Networks::only(nets.into_iter().map(|(net, length)| match length {
                0 => format!("10.{net}.0.0/16"),
                1 => format!("10.{net}.1.0/24"),
                _ => "10.0.0.0/8".into(),
            }))
            .unwrap()
        }),
    ];
    let scopes = prop::sample::subsequence(vec!["operator", "reporting"], 0..=2);
    (scopes, ids(), ids(), nets).prop_map(move |(scopes, machines, sites, nets)| {
        let request = NewKey::named("k").scopes(scopes.clone());
        let request = request.resources("machine", machines.clone());
        let request = request.resources("site", sites.clone()).networks(nets.clone());
        let grant = Grant::unlimited(catalog.set(scopes).unwrap());
        // All of each kind is the same as no limit.
        let grant = match (&machines, &sites) {
            (Resources::All, Resources::All) => grant,
            _ => grant.resources(&machine, machines).resources(&site, sites),
        };
        (request, grant.networks(nets))
    })
}

proptest! {
    /// A request is granted exactly if the granter covers it, and then the key has exactly the request.
    #[test]
    fn issue_agrees_with_the_order_of_grants(
        (request, wanted) in some_grant(&authority_of(&KINDS)),
        (_, granter) in some_grant(&authority_of(&KINDS)),
        (_, second) in some_grant(&authority_of(&KINDS)),
    ) {
        let authority = authority_of(&KINDS);
        let bounded = request.clone().granted_by(&granter);
        let issued = issue(&authority, bounded.clone());
        prop_assert_eq!(issued.is_ok(), granter.covers(&wanted));
        let both = issue(&authority, bounded.granted_by(&second));
        prop_assert_eq!(both.is_ok(), granter.covers(&wanted) && second.covers(&wanted));
        let (key, _) = issue(&authority, request).unwrap();
        let grant = authority.resolve(&key, &acme(&authority)).unwrap().grant();
        prop_assert_eq!(grant, wanted);
    }
}

#[test]
fn events_of_a_key_name_its_limits_on_one_line() {
    use keyway::audit::{AuditEvent, AuditSink};
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Details(Arc<Mutex<Vec<String>>>);

    impl AuditSink for Details {
        fn record(&self, event: &AuditEvent<'_>) {
            self.0.lock().unwrap().push(event.kind.detail());
        }
    }

    let details = Details::default();
    let sink = details.clone();
    let world = crate::support::World::with(policy_of(&KINDS), |builder| builder.audit(sink));
    let acme = block_on(world.keyring.create_empty_tenant("acme", "advanced")).unwrap();
    let request = NewKey::named("limited")
        .scopes(["reporting"])
        .resources("machine", Resources::only(["a", "b", "c", "d", "e"]).unwrap())
        .resources("site", Resources::All)
        .networks(Networks::only(["192.0.2.0/24"]).unwrap())
        .owner("ann".parse().unwrap());
    let key = block_on(acme.issue(request)).unwrap().key;
    let edit = KeyEdit::new().networks(Networks::Any).owner(None).enabled(false);
    block_on(acme.edit(key.id(), key.version(), edit)).unwrap();
    drop(block_on(acme.issue(NewKey::named("plain"))).unwrap());
    let seen = details.0.lock().unwrap().split_off(1);
    let expected = [
        "reporting; machine: a b c and 2 more; site: all; from 192.0.2.0/24; of ann",
        "reporting; machine: a b c and 2 more; site: all, disabled",
        "no scopes",
    ];
    assert_eq!(seen, expected);
}
