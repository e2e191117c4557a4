//! Every service with at most five scopes: every order of them, every set that a key may be granted, and
//! every requirement.

use keyway::{
    ScopeCatalog,
    scope::{self, ScopeDeclaration, ScopeSet},
};

use super::naive::{Names, Policy, Requirement, Rules};

const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

#[derive(Clone, Copy, Debug, Default)]
pub struct Count {
    /// Relations that both sides reject as contradictory.
    pub cyclic: u64,
    /// Acyclic relations.
    pub acyclic: u64,
    /// The acyclic relations that are transitive as declared, and so are orders.
    pub orders: u64,
    /// Compared combinations of a granted set, a set that bounds it, and a requirement.
    pub decisions: u64,
    pub disagreements: u64,
}

impl Count {
    pub fn add(&mut self, other: Self) {
        self.cyclic += other.cyclic;
        self.acyclic += other.acyclic;
        self.orders += other.orders;
        self.decisions += other.decisions;
        self.disagreements += other.disagreements;
    }
}

/// How much is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Of the relations of five scopes, those that are orders as declared, without bounds.
    Orders,
    /// Every relation, and every bound.
    Everything,
}

/// Compares this thread's part of the services of `scopes` scopes.
pub fn compare(rules: Rules, scopes: usize, extent: Extent, part: (usize, usize)) -> Count {
    let mut count = Count::default();
    let edges = scopes * scopes.saturating_sub(1);
    for relation in (0_u32..1 << edges).skip(part.0).step_by(part.1) {
        let relation = Relation { scopes, edges: relation };
        let is_order = relation.is_order();
        if extent == Extent::Everything || is_order {
            // A bound does not affect the order, so that one way to declare it is enough.
            let is_bounded = is_order && (extent == Extent::Everything || scopes < 5);
            relation.compare(rules, is_order, is_bounded, &mut count);
        }
    }
    count
}

/// Returns every order of `scopes` scopes, as a declaration.
pub fn orders(scopes: usize) -> impl Iterator<Item = Policy> {
    let edges = scopes * scopes.saturating_sub(1);
    let relations = (0_u32..1 << edges).map(move |edges| Relation { scopes, edges });
    relations.filter(|relation| relation.is_order()).map(Relation::declared)
}

/// A relation between some scopes, which says which implies which: one bit for each pair.
#[derive(Clone, Copy)]
struct Relation {
    scopes: usize,
    edges: u32,
}

impl Relation {
    fn has(self, upper: usize, lower: usize) -> bool {
        let place = upper * (self.scopes - 1) + lower - usize::from(lower > upper);
        upper != lower && self.edges >> place & 1 == 1
    }

    /// Returns whether the relation is transitive and antisymmetric.
    fn is_order(self) -> bool {
        let all = || 0..self.scopes;
        let is_fine = |a: usize, b: usize| {
            !self.has(b, a) && all().all(|c| !self.has(b, c) || self.has(a, c))
        };
        all().all(|a| all().all(|b| !self.has(a, b) || is_fine(a, b)))
    }

    fn declared(self) -> Policy {
        let implied = |upper| {
            let lower = (0..self.scopes).filter(move |lower| self.has(upper, *lower));
            lower.map(|lower| NAMES[lower].to_owned()).collect()
        };
        let scopes = (0..self.scopes).map(|upper| (NAMES[upper].to_owned(), implied(upper)));
        Policy { scopes: scopes.collect(), ..Policy::default() }
    }

    fn compare(self, rules: Rules, is_order: bool, is_bounded: bool, count: &mut Count) {
        let naive = self.declared();
        let declarations = naive.scopes.iter().map(|(name, implied)| {
            ScopeDeclaration::new(name.clone(), "").implies(implied.iter().cloned())
        });
        let catalog = match (ScopeCatalog::new(declarations), rules.is_consistent(&naive)) {
            (Ok(catalog), true) => catalog,
            (Err(_), false) => {
                count.cyclic += 1;
                return;
            }
            _ => {
                count.disagreements += 1;
                return;
            }
        };
        count.acyclic += 1;
        count.orders += u64::from(is_order);
        let subsets: Vec<Names> = (0_usize..1 << self.scopes).map(subset).collect();
        let sets: Vec<(Names, ScopeSet)> = subsets
            .iter()
            .map(|names| (rules.held(&naive, names), catalog.set(names).expect("declared")))
            .collect();
        let requirements = requirements(&catalog, &subsets);
        for (held, set) in &sets {
            count.disagreements += u64::from(set.len() != held.len());
            for (requirement, built) in &requirements {
                decide(rules, (held, *set), requirement, built, count);
            }
        }
        for (held, set) in &sets {
            for (bound_held, bound) in sets.iter().filter(|_| is_bounded) {
                let both: Names = held.intersection(bound_held).cloned().collect();
                for (requirement, built) in &requirements {
                    decide(rules, (&both, set.meet(*bound)), requirement, built, count);
                }
            }
        }
    }
}

/// Returns the names whose bits are set in `number`.
pub fn subset(number: usize) -> Names {
    let is_in = |(place, _): &(usize, &&str)| number >> place & 1 == 1;
    NAMES.iter().enumerate().filter(is_in).map(|(_, name)| (*name).to_owned()).collect()
}

fn requirements(
    catalog: &ScopeCatalog,
    subsets: &[Names],
) -> Vec<(Requirement, scope::Requirement)> {
    let filled = || subsets.iter().filter(|names| !names.is_empty());
    let none = (Requirement { names: Names::new(), any: false }, catalog.require_none());
    let all = filled().map(|names| (names, false, catalog.require_all(names)));
    let any = filled().map(|names| (names, true, catalog.require_any(names)));
    let named = all.chain(any).map(|(names, any, built)| {
        (Requirement { names: names.clone(), any }, built.expect("declared"))
    });
    [none].into_iter().chain(named).collect()
}

fn decide(
    rules: Rules,
    (held, set): (&Names, ScopeSet),
    requirement: &Requirement,
    built: &scope::Requirement,
    count: &mut Count,
) {
    let expected = rules.missing(held, requirement);
    let is_same = match (built.check(set), &expected) {
        (Ok(()), None) => true,
        (Err(missing), Some(expected)) => {
            missing.is_any() == requirement.any
                && missing.scopes().iter().map(scope::Scope::as_str).eq(expected.iter())
        }
        _ => false,
    };
    count.decisions += 1;
    count.disagreements += u64::from(!is_same);
}
