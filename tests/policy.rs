//! Policies: what loads, and how each inconsistency is named.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::std_instead_of_alloc,
    reason = "a test fails by panicking, and has the standard library"
)]
#![cfg(feature = "serde")]

#[path = "support/random.rs"]
mod random;
#[path = "support/world.rs"]
mod world;

use core::time::Duration;
use std::{fs, path::Path};

use keyway::{
    policy::{Policy, PolicyError},
    tier::{Ceiling, Rate, Tier},
};
use serde_json::{Value, json};

fn from(document: &Value) -> Result<Policy, serde_json::Error> {
    serde_json::from_str(&document.to_string())
}

fn valid() -> Value {
    serde_json::from_str(include_str!("vectors/policy/valid.json")).unwrap()
}

fn with_tiers(tiers: impl IntoIterator<Item = Tier>) -> Result<Policy, PolicyError> {
    Policy::new("mm", world::catalog(&world::SCOPES), tiers)
}

fn rate(requests: u32, per_seconds: u32) -> Rate {
    Rate { requests, per_seconds }
}

#[test]
fn the_valid_policy_that_all_vectors_are_made_of_loads() {
    let policy = from(&valid()).unwrap();
    assert_eq!(policy.issuer(), "mm");
    assert_eq!(policy.catalog().iter().count(), 3);
    let lite = policy.tier("lite").unwrap();
    assert_eq!(lite.keys, 1);
    assert_eq!(lite.scopes, Ceiling::Only(vec!["reporting".into()]));
    assert_eq!(lite.rate, Some(rate(10, 1)));
    assert_eq!(lite.max_lifetime, Some(Duration::from_secs(30 * 86_400)));
}

#[test]
fn every_other_vector_is_refused_with_its_own_message() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/policy");
    let mut refused = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        if name == "valid" {
            continue;
        }
        let vector: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        let expected = vector["error"].as_str().unwrap();
        let error = from(&vector["policy"]).expect_err(name).to_string();
        assert!(error.contains(expected), "{name}: {error}");
        refused += 1;
    }
    assert!(refused >= 50, "only {refused} vectors were found");
}

#[test]
fn the_example_of_machinemetrics_loads() {
    let policy: Policy =
        serde_json::from_str(include_str!("../examples/machinemetrics.json")).unwrap();
    let catalog = policy.catalog();
    assert_eq!(policy.issuer(), "mm");
    assert_eq!(policy.ceiling("advanced"), Some(catalog.all()));
    let lite = policy.ceiling("lite").unwrap();
    assert!(lite.covers(catalog.set(["operator.jobs", "metrics.basic"]).unwrap()));
    assert!(!lite.covers(catalog.set(["metrics.advanced"]).unwrap()));
}

#[test]
fn without_tiers_the_built_in_ones_hold() {
    for tiers in [None, Some(Value::Null)] {
        let mut document = valid();
        let fields = document.as_object_mut().unwrap();
        fields.remove("tiers");
        fields.extend(tiers.map(|tiers| ("tiers".into(), tiers)));
        assert_eq!(from(&document).unwrap().tiers(), Tier::built_in());
    }
}

#[test]
fn the_built_in_tiers_are_lite_with_1_key_and_advanced_with_5() {
    let [lite, advanced] = Tier::built_in();
    assert_eq!((&*lite.name, lite.keys), ("lite", 1));
    assert_eq!((&*advanced.name, advanced.keys), ("advanced", 5));
    assert!(with_tiers([lite, advanced]).is_ok());
}

#[test]
fn a_tier_without_more_than_name_and_keys_has_no_other_limit() {
    let mut document = valid();
    document["tiers"] = json!([{ "name": "only", "keys": 3 }]);
    let policy = from(&document).unwrap();
    assert_eq!(policy.tiers(), [Tier::new("only", 3)]);
    assert_eq!(policy.ceiling("only"), Some(policy.catalog().all()));
}

#[test]
fn an_empty_ceiling_allows_nothing() {
    let nothing: [&str; 0] = [];
    let policy = with_tiers([Tier::new("none", 1).scopes(nothing)]).unwrap();
    assert_eq!(policy.ceiling("none"), Some(policy.catalog().none()));
}

#[test]
fn a_tier_that_is_not_declared_has_no_ceiling() {
    let policy = world::policy();
    assert_eq!(policy.ceiling("Lite"), None);
    assert_eq!(policy.tier("lite "), None);
    assert!(policy.ceiling("lite").is_some());
}

#[test]
fn equal_tiers_are_ascending() {
    let tier = |name| {
        Tier::new(name, 2)
            .scopes(["operator"])
            .rate(rate(3, 2))
            .max_lifetime(Duration::from_secs(1))
    };
    assert!(with_tiers([tier("a"), tier("b")]).is_ok());
}

#[test]
fn a_list_of_all_scopes_is_as_much_as_all() {
    let all = Tier::new("a", 1);
    let list = Tier::new("b", 1).scopes(world::SCOPES);
    assert!(with_tiers([all, list]).is_ok());
}

#[test]
fn rates_are_compared_as_fractions() {
    let tiers = |low: Rate, high: Rate| {
        with_tiers([Tier::new("a", 1).rate(low), Tier::new("b", 1).rate(high)])
    };
    assert!(tiers(rate(1, 2), rate(2, 4)).is_ok());
    assert!(tiers(rate(2, 4), rate(1, 2)).is_ok());
    assert!(tiers(rate(2, 3), rate(3, 4)).is_ok());
    assert!(tiers(rate(3, 4), rate(2, 3)).is_err());
    assert!(tiers(rate(u32::MAX, 1), rate(u32::MAX, 1)).is_ok());
    assert!(tiers(rate(u32::MAX, 1), rate(u32::MAX, 2)).is_err());
}

#[test]
fn a_tier_above_may_drop_its_limits() {
    let limited = Tier::new("a", 1).rate(rate(1, 1)).max_lifetime(Duration::from_secs(1));
    assert!(with_tiers([limited, Tier::new("b", 1)]).is_ok());
}

#[test]
fn a_lifetime_below_a_millisecond_is_zero() {
    let tier = |lifetime| with_tiers([Tier::new("a", 1).max_lifetime(lifetime)]);
    let error = tier(Duration::from_micros(999)).unwrap_err();
    assert_eq!(error, PolicyError::ZeroLifetime("a".into()));
    assert!(tier(Duration::from_millis(1)).is_ok());
}

#[test]
fn the_cause_of_a_bad_ceiling_is_the_scope_at_fault() {
    use core::error::Error;

    let error = with_tiers([Tier::new("a", 1).scopes(["usr"])]).unwrap_err();
    assert_eq!(error.to_string(), "the ceiling of tier `a` is inconsistent");
    let cause = error.source().unwrap().to_string();
    assert_eq!(cause, "scope `usr` is not declared");
}

#[test]
fn a_field_that_is_given_twice_is_refused() {
    let document = r#"{ "issuer": "mm", "issuer": "mm", "scopes": [] }"#;
    let error = serde_json::from_str::<Policy>(document).unwrap_err();
    assert!(error.to_string().contains("duplicate field `issuer`"), "{error}");
    assert!(serde_json::from_str::<Policy>(r#"{ "issuer": "mm", "scopes": [] }"#).is_ok());
}

#[test]
fn a_policy_has_at_most_256_tiers() {
    let tiers = |number: usize| (0..number).map(|tier| Tier::new(format!("t{tier}"), 1));
    assert_eq!(with_tiers(tiers(Policy::MAX_TIERS)).unwrap().tiers().len(), Policy::MAX_TIERS);
    let error = with_tiers(tiers(Policy::MAX_TIERS + 1)).unwrap_err();
    assert!(matches!(error, PolicyError::TooManyTiers(n) if n == Policy::MAX_TIERS + 1), "{error}");
}
