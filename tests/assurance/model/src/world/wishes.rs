//! Random values of new keys, edits and granters.

use keyway::grant::Grant;

use super::{
    super::{
        draw,
        naive::{Block, DAY, Granter, Key, Shares, Wish},
        random::Random,
        translate,
    },
    Host, World,
};

impl World {
    /// Returns the values of an edit of `key`, or of a new key if there is none.
    pub(super) fn wish(&self, random: &mut Random, key: Option<&Key>) -> Wish {
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
            children: if self.has_children && with(random, 6) {
                Some(!random.one_in(4))
            } else {
                None
            },
            shares: if with(random, 3) {
                draw::shares(&self.policies[policy].0.kinds, random)
            } else {
                Shares::new()
            },
            networks: with(random, 4).then(|| draw::networks(random)),
            granters: Vec::new(),
        }
    }

    /// Returns the granters of a change on this node, if it has any, on both sides. The key will have these shares and
    /// networks.
    pub(super) fn granters(
        &self,
        host: &Host,
        shares: &Shares,
        networks: Option<&[Block]>,
        random: &mut Random,
    ) -> (Vec<Granter>, Vec<Grant>) {
        let many = *random.pick(&[0, 0, 0, 0, 1, 1, 2]);
        (0..many).map(|_| self.granter(host, shares, networks, random)).unzip()
    }

    fn granter(
        &self,
        host: &Host,
        shares: &Shares,
        networks: Option<&[Block]>,
        random: &mut Random,
    ) -> (Granter, Grant) {
        let (policy, built) = &self.policies[host.policy];
        if random.one_in(5)
            && !self.keys.is_empty()
            && let (key, record) = random.pick(&self.keys)
            && let (tenant, tenant_record) = self.tenant_for(key, random)
            && self.rules.unready(policy, &host.ring, key, tenant).is_empty()
            && let Ok(resolved) = host.authority.resolve(record, tenant_record)
        {
            // The caller of another key passes on its own grant.
            let granter = Granter {
                scopes: self.rules.scopes(policy, key, tenant).into_iter().collect(),
                shares: Some(key.shares.clone()),
                networks: key.networks.clone(),
            };
            return (granter, resolved.grant());
        }
        let all: Vec<String> = policy.scopes.keys().cloned().collect();
        let scopes = if random.one_in(2) { all } else { random.some(&all, 6) };
        let granter = draw::granter(scopes, &policy.kinds, (shares, networks), random);
        let grant = translate::grant(built.catalog(), std::slice::from_ref(&granter));
        (granter, grant.expect("one granter"))
    }

    /// Returns some names of a policy, and perhaps one that no policy has.
    pub(super) fn names(
        &self,
        policy: usize,
        random: &mut Random,
        may_be_unknown: bool,
    ) -> Vec<String> {
        let all: Vec<String> = self.policies[policy].0.scopes.keys().cloned().collect();
        let mut names = random.some(&all, 6);
        if may_be_unknown && random.one_in(40) {
            names.push("x".into());
        }
        names
    }
}
