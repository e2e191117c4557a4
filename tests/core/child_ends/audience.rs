//! The audience and the networks of a child: each kind of name must be met, and both the child and its parent limit it.

use super::*;

fn at(node: &Verifier, child: &str, place: &Place) -> Result<(), VerifyError> {
    let address = Some("192.0.2.7".parse().unwrap());
    block_on(node.verify_at(child, Freshness::Cached, address, place)).map(drop)
}

fn is_elsewhere(answer: &Result<(), VerifyError>) -> bool {
    matches!(answer, Err(VerifyError::Forbidden(OutsideGrant::Audience)))
}

#[test]
fn each_kind_of_name_in_the_audience_must_be_met() {
    let world = world();
    let held = tenant(&world, "acme");
    let node = world.keyring.verifier();
    let request = an_hour().host("api").unwrap().host("www").unwrap();
    let request = request.route("GET /events").unwrap();
    let text = child(&world, &held, &held.token, &request);
    let place = Place::new();
    let both = [place.clone().host("www").route("GET /events"), {
        place.clone().host("other").host("api").route("GET /events").checks_operations()
    }];
    let others = [
        place.clone(),
        place.clone().host("api"),
        place.clone().route("GET /events"),
        place.clone().host("api").route("GET /other"),
        place.clone().host("other").route("GET /events"),
        place.clone().checks_operations(),
    ];
    // At first sight, and remembered.
    for _ in 0..2 {
        for place in &others {
            let answer = at(node, &text, place);
            assert!(is_elsewhere(&answer), "{place:?}: {answer:?}");
        }
        for place in &both {
            at(node, &text, place).unwrap_or_else(|error| panic!("{place:?}: {error:?}"));
        }
    }
}

#[test]
fn child_without_an_audience_needs_a_place_as_well() {
    let world = world();
    let held = tenant(&world, "acme");
    let node = world.keyring.verifier();
    let text = child(&world, &held, &held.token, &an_hour());
    for _ in 0..2 {
        let address = Some("192.0.2.7".parse().unwrap());
        for freshness in [Freshness::Cached, Freshness::Now] {
            let answer = block_on(node.verify_from(&text, freshness, address)).map(drop);
            assert!(is_elsewhere(&answer), "{answer:?}");
        }
        // The control: the same child at a place.
        at(node, &text, &Place::new()).unwrap();
        // The parent needs none.
        block_on(node.verify_from(&held.token, Freshness::Cached, address)).unwrap();
    }
    let free = NewKey::named("free").scopes(["reporting"]).children(true);
    let issued = block_on(held.keys.issue(free)).unwrap();
    let free = Held {
        keys: world.keyring.tenant(held.keys.id().clone()),
        key: issued.key,
        token: issued.token.reveal_known().to_string(),
    };
    let text = child(&world, &free, &free.token, &NewChild::lasting(HOUR));
    assert!(is_elsewhere(&block_on(node.verify(&text)).map(drop)));
    assert!(is_elsewhere(&block_on(node.verify_as_of(&text, Freshness::Now)).map(drop)));
    let header = format!("Bearer {text}");
    assert!(is_elsewhere(&block_on(node.verify_authorization(Some(header.as_bytes()))).map(drop)));
    at(node, &text, &Place::new()).unwrap();
}

#[test]
fn operation_outside_the_audience_is_neither_called_nor_listed() {
    let world = world();
    let held = tenant(&world, "acme");
    let node = world.keyring.verifier();
    let needs = || Needs::all(["reporting"]).touches_no("machine").touches_no("site");
    let names = ["start", "stop", "watch"];
    let table = names
        .iter()
        .fold(Operations::new(node.policy()), |table, name| table.operation(*name, needs()))
        .operation("ping", Needs::nothing())
        .build(["start", "stop", "watch", "ping"])
        .unwrap();
    let request = an_hour().operation("start").unwrap().operation("watch").unwrap();
    let limited = child(&world, &held, &held.token, &request);
    let free = child(&world, &held, &held.token, &an_hour());
    for (text, expected) in
        [(&limited, &["ping", "start", "watch"][..]), (&free, &["ping", "start", "stop", "watch"])]
    {
        let caller = verify(node, text, Freshness::Cached).unwrap();
        assert_eq!(table.permitted(Some(&caller)).collect::<Vec<_>>(), expected);
        for name in ["ping", "start", "stop", "watch"] {
            let is_permitted = expected.contains(&name);
            assert_eq!(table.check(name, Some(&caller), &[]).is_ok(), is_permitted, "{name}");
            let ended = table.ended(name, Some(&caller), &[]);
            assert_eq!(ended.is_ok(), is_permitted, "{name}");
        }
    }
    // Where nobody checks operations, it may do nothing.
    assert!(is_elsewhere(&at(node, &limited, &Place::new())));
    at(node, &free, &Place::new()).unwrap();
}

#[test]
fn networks_of_the_child_and_of_its_parent_both_count() {
    let world = world();
    let held = tenant(&world, "acme");
    let node = world.keyring.verifier();
    let wider = Networks::only(["192.0.0.0/16", "198.51.100.0/24"]).unwrap();
    let narrower = Networks::only(["192.0.2.128/25"]).unwrap();
    for (networks, admitted) in [
        (Networks::Any, &["192.0.2.7", "192.0.2.200"][..]),
        (wider, &["192.0.2.7", "192.0.2.200"]),
        (narrower, &["192.0.2.200"]),
        (Networks::only(["198.51.100.0/24"]).unwrap(), &[]),
    ] {
        let text = child(&world, &held, &held.token, &an_hour().networks(networks.clone()));
        for _ in 0..2 {
            for address in ["192.0.2.7", "192.0.2.200", "192.0.3.1", "198.51.100.1"] {
                let from = Some(address.parse().unwrap());
                let place = Place::new();
                let answer = block_on(node.verify_at(&text, Freshness::Cached, from, &place));
                assert_eq!(answer.is_ok(), admitted.contains(&address), "{address}, {networks:?}");
            }
            // An unknown address is in no network.
            let place = Place::new();
            let answer = block_on(node.verify_at(&text, Freshness::Cached, None, &place));
            assert!(matches!(answer, Err(VerifyError::Forbidden(OutsideGrant::Network))));
        }
    }
}
