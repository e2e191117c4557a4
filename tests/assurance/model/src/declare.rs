//! Random declarations of services, for keyway and for the model.

use keyway::{
    Pepper, Peppers, ScopeCatalog,
    grant::ResourceDeclaration,
    scope::{self, ScopeDeclaration},
};

use super::{
    draw::KINDS,
    naive::{DAY, Names, Policy, Requirement, Ring, Tier},
    random::Random,
    translate::span,
};

/// Returns a random declaration, which may contradict itself.
pub fn declare(random: &mut Random, most: usize) -> Policy {
    let parts = ["a", "b", "c", "ab", "a-b"];
    let mut policy = Policy::default();
    for _ in 0..=random.below(most) {
        let many = 1 + random.below(if most > 10 { 5 } else { 3 });
        let name: Vec<&str> = (0..many).map(|_| *random.pick(&parts)).collect();
        policy.scopes.insert(name.join("."), Names::new());
    }
    let mut names: Vec<String> = policy.scopes.keys().cloned().collect();
    // In this order a name that implies others by its dots is before them. So an edge that runs forward makes
    // no cycle.
    names.sort_by_key(|name| (name.len(), name.clone()));
    for _ in 0..random.below(names.len() + 1) {
        let (mut upper, mut lower) = (random.below(names.len()), random.below(names.len()));
        if upper > lower && !random.one_in(30) {
            (upper, lower) = (lower, upper);
        }
        let lower = if random.one_in(300) { "unknown".into() } else { names[lower].clone() };
        if let Some(implied) = policy.scopes.get_mut(&names[upper]) {
            implied.insert(lower);
        }
    }
    for kind in random.some(&KINDS, 3) {
        if !policy.kinds.iter().any(|other| other == kind) {
            policy.kinds.push(kind.into());
        }
    }
    let mut ceiling = Names::new();
    let mut longest = Some(DAY);
    for name in ["free", "lite", "advanced"].iter().take(1 + random.below(3)) {
        if random.one_in(60) {
            ceiling.clear();
        }
        ceiling.extend(random.some(&names, 6));
        longest = longest.filter(|_| !random.one_in(2)).map(|longest| longest * 2);
        if random.one_in(60) {
            longest = Some(DAY);
        }
        let is_limited = !random.one_in(3);
        let ceiling = is_limited.then(|| ceiling.clone());
        policy.tiers.push(Tier { name: (*name).into(), keys: 5, ceiling, longest });
    }
    policy
}

/// Returns a later declaration of the same service: without some of its scopes and perhaps a tier, and with
/// other edges. It has perhaps lost a kind of resources, and perhaps another one is new.
pub fn declare_anew(old: &Policy, random: &mut Random) -> Policy {
    let mut policy = old.clone();
    let names: Vec<String> = policy.scopes.keys().cloned().collect();
    for name in random.some(&names, 2) {
        if policy.scopes.len() > 1 {
            policy.scopes.remove(&name);
        }
    }
    let known: Names = policy.scopes.keys().cloned().collect();
    for implied in policy.scopes.values_mut() {
        implied.retain(|name| known.contains(name) && !random.one_in(4));
    }
    for tier in &mut policy.tiers {
        if let Some(ceiling) = &mut tier.ceiling {
            ceiling.retain(|name| known.contains(name));
        }
    }
    if !policy.kinds.is_empty() && random.one_in(4) {
        policy.kinds.remove(random.below(policy.kinds.len()));
    }
    let new = *random.pick(&KINDS);
    if random.one_in(4) && !policy.kinds.iter().any(|kind| kind == new) {
        policy.kinds.push(new.into());
    }
    if policy.tiers.len() > 1 && random.one_in(4) {
        policy.tiers.remove(random.below(policy.tiers.len()));
    }
    policy
}

pub fn build(naive: &Policy) -> Option<keyway::Policy> {
    let declarations = naive.scopes.iter().map(|(name, implied)| {
        ScopeDeclaration::new(name.clone(), "").implies(implied.iter().cloned())
    });
    let tiers = naive.tiers.iter().map(|naive| {
        let mut tier = keyway::Tier::new(naive.name.clone(), naive.keys);
        if let Some(ceiling) = &naive.ceiling {
            tier = tier.scopes(ceiling.iter().cloned());
        }
        naive.longest.map_or(tier.clone(), |longest| tier.max_lifetime(span(longest)))
    });
    let kinds = naive.kinds.iter().map(|kind| ResourceDeclaration::new(kind.clone(), ""));
    let catalog = ScopeCatalog::new(declarations).ok()?.with_resources(kinds).ok()?;
    keyway::Policy::new("mm", catalog, tiers).ok()
}

pub fn requirement(
    naive: &Policy,
    built: &keyway::Policy,
    random: &mut Random,
) -> (Requirement, scope::Requirement) {
    let all: Vec<String> = naive.scopes.keys().cloned().collect();
    let names: Names = random.some(&all, 2).into_iter().collect();
    let any = !names.is_empty() && random.one_in(2);
    let catalog = built.catalog();
    let requirement = match (names.is_empty(), any) {
        (true, _) => Ok(catalog.require_none()),
        (false, true) => catalog.require_any(&names),
        (false, false) => catalog.require_all(&names),
    };
    (Requirement { names, any }, requirement.expect("declared"))
}

/// Returns one of the sets that an application may have of two peppers: the old one alone, or the new one
/// beside the old one in three ways.
pub fn ring(which: usize) -> Ring {
    let (current, tokens, seals): (u8, &[u8], &[u8]) = match which {
        0 => (0, &[0], &[0]),
        1 => (1, &[0, 1], &[0, 1]),
        2 => (1, &[0, 1], &[1]),
        _ => (1, &[1], &[1]),
    };
    Ring { current, tokens: tokens.into(), seals: seals.into() }
}

pub fn peppers(which: usize) -> Peppers {
    let old = || Pepper::from_bytes(&[7; 32]).expect("32 bytes");
    let new = Pepper::from_bytes(&[8; 32]).and_then(|new| new.in_slot(1)).expect("32 bytes");
    match which {
        0 => old().into(),
        1 => Peppers::new(new).retiring(old()).expect("in another slot"),
        2 => Peppers::new(new).retired(old()).expect("in another slot"),
        _ => new.into(),
    }
}
