//! One random service: keyway and the naive rules side by side, through the same history.

mod changes;
#[cfg(feature = "children")]
mod children;
mod questions;
mod wishes;

pub use self::questions::asked;

use keyway::{KeyRecord, lowlevel::Authority, record::TenantRecord, scope};

#[cfg(feature = "children")]
use super::naive;
use super::{
    declare::{build, declare, declare_anew, peppers, requirement, ring},
    met::{Children, Met},
    naive::{DAY, Key, Policy, Requirement, Ring, Rules, Tenant, Time, Token},
    random::Random,
    translate::{foreign_format, time},
};

const STEPS: usize = 16;
const START: Time = 1_800_000_000_000;

/// The number of comparisons.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// Compared verifications: a token, a time and the route's requirement.
    pub decisions: u64,
    /// The verifications that admit the caller.
    pub admitted: u64,
    /// Declarations of services, and changes of keys and tenants.
    pub changes: u64,
    /// The limits that decided in these.
    pub met: Met,
    /// The decisions about children, and how often each of their limits decided.
    pub children: Children,
    pub disagreements: u64,
}

impl Tally {
    pub fn add(&mut self, other: Self) {
        self.decisions += other.decisions;
        self.admitted += other.admitted;
        self.changes += other.changes;
        self.met.add(other.met);
        self.children.add(other.children);
        self.disagreements += other.disagreements;
    }
}

/// Runs the history with this number. The run ends early if the two sides no longer agree on a change.
pub fn run(rules: Rules, seed: u64, number: u64, tally: &mut Tally) {
    let mut random = Random::of_case(seed, number);
    let Some(mut world) = World::new(rules, number, &mut random, tally) else { return };
    for _ in 0..STEPS {
        tally.changes += 1;
        if let Err(what) = world.step(&mut random, &mut tally.met) {
            disagree(tally, rules, number, &what);
            return;
        }
        world.ask(&mut random, number, tally);
        #[cfg(feature = "children")]
        world.ask_children(&mut random, number, tally);
    }
}

fn disagree(tally: &mut Tally, rules: Rules, number: u64, what: &str) {
    tally.disagreements += 1;
    if rules.0.is_none() && tally.disagreements <= 3 {
        println!("history {number}: {what}");
    }
}

/// The present state of a service: its policy and its peppers.
struct Host {
    /// The index of the policy.
    policy: usize,
    ring: Ring,
    authority: Authority,
    /// The door for children, if keys have some.
    #[cfg(feature = "children")]
    door: Option<children::Door>,
}

struct World {
    rules: Rules,
    policies: Vec<(Policy, keyway::Policy)>,
    requirements: Vec<Vec<(Requirement, scope::Requirement)>>,
    hosts: Vec<Host>,
    tenants: Vec<(Tenant, TenantRecord)>,
    keys: Vec<(Key, KeyRecord)>,
    tokens: Vec<(Token, Vec<u8>)>,
    secrets: usize,
    now: Time,
    /// Whether keys may have children. A signature takes as long as a hundred decisions, so that few services have them.
    has_children: bool,
    #[cfg(feature = "children")]
    children: Vec<(naive::Child, String)>,
}

impl World {
    fn new(rules: Rules, number: u64, random: &mut Random, tally: &mut Tally) -> Option<Self> {
        let most = if number.is_multiple_of(500) { 100 } else { 9 };
        let first = declare(random, most);
        let second = declare_anew(&first, random);
        let mut policies = Vec::new();
        for naive in [first, second] {
            tally.changes += 1;
            let built = build(&naive);
            if built.is_some() != rules.is_consistent(&naive) {
                disagree(tally, rules, number, &format!("{naive:?} is built: {}", built.is_some()));
                return None;
            }
            policies.push((naive, with_children(built?, number)));
        }
        let later = random.below(4);
        let rings = [0, later].map(ring);
        let hosts = rings.iter().enumerate().flat_map(|(at, ring)| {
            let authority = move |policy: &keyway::Policy| {
                let peppers = peppers(if at == 0 { 0 } else { later });
                Authority::new(policy.clone(), "live", &peppers)
                    .and_then(|authority| authority.accept_imported(foreign_format()))
            };
            policies.iter().enumerate().map(move |(policy, (_, built))| Host {
                #[cfg(feature = "children")]
                door: has_children(number)
                    .then(|| children::Door::new(built, if at == 0 { 0 } else { later })),
                policy,
                ring: ring.clone(),
                authority: authority(built).expect("the labels and the format fit"),
            })
        });
        let hosts: Vec<Host> = hosts.collect();
        let requirements = policies
            .iter()
            .map(|(naive, built)| (0..12).map(|_| requirement(naive, built, random)).collect())
            .collect();
        let tiers: Vec<&String> = policies[0].0.tiers.iter().map(|tier| &tier.name).collect();
        let tenants = ["acme", "globex"].map(|name| {
            let tier = (*random.pick(&tiers)).clone();
            let record = hosts[0]
                .authority
                .create_tenant(name.parse().expect("a name"), &tier, time(START))
                .expect("the tier is declared");
            let sealed = hosts[0].ring.current;
            (Tenant { name: name.into(), tier, suspension: None, sealed, version: 1 }, record)
        });
        Some(Self {
            rules,
            policies,
            requirements,
            hosts,
            tenants: tenants.into(),
            keys: Vec::new(),
            tokens: Vec::new(),
            secrets: 0,
            now: START,
            has_children: has_children(number),
            #[cfg(feature = "children")]
            children: Vec::new(),
        })
    }
}

/// Returns whether the keys of this history may have children.
pub fn has_children(number: u64) -> bool {
    cfg!(feature = "children") && number % 16 == 3
}

#[cfg(feature = "children")]
fn with_children(policy: keyway::Policy, number: u64) -> keyway::Policy {
    if !has_children(number) {
        return policy;
    }
    policy.with_children(children::longest()).expect("a lifetime within the bounds")
}

#[cfg(not(feature = "children"))]
fn with_children(policy: keyway::Policy, _: u64) -> keyway::Policy {
    policy
}

/// Returns the times at which a decision may change.
pub fn times(key: &Key, tenant: &Tenant, now: Time) -> Vec<Time> {
    let ends = [
        key.from,
        key.end,
        key.suspension.and_then(|suspension| suspension.0),
        tenant.suspension.and_then(|suspension| suspension.0),
    ];
    let older = key.older.iter().map(|older| older.until);
    [now, now + DAY / 2].into_iter().chain(ends.into_iter().flatten()).chain(older).collect()
}
