//! One random service: keyway and the naive rules side by side, through the same history.

use std::sync::Arc;

use keyway::{
    KeyRecord, LeakResponse, OneTimeToken,
    grant::Grant,
    lowlevel::{Authority, Denial, decide},
    record::TenantRecord,
    scope,
};

use super::{
    declare::{build, declare, declare_anew, peppers, requirement, ring},
    naive::{
        self, Answer, DAY, GracePeriod, Key, Policy, Requirement, Ring, Rules, Shape, Tenant, Time,
        Token, Wish,
    },
    random::Random,
    translate::{
        self, both, denied, key_edit, new_key, same_record, strings, suspension, time, unready,
    },
};

/// How many decisions are compared between two steps of a history.
const QUESTIONS: usize = 32;
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
    pub disagreements: u64,
}

impl Tally {
    pub fn add(&mut self, other: Self) {
        self.decisions += other.decisions;
        self.admitted += other.admitted;
        self.changes += other.changes;
        self.disagreements += other.disagreements;
    }
}

/// Runs the history with this number. The run ends early if the two sides no longer agree on a change.
pub fn run(rules: Rules, seed: u64, number: u64, tally: &mut Tally) {
    let mut random = Random::of_case(seed, number);
    let Some(mut world) = World::new(rules, number, &mut random, tally) else { return };
    for _ in 0..STEPS {
        tally.changes += 1;
        if let Err(what) = world.step(&mut random) {
            disagree(tally, rules, number, &what);
            return;
        }
        world.ask(&mut random, number, tally);
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
            policies.push((naive, built?));
        }
        let later = random.below(4);
        let rings = [0, later].map(ring);
        let hosts = rings.iter().enumerate().flat_map(|(at, ring)| {
            let authority = move |policy: &keyway::Policy| {
                Authority::new(policy.clone(), "live", &peppers(if at == 0 { 0 } else { later }))
            };
            policies.iter().enumerate().map(move |(policy, (_, built))| Host {
                policy,
                ring: ring.clone(),
                authority: authority(built).expect("issuer and environment are labels"),
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
        })
    }

    /// Makes one change on both sides.
    fn step(&mut self, random: &mut Random) -> Result<(), String> {
        self.now += *random.pick(&[0, 1, 60_000, DAY]);
        match random.below(if self.keys.is_empty() { 1 } else { 16 }) {
            0..=3 => self.issue(random),
            4..=7 => self.edit(random),
            8..=11 => self.rotate(random),
            12 | 13 => self.suspend_key(random),
            14 => self.change_tenant(random),
            _ => self.leak(random),
        }
    }

    fn issue(&mut self, random: &mut Random) -> Result<(), String> {
        let mut wish = self.wish(random, None);
        wish.enabled = None;
        let host = random.pick(&self.hosts);
        let (policy, built) = &self.policies[host.policy];
        let (tenant, record) = random.pick(&self.tenants);
        if policy.tiers.iter().all(|tier| tier.name != tenant.tier) {
            return Ok(());
        }
        let mut request = new_key(&wish);
        if let Some(granter) = &wish.granter {
            request = request
                .granted_by(&Grant::unlimited(built.catalog().set(granter).expect("declared")));
        }
        let (number, secret) = (self.keys.len(), self.secrets);
        let expected =
            self.rules.issue(policy, &host.ring, tenant, &wish, self.now, number, secret);
        let made = host.authority.issue(record, request, time(self.now), random);
        let Some((key, (record, token))) = both(expected, made)? else { return Ok(()) };
        self.keep(&key, &record, token)?;
        self.keys.push((key, record));
        Ok(())
    }

    fn edit(&mut self, random: &mut Random) -> Result<(), String> {
        let at = random.below(self.keys.len());
        let (key, record) = &self.keys[at];
        let wish = self.wish(random, Some(key));
        let host = random.pick(&self.hosts);
        let (policy, built) = &self.policies[host.policy];
        let (tenant, tenant_record) = self.tenant_for(key, random);
        if policy.tiers.iter().all(|tier| tier.name != tenant.tier) {
            return Ok(());
        }
        let mut edit = key_edit(&wish);
        if let Some(granter) = &wish.granter {
            edit =
                edit.granted_by(&Grant::unlimited(built.catalog().set(granter).expect("declared")));
        }
        let expected = self.rules.edit(policy, &host.ring, key, tenant, &wish, self.now);
        let made = host.authority.edit(record, tenant_record, edit, time(self.now));
        let Some((key, record)) = both(expected, made)? else { return Ok(()) };
        same_record(&key, &record)?;
        self.keys[at] = (key, record);
        Ok(())
    }

    fn rotate(&mut self, random: &mut Random) -> Result<(), String> {
        let at = random.below(self.keys.len());
        let (key, record) = &self.keys[at];
        let host = random.pick(&self.hosts);
        let (policy, built) = &self.policies[host.policy];
        let (tenant, tenant_record) = self.tenant_for(key, random);
        let lasts = *random.pick(&[0, 60_000, DAY, 2 * DAY, 30 * DAY, 30 * DAY + 1]);
        let grace_period =
            *random.pick(&[GracePeriod::None, GracePeriod::For(lasts), GracePeriod::UntilFirstUse]);
        let asked = translate::grace_period(grace_period);
        let granter = random.one_in(4).then(|| self.names(host.policy, random, false));
        let bound = granter.as_ref().map(|names| built.catalog().set(names).expect("declared"));
        let bound = bound.map(Grant::unlimited);
        let secret = self.secrets;
        let granter = granter.as_deref();
        let expected = self.rules.rotate(
            policy,
            &host.ring,
            key,
            tenant,
            grace_period,
            granter,
            self.now,
            secret,
        );
        let made = host.authority.rotate(
            record,
            tenant_record,
            asked,
            bound.as_ref(),
            time(self.now),
            random,
        );
        let Some((key, (record, token))) = both(expected, made)? else { return Ok(()) };
        self.keep(&key, &record, token)?;
        self.keys[at] = (key, record);
        Ok(())
    }

    fn suspend_key(&mut self, random: &mut Random) -> Result<(), String> {
        let at = random.below(self.keys.len());
        let host = random.pick(&self.hosts);
        let until = *random.pick(&[None, Some(self.now), Some(self.now + DAY)]);
        let suspends = random.one_in(3);
        let (key, record) = &mut self.keys[at];
        let made = host.authority.suspend_key(record, suspends.then(|| suspension(until)));
        if made.is_ok() != host.ring.seals.contains(&key.sealed) {
            return Err(format!("{key:?} is suspended: {made:?}"));
        }
        if let Ok(made) = made {
            *record = made;
            key.suspension = suspends.then_some(naive::Suspension(until));
            key.write(&host.ring);
        }
        Ok(())
    }

    fn change_tenant(&mut self, random: &mut Random) -> Result<(), String> {
        let at = random.below(self.tenants.len());
        let host = random.pick(&self.hosts);
        let policy = &self.policies[host.policy].0;
        let until = *random.pick(&[None, Some(self.now), Some(self.now + DAY)]);
        let suspends = random.one_in(3);
        let moves = random.one_in(2);
        let tier = random.pick(&policy.tiers).name.clone();
        let (tenant, record) = &mut self.tenants[at];
        let made = if moves {
            host.authority.set_tier(record, &tier)
        } else {
            host.authority.suspend_tenant(record, suspends.then(|| suspension(until)))
        };
        if made.is_ok() != host.ring.seals.contains(&tenant.sealed) {
            return Err(format!("{tenant:?} is changed: {made:?}"));
        }
        if let Ok(made) = made {
            *record = made;
            tenant.write(&host.ring);
            if moves {
                tenant.tier = tier;
            } else {
                tenant.suspension = suspends.then_some(naive::Suspension(until));
            }
        }
        Ok(())
    }

    fn leak(&mut self, random: &mut Random) -> Result<(), String> {
        let at = random.below(self.keys.len());
        let host = random.pick(&self.hosts);
        let (policy, built) = &self.policies[host.policy];
        let floor = self.names(host.policy, random, false);
        let quarantines = !random.one_in(8);
        let response = if quarantines {
            LeakResponse::Quarantine(built.catalog().set(&floor).expect("declared"))
        } else {
            LeakResponse::Suspend
        };
        let (key, record) = &mut self.keys[at];
        let made = match host.authority.respond_to_leak(record, "it was found", response) {
            Err(_) if !host.ring.seals.contains(&key.sealed) => return Ok(()),
            made => made.map_err(|error| error.to_string())?,
        };
        let mut expected = key.clone();
        let changes = if quarantines {
            self.rules.quarantine(policy, &mut expected, &floor)
        } else {
            let old = expected.suspension.replace(naive::Suspension(None));
            old.is_none_or(|old| old.0.is_some())
        };
        if made.is_some() != changes || !host.ring.seals.contains(&key.sealed) {
            return Err(format!("{key:?} is changed by a leak: {}", made.is_some()));
        }
        if let Some(made) = made {
            expected.write(&host.ring);
            same_record(&expected, &made)?;
            (*key, *record) = (expected, made);
        }
        Ok(())
    }

    /// Records a new secret.
    fn keep(&mut self, key: &Key, record: &KeyRecord, token: OneTimeToken) -> Result<(), String> {
        same_record(key, record)?;
        let text = token.reveal().as_bytes().to_vec();
        let (key, secret, slot) = (key.number, key.secret, key.slot);
        self.secrets = secret + 1;
        self.tokens.push((Token { key, secret, slot, shape: Shape::Whole }, text));
        Ok(())
    }

    /// Compares decisions about one key.
    fn ask(&self, random: &mut Random, number: u64, tally: &mut Tally) {
        if self.keys.is_empty() {
            return;
        }
        let (key, record) = random.pick(&self.keys);
        let host = random.pick(&self.hosts);
        let (policy, _) = &self.policies[host.policy];
        let (tenant, tenant_record) = self.tenant_for(key, random);
        let reasons = self.rules.unready(policy, &host.ring, key, tenant);
        let resolved = match host.authority.resolve(record, tenant_record) {
            Ok(resolved) => Arc::new(resolved),
            Err(error) => {
                tally.decisions += 1;
                let reason = unready(&error);
                if !reasons.contains(&reason) {
                    disagree(tally, self.rules, number, &format!("{reason:?} and not {reasons:?}"));
                }
                return;
            }
        };
        if !reasons.is_empty() {
            tally.decisions += 1;
            return disagree(
                tally,
                self.rules,
                number,
                &format!("{key:?} is ready, not {reasons:?}"),
            );
        }
        let scopes = self.rules.scopes(policy, key, tenant);
        let times = times(key, tenant, self.now);
        for _ in 0..QUESTIONS {
            let now = random.pick(&times) + *random.pick(&[-1, 0, 1]);
            let (token, text) = self.present(key, random);
            let (requirement, built) = random.pick(&self.requirements[host.policy]);
            let expected = self.rules.answer(
                policy,
                &host.ring,
                key,
                tenant,
                &scopes,
                &token,
                now,
                requirement,
            );
            let decided = match host.authority.check(&text) {
                Ok(claim) => decide(&claim, &resolved, time(now)),
                Err(rejection) => Err(Denial::Rejected(rejection)),
            };
            let answer = match decided {
                Ok(caller) => match caller.require(built) {
                    Ok(()) => Answer::Admitted { previous: caller.used_previous_secret() },
                    Err(missing) => {
                        Answer::Missing { names: strings(missing.scopes()), any: missing.is_any() }
                    }
                },
                Err(denial) => denied(&denial),
            };
            tally.decisions += 1;
            tally.admitted += u64::from(matches!(answer, Answer::Admitted { .. }));
            if answer != expected {
                let what =
                    format!("{answer:?} and not {expected:?} at {now} to {token:?}: {key:?}");
                disagree(tally, self.rules, number, &what);
            }
        }
    }

    /// Returns a token, mostly of this key, and sometimes altered.
    fn present(&self, key: &Key, random: &mut Random) -> (Token, Vec<u8>) {
        let own = |(token, _): &&(Token, Vec<u8>)| {
            let is_previous = key.older.iter().any(|older| older.secret == token.secret);
            token.secret == key.secret || is_previous && token.key == key.number
        };
        let own: Vec<&(Token, Vec<u8>)> = self.tokens.iter().filter(own).collect();
        let presented = if own.is_empty() || random.one_in(6) {
            random.pick(&self.tokens)
        } else {
            random.pick(&own)
        };
        let (mut token, mut text) = presented.clone();
        match random.below(40) {
            0 => {
                token.shape = Shape::OtherLength;
                text.remove(random.below(text.len()));
            }
            1 => {
                token.shape = Shape::OtherByte;
                let place = text.len() - 1 - random.below(56);
                text[place] ^= 1 << random.below(8);
            }
            _ => {}
        }
        (token, text)
    }

    /// Returns the tenant of a key, and sometimes another one.
    fn tenant_for(&self, key: &Key, random: &mut Random) -> &(Tenant, TenantRecord) {
        let is_own = !random.one_in(20);
        let found = self.tenants.iter().find(|(tenant, _)| (tenant.name == key.tenant) == is_own);
        found.expect("there are two tenants")
    }

    /// Returns the values of an edit of `key`, or of a new key if there is none.
    fn wish(&self, random: &mut Random, key: Option<&Key>) -> Wish {
        let policy = random.below(self.policies.len());
        let from = *random.pick(&[None, Some(self.now), Some(self.now + DAY)]);
        let mut ends =
            vec![None, Some(self.now), Some(self.now + 1), Some(self.now + DAY + 1), from];
        for (policy, _) in &self.policies {
            let longest = policy.tiers.iter().filter_map(|tier| tier.longest);
            let created = key.map_or(self.now, |key| key.created);
            ends.extend(
                longest.flat_map(|longest| [0, 1].map(|more| Some(created + longest + more))),
            );
        }
        let is_new = key.is_none();
        let with = |random: &mut Random, many| is_new || random.one_in(many);
        Wish {
            scopes: with(random, 2).then(|| self.names(policy, random, true)),
            from: with(random, 3).then_some(from),
            end: with(random, 3).then(|| *random.pick(&ends)),
            enabled: random.one_in(3).then(|| !random.one_in(3)),
            // The names are in both catalogs, so that the granter has them in the catalog of either node.
            granter: random.one_in(4).then(|| self.common_names(random)),
        }
    }

    /// Returns some names of a policy, and perhaps one that no policy has.
    fn names(&self, policy: usize, random: &mut Random, may_be_unknown: bool) -> Vec<String> {
        let all: Vec<String> = self.policies[policy].0.scopes.keys().cloned().collect();
        let mut names = random.some(&all, 6);
        if may_be_unknown && random.one_in(40) {
            names.push("x".into());
        }
        names
    }

    /// Returns some names that every policy has.
    fn common_names(&self, random: &mut Random) -> Vec<String> {
        let [(first, _), (second, _)] = &self.policies[..] else { return Vec::new() };
        let all: Vec<String> =
            first.scopes.keys().filter(|name| second.scopes.contains_key(*name)).cloned().collect();
        random.some(&all, 6)
    }
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
