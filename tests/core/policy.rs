//! Policies: which documents load, and the message for each inconsistency.

use core::time::Duration;
use std::{fs, path::Path};

use keyway::{ConfigError, Policy, Tier, rate::Rate};
use serde_json::{Value, json};

use crate::support::pure;

fn from(document: &Value) -> Result<Policy, serde_json::Error> {
    serde_json::from_str(&document.to_string())
}

fn valid() -> Value {
    serde_json::from_str(include_str!("../vectors/policy/valid.json")).unwrap()
}

fn with_tiers(tiers: impl IntoIterator<Item = Tier>) -> Result<Policy, ConfigError> {
    Policy::new("mm", pure::catalog(&pure::SCOPES), tiers)
}

fn rate(requests: u32, per_seconds: u32) -> Rate {
    Rate { requests, per_seconds }
}

#[test]
fn base_policy_of_all_vectors_loads() {
    let policy = from(&valid()).unwrap();
    assert_eq!(policy.issuer(), "mm");
    assert_eq!(policy.catalog().iter().count(), 3);
    let lite = policy.tier("lite").unwrap();
    assert_eq!(lite.keys, 1);
    assert_eq!(policy.ceiling("lite"), Some(policy.catalog().set(["reporting"]).unwrap()));
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
        serde_json::from_str(include_str!("../../examples/machinemetrics.json")).unwrap();
    let catalog = policy.catalog();
    assert_eq!(policy.issuer(), "mm");
    assert_eq!(policy.ceiling("advanced"), Some(catalog.all()));
    let lite = policy.ceiling("lite").unwrap();
    assert!(lite.covers(catalog.set(["operator.jobs", "metrics.basic"]).unwrap()));
    assert!(!lite.covers(catalog.set(["metrics.advanced"]).unwrap()));
    let kinds: Vec<_> = catalog.resources().collect();
    assert_eq!(kinds, [("machine", "One machine on the shop floor")]);
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
    let policy = pure::policy();
    assert_eq!(policy.ceiling("Lite"), None);
    assert_eq!(policy.tier("lite "), None);
    assert!(policy.ceiling("lite").is_some());
}

#[test]
fn tier_name_unusable_in_a_url_is_refused() {
    for name in [".", "..", "..."] {
        let error = with_tiers([Tier::new(name, 1)]).unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("the name of the tier `{name}` is only dots")),
            "{error}"
        );
    }
    for name in ["a.b", "..a", "Team / EU", "50 %"] {
        assert!(with_tiers([Tier::new(name, 1)]).is_ok(), "{name}");
    }
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
    let list = Tier::new("b", 1).scopes(pure::SCOPES);
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
    assert_eq!(error, ConfigError::ZeroLifetime("a".into()));
    assert!(tier(Duration::from_millis(1)).is_ok());
}

#[test]
fn the_cause_of_a_bad_ceiling_is_the_scope_at_fault() {
    let error = with_tiers([Tier::new("a", 1).scopes(["usr"])]).unwrap_err();
    assert_eq!(error.to_string(), "the ceiling of tier `a`: scope `usr` is not declared");
    let cause = Box::new(ConfigError::UnknownScope("usr".into()));
    assert_eq!(error, ConfigError::In { place: "the ceiling of tier `a`".into(), cause });
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
    assert!(matches!(error, ConfigError::Tiers(n) if n == Policy::MAX_TIERS + 1), "{error}");
}

#[test]
fn duplicate_tier_is_refused_at_any_position() {
    for names in [&["a", "a", "b"][..], &["a", "b", "b"], &["a", "b", "a"], &["a", "b", "c", "a"]] {
        let tiers = names.iter().zip(1..).map(|(name, keys)| Tier::new(*name, keys));
        let error = with_tiers(tiers).unwrap_err();
        assert!(matches!(error, ConfigError::DuplicateTier(_)), "{names:?}: {error}");
    }
    let apart = ["a", "b", "c"].into_iter().zip(1..).map(|(name, keys)| Tier::new(name, keys));
    assert!(with_tiers(apart).is_ok());
}

#[test]
fn policy_file_is_read_and_its_errors_name_the_path() {
    let folder = tempfile::tempdir().unwrap();
    let read = |name: &str, text: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        Policy::from_file(path, |text| serde_json::from_str(text))
    };
    let good = br#"{ "issuer": "mm", "scopes": [] }"#;
    assert_eq!(read("good.json", good).unwrap().issuer(), "mm");
    assert_eq!(read("mark.json", &[b"\xef\xbb\xbf", &good[..]].concat()).unwrap().issuer(), "mm");
    let bad = br#"{ "issuer": "mm", "scopes": [], "tiers": [] }"#;
    let error = read("bad.json", bad).unwrap_err();
    assert!(matches!(error, ConfigError::Unreadable { .. }), "{error:?}");
    assert!(
        error.to_string().ends_with(
            "bad.json` cannot be read: the policy has 0 tiers: it has at least one, and at most 256"
        ),
        "{error}"
    );
    // The parser repeats the unknown field, and with it what would begin another line of a log.
    let hostile = b"{ \"issuer\": \"mm\", \"a\\nb\": [] }";
    let error = read("hostile.json", hostile).unwrap_err().to_string();
    assert!(error.contains("a\\nb") && !error.contains('\n'), "{error}");
    for unreadable in
        [read("latin.json", b"\xff"), Policy::from_file("/nowhere/policy.json", parse)]
    {
        let error = unreadable.unwrap_err();
        assert!(matches!(error, ConfigError::Unreadable { .. }), "{error:?}");
        assert!(error.to_string().contains(".json` cannot be read: "), "{error}");
    }
}

fn parse(text: &str) -> serde_json::Result<Policy> {
    serde_json::from_str(text)
}
