//! Every grant of a small service: each order of a few scopes, each list of two resources of two kinds, and each list
//! of three networks.
//!
//! Here a grant is nothing but the list of all that it permits, one truth value for each.

use std::{collections::HashMap, sync::Arc};

use keyway::{
    GracePeriod, KeyEdit, KeyRecord,
    grant::{Grant, Networks, Resources},
    lowlevel::Authority,
    record::TenantRecord,
};

use super::{
    declare::{build, peppers, ring},
    naive::{
        Block, Granter, Key, Names, Policy, Question, Requirement, Ring, Rules, Shape, Share,
        Shares, Tenant, Tier, Time, Token, Wish,
    },
    random::Random,
    small::{Extent, orders, subset},
    translate::{self, new_key, time},
    world::asked,
};

const KINDS: [&str; 2] = ["machine", "site"];
const IDS: [&str; 2] = ["1", "2"];
/// The ids that are asked for. The last one is in no list.
const ASKED: [&str; 3] = ["1", "2", "3"];

/// The networks, of which the first two are the halves of one.
const BLOCKS: [(&[u8], usize); 3] = [(&[10, 0, 0, 0], 32), (&[10, 0, 0, 1], 32), (&V6, 32)];
const V6: [u8; 16] = [32, 1, 13, 184, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// The addresses of clients: in each of the networks, mapped, and in none.
const ADDRESSES: [&[u8]; 6] = [
    &[10, 0, 0, 0],
    &[10, 0, 0, 1],
    &[10, 0, 0, 2],
    &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 10, 0, 0, 1],
    &V6,
    &[32, 1, 13, 185, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
];

const NOW: Time = 1_800_000_000_000;

#[derive(Clone, Copy, Debug, Default)]
pub struct Count {
    /// Compared pairs of a grant and another grant or a key.
    pub pairs: u64,
    /// Compared requests: the key, the address, the requirement, and the resource.
    pub verdicts: u64,
    pub disagreements: u64,
}

impl Count {
    pub fn add(&mut self, other: Self) {
        self.pairs += other.pairs;
        self.verdicts += other.verdicts;
        self.disagreements += other.disagreements;
    }

    fn expect(&mut self, is_same: bool) {
        self.disagreements += u64::from(!is_same);
    }
}

/// Compares this thread's part of the grants of every service with `scopes` scopes.
///
/// Of the ways in which a granter limits a key, [`Extent::Orders`] compares the issue of the key alone.
pub fn compare(rules: Rules, scopes: usize, extent: Extent, part: (usize, usize)) -> Count {
    let mut count = Count::default();
    for order in orders(scopes) {
        let service = Service::new(order, rules);
        service.laws(part, &mut count);
        for sample in service.keys().iter().skip(part.0).step_by(part.1) {
            service.verdicts(sample, &mut count);
            service.granters(sample, extent, &mut count);
        }
    }
    count
}

/// A grant on both sides.
struct Both {
    /// Whether it permits each thing, in the order of [`Service::permits`].
    permits: Vec<bool>,
    built: Grant,
}

/// A key on both sides.
struct Sample {
    wish: Wish,
    key: Key,
    permits: Vec<bool>,
    record: KeyRecord,
    text: Vec<u8>,
}

struct Service {
    rules: Rules,
    policy: Policy,
    ring: Ring,
    tenant: Tenant,
    authority: Authority,
    tenant_record: TenantRecord,
    grants: Vec<Both>,
}

impl Service {
    fn new(order: Policy, rules: Rules) -> Self {
        let tier = Tier { name: "advanced".into(), keys: 5, ceiling: None, longest: None };
        let kinds = KINDS.map(String::from).into();
        let policy = Policy { kinds, tiers: vec![tier], ..order };
        let built = build(&policy).expect("an order is consistent");
        let authority = Authority::new(built, "live", &peppers(0)).expect("the labels fit");
        let tenant_record = authority
            .create_tenant("acme".parse().expect("a name"), "advanced", time(NOW))
            .expect("the tier is declared");
        let ring = ring(0);
        let tenant = Tenant {
            name: "acme".into(),
            tier: "advanced".into(),
            suspension: None,
            sealed: ring.current,
            version: 1,
        };
        let mut service =
            Self { rules, policy, ring, tenant, authority, tenant_record, grants: Vec::new() };
        service.grants = service.all_grants();
        service
    }

    /// Returns every grant once: all that can be built, and those that permit no address at all.
    fn all_grants(&self) -> Vec<Both> {
        let catalog = self.authority.policy().catalog();
        let nowhere = {
            let [left, right] = [0, 1].map(|at| only(&[at]));
            translate::networks(Some(&left)).meet(&translate::networks(Some(&right)))
        };
        let mut grants: Vec<Both> = Vec::new();
        for scopes in self.closed_sets() {
            for shares in [None].into_iter().chain(all_shares().into_iter().map(Some)) {
                let mut grant = Grant::unlimited(catalog.set(&scopes).expect("declared"));
                for (kind, share) in shares.iter().flatten() {
                    let kind = catalog.resource(kind).expect("declared");
                    grant = grant.resources(&kind, translate::resources(share));
                }
                for networks in all_networks().into_iter().chain([Some(Vec::new())]) {
                    let built = match networks.as_deref() {
                        Some([]) => nowhere.clone(),
                        networks => translate::networks(networks),
                    };
                    let granter = Granter {
                        scopes: scopes.iter().cloned().collect(),
                        shares: shares.clone(),
                        networks,
                    };
                    let built = match built {
                        Networks::Any => grant.clone(),
                        only @ Networks::Only(_) => grant.clone().networks(only),
                    };
                    grants.push(Both { permits: self.permits(&granter), built });
                }
            }
        }
        grants
    }

    /// Returns the sets of scopes that contain all that they imply.
    fn closed_sets(&self) -> Vec<Names> {
        let is_closed = |names: &Names| self.rules.held(&self.policy, names) == *names;
        let all = (0..1 << self.policy.scopes.len()).map(subset);
        all.filter(is_closed).collect()
    }

    /// Returns, for each thing that may be permitted, whether it is: each scope, each resource of each kind, the
    /// resources of a kind that is declared later, the unknown address, and each address.
    fn permits(&self, granter: &Granter) -> Vec<bool> {
        let held = self.rules.held(&self.policy, &granter.scopes);
        let mut permits: Vec<bool> =
            self.policy.scopes.keys().map(|name| held.contains(name)).collect();
        for kind in KINDS {
            let may = |id| {
                let shares = granter.shares.as_ref();
                shares.is_none_or(|shares| self.rules.may_touch(shares, kind, id))
            };
            permits.extend(ASKED.map(may));
        }
        permits.push(granter.shares.is_none());
        let networks = granter.networks.as_deref();
        permits.push(self.rules.may_come_from(networks, None));
        permits.extend(
            ADDRESSES.map(|address| self.rules.may_come_from(networks, Some(&address.to_vec()))),
        );
        permits
    }

    /// Compares the order of grants, their equality and what two of them have in common.
    fn laws(&self, (at, step): (usize, usize), count: &mut Count) {
        let places: HashMap<&[bool], &Both> =
            self.grants.iter().map(|grant| (&*grant.permits, grant)).collect();
        count.expect(places.len() == self.grants.len());
        // An empty list is nothing. There is no empty list of networks, so that nobody takes it for any network.
        count.expect(Resources::only::<&str>([]).is_ok_and(|none| none == Resources::Nothing));
        count.expect(Networks::only::<&str>([]).is_err());
        for left in self.grants.iter().skip(at).step_by(step) {
            for right in &self.grants {
                count.pairs += 1;
                count.expect(left.built.covers(&right.built) == includes(left, &right.permits));
                count.expect((left.built == right.built) == (left.permits == right.permits));
                let both = left.permits.iter().zip(&right.permits);
                let both: Vec<bool> = both.map(|(left, right)| *left && *right).collect();
                let meet = left.built.meet(&right.built);
                count.expect(places.get(&*both).is_some_and(|grant| grant.built == meet));
            }
        }
    }

    /// Returns every key, issued without a granter.
    fn keys(&self) -> Vec<Sample> {
        let mut random = Random::of_case(6, 0);
        let mut keys = Vec::new();
        for scopes in self.closed_sets() {
            for shares in all_shares() {
                for networks in all_networks() {
                    let wish = Wish {
                        scopes: Some(scopes.iter().cloned().collect()),
                        shares: shares.clone(),
                        networks: Some(networks.clone()),
                        ..Wish::default()
                    };
                    keys.push(self.sample(wish, &mut random));
                }
            }
        }
        keys
    }

    fn sample(&self, wish: Wish, random: &mut Random) -> Sample {
        let key = self.rules.issue(&self.policy, &self.ring, &self.tenant, &wish, NOW, 0, 0);
        let issued = self.authority.issue(&self.tenant_record, new_key(&wish), time(NOW), random);
        let (record, token) = issued.expect("a key that the tenant may have");
        let granter = Granter {
            scopes: wish.scopes.clone().unwrap_or_default(),
            shares: Some(wish.shares.clone()),
            networks: wish.networks.clone().flatten(),
        };
        Sample {
            key: key.expect("a key that the tenant may have"),
            permits: self.permits(&granter),
            wish,
            record,
            text: token.reveal().as_bytes().to_vec(),
        }
    }

    /// Compares all requests with a key.
    fn verdicts(&self, sample: &Sample, count: &mut Count) {
        let Sample { key, record, text, .. } = sample;
        let resolved = self.authority.resolve(record, &self.tenant_record);
        let resolved = Arc::new(resolved.expect("a record that was just made"));
        let token = Token { key: 0, secret: 0, slot: 0, foreign: false, shape: Shape::Whole };
        let scopes = self.rules.scopes(&self.policy, key, &self.tenant);
        let catalog = self.authority.policy().catalog();
        let kinds = KINDS.map(|kind| (kind, catalog.resource(kind).expect("declared")));
        let none = (Names::new(), catalog.require_none());
        let one = |name: &String| {
            (Names::from([name.clone()]), catalog.require_all([name]).expect("declared"))
        };
        let requirements = self.policy.scopes.keys().map(one).chain([none]);
        for (names, built) in requirements {
            let requirement = Requirement { names, any: false };
            let addresses = ADDRESSES.iter().map(|address| Some(address.to_vec())).chain([None]);
            for address in addresses {
                for ((name, kind), id) in kinds.iter().flat_map(|kind| ASKED.map(|id| (kind, id))) {
                    let question = Question {
                        token: &token,
                        now: NOW,
                        address: address.as_ref(),
                        requirement: &requirement,
                        touches: Some((name, id)),
                    };
                    let (policy, ring, tenant) = (&self.policy, &self.ring, &self.tenant);
                    let expected = self.rules.answer(policy, ring, key, tenant, &scopes, question);
                    let route = (&built, Some((kind, id)));
                    let decided = asked(&self.authority, &resolved, text, question, route);
                    count.verdicts += 1;
                    count.expect(decided == expected);
                }
            }
        }
    }

    /// Compares which granters may issue, edit and rotate a key.
    fn granters(&self, sample: &Sample, extent: Extent, count: &mut Count) {
        let mut random = Random::of_case(6, 1);
        let (record, tenant) = (&sample.record, &self.tenant_record);
        for granter in &self.grants {
            count.pairs += 1;
            let is_above = includes(granter, &sample.permits);
            let request = new_key(&sample.wish).granted_by(&granter.built);
            let issued = self.authority.issue(tenant, request, time(NOW), &mut random);
            count.expect(issued.is_ok() == is_above);
            if extent == Extent::Everything {
                let edit = KeyEdit::new().name("n").granted_by(&granter.built);
                let edited = self.authority.edit(record, tenant, edit, time(NOW));
                count.expect(edited.is_ok() == is_above);
                let rotated = self.authority.rotate(
                    record,
                    tenant,
                    GracePeriod::None,
                    Some(&granter.built),
                    time(NOW),
                    &mut random,
                );
                count.expect(rotated.is_ok() == is_above);
            }
        }
    }
}

fn includes(granter: &Both, permits: &[bool]) -> bool {
    granter.permits.iter().zip(permits).all(|(above, below)| *above || !below)
}

/// Returns every combination of the shares of both kinds.
fn all_shares() -> Vec<Shares> {
    let lists = (0..4).map(|bits: usize| {
        let is_in = |(place, _): &(usize, &str)| bits >> place & 1 == 1;
        Share::Only(IDS.into_iter().enumerate().filter(is_in).map(|(_, id)| id.into()).collect())
    });
    let shares: Vec<Share> = lists.chain([Share::All]).collect();
    let of = |machine: &Share, site: &Share| {
        KINDS.map(String::from).into_iter().zip([machine.clone(), site.clone()]).collect()
    };
    shares.iter().flat_map(|machine| shares.iter().map(|site| of(machine, site))).collect()
}

/// Returns any network, and every list of at least one of the networks.
fn all_networks() -> Vec<Option<Vec<Block>>> {
    let listed = (1..1 << BLOCKS.len()).map(|bits: usize| {
        let places: Vec<usize> = (0..BLOCKS.len()).filter(|place| bits >> place & 1 == 1).collect();
        Some(only(&places))
    });
    [None].into_iter().chain(listed).collect()
}

fn only(places: &[usize]) -> Vec<Block> {
    places.iter().map(|place| Block::around(BLOCKS[*place].0, BLOCKS[*place].1)).collect()
}
