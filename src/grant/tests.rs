//! The laws of the lattices, on all elements of small ones.

use alloc::{format, string::ToString as _, vec::Vec};

use proptest::prelude::*;

use super::*;
use crate::{
    codec::{Reader, Writer},
    resource::ResourceKinds,
    scope::{ScopeCatalog, ScopeDeclaration},
};

fn catalog() -> ScopeCatalog {
    let scopes = [ScopeDeclaration::new("a", ""), ScopeDeclaration::new("b", "")];
    let kinds = ["machine", "site"].map(|name| ResourceDeclaration::new(name, ""));
    ScopeCatalog::new(scopes).unwrap().with_resources(kinds).unwrap()
}

fn some_resources() -> Vec<Resources> {
    [
        Resources::Nothing,
        Resources::only(["1"]).unwrap(),
        Resources::only(["2"]).unwrap(),
        Resources::only(["1", "2"]).unwrap(),
        Resources::All,
    ]
    .into()
}

fn some_networks() -> Vec<Networks> {
    let only = |networks: &[&str]| Networks::only(networks).unwrap();
    Vec::from([
        Networks::Any,
        only(&["0.0.0.0/0", "::/0"]),
        only(&["10.0.0.0/8"]),
        only(&["10.0.0.0/9", "192.0.2.0/24"]),
        only(&["10.128.0.0/9"]),
        only(&["2001:db8::/32"]),
        only(&["10.128.0.0/9"]).meet(&only(&["10.0.0.0/9"])),
    ])
}

fn some_grants() -> Vec<Grant> {
    let catalog = catalog();
    let (machine, site) = (catalog.resource("machine").unwrap(), catalog.resource("site").unwrap());
    let scopes = [catalog.none(), catalog.set(["a"]).unwrap(), catalog.all()];
    let mut grants = Vec::new();
    for scopes in scopes {
        let all = Grant::unlimited(scopes);
        for networks in some_networks() {
            grants.push(all.clone().networks(networks.clone()));
            for machines in some_resources() {
                for sites in [Resources::Nothing, Resources::only(["1"]).unwrap(), Resources::All] {
                    let some = all.clone().resources(&machine, machines.clone());
                    grants.push(some.resources(&site, sites).networks(networks.clone()));
                }
            }
        }
    }
    grants
}

/// Checks the laws of a meet-semilattice with an order, on all pairs, and on all triples of a sample.
fn check_laws<T: Clone + PartialEq + core::fmt::Debug>(
    all: &[T],
    covers: impl Fn(&T, &T) -> bool,
    meet: impl Fn(&T, &T) -> T,
) {
    for left in all {
        assert!(covers(left, left));
        assert_eq!(meet(left, left), *left);
        for right in all {
            let both = meet(left, right);
            assert_eq!(both, meet(right, left), "{left:?} {right:?}");
            assert!(covers(left, &both) && covers(right, &both), "{left:?} {right:?}");
            assert_eq!(covers(left, right), both == *right, "{left:?} {right:?}");
        }
    }
    let sample: Vec<&T> = all.iter().step_by(all.len().div_ceil(60)).collect();
    for one in &sample {
        for two in &sample {
            for three in &sample {
                // The meet is the greatest lower bound.
                if covers(one, three) && covers(two, three) {
                    assert!(covers(&meet(one, two), three), "{one:?} {two:?} {three:?}");
                }
                assert_eq!(meet(&meet(one, two), three), meet(one, &meet(two, three)));
            }
        }
    }
}

#[test]
fn resources_and_networks_are_lattices() {
    check_laws(&some_resources(), Resources::covers, Resources::meet);
    check_laws(&some_networks(), Networks::covers, Networks::meet);
}

#[test]
fn grants_are_a_product_lattice() {
    let grants = some_grants();
    // `Unlimited`, and all of each kind, permit the same. Only the former is the top.
    check_laws(&grants, Grant::covers, Grant::meet);
}

#[test]
fn order_of_resources_is_what_they_contain() {
    for left in some_resources() {
        for right in some_resources() {
            let contains_all =
                ["1", "2", "3"].iter().all(|id| left.contains(id) || !right.contains(id));
            assert_eq!(left.covers(&right), contains_all, "{left:?} {right:?}");
        }
    }
}

#[test]
fn order_of_networks_is_what_they_contain() {
    let addresses = ["10.0.0.1", "10.200.0.1", "192.0.2.1", "198.51.100.1", "2001:db8::1", "::1"];
    let addresses = addresses.map(|address| address.parse().unwrap());
    for left in some_networks() {
        for right in some_networks() {
            let both = left.meet(&right);
            for address in addresses {
                let is_in_both = left.contains(address) && right.contains(address);
                assert_eq!(both.contains(address), is_in_both, "{left:?} {right:?} {address}");
                assert!(!left.covers(&right) || left.contains(address) || !right.contains(address));
            }
        }
    }
}

proptest! {
    #[test]
    fn list_contains_what_one_of_its_networks_contains(
        networks in prop::collection::vec((0..4_u8, 0..4_u8, prop::sample::select([8_u8, 15, 16, 24, 32].as_slice())), 1..9),
        address in (0..4_u8, 0..4_u8, 0..2_u8),
    ) {
        let truncated = |(a, b, length): (u8, u8, u8)| match length {
            8 => format!("{a}.0.0.0/8"),
            15 => format!("{a}.{}.0.0/15", b & !1),
            _ => format!("{a}.{b}.0.0/{length}"),
        };
        let texts: Vec<_> = networks.into_iter().map(truncated).collect();
        let parsed: Vec<Network> = texts.iter().map(|text| text.parse().unwrap()).collect();
        let (a, b, c) = address;
        let address = IpAddr::from([a, b, 0, c]);
        let expected = parsed.iter().any(|network| network.contains(address));
        prop_assert_eq!(Networks::only(&texts).unwrap().contains(address), expected);
    }
}

#[test]
fn neighbors_are_joined_and_duplicates_dropped() {
    let networks = Networks::only(["10.0.0.0/9", "10.128.0.0/9", "10.1.0.0/16", "::1"]).unwrap();
    let Networks::Only(list) = networks else { panic!("a limit") };
    let texts: Vec<_> = list.iter().map(|network| network.to_string()).collect();
    assert_eq!(texts, ["10.0.0.0/8", "::1/128"]);
}

#[test]
fn networks_of_mapped_addresses_are_networks_of_ipv4() {
    for (text, expected) in [
        ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
        ("::ffff:0:0/96", "0.0.0.0/0"),
        ("::ffff:192.0.2.7", "192.0.2.7/32"),
        ("::/0", "::/0"),
        ("2001:DB8::/32", "2001:db8::/32"),
    ] {
        assert_eq!(text.parse::<Network>().unwrap().to_string(), expected);
    }
    let v6: Network = "::/0".parse().unwrap();
    assert!(!v6.contains("::ffff:10.0.0.1".parse().unwrap()));
    for text in
        ["", "10.0.0.0/33", "10.0.0.1/8", "10.0.0/8", "example.org", "10.0.0.0/-1", " 10.0.0.1"]
    {
        let error = text.parse::<Network>().unwrap_err().to_string();
        assert!(error.contains("network"), "{text}: {error}");
    }
}

#[test]
fn empty_lists_never_mean_all() {
    assert_eq!(Resources::only::<&str>([]).unwrap(), Resources::Nothing);
    assert!(Networks::only::<&str>([]).is_err());
    let nothing = some_networks().pop().unwrap();
    assert!(!nothing.contains("10.0.0.1".parse().unwrap()) && nothing != Networks::Any);
}

#[test]
fn limits_of_lists_are_checked() {
    let ids: Vec<_> = (0..=Resources::MAX_IDS).map(|id| format!("{id}")).collect();
    assert!(Resources::only(&ids).is_err() && Resources::only(&ids[1..]).is_ok());
    for id in ["", " ", "a\n", "a\u{202e}", &"x".repeat(65)] {
        assert!(Resources::only([id]).is_err(), "{id:?}");
    }
    let networks: Vec<_> =
        (0..=Networks::MAX).map(|net| format!("10.{}.0.0/16", net * 2)).collect();
    assert!(Networks::only(&networks).is_err() && Networks::only(&networks[1..]).is_ok());
}

#[test]
fn stored_limits_read_back_and_have_one_encoding() {
    for networks in some_networks() {
        for resources in some_resources() {
            let mut limits = StoredLimits { networks: networks.clone(), ..Default::default() };
            limits.set("site", Resources::All);
            limits.set("machine", resources.clone());
            let mut writer = Writer::default();
            limits.write(&mut writer);
            let bytes = writer.into_bytes();
            let mut reader = Reader::new(&bytes);
            assert_eq!(StoredLimits::read(&mut reader), Some(limits.clone()));
            assert!(reader.end().is_some());
            // Each single change of a byte gives nothing, or other limits.
            for at in 0..bytes.len() {
                for bit in 0..8 {
                    let mut changed = bytes.clone();
                    changed[at] ^= 1 << bit;
                    let mut reader = Reader::new(&changed);
                    let read = StoredLimits::read(&mut reader).filter(|_| reader.end().is_some());
                    assert_ne!(read, Some(limits.clone()));
                }
            }
        }
    }
}

#[test]
fn limits_of_undeclared_kinds_are_kept_and_named() {
    let catalog = catalog();
    let kinds = catalog.resource_kinds();
    let mut limits = StoredLimits::default();
    assert_eq!(limits.resolve(kinds).unwrap().resources.of_kind("machine"), &Resources::Nothing);
    limits.set("machine", Resources::All);
    assert_eq!(limits.resolve(kinds).unwrap().resources.of_kind("site"), &Resources::Nothing);
    limits.set("site", Resources::All);
    assert_eq!(limits.resolve(kinds), None);
    limits.set("plant", Resources::All);
    assert_eq!((limits.resolve(kinds), limits.unknown(kinds)), (None, None));
    limits.set("plant", Resources::only(["1"]).unwrap());
    assert_eq!(limits.unknown(kinds), Some("plant"));
    // Without any kinds, a key has no limits.
    assert_eq!(StoredLimits::default().resolve(&ResourceKinds::default()), None);
}

#[test]
fn kinds_are_declared_with_valid_names_once() {
    let declare = |names: &[&str]| {
        let kinds = names.iter().map(|name| ResourceDeclaration::new(*name, "things"));
        ScopeCatalog::new([]).unwrap().with_resources(kinds)
    };
    for names in
        [&["a"][..], &["machine", "site-2", "x_y"], &["a", "b", "c", "d", "e", "f", "g", "h"]]
    {
        assert!(declare(names).is_ok(), "{names:?}");
    }
    for names in [
        &[""][..],
        &["Machine"],
        &["2"],
        &["a b"],
        &["a", "a"],
        &["a", "b", "c", "d", "e", "f", "g", "h", "i"],
        &["a23456789012345678901234567890123"],
    ] {
        assert!(declare(names).is_err(), "{names:?}");
    }
    // Sets of catalogs with other kinds have nothing in common.
    let (one, other) = (declare(&["a"]).unwrap(), declare(&["b"]).unwrap());
    assert!(!one.all().covers(other.all()) && one.all().covers(one.all()));
    assert_ne!(one.fingerprint(), ScopeCatalog::new([]).unwrap().fingerprint());
}
