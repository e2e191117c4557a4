//! Scopes: the laws of their lattice, their text, and what routes require.

use std::collections::{BTreeMap, BTreeSet};

use keyway::{
    ConfigError, NewKey, Policy, ScopeCatalog, Tier,
    lowlevel::{Authority, ResolvedKey},
    scope::{Scope, ScopeDeclaration, ScopeSet},
};
use proptest::{
    collection::{btree_set, vec},
    prelude::*,
    sample::{Index, select},
};

use crate::support::pure;

// A model of the order that does not use bits: names, and a fixpoint over them.

type Names = BTreeSet<String>;

#[derive(Clone, Debug, Default)]
struct Model {
    implied: BTreeMap<String, Names>,
}

impl Model {
    fn new(names: &[String], edges: &[(usize, usize)]) -> Self {
        let mut model = Self::default();
        for name in names {
            model.implied.insert(name.clone(), Names::new());
        }
        for (upper, lower) in edges {
            let below = model.implied.get_mut(&names[*upper]).unwrap();
            below.insert(names[*lower].clone());
        }
        model
    }

    fn declarations(&self) -> Vec<ScopeDeclaration> {
        self.implied
            .iter()
            .map(|(name, implied)| ScopeDeclaration::new(name, "").implies(implied.clone()))
            .collect()
    }

    fn build(&self) -> Result<ScopeCatalog, ConfigError> {
        ScopeCatalog::new(self.declarations())
    }

    fn closure(&self, names: &Names) -> Names {
        let mut closure = names.clone();
        loop {
            let more: Names = closure
                .iter()
                .flat_map(|name| {
                    let dotted = format!("{name}.");
                    let below = self.implied.keys().filter(move |k| k.starts_with(&dotted));
                    below.chain(&self.implied[name]).cloned()
                })
                .collect();
            let len = closure.len();
            closure.extend(more);
            if closure.len() == len {
                return closure;
            }
        }
    }

    fn below(&self, name: &str) -> Names {
        self.closure(&Names::from([name.into()]))
    }

    fn has_cycle(&self) -> bool {
        let imply_each_other = |one: &String, other: &String| {
            one != other && self.below(one).contains(other) && self.below(other).contains(one)
        };
        let mut names = self.implied.keys();
        names.any(|one| self.implied.keys().any(|other| imply_each_other(one, other)))
    }
}

/// Returns the scopes that `set` holds, tested name by name.
fn held(catalog: &ScopeCatalog, set: ScopeSet) -> Names {
    catalog
        .iter()
        .map(|(scope, _)| scope.to_string())
        .filter(|name| set.covers(catalog.set([name]).unwrap()))
        .collect()
}

/// Returns every relation `implies` over up to four scopes.
fn small_models() -> Vec<Model> {
    let names: Vec<String> = ["a", "b", "c", "d"].map(String::from).into();
    let mut models = Vec::new();
    for size in 0..=4 {
        let pairs: Vec<(usize, usize)> = (0..size)
            .flat_map(|upper| (0..size).map(move |lower| (upper, lower)))
            .filter(|(upper, lower)| upper != lower)
            .collect();
        for relation in 0_u32..1 << pairs.len() {
            let edges: Vec<(usize, usize)> = (0..)
                .zip(&pairs)
                .filter(|(bit, _)| relation >> bit & 1 == 1)
                .map(|(_, pair)| *pair)
                .collect();
            models.push(Model::new(&names[..size], &edges));
        }
    }
    models
}

/// Returns every order of up to four scopes, with all of its sets.
fn small_lattices() -> impl Iterator<Item = (ScopeCatalog, Model, Vec<ScopeSet>)> {
    small_models().into_iter().filter_map(|model| {
        let catalog = model.build().ok()?;
        let names: Vec<&String> = model.implied.keys().collect();
        let mut sets = Vec::new();
        for chosen in 0_u32..1 << names.len() {
            let chosen =
                (0..).zip(&names).filter(|(bit, _)| chosen >> bit & 1 == 1).map(|(_, name)| name);
            let set = catalog.set(chosen).unwrap();
            if !sets.contains(&set) {
                sets.push(set);
            }
        }
        Some((catalog, model, sets))
    })
}

#[test]
fn every_small_relation_is_an_order_unless_it_has_a_cycle() {
    let models = small_models();
    let orders = models.iter().filter(|model| {
        let built = model.build();
        assert_eq!(built.is_err(), model.has_cycle(), "{model:?}: {built:?}");
        built.is_ok()
    });
    // Labelled directed acyclic graphs of 0 to 4 nodes (OEIS A003024).
    assert_eq!(orders.count(), 1 + 1 + 3 + 25 + 543);
}

#[test]
fn a_cycle_is_reported_by_two_scopes_that_imply_each_other() {
    for model in small_models() {
        if let Err(error) = model.build() {
            let ConfigError::ScopeCycle(one, other) = &error else {
                panic!("{model:?}: {error}");
            };
            assert_ne!(one, other);
            assert!(model.below(one.as_str()).contains(other.as_str()));
            assert!(model.below(other.as_str()).contains(one.as_str()));
        }
    }
}

#[test]
fn small_sets_hold_what_the_model_holds() {
    for (catalog, model, _) in small_lattices() {
        for name in model.implied.keys() {
            let set = catalog.set([name]).unwrap();
            assert_eq!(held(&catalog, set), model.below(name), "{model:?}");
        }
    }
}

#[test]
fn covering_is_an_order() {
    for (_, model, sets) in small_lattices() {
        for a in &sets {
            assert!(a.covers(*a));
            for b in &sets {
                assert!(!(a.covers(*b) && b.covers(*a)) || a == b, "{model:?}");
                for c in &sets {
                    assert!(!(a.covers(*b) && b.covers(*c)) || a.covers(*c), "{model:?}");
                }
            }
        }
    }
}

#[test]
fn some_sets_do_not_cover_each_other() {
    let apart = small_lattices().any(|(_, _, sets)| {
        let covers = |a: &ScopeSet| sets.iter().all(|b| a.covers(*b) || b.covers(*a));
        !sets.iter().all(covers)
    });
    assert!(apart);
}

#[test]
fn join_and_meet_are_least_upper_and_greatest_lower_bounds() {
    for (_, model, sets) in small_lattices() {
        for a in &sets {
            for b in &sets {
                let (join, meet) = (a.join(*b), a.meet(*b));
                assert!(sets.contains(&join) && sets.contains(&meet), "{model:?}");
                for c in &sets {
                    let above_both = c.covers(*a) && c.covers(*b);
                    assert_eq!(c.covers(join), above_both, "{model:?}");
                    let below_both = a.covers(*c) && b.covers(*c);
                    assert_eq!(meet.covers(*c), below_both, "{model:?}");
                }
            }
        }
    }
}

#[test]
fn join_and_meet_obey_the_laws_of_a_distributive_lattice() {
    for (_, model, sets) in small_lattices() {
        for a in &sets {
            for b in &sets {
                assert_laws_of_two(*a, *b);
                for c in &sets {
                    assert_laws_of_three(*a, *b, *c);
                }
            }
        }
        // Idempotence follows from the others. It is tested for a readable failure.
        assert!(sets.iter().all(|a| a.join(*a) == *a && a.meet(*a) == *a), "{model:?}");
    }
}

fn assert_laws_of_two(a: ScopeSet, b: ScopeSet) {
    assert_eq!(a.join(b), b.join(a));
    assert_eq!(a.meet(b), b.meet(a));
    assert_eq!(a.join(a.meet(b)), a);
    assert_eq!(a.meet(a.join(b)), a);
}

fn assert_laws_of_three(a: ScopeSet, b: ScopeSet, c: ScopeSet) {
    assert_eq!(a.join(b).join(c), a.join(b.join(c)));
    assert_eq!(a.meet(b).meet(c), a.meet(b.meet(c)));
    assert_eq!(a.meet(b.join(c)), a.meet(b).join(a.meet(c)));
    assert_eq!(a.join(b.meet(c)), a.join(b).meet(a.join(c)));
}

#[test]
fn none_is_the_bottom_and_all_is_the_top() {
    for (catalog, _, sets) in small_lattices() {
        let (none, all) = (catalog.none(), catalog.all());
        assert!(none.is_empty());
        assert_eq!(all.len(), catalog.iter().count());
        for a in sets {
            assert!(a.covers(none) && all.covers(a));
            assert_eq!((a.join(none), a.meet(all)), (a, a));
            assert_eq!((a.meet(none), a.join(all)), (none, all));
        }
    }
}

#[test]
fn the_empty_set_does_not_cover_anything_else() {
    for (catalog, _, sets) in small_lattices() {
        for a in sets {
            assert_eq!(catalog.none().covers(a), a.is_empty());
        }
    }
}

#[test]
fn canonical_names_are_the_fewest_for_the_set() {
    for (catalog, model, sets) in small_lattices() {
        for set in sets {
            let names = catalog.names(set);
            assert!(names.is_sorted());
            assert_eq!(catalog.set(&names).unwrap(), set, "{model:?}");
            for left_out in &names {
                let others = names.iter().filter(|name| *name != left_out);
                assert_ne!(catalog.set(others).unwrap(), set, "{model:?}");
            }
        }
    }
}

#[test]
fn canonical_text_reads_back() {
    for (catalog, _, sets) in small_lattices() {
        for set in sets {
            assert_eq!(catalog.parse(&catalog.text(set)), Ok(set));
        }
    }
}

// Large catalogs

/// Generates up to 256 names, many of them below others by their dots. The edges between them mostly run from
/// shorter to longer names, and so make no cycle.
fn large_models() -> impl Strategy<Value = Model> {
    let part = || select(vec!["a", "b", "c", "d", "e", "f", "g", "h", "ab", "a-b"]);
    let name = vec(part(), 1..5).prop_map(|parts| parts.join("."));
    let edge = (any::<Index>(), any::<Index>(), prop::bool::weighted(0.998));
    (btree_set(name, 1..=256), vec(edge, 0..80)).prop_map(|(names, edges)| {
        let mut names: Vec<String> = names.into_iter().collect();
        names.sort_by_key(|name| (name.len(), name.clone()));
        let edges: Vec<(usize, usize)> = edges
            .into_iter()
            .map(|(upper, lower, ordered)| {
                let (upper, lower) = (upper.index(names.len()), lower.index(names.len()));
                let swap = ordered && upper > lower;
                if swap { (lower, upper) } else { (upper, lower) }
            })
            .collect();
        Model::new(&names, &edges)
    })
}

/// Generates three sets of names from a large model.
fn large_sets() -> impl Strategy<Value = (Model, [Names; 3])> {
    let picks = || vec(any::<Index>(), 0..12);
    (large_models(), [picks(), picks(), picks()]).prop_map(|(model, picks)| {
        let names: Vec<&String> = model.implied.keys().collect();
        let sets =
            picks.map(|picks| picks.iter().map(|pick| (*pick.get(&names)).clone()).collect());
        (model, sets)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn large_sets_behave_as_sets_of_strings((model, [a, b, c]) in large_sets()) {
        let Ok(catalog) = model.build() else {
            prop_assert!(model.has_cycle());
            return Ok(());
        };
        let [a_model, b_model] = [&a, &b].map(|names| model.closure(names));
        let [a, b, c] = [&a, &b, &c].map(|names| catalog.set(names).unwrap());

        prop_assert_eq!(held(&catalog, a), a_model.clone());
        prop_assert_eq!(a.len(), a_model.len());
        prop_assert_eq!(a.covers(b), a_model.is_superset(&b_model));
        prop_assert_eq!(held(&catalog, a.join(b)), &a_model | &b_model);
        prop_assert_eq!(held(&catalog, a.meet(b)), &a_model & &b_model);
        assert_laws_of_two(a, b);
        assert_laws_of_three(a, b, c);
    }

    #[test]
    fn large_texts_are_sorted_antichains_that_read_back((model, [a, ..]) in large_sets()) {
        let Ok(catalog) = model.build() else {
            return Ok(());
        };
        let set = catalog.set(&a).unwrap();
        let text = catalog.text(set);
        prop_assert_eq!(catalog.parse(&text), Ok(set));
        let names: Vec<&str> = text.split(' ').filter(|name| !name.is_empty()).collect();
        prop_assert!(names.is_sorted());
        for one in &names {
            let below = model.below(one);
            prop_assert!(names.iter().all(|other| one == other || !below.contains(*other)));
        }
    }

    #[test]
    fn the_order_of_declarations_does_not_matter(model in large_models(), turn in 0_usize..256) {
        let mut turned = model.declarations();
        let len = turned.len();
        turned.rotate_left(turn % len);
        if let (Ok(one), Ok(other)) = (model.build(), ScopeCatalog::new(turned)) {
            prop_assert_eq!(one.all(), other.all());
        } else {
            prop_assert!(model.has_cycle());
        }
    }
}

// Text

#[test]
fn parse_accepts_any_order_repeated_and_implied_names() {
    let catalog = pure::catalog(&pure::SCOPES);
    let set = catalog.parse(" reporting  operator.jobs operator reporting ").unwrap();
    assert_eq!(catalog.text(set), "operator reporting");
}

#[test]
fn the_empty_text_is_the_empty_set() {
    let catalog = pure::catalog(&pure::SCOPES);
    assert_eq!(catalog.parse(""), Ok(catalog.none()));
    assert_eq!(catalog.text(catalog.none()), "");
}

#[test]
fn only_spaces_separate_names() {
    let catalog = pure::catalog(&pure::SCOPES);
    for text in ["operator,user", "operator\tuser", "operator\nuser"] {
        assert_eq!(catalog.parse(text), Err(ConfigError::UnknownScope(text.into())));
    }
}

#[test]
fn dotted_prefix_orders_and_a_common_prefix_does_not() {
    let catalog = pure::catalog(&["op", "op.read", "op.read.all", "operator", "op-x"]);
    let op = catalog.set(["op"]).unwrap();
    assert_eq!(held(&catalog, op).len(), 3);
    for other in ["operator", "op-x"] {
        assert!(!op.covers(catalog.set([other]).unwrap()), "{other}");
    }
}

#[test]
fn a_dotted_name_needs_no_declared_parent() {
    let catalog = pure::catalog(&["system.gateway", "system.gateway.read", "system.users"]);
    let gateway = catalog.set(["system.gateway"]).unwrap();
    assert!(gateway.covers(catalog.set(["system.gateway.read"]).unwrap()));
    assert!(!gateway.covers(catalog.set(["system.users"]).unwrap()));
    assert!(catalog.set(["system"]).is_err());
}

#[test]
fn name_is_above_others_across_an_undeclared_level() {
    let catalog = pure::catalog(&["a", "a.b.c"]);
    let a = catalog.set(["a"]).unwrap();
    assert!(a.covers(catalog.set(["a.b.c"]).unwrap()));
}

#[test]
fn dots_and_declared_edges_work_together() {
    let catalog = ScopeCatalog::new([
        ScopeDeclaration::new("admin", "").implies(["ops"]),
        ScopeDeclaration::new("ops", ""),
        ScopeDeclaration::new("ops.read", "").implies(["audit"]),
        ScopeDeclaration::new("audit", ""),
        ScopeDeclaration::new("other", ""),
    ])
    .unwrap();
    let admin = catalog.set(["admin"]).unwrap();
    assert!(admin.covers(catalog.set(["audit"]).unwrap()));
    assert!(!admin.covers(catalog.set(["other"]).unwrap()));
}

#[test]
fn descriptions_are_listed_with_their_names_in_order() {
    let catalog = ScopeCatalog::new([
        ScopeDeclaration::new("b", "second"),
        ScopeDeclaration::new("a", "first"),
    ])
    .unwrap();
    let listed: Vec<(&str, &str)> = catalog.iter().map(|(name, d)| (name.as_str(), d)).collect();
    assert_eq!(listed, [("a", "first"), ("b", "second")]);
}

// Different catalogs

/// Returns a catalog, and others that differ from it only by a name or by the order.
fn similar_catalogues() -> (ScopeCatalog, [ScopeCatalog; 3]) {
    let edge = ScopeDeclaration::new("a", "").implies(["b"]);
    let other_order = ScopeCatalog::new([edge, ScopeDeclaration::new("b", "")]).unwrap();
    let others = [pure::catalog(&["a", "c"]), pure::catalog(&["a", "b", "c"]), other_order];
    (pure::catalog(&["a", "b"]), others)
}

#[test]
fn sets_of_different_catalogs_never_cover() {
    let (one, others) = similar_catalogues();
    for other in others {
        assert!(!one.all().covers(other.all()));
        assert!(!other.all().covers(one.all()));
        assert!(!one.all().covers(other.none()));
        assert!(!one.none().covers(other.none()));
        assert_ne!(one.none(), other.none());
    }
}

#[test]
fn join_and_meet_across_catalogs_are_empty() {
    let (one, others) = similar_catalogues();
    for other in others {
        assert!(one.all().join(other.all()).is_empty());
        assert!(one.all().meet(other.all()).is_empty());
        assert!(one.names(other.all()).is_empty());
        assert_eq!(one.text(other.all()), "");
    }
}

#[test]
fn equal_catalogs_built_apart_share_their_sets() {
    let (one, _) = similar_catalogues();
    let again = ScopeCatalog::new([
        ScopeDeclaration::new("b", "described in other words"),
        ScopeDeclaration::new("a", ""),
    ])
    .unwrap();
    assert!(one.all().covers(again.all()) && again.all().covers(one.all()));
}

// Requirements

#[test]
fn require_all_needs_every_scope() {
    let catalog = pure::catalog(&pure::SCOPES);
    let both = catalog.require_all(["reporting", "operator.jobs"]).unwrap();
    let check = |names: &[&str]| both.check(catalog.set(names).unwrap());
    assert!(check(&["reporting", "operator.jobs"]).is_ok());
    assert!(check(&["reporting", "operator"]).is_ok());
    assert!(check(&["reporting"]).is_err());
    assert!(check(&["operator", "user"]).is_err());
    assert!(check(&[]).is_err());
}

#[test]
fn require_any_needs_one_scope() {
    let catalog = pure::catalog(&pure::SCOPES);
    let either = catalog.require_any(["reporting", "operator.jobs"]).unwrap();
    let check = |names: &[&str]| either.check(catalog.set(names).unwrap());
    assert!(either.is_any());
    assert!(check(&["reporting"]).is_ok());
    assert!(check(&["operator"]).is_ok());
    assert!(check(&["operator.read", "user"]).is_err());
    assert!(check(&[]).is_err());
}

#[test]
fn lower_scope_does_not_grant_the_upper_one() {
    let catalog = pure::catalog(&pure::SCOPES);
    let operator = catalog.require_all(["operator"]).unwrap();
    let lower = catalog.set(["operator.jobs", "operator.read"]).unwrap();
    assert!(operator.check(lower).is_err());
    assert!(operator.check(catalog.all()).is_ok());
}

#[test]
fn require_none_admits_every_caller_of_its_catalog() {
    let (one, others) = similar_catalogues();
    assert!(one.require_none().check(one.none()).is_ok());
    assert_eq!(one.require_none().scopes().count(), 0);
    for other in others {
        assert!(one.require_none().check(other.all()).is_err());
    }
}

#[test]
fn set_of_another_catalog_meets_no_requirement() {
    let (one, others) = similar_catalogues();
    let all = one.require_all(["a"]).unwrap();
    let any = one.require_any(["a"]).unwrap();
    for other in others {
        assert!(all.check(other.all()).is_err());
        assert!(any.check(other.all()).is_err());
    }
    assert!(all.check(one.all()).is_ok() && any.check(one.all()).is_ok());
}

#[test]
fn missing_scope_names_only_the_missing() {
    let catalog = pure::catalog(&pure::SCOPES);
    let need = catalog.require_all(["user", "reporting", "operator"]).unwrap();
    let missing = need.check(catalog.set(["reporting"]).unwrap()).unwrap_err();
    let names: Vec<&str> = missing.scopes().iter().map(Scope::as_str).collect();
    assert_eq!(names, ["operator", "user"]);
    assert_eq!(missing.to_string(), "missing scopes `operator`, `user`");
    assert!(!missing.is_any());
}

#[test]
fn one_missing_scope_is_named_in_the_singular() {
    let catalog = pure::catalog(&pure::SCOPES);
    let missing = catalog.require_any(["user"]).unwrap().check(catalog.none());
    assert_eq!(missing.unwrap_err().to_string(), "missing scope `user`");
}

#[test]
fn require_any_names_every_alternative() {
    let catalog = pure::catalog(&pure::SCOPES);
    let need = catalog.require_any(["user", "reporting"]).unwrap();
    assert!(need.scopes().map(Scope::as_str).eq(["reporting", "user"]));
    let missing = need.check(catalog.set(["operator"]).unwrap()).unwrap_err();
    assert!(missing.is_any());
    assert_eq!(missing.to_string(), "missing one of scopes `reporting`, `user`");
}

#[test]
fn scopes_of_another_catalog_are_missing() {
    let (one, others) = similar_catalogues();
    let need = one.require_all(["a", "b"]).unwrap();
    for other in others {
        let missing = need.check(other.all()).unwrap_err();
        assert_eq!(missing.scopes().len(), 2);
    }
}

#[test]
fn empty_requirement_is_an_error() {
    let catalog = pure::catalog(&pure::SCOPES);
    let nothing: [&str; 0] = [];
    for refused in [catalog.require_all(nothing), catalog.require_any(nothing)] {
        let error = refused.unwrap_err();
        assert_eq!(error, ConfigError::EmptyRequirement);
        assert!(error.to_string().contains("`require_none`"), "{error}");
    }
}

#[test]
fn requirement_of_an_unknown_scope_is_an_error() {
    let catalog = pure::catalog(&pure::SCOPES);
    for refused in [catalog.require_all(["user", "usr"]), catalog.require_any(["user", "usr"])] {
        assert_eq!(refused.unwrap_err().to_string(), "scope `usr` is not declared");
    }
}

// Errors of catalogs

#[test]
fn a_name_that_is_declared_twice_is_named() {
    let twice = ["b", "a", "b"].map(|name| ScopeDeclaration::new(name, ""));
    let error = ScopeCatalog::new(twice).unwrap_err();
    assert_eq!(error.to_string(), "scope `b` is declared twice");
}

#[test]
fn undeclared_implied_name_is_reported_with_its_scope() {
    let error = ScopeCatalog::new([ScopeDeclaration::new("a", "").implies(["b\n"])]).unwrap_err();
    assert!(matches!(error, ConfigError::In { .. }));
    let text = error.to_string();
    assert_eq!(text, r"the scopes that `a` implies: scope `b\n` is not declared");
}

#[test]
fn scope_that_implies_its_dotted_parent_is_a_cycle() {
    let error = ScopeCatalog::new([
        ScopeDeclaration::new("a", ""),
        ScopeDeclaration::new("a.b", "").implies(["a"]),
    ])
    .unwrap_err();
    assert_eq!(error.to_string(), "scopes `a` and `a.b` imply each other");
}

#[test]
fn scope_may_imply_itself() {
    let catalog = ScopeCatalog::new([ScopeDeclaration::new("a", "").implies(["a"])]).unwrap();
    assert_eq!(catalog.all(), pure::catalog(&["a"]).all());
}

#[test]
fn an_unknown_name_is_named_as_it_was_written() {
    let catalog = pure::catalog(&pure::SCOPES);
    for (name, shown) in [("Operator", "Operator"), ("operator.", "operator."), ("\u{7}", "\\u{7}")]
    {
        let error = catalog.set(["operator", name]).unwrap_err();
        assert_eq!(error.to_string(), format!("scope `{shown}` is not declared"));
    }
}

#[test]
fn a_name_has_the_characters_of_rfc_6749() {
    for character in '\0'..='\u{180}' {
        let allowed = matches!(character, '!' | '#'..='[' | ']'..='~');
        let name = format!("a{character}");
        assert_eq!(Scope::try_from(&*name).is_ok(), allowed, "{character:?}");
    }
}

#[test]
fn a_name_has_1_to_100_characters() {
    assert!(Scope::try_from("").is_err());
    assert!(Scope::try_from(&*"a".repeat(100)).is_ok());
    let error = Scope::try_from(&*"a".repeat(101)).unwrap_err();
    assert!(error.to_string().contains("1 to 100"), "{error}");
}

#[test]
fn bad_name_is_reported_with_the_rule() {
    let error = ScopeCatalog::new([ScopeDeclaration::new("read all\n", "")]).unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with(r"`read all\n` cannot be declared as a scope: it is not 1 to 100"));
    assert!(text.contains("without space"), "{text}");
}

#[test]
fn catalog_holds_256_independent_scopes() {
    let names: Vec<String> = (0..256).map(|number| format!("s{number:03}")).collect();
    let catalog =
        ScopeCatalog::new(names.iter().map(|name| ScopeDeclaration::new(name, ""))).unwrap();
    assert_eq!(catalog.all().len(), 256);
    for name in &names {
        let set = catalog.set([name]).unwrap();
        assert_eq!(set.len(), 1);
        assert_eq!(catalog.text(set), *name);
        assert!(catalog.require_all([name]).unwrap().check(set).is_ok());
    }
}

#[test]
fn catalog_rejects_257_scopes() {
    let names = (0..257).map(|number| format!("s{number}"));
    let error = ScopeCatalog::new(names.map(|name| ScopeDeclaration::new(name, ""))).unwrap_err();
    assert_eq!(error, ConfigError::TooManyScopes(257));
    assert!(error.to_string().starts_with("257 scopes are declared"));
}

#[test]
fn catalog_may_be_empty() {
    let catalog = ScopeCatalog::new([]).unwrap();
    assert!(catalog.all().is_empty());
    assert_eq!(catalog.all(), catalog.none());
}

// Catalogs that change while keys exist

fn authority_with(names: &[&str]) -> Authority {
    let policy = Policy::new("mm", pure::catalog(names), Tier::built_in()).unwrap();
    Authority::new(policy, "live", &pure::pepper(7).into()).unwrap()
}

#[test]
fn removed_scope_grants_nothing_and_stays_recorded() {
    let before = authority_with(&["operator", "operator.jobs", "reporting"]);
    let tenant = pure::tenant(&before, "acme", "lite");
    let request = NewKey::named("k").scopes(["operator", "reporting"]);
    let (key, _) = pure::issue(&before, &tenant, request, 1);
    assert!(ResolvedKey::unknown_scopes(&key, before.policy()).is_empty());

    let after = authority_with(&["operator.jobs", "reporting"]);
    let unknown = ResolvedKey::unknown_scopes(&key, after.policy());
    assert_eq!(unknown, ["operator".parse().unwrap()]);
    let scopes = after.resolve(&key, &tenant).unwrap().scopes();
    assert_eq!(after.policy().catalog().text(scopes), "reporting");
    assert_eq!(key.scopes().len(), 2);
}

#[test]
fn a_scope_that_comes_back_grants_again() {
    let before = authority_with(&["operator", "reporting"]);
    let tenant = pure::tenant(&before, "acme", "lite");
    let request = NewKey::named("k").scopes(["operator", "reporting"]);
    let (key, _) = pure::issue(&before, &tenant, request, 1);

    let meanwhile = authority_with(&["reporting"]);
    let edit = keyway::KeyEdit::new().name("renamed");
    let key = meanwhile.edit(&key, &tenant, edit, pure::at(1)).unwrap();
    let scopes = before.resolve(&key, &tenant).unwrap().scopes();
    assert_eq!(before.policy().catalog().text(scopes), "operator reporting");
}

#[test]
fn upper_scope_gains_new_scopes_below_it() {
    let before = authority_with(&["operator", "reporting"]);
    let tenant = pure::tenant(&before, "acme", "lite");
    let request = NewKey::named("k").scopes(["operator"]);
    let (key, _) = pure::issue(&before, &tenant, request, 1);

    let after = authority_with(&["operator", "operator.audit", "reporting"]);
    let catalog = after.policy().catalog();
    let scopes = after.resolve(&key, &tenant).unwrap().scopes();
    assert!(scopes.covers(catalog.set(["operator.audit"]).unwrap()));
    assert!(!scopes.covers(catalog.set(["reporting"]).unwrap()));
}

#[test]
fn a_scope_is_found_by_its_text() {
    let scope = |name: &str| name.parse::<Scope>().unwrap();
    let known = BTreeMap::from([(scope("operator"), 1), (scope("reporting"), 2)]);
    assert_eq!((known.get("reporting"), known.get("repor")), (Some(&2), None));
}

/// Sets are stored in words of 64 bits, in the order of the scopes' names. Scopes that are missing at the
/// same bit of two words do not cancel out.
#[test]
fn same_bit_in_two_words_counts_in_both() {
    let names: Vec<String> = (0..256).map(|number| format!("s{number:03}")).collect();
    let declared = names.iter().map(|name| ScopeDeclaration::new(name.as_str(), ""));
    let catalog = ScopeCatalog::new(declared).unwrap();
    for (left, right) in [(0, 64), (1, 129), (63, 255), (70, 198)] {
        let two = [&names[left], &names[right]];
        let have = catalog.set(two).unwrap();
        let none = catalog.none();
        assert!(!none.covers(have) && have.covers(none), "{two:?}");
        let (all, any) = (catalog.require_all(two).unwrap(), catalog.require_any(two).unwrap());
        assert!(all.check(none).is_err() && any.check(none).is_err(), "{two:?}");
        assert!(all.check(have).is_ok() && any.check(have).is_ok(), "{two:?}");
        assert!(all.check(catalog.set([two[0]]).unwrap()).is_err(), "{two:?}");
    }
}
